package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Auth says who may call.
type Auth struct {
	Mode string `yaml:"mode"` // one of those below
	// RootKey makes the first keys, in any project; "": the one in the data directory.
	RootKey string `yaml:"root_key"`
	// Issuers are the identity providers whose tokens let their people in.
	Issuers []Issuer `yaml:"issuers"`
	// BrowserOrigins are those of web pages that may call with session tokens: https://app.example.com.
	BrowserOrigins []string `yaml:"browser_origins"`
}

// The modes of Auth.
const (
	AuthNone = "none" // every caller is the local user
	AuthKeys = "keys" // callers carry API keys
	AuthOIDC = "oidc" // or a token of an issuer
)

const (
	// MinRootKey is the least length of Auth.RootKey, in characters.
	MinRootKey = 32
	// MaxIssuers bounds Auth.Issuers, MaxIssuerRoles the roles of one.
	MaxIssuers, MaxIssuerRoles = 32, 256
	// MaxBrowserOrigins bounds Auth.BrowserOrigins.
	MaxBrowserOrigins = 64
	// MaxClockSkew is the most that clocks may be apart.
	MaxClockSkew = 5 * time.Minute
)

// Issuer is an identity provider that speaks OpenID Connect.
type Issuer struct {
	URL       string   `yaml:"url"`       // as its tokens' iss says it
	Audiences []string `yaml:"audiences"` // whom tokens must be for
	Prefix    string   `yaml:"prefix"`    // before sub, in the ids of its people
	// Project is where its tokens count, or ProjectClaim where they say so themselves.
	Project          string       `yaml:"project"`
	ProjectClaim     string       `yaml:"project_claim"`
	ClockSkewSeconds int          `yaml:"clock_skew_seconds"` // 0: a minute
	Roles            []IssuerRole `yaml:"roles"`              // the first that fits counts
}

// IssuerRole gives a role to tokens with a claim.
type IssuerRole struct {
	Claim string `yaml:"claim"` // "": every token
	Value string `yaml:"value"`
	Role  string `yaml:"role"`
	Kind  string `yaml:"kind"` // user, which is the default, or service
	Bound bool   `yaml:"bound"`
}

// TLS is the server's certificate, and who its clients' are of. The files are PEM, and read again when they change.
type TLS struct {
	Certificate string `yaml:"certificate"` // with those between it and its authority
	Key         string `yaml:"key"`
	// ClientCA is a PEM file with the authorities of clients' certificates; "": none are asked for. ClientAuth says whether
	// there has to be one.
	ClientCA   string `yaml:"client_ca"`
	ClientAuth string `yaml:"client_auth"`
}

// On reports whether the server speaks TLS.
func (t TLS) On() bool { return t.Certificate != "" }

func (c *Config) checkAuth() error {
	a := c.Auth
	switch a.Mode {
	case AuthNone:
		if !Loopback(c.Listen) {
			return invalid("auth.mode",
				"Use auth: {mode: keys}, or listen on 127.0.0.1.",
				"auth mode none lets everybody in, so it serves loopback addresses only, not %s", c.Listen)
		}
		if a.RootKey != "" {
			return invalid("auth.root_key", "Write mode: keys, or remove it.", "auth.root_key is for auth mode keys and oidc")
		}
	case AuthKeys, AuthOIDC:
		if n := len(a.RootKey); n > 0 && n < MinRootKey {
			return invalid("auth.root_key", "Make one with: head -c 32 /dev/urandom | base64", "auth.root_key has %d characters: it must have at least %d", n, MinRootKey)
		}
	default:
		return invalid("auth.mode", "The modes are none, keys and oidc.", "auth mode %q is unknown", a.Mode)
	}
	switch {
	case a.Mode != AuthOIDC && len(a.Issuers) > 0:
		return invalid("auth.issuers", "Write mode: oidc, or remove them.", "auth.issuers are for auth mode oidc")
	case a.Mode == AuthOIDC && len(a.Issuers) == 0:
		return invalid("auth.issuers", "Write issuers: [{url, audiences, project, roles}], or mode: keys.", "auth mode oidc needs an issuer")
	case len(a.Issuers) > MaxIssuers:
		return invalid("auth.issuers", "Remove some.", "%d issuers are more than the limit of %d", len(a.Issuers), MaxIssuers)
	}
	if err := a.checkOrigins(); err != nil {
		return err
	}
	urls, prefixes := map[string]bool{}, map[string]bool{}
	for n, i := range a.Issuers {
		at := fmt.Sprintf("auth.issuers[%d]", n)
		if err := i.check(at); err != nil {
			return err
		}
		if urls[i.URL] {
			return invalid(at+".url", "Put its roles together.", "%s: %s is there twice", at, i.URL)
		}
		if prefixes[i.Prefix] {
			return invalid(at+".prefix", "Give each issuer its own, for example prefix: \"corp:\".", "%s: two issuers with the prefix %q could name two people alike", at, i.Prefix)
		}
		urls[i.URL], prefixes[i.Prefix] = true, true
	}
	return nil
}

func (a Auth) checkOrigins() error {
	switch {
	case a.Mode == AuthNone && len(a.BrowserOrigins) > 0:
		return invalid("auth.browser_origins", "Write mode: keys, or remove them.", "auth.browser_origins are for auth mode keys and oidc: a server that lets everybody in is called by no page")
	case len(a.BrowserOrigins) > MaxBrowserOrigins:
		return invalid("auth.browser_origins", "Remove some.", "%d origins are more than the limit of %d", len(a.BrowserOrigins), MaxBrowserOrigins)
	}
	for n, origin := range a.BrowserOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || origin != u.Scheme+"://"+u.Host || strings.ToLower(origin) != origin || strings.Contains(u.Host, "*") {
			at := fmt.Sprintf("auth.browser_origins[%d]", n)
			return invalid(at, "Write it as browsers do, without a path: https://app.example.com, or http://localhost:3000.", "%s is no origin", at)
		}
	}
	return nil
}

func (i Issuer) check(at string) error {
	u, err := url.Parse(i.URL)
	local := err == nil && Loopback(net.JoinHostPort(u.Hostname(), "0"))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && local):
		return invalid(at+".url", "Write it as the iss of its tokens, to the letter: https://login.example.com/realms/acme.", "%s.url must be an https:// address, or an http:// one of this machine", at)
	case len(i.Audiences) == 0:
		return invalid(at+".audiences", "Write the client id, or the API's name, that the provider puts into aud.", "%s: without audiences a token for any other application would let its bearer in here", at)
	case (i.Project == "") == (i.ProjectClaim == ""):
		return invalid(at+".project", "Write project: NAME, or project_claim: CLAIM.", "%s needs one of project and project_claim", at)
	case i.ClockSkewSeconds < 0 || i.ClockSkewSeconds > int(MaxClockSkew.Seconds()):
		return invalid(at+".clock_skew_seconds", "0 is a minute.", "%s.clock_skew_seconds must be between 0 and %d", at, int(MaxClockSkew.Seconds()))
	case len(i.Roles) == 0 || len(i.Roles) > MaxIssuerRoles:
		return invalid(at+".roles", "Write roles: [{claim: groups, value: staff, role: developer, bound: true}].", "%s has %d roles: it must have between 1 and %d", at, len(i.Roles), MaxIssuerRoles)
	}
	for n, r := range i.Roles {
		at := fmt.Sprintf("%s.roles[%d]", at, n)
		switch {
		case r.Kind != "" && r.Kind != "user" && r.Kind != "service":
			return invalid(at+".kind", "It is user or service.", "%s.kind is %q", at, r.Kind)
		case (r.Claim == "") != (r.Value == ""):
			return invalid(at+".value", "Without both, every token of the issuer has the role.", "%s has one of claim and value: it takes both or none", at)
		}
	}
	return nil
}

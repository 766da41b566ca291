package vault

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Type is a way to prove who asks.
type Type string

// The types.
const (
	StaticBearer        Type = "static_bearer"
	MCPOAuth            Type = "mcp_oauth"
	EnvironmentVariable Type = "environment_variable"
)

// Auth is what may be seen of how a credential proves who asks.
type Auth struct {
	Type      Type     `json:"type"`
	ServerURL string   `json:"mcp_server_url,omitempty"` // of the MCP server that it is for
	ExpiresAt int64    `json:"expires_at,omitempty"`     // Unix milliseconds, of an access token; 0: not known
	Refresh   *Refresh `json:"refresh,omitempty"`        // nil: it can't be renewed

	Variable string `json:"secret_name,omitempty"` // has the placeholder
	// Hosts are where an environment's requests may take the secret, in lower case; nil with Unrestricted: wherever the
	// environment's allowed domains lead.
	Hosts        []string `json:"allowed_hosts,omitempty"`
	Unrestricted bool     `json:"unrestricted,omitempty"`
}

// ClientAuth is how an OAuth client proves who it is.
type ClientAuth string

// The ways of a client, as RFC 7591 names them.
const (
	ClientNone  ClientAuth = "none"
	ClientBasic ClientAuth = "client_secret_basic"
	ClientPost  ClientAuth = "client_secret_post"
)

// Refresh is where and how an access token is renewed.
type Refresh struct {
	ClientID   string     `json:"client_id"`
	Endpoint   string     `json:"token_endpoint"`
	ClientAuth ClientAuth `json:"token_endpoint_auth"`
	Resource   string     `json:"resource,omitempty"`
	Scope      string     `json:"scope,omitempty"`
}

// Secret is what of a credential is sealed.
type Secret struct {
	Value        string `json:"value"` // the token, or the variable's secret
	RefreshToken string `json:"refresh_token,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`
}

// String keeps secrets out of logs and errors.
func (Secret) String() string { return "[secret]" }

// GoString does the same for %#v.
func (Secret) GoString() string { return "[secret]" }

// checkSecret never shows a value.
func checkSecret(at, value string) error {
	switch {
	case len(value) < MinSecretBytes || len(value) > MaxSecretBytes:
		return stead.Invalid(at, "%s has %d bytes: it must have %d to %d", at, len(value), MinSecretBytes, MaxSecretBytes)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return stead.Invalid(at, "%s holds a control character, such as a line break, which can't stand in a header", at)
	}
	return nil
}

// checkURL makes sure that a secret goes to a URL over TLS, or stays on this machine.
func checkURL(at, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return stead.Invalid(at, "%s must be an https URL", at)
	case len(raw) > MaxURLBytes:
		return stead.Invalid(at, "%s has %d bytes, the limit is %d", at, len(raw), MaxURLBytes)
	case u.User != nil || u.Fragment != "":
		return stead.Invalid(at, "%s must have neither a user nor a fragment", at)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		e := stead.Invalid(at, "%s must be an https URL: a secret is not sent unencrypted", at)
		e.Hint = "Plain http is for servers on this machine, http://127.0.0.1:PORT/…"
		return e
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// sameURL reports whether two URLs name one server: the port of the scheme may be left out, and a slash at the end.
func sameURL(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && canonical(x) == canonical(y)
}

func canonical(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port + strings.TrimSuffix(u.EscapedPath(), "/") + "?" + u.RawQuery
}

// checkHosts puts hosts into lower case, and refuses what is none.
func checkHosts(at string, hosts []string) ([]string, error) {
	if len(hosts) == 0 || len(hosts) > MaxHosts {
		return nil, stead.Invalid(at, "%s must have 1 to %d hosts", at, MaxHosts)
	}
	out := make([]string, len(hosts))
	for i, h := range hosts {
		h = strings.ToLower(h)
		if _, err := netip.ParseAddr(h); err == nil {
			e := stead.Invalid(at, "%s names the address %s: a secret goes to names, which certificates prove", at, h)
			e.Hint = "Write the host's name."
			return nil, e
		}
		if !isName(h) {
			return nil, stead.Invalid(at, "%s: %.80q is no host: write a name without scheme, path, port and wildcard", at, h)
		}
		if slices.Contains(out[:i], h) {
			return nil, stead.Invalid(at, "%s names %s a second time", at, h)
		}
		out[i] = h
	}
	return out, nil
}

// isName reports whether a host is a name of letters, digits and hyphens (RFC 1123).
func isName(h string) bool {
	const maxName, maxPart = 253, 63
	if len(h) > maxName {
		return false
	}
	for part := range strings.SplitSeq(h, ".") {
		if part == "" || len(part) > maxPart || part[0] == '-' || part[len(part)-1] == '-' ||
			strings.ContainsFunc(part, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
			return false
		}
	}
	return true
}

// authorities are variables by which programs learn whom to trust: the environment sets them.
func authorities() []string {
	return []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "DENO_CERT"}
}

func checkVariable(at, name string) error {
	upper := strings.ToUpper(name)
	switch {
	case !environment.IsVariable(name):
		return stead.Invalid(at, "%s %.80q is no name of a variable: write letters, digits and underscores, and no digit in front", at, name)
	case environment.ReservedVariable(name) || strings.HasPrefix(upper, "CODEX_") || slices.Contains(authorities(), upper):
		return stead.Invalid(at, "%s %.80q is set by the runtime, or changes how programs are loaded or whom they trust", at, name)
	}
	return nil
}

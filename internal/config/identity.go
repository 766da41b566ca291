package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Identity makes agents known to other systems: see package workload.
type Identity struct {
	TrustDomain string `yaml:"trust_domain"` // of SPIFFE ids; "": agents have no tokens
	Issuer      string `yaml:"issuer"`       // where the key set is found; "": public_url
	Algorithm   string `yaml:"algorithm"`    // ES256, which is the default, or EdDSA
	// KeyDays is how long one key signs; 0: 30 days.
	KeyDays int `yaml:"key_days"`
	// ExchangeAudiences are those for which callers may have signed tokens.
	ExchangeAudiences []string `yaml:"exchange_audiences"`
	// Environments is the variable in which code finds a token, by a placeholder; nil: none does.
	Environments *WorkloadVariable `yaml:"environments"`
}

// WorkloadVariable is a variable of environments that stands for a token.
type WorkloadVariable struct {
	Variable string   `yaml:"variable"`
	Audience string   `yaml:"audience"`
	Hosts    []string `yaml:"hosts"` // names to which it is sent
	Auth     string   `yaml:"auth"`  // as of Server; "": AuthWorkload
}

// On reports whether agents have tokens.
func (i Identity) On() bool { return i.TrustDomain != "" }

// What a token says: see package workload.
const (
	AuthWorkload   = "workload"
	AuthOnBehalfOf = "on_behalf_of"
)

// Algorithms that sign.
const (
	AlgES256 = "ES256"
	AlgEdDSA = "EdDSA"
)

const (
	// MaxTrustDomain is SPIFFE's limit, in bytes.
	MaxTrustDomain = 255
	// MinKeyDays and MaxKeyDays bound Identity.KeyDays: the next key is published a day before.
	MinKeyDays, MaxKeyDays = 2, 365
	// MaxWorkloadHosts bounds WorkloadVariable.Hosts.
	MaxWorkloadHosts = 16
	// MaxExchangeAudiences bounds Identity.ExchangeAudiences.
	MaxExchangeAudiences = 256
)

func (c *Config) checkIdentity() error {
	i := &c.Identity
	if !i.On() {
		if i.Issuer != "" || i.Algorithm != "" || i.KeyDays != 0 || i.Environments != nil || len(i.ExchangeAudiences) > 0 {
			return invalid("identity.trust_domain", "Write trust_domain: acme.example, a name that is yours.", "identity has no trust_domain, which the ids of agents begin with")
		}
		return nil
	}
	if i.Issuer == "" {
		i.Issuer = c.PublicURL
	}
	i.Issuer = strings.TrimSuffix(i.Issuer, "/")
	if i.Algorithm == "" {
		i.Algorithm = AlgES256
	}
	u, err := url.Parse(i.Issuer)
	switch {
	case len(i.TrustDomain) > MaxTrustDomain || !regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`).MatchString(i.TrustDomain):
		return invalid("identity.trust_domain", "It is written in lower case, without scheme and port: acme.example.", "identity.trust_domain is no trust domain")
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http":
		return invalid("identity.issuer", "Write the address at which others find this server, or public_url: https://stead.acme.example.", "identity.issuer must be an https:// or http:// address")
	case slices.Contains(i.ExchangeAudiences, "") || len(i.ExchangeAudiences) > MaxExchangeAudiences:
		return invalid("identity.exchange_audiences", "Write what the other sides expect as aud.", "identity.exchange_audiences has an empty one, or more than %d", MaxExchangeAudiences)
	case i.KeyDays != 0 && (i.KeyDays < MinKeyDays || i.KeyDays > MaxKeyDays):
		return invalid("identity.key_days", "0 is 30 days.", "identity.key_days is %d: it must be between %d and %d", i.KeyDays, MinKeyDays, MaxKeyDays)
	case i.Algorithm != AlgES256 && i.Algorithm != AlgEdDSA:
		return invalid("identity.algorithm", "They are ES256 and EdDSA.", "identity.algorithm is %q", i.Algorithm)
	}
	return i.Environments.check()
}

func (v *WorkloadVariable) check() error {
	if v == nil {
		return nil
	}
	if v.Auth == "" {
		v.Auth = AuthWorkload
	}
	const at = "identity.environments"
	switch {
	case !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`).MatchString(v.Variable):
		return invalid(at+".variable", "Write variable: WORKLOAD_TOKEN.", "%s.variable is no name of a variable", at)
	case v.Audience == "":
		return invalid(at+".audience", "Write what the other side expects as aud.", "%s has no audience: its token would be good everywhere", at)
	case len(v.Hosts) == 0 || len(v.Hosts) > MaxWorkloadHosts:
		return invalid(at+".hosts", "Write the names that it is sent to: [api.acme.example].", "%s has %d hosts: it must have between 1 and %d", at, len(v.Hosts), MaxWorkloadHosts)
	case v.Auth != AuthWorkload && v.Auth != AuthOnBehalfOf:
		return invalid(at+".auth", "It is workload or on_behalf_of.", "%s.auth is %q", at, v.Auth)
	}
	return nil
}

// checkServerAuth checks which tokens a tool server gets.
func (c *Config) checkServerAuth(at string, s Server) error {
	switch {
	case s.Auth == "" && s.Audience == "":
		return nil
	case s.Auth != AuthWorkload && s.Auth != AuthOnBehalfOf:
		return invalid(at+".auth", "It is workload, where the agent is the subject, or on_behalf_of, where it is whoever it acts for.", "%s.auth is %q", at, s.Auth)
	case !c.Identity.On():
		return invalid(at+".auth", "Write identity: {trust_domain: acme.example, issuer: https://…}.", "%s.auth needs agents to have an identity", at)
	case s.URL == "":
		return invalid(at+".auth", "Remove it: nobody else calls a command.", "%s.auth belongs to a url", at)
	}
	for name := range s.Headers {
		if strings.EqualFold(name, "Authorization") {
			return invalid(at+".headers", "Remove one of the two.", "%s has the header Authorization and auth as well", at)
		}
	}
	return nil
}

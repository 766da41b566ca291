package egress

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Credential is a secret that the inside can use and never read.
type Credential struct {
	Name        string // for people, records and errors
	Placeholder string // what the inside has in its place: see NewPlaceholder
	// Hosts are where the secret is sent; a pattern without port means 443 (and 80 with Plain).
	// Addresses are no hosts here. The Policy must allow them as well.
	Hosts []Pattern
	// Value opens the secret for a request to HOST:PORT. It is called for each request that carries the
	// placeholder, after the request was recorded; its error refuses the request and never reaches the inside.
	Value func(ctx context.Context, destination string) (string, error)
	// Mask reads the value as it is now, to look for it in answers alone: it is asked whether or not the placeholder
	// was ever sent. "": there is none. An error refuses requests to the credentials' hosts.
	Mask func(ctx context.Context) (string, error)
	// Changes is a counter that grows when what Mask reads was perhaps changed by this process. It is asked for each
	// piece of an answer. nil: the value never changes here; other processes' changes count within a second.
	Changes func() uint64
	// Plain lets the secret out over unencrypted HTTP too.
	Plain bool
	// PassElsewhere lets a request with the placeholder through, as it is, towards other hosts. The
	// default refuses it: a placeholder on its way elsewhere is a mistake, or an attempt.
	PassElsewhere bool
}

// NewPlaceholder makes a placeholder for a credential: its name, as far as it can stand in a
// variable, and 96 random bits.
func NewPlaceholder(name string) string {
	var random [12]byte
	rand.Read(random[:]) // never fails
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	return "stead_" + clean[:min(len(clean), 64)] + "_" + hex.EncodeToString(random[:])
}

type credential struct {
	Credential
	hosts []pattern
	usual portSet
}

func compileCredentials(list []Credential) ([]*credential, error) {
	if len(list) > MaxCredentials {
		return nil, stead.Invalid("credentials", "there are %d credentials, at most %d are possible", len(list), MaxCredentials)
	}
	out := make([]*credential, 0, len(list))
	for i, c := range list {
		field := element("credentials", i)
		compiled, err := compileCredential(c, field)
		if err != nil {
			return nil, err
		}
		for _, other := range out {
			if strings.Contains(c.Placeholder, other.Placeholder) || strings.Contains(other.Placeholder, c.Placeholder) {
				return nil, stead.Invalid(field+".placeholder", "the placeholders of %.80q and %.80q hold each other", c.Name, other.Name)
			}
		}
		out = append(out, compiled)
	}
	return out, nil
}

func compileCredential(c Credential, field string) (*credential, error) {
	n := len(c.Placeholder)
	if n < MinPlaceholderBytes || n > MaxPlaceholderBytes || strings.ContainsFunc(c.Placeholder, notPlain) {
		return nil, stead.Invalid(field+".placeholder", "a placeholder has %d to %d letters, digits, hyphens and underscores", MinPlaceholderBytes, MaxPlaceholderBytes)
	}
	if c.Value == nil || c.Mask == nil || c.Name == "" {
		return nil, stead.Invalid(field, "a credential needs a name, a value, and that to look for")
	}
	if len(c.Hosts) == 0 {
		return nil, stead.Invalid(field+".hosts", "the credential %.80q names no host", c.Name)
	}
	hosts, err := parsePatterns(c.Hosts, field+".hosts")
	if err != nil {
		return nil, err
	}
	for i, p := range hosts {
		if p.host.name == "" {
			return nil, stead.Invalid(element(field+".hosts", i), "%.80q is an address: a credential goes to names, which certificates prove", c.Hosts[i])
		}
	}
	out := &credential{Credential: c, hosts: hosts, usual: portSet{443}}
	if c.Plain {
		out.usual = portSet{443, 80}
	}
	return out, nil
}

func notPlain(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '-' && r != '_'
}

// names reports whether the credential names a host and port.
func (c *credential) names(h host, port uint16) bool {
	return slices.ContainsFunc(c.hosts, func(p pattern) bool { return p.matches(h, port, c.usual) })
}

// opens reports whether TLS towards a host and port is opened.
func (p *Proxy) opens(h host, port uint16) bool {
	return slices.ContainsFunc(p.creds, func(c *credential) bool { return c.names(h, port) })
}

// searched reports whether answers of a site are searched for secrets: a credential names it. What the same name
// says unencrypted is searched at every port, since nothing but that is needed to read it.
func (p *Proxy) searched(s site) bool {
	return p.opens(s.host, s.port) || !s.tls && slices.ContainsFunc(p.creds, func(c *credential) bool {
		return slices.ContainsFunc(c.hosts, func(p pattern) bool { return p.matchesHost(s.host) })
	})
}

// placed finds the credentials whose placeholders a request carries, or refuses it: a placeholder
// outside of header values, towards a host that the credential does not name, or over plain HTTP.
func (p *Proxy) placed(h *head, s site) ([]*credential, *refusal) {
	var out []*credential
	for _, c := range p.creds {
		inFields := slices.ContainsFunc(h.fields, func(f field) bool { return fieldHolds(f, c.Placeholder) })
		inTarget := strings.Contains(h.target, c.Placeholder)
		if !inFields && !inTarget {
			continue
		}
		named := c.names(s.host, s.port)
		switch {
		case !named && c.PassElsewhere:
			continue
		case !named:
			return nil, refuse(RulePlacement, "the request to %.80q carries the placeholder of the credential %.80q, which is for %s", s.host, c.Name, strings.Join(c.Hosts, ", "))
		case inTarget:
			return nil, refuse(RuleSecret, "the placeholder of the credential %.80q stands in the URL: it is replaced in header fields alone", c.Name)
		case !s.tls && !c.Plain:
			return nil, refuse(RuleSecret, "the credential %.80q is sent over https alone", c.Name)
		case h.method == http.MethodTrace:
			return nil, refuse(RuleSecret, "TRACE is not sent with a credential")
		}
		out = append(out, c)
	}
	return out, nil
}

// fieldHolds looks for a placeholder in a value, and inside the Base64 of Basic credentials.
func fieldHolds(f field, placeholder string) bool {
	if strings.Contains(f.value, placeholder) {
		return true
	}
	inner, ok := basic(f)
	return ok && strings.Contains(inner, placeholder)
}

// basic decodes the user:password of an Authorization field (RFC 7617).
func basic(f field) (string, bool) {
	if !strings.EqualFold(f.name, "Authorization") {
		return "", false
	}
	scheme, rest, ok := strings.Cut(f.value, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	raw := strings.TrimRight(strings.Trim(rest, " \t"), "=")
	inner, err := base64.RawStdEncoding.DecodeString(raw)
	return string(inner), err == nil
}

// searching makes sure, before anything is sent, that the answer can be searched for every secret.
func (p *Proxy) searching(ctx context.Context) *refusal {
	ctx, cancel := context.WithTimeout(ctx, p.times.Secret)
	defer cancel()
	if _, err := p.secrets.fresh(ctx); err != nil {
		p.cfg.Log.Warn("answers can't be searched for a credential", "kind", string(stead.KindOf(err)))
		return &refusal{status: http.StatusServiceUnavailable, rule: RuleSecret, reason: "answers can't be searched for the credentials of this environment now"}
	}
	return nil
}

// known are the secrets to look for in the next piece of an answer. What can't be read now was looked for since the
// answer began as it was then: a stream goes on.
func (p *Proxy) known() []spelling {
	ctx, cancel := context.WithTimeout(p.ctx, p.times.Secret)
	defer cancel()
	list, _ := p.secrets.fresh(ctx) // the error is for those who begin
	return list
}

// fill puts the secrets in. It opens each, remembers what is to be masked in answers, and changes the
// head; on an error the head must not be sent.
func (p *Proxy) fill(ctx context.Context, h *head, creds []*credential, to site) *refusal {
	ctx, cancel := context.WithTimeout(ctx, p.times.Secret)
	defer cancel()
	for _, c := range creds {
		value, err := c.Value(ctx, to.host.String()+":"+itoa(to.port))
		if err != nil {
			// The error is somebody else's, and may hold anything: its kind is enough.
			p.cfg.Log.Warn("credential not opened", "credential", c.Name, "kind", string(stead.KindOf(err)))
			return &refusal{status: http.StatusServiceUnavailable, rule: RuleSecret, reason: "the credential " + c.Name + " can't be opened now"}
		}
		if !sendable(value) {
			return &refusal{status: http.StatusServiceUnavailable, rule: RuleSecret,
				reason: "the value of the credential " + c.Name + " can't stand in a header field: it has a control character, or is too short or too long"}
		}
		p.secrets.sent(c.Placeholder, value)
		for i, f := range h.fields {
			if inner, ok := basic(f); ok && strings.Contains(inner, c.Placeholder) {
				filled := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(inner, c.Placeholder, value)))
				h.fields[i].value = "Basic " + filled
			}
			h.fields[i].value = strings.ReplaceAll(h.fields[i].value, c.Placeholder, value)
		}
	}
	return nil
}

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ClientCertificates says who comes with a TLS client certificate. It is taken while the server runs.
type ClientCertificates struct {
	Allow []ClientCertificate `yaml:"allow"`
	Deny  []DeniedCertificate `yaml:"deny"`
}

// ClientCertificate is the rule of one name.
type ClientCertificate struct {
	SPIFFE  string `yaml:"spiffe_id"` // spiffe://acme.example/batch, or
	Subject string `yaml:"subject"`   // the whole subject, by RFC 2253: CN=batch-7,O=Acme
	Kind    string `yaml:"kind"`      // service, which is the default, user, or executor
	ID      string `yaml:"id"`        // of the principal; "": the name
	Project string `yaml:"project"`
	Role    string `yaml:"role"` // not of executors
	Bound   bool   `yaml:"bound"`
}

// DeniedCertificate ends certificates that are valid still: one of its fields is set.
type DeniedCertificate struct {
	Serial  string `yaml:"serial"` // hex, with or without colons
	SPIFFE  string `yaml:"spiffe_id"`
	Subject string `yaml:"subject"`
}

// Values of TLS.ClientAuth.
const (
	ClientAuthOptional = "optional" // who shows none comes with a key or token
	ClientAuthRequired = "required" // nobody connects without one
)

// Kinds of ClientCertificate.
const (
	KindService  = "service"
	KindUser     = "user"
	KindExecutor = "executor"
)

const (
	// MaxClientCertificates bounds ClientCertificates.Allow.
	MaxClientCertificates = 4096
	// MaxDeniedCertificates bounds ClientCertificates.Deny.
	MaxDeniedCertificates = 10_000
	// MaxPrincipalBytes bounds the id of a principal, which journals name at each act.
	MaxPrincipalBytes = 255
	// MaxSerialDigits is what RFC 5280 lets a serial number have, in hex, without colons.
	MaxSerialDigits = 40
)

// rootPrincipal is the service that the operator's own key is.
const rootPrincipal = "root"

func (c *Config) checkTLS() error {
	t := &c.TLS
	switch {
	case (t.Certificate == "") != (t.Key == ""):
		return invalid("tls", "Write tls: {certificate: FILE, key: FILE}.", "tls has one of certificate and key: it takes both")
	case t.ClientCA == "" && t.ClientAuth != "":
		return invalid("tls.client_ca", "Name the file with the authorities of your clients.", "tls.client_auth needs tls.client_ca")
	case t.ClientCA == "":
		if len(c.ClientCertificates.Allow) > 0 {
			return invalid("tls.client_ca", "Name the file with the authorities of your clients.", "client_certificates.allow needs tls.client_ca")
		}
		return nil
	case !t.On():
		return invalid("tls.client_ca", "Write certificate and key beside it.", "tls.client_ca needs the server to have a certificate itself")
	case c.Auth.Mode == AuthNone:
		return invalid("auth.mode", "Use auth: {mode: keys}.", "tls.client_ca says who may come in, and auth mode none lets everybody in")
	}
	if t.ClientAuth == "" {
		t.ClientAuth = ClientAuthOptional
	}
	if t.ClientAuth != ClientAuthOptional && t.ClientAuth != ClientAuthRequired {
		return invalid("tls.client_auth", "It is optional or required.", "tls.client_auth is %q", t.ClientAuth)
	}
	return nil
}

func (c *Config) checkClientCertificates() error {
	all := c.ClientCertificates
	switch {
	case len(all.Allow) > MaxClientCertificates:
		return invalid("client_certificates.allow", "Remove some.", "client_certificates.allow has %d rules: at most %d are taken", len(all.Allow), MaxClientCertificates)
	case len(all.Deny) > MaxDeniedCertificates:
		return invalid("client_certificates.deny", "Remove those that have expired.", "client_certificates.deny has %d entries: at most %d are taken", len(all.Deny), MaxDeniedCertificates)
	}
	seen := map[string]bool{}
	for n, r := range all.Allow {
		at := fmt.Sprintf("client_certificates.allow[%d]", n)
		if err := r.check(at); err != nil {
			return err
		}
		name := r.SPIFFE + r.Subject
		if seen[name] {
			return invalid(at, "Remove one of the two.", "%s: %.200q is there twice", at, name)
		}
		seen[name] = true
	}
	for n, d := range all.Deny {
		if err := d.check(fmt.Sprintf("client_certificates.deny[%d]", n)); err != nil {
			return err
		}
	}
	return nil
}

func (r ClientCertificate) check(at string) error {
	id := r.ID
	if id == "" {
		id = r.SPIFFE + r.Subject
	}
	switch {
	case (r.SPIFFE == "") == (r.Subject == ""):
		return invalid(at, "Write spiffe_id: spiffe://acme.example/batch, or subject: \"CN=batch-7,O=Acme\".", "%s needs one of spiffe_id and subject", at)
	case r.Kind != "" && !slices.Contains([]string{KindService, KindUser, KindExecutor}, r.Kind):
		return invalid(at+".kind", "It is service, user or executor.", "%s.kind is %q", at, r.Kind)
	case r.Project == "" || strings.ContainsAny(r.Project, ": \t"):
		return invalid(at+".project", "Write project: NAME.", "%s.project must be the name of a project", at)
	case r.Kind == KindExecutor && (r.Role != "" || r.Bound || r.ID != ""):
		return invalid(at+".role", "Remove role, bound and id.", "%s is an executor's, which has no role: it runs what the sessions of its project say", at)
	case r.Kind != KindExecutor && r.Role == "":
		return invalid(at+".role", "Write role: developer, or kind: executor.", "%s has no role", at)
	case len(id) > MaxPrincipalBytes:
		return invalid(at+".id", "Write a shorter id, by which journals know it.", "%s: %d bytes are more than the %d that the id of a principal has at most", at, len(id), MaxPrincipalBytes)
	case r.Kind != KindUser && id == rootPrincipal:
		return invalid(at+".id", "Write another id.", "%s.id is %q, the operator's own key", at, rootPrincipal)
	}
	return nil
}

func (d DeniedCertificate) check(at string) error {
	said := 0
	for _, s := range []string{d.Serial, d.SPIFFE, d.Subject} {
		if s != "" {
			said++
		}
	}
	switch serial := strings.ReplaceAll(d.Serial, ":", ""); {
	case said != 1:
		return invalid(at, "Write {serial: \"0a:1b:2c\"}, {spiffe_id: …} or {subject: …}.", "%s needs one of serial, spiffe_id and subject", at)
	case d.Serial != "" && !regexp.MustCompile(`^[0-9a-fA-F]+$`).MatchString(serial), len(serial) > MaxSerialDigits:
		return invalid(at+".serial", "Write it as openssl x509 -serial does, in quotes.", "%s.serial must be 1 to %d digits in hex", at, MaxSerialDigits)
	}
	return nil
}

// name is what a rule is known by.
func (r ClientCertificate) name() string { return r.SPIFFE + r.Subject }

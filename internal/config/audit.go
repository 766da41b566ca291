package config

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// MaxAuditStreams is the most streams of a server.
const MaxAuditStreams = 16

// Audit is what happens with audit logs.
type Audit struct {
	// Decisions says which of those that agents cause, and of those that let something be done with sessions, are recorded: every,
	// all, denied or none; "": all.
	Decisions string `yaml:"decisions"`
	// Reads says which reads of people and applications are recorded: none, content or all; "": none.
	Reads   string        `yaml:"reads"`
	Streams []AuditStream `yaml:"streams"`
}

// AuditStream sends audit logs on as they grow. Its name keeps its place: under another one everything is sent anew.
type AuditStream struct {
	Name     string            `yaml:"name"`
	URL      string            `yaml:"url"`      // https:// or http:// for a webhook; syslog+tls:// or syslog+tcp:// with HOST:PORT
	Format   string            `yaml:"format"`   // jsonl or ocsf; "": jsonl
	Projects []string          `yaml:"projects"` // empty: all
	Secret   string            `yaml:"secret"`   // signs webhooks
	Headers  map[string]string `yaml:"headers"`  // of webhooks
	CA       string            `yaml:"ca"`       // file of certificates (PEM) that are believed in place of the machine's
}

// Syslog reports whether the stream is one of syslog, and not a webhook.
func (s AuditStream) Syslog() bool { return strings.HasPrefix(s.URL, "syslog+") }

// ownHeaders are those that a webhook sets itself, and headerName is a token of RFC 9110, 5.6.2.
var (
	ownHeaders = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)^(content-type|content-length|host|user-agent|webhook-.*|stead-.*)$`)
	})
	headerName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") })
)

// The values of audit.decisions.
const (
	AuditEvery  = "every"
	AuditAll    = "all"
	AuditDenied = "denied"
	AuditNone   = "none"

	// AuditContent is a value of audit.reads, beside none and all.
	AuditContent = "content"
)

func (c *Config) checkAudit() error {
	switch c.Audit.Decisions {
	case "", AuditEvery, AuditAll, AuditDenied, AuditNone:
	default:
		return invalid("audit.decisions", "It is every, all, denied or none.", "audit.decisions is %.80q", c.Audit.Decisions)
	}
	switch c.Audit.Reads {
	case "", AuditNone, AuditContent, AuditAll:
	default:
		return invalid("audit.reads", "It is none, content or all.", "audit.reads is %.80q", c.Audit.Reads)
	}
	if n := len(c.Audit.Streams); n > MaxAuditStreams {
		return invalid("audit.streams", "Remove some.", "%d audit streams are more than the limit of %d", n, MaxAuditStreams)
	}
	seen := map[string]bool{}
	for i, s := range c.Audit.Streams {
		at := fmt.Sprintf("audit.streams[%d]", i)
		if !namePattern().MatchString(s.Name) {
			return invalid(at+".name", "It has small letters, digits, - and _, at most 64.", "%s.name is %.80q", at, s.Name)
		}
		if seen[s.Name] {
			return invalid(at+".name", "Give each a name of its own.", "two audit streams are named %s", s.Name)
		}
		seen[s.Name] = true
		if err := s.check(at); err != nil {
			return err
		}
	}
	return nil
}

func (s AuditStream) check(at string) error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		// A query may hold a password of the receiver: the value is not repeated.
		return invalid(at+".url", "Write https://HOST/PATH or syslog+tls://HOST:PORT, and credentials into headers.", "%s.url is no address of a receiver", at)
	}
	switch u.Scheme {
	case "http", "https":
	case "syslog+tls", "syslog+tcp":
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" || u.RawQuery != "" {
			return invalid(at+".url", "Write "+u.Scheme+"://HOST:PORT.", "%s.url needs a port, and nothing behind it", at)
		}
		if s.Secret != "" || len(s.Headers) > 0 {
			return invalid(at+".secret", "Remove secret and headers.", "%s: syslog has neither signatures nor headers", at)
		}
	default:
		return invalid(at+".url", "It begins with https://, http://, syslog+tls:// or syslog+tcp://.", "%s.url has the scheme %.40q", at, u.Scheme)
	}
	switch s.Format {
	case "", "jsonl", "ocsf":
	default:
		return invalid(at+".format", "It is jsonl or ocsf.", "%s.format is %.80q", at, s.Format)
	}
	for name, value := range s.Headers {
		if ownHeaders().MatchString(name) || !headerName().MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return invalid(at+".headers", "Remove it.", "%s.headers: %.80q can't be set", at, http.CanonicalHeaderKey(name))
		}
	}
	if s.CA != "" {
		if _, err := os.Stat(filepath.Clean(s.CA)); err != nil {
			return invalid(at+".ca", "Name a file of certificates in PEM.", "%s.ca can't be read: %v", at, err)
		}
	}
	return nil
}

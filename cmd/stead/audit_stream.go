package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit/stream"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// openStreams sends the audit logs to where the configuration says.
func (n *node) openStreams(store database) (*stream.Streamer, error) {
	all := make([]stream.Stream, 0, len(n.cfg.Audit.Streams))
	for _, c := range n.cfg.Audit.Streams {
		s, err := auditStream(c)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	s := stream.New(stream.Config{Streams: all, Logs: store, Positions: store, Node: n.sends(), Now: time.Now, Log: n.log})
	if len(all) > 0 {
		n.onStop(s.Start())
	}
	return s, nil
}

// openApprovalStream tells webhooks of requests for approval.
func (n *node) openApprovalStream(store database, guard mcp.Guard) (*stream.Streamer, error) {
	var all []stream.Stream
	for _, c := range n.cfg.Approvals.Webhooks {
		sum := sha256.Sum256([]byte(c.URL))
		s := stream.Stream{Name: "approvals-" + cmp.Or(c.Name, hex.EncodeToString(sum[:8])), Format: stream.Records, FromNow: true}
		for _, p := range c.Projects {
			s.Projects = append(s.Projects, stead.ProjectID(p))
		}
		secure, err := believed(c.URL, c.CA, "approvals.webhooks.ca")
		if err != nil {
			return nil, err
		}
		secret, err := signing(c.Secret, "approvals.webhooks.secret")
		if err != nil {
			return nil, err
		}
		s.Receiver = stream.NewApprovals(c.URL, strings.TrimSuffix(n.cfg.PublicURL, "/"), c.Headers, secret, mcp.GuardedTLS(guard, secure), time.Now)
		all = append(all, s)
	}
	s := stream.New(stream.Config{Streams: all, Logs: store, Positions: store, Node: n.sends(), Now: time.Now, Log: n.log})
	if len(all) > 0 {
		n.onStop(s.Start())
	}
	return s, nil
}

// sends names this node among those that send. Of SQLite there is one: after a crash it goes on at once with what it was sending.
func (n *node) sends() string {
	if n.cfg.Database == "" {
		return "alone"
	}
	return uuid.NewString()
}

// believed is whose certificates are, of the receiver at an address.
func believed(address, ca, param string) (*tls.Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the address of a receiver can't be read")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if ca == "" {
		return secure, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the certificates of a receiver can't be read")
	}
	secure.RootCAs = x509.NewCertPool()
	if !secure.RootCAs.AppendCertsFromPEM(pem) {
		return nil, stead.Invalid(param, "%s has no certificate in PEM", ca)
	}
	return secure, nil
}

// signing is the key of a webhook's signatures.
func signing(secret, param string) ([]byte, error) {
	key, ok := stream.SecretOf(secret)
	if !ok {
		e := stead.Invalid(param, "%s begins with whsec_, and what follows is not the secret's bytes in base64", param)
		e.Hint = "Copy all of it, as the receiver shows it; or make one: echo whsec_$(head -c 32 /dev/urandom | base64)"
		return nil, e
	}
	return key, nil
}

func auditStream(c config.AuditStream) (stream.Stream, error) {
	s := stream.Stream{Name: c.Name, Format: stream.JSONL}
	if c.Format != "" {
		s.Format = stream.Format(c.Format)
	}
	for _, p := range c.Projects {
		s.Projects = append(s.Projects, stead.ProjectID(p))
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return s, stead.Wrap(stead.KindInvalid, err, "the address of the audit stream %s can't be read", c.Name)
	}
	secure, err := believed(c.URL, c.CA, "audit.streams.ca")
	if err != nil {
		return s, err
	}
	switch u.Scheme {
	case "syslog+tls":
		s.Receiver = stream.NewSyslog(u.Host, secure)
	case "syslog+tcp":
		s.Receiver = stream.NewSyslog(u.Host, nil)
	default:
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = secure
		secret, err := signing(c.Secret, "audit.streams.secret")
		if err != nil {
			return s, err
		}
		s.Receiver = stream.NewWebhook(c.URL, c.Headers, secret, transport, time.Now)
	}
	return s, nil
}

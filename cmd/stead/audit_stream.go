package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit/stream"
	"github.com/stead-dev/stead/internal/config"
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
	s := stream.New(stream.Config{Streams: all, Logs: store, Positions: store, Node: uuid.NewString(), Now: time.Now, Log: n.log})
	if len(all) > 0 {
		n.onStop(s.Start())
	}
	return s, nil
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
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return s, stead.Wrap(stead.KindInvalid, err, "the certificates of the audit stream %s can't be read", c.Name)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return s, stead.Invalid("audit.streams.ca", "%s has no certificate in PEM", c.CA)
		}
	}
	switch u.Scheme {
	case "syslog+tls":
		s.Receiver = stream.NewSyslog(u.Host, secure)
	case "syslog+tcp":
		s.Receiver = stream.NewSyslog(u.Host, nil)
	default:
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = secure
		s.Receiver = stream.NewWebhook(c.URL, c.Headers, []byte(c.Secret), transport, time.Now)
	}
	return s, nil
}

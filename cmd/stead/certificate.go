package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
)

// certificateEvery is how often the files of the certificate are looked at, when somebody connects. Those who renew
// certificates need tell nobody.
const certificateEvery = 5 * time.Second

// certificate is what the server shows who connects. Files that can't be used, such as one that is half written, change
// nothing: the certificate before is shown on.
type certificate struct {
	files config.TLS
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]time.Time // when both were last changed
	looked time.Time
}

// openCertificate reads the files. The error is KindInvalid.
func openCertificate(files config.TLS, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{files: files, log: log, now: now}
	if err := c.read(); err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "the certificate can't be used: %s", oneLine(err.Error(), 200))
		e.Param, e.Hint = "tls", "Both are PEM files: the certificate first in its file, and the key that belongs to it."
		return nil, e
	}
	return c, nil
}

// config is that of a listener.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }}
}

// current is the newest that could be read.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= certificateEvery {
		c.looked = now
		if seen := c.changed(); seen != c.seen {
			if err := c.read(); err != nil {
				c.log.Error("the new certificate can't be used: the one before is shown on", "err", err)
			} else {
				c.log.Info("the certificate was read again", "expires", c.pair.Leaf.NotAfter)
			}
			c.seen = seen // a broken one is named once
		}
	}
	return c.pair
}

// changed is when both files were.
func (c *certificate) changed() (at [2]time.Time) {
	for i, name := range []string{c.files.Certificate, c.files.Key} {
		if st, err := os.Stat(name); err == nil {
			at[i] = st.ModTime()
		}
	}
	return at
}

func (c *certificate) read() error {
	seen := c.changed()
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return err
	}
	c.pair, c.seen = &pair, seen
	return nil
}

// checkCertificate says what is wrong with the certificate, or how long it is good for.
func checkCertificate(files config.TLS, now time.Time) finding {
	f := finding{Check: "certificate", Verdict: verdictOK}
	c, err := openCertificate(files, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		f.Verdict, f.Detail, f.Remedy = verdictFail, oneLine(err.Error(), 300), "Mend tls.certificate and tls.key: the server does not start with them."
		return f
	}
	left := c.pair.Leaf.NotAfter.Sub(now)
	f.Detail = fmt.Sprintf("for %v, until %s", c.pair.Leaf.DNSNames, c.pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	const soon = 14 * 24 * time.Hour
	switch {
	case left <= 0:
		f.Verdict, f.Remedy = verdictFail, "It has expired: clients refuse it. Put a new one in its place; a running server takes it by itself."
	case left < soon:
		f.Verdict, f.Remedy = verdictWarn, "Renew it: a running server takes the new files by itself."
	}
	return f
}

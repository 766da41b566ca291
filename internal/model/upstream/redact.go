package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
)

// Upstreams quote what they were sent, and the key is part of it. What enters from there is searched
// for the configured secrets, as they are and as JSON and URLs write them: the messages, codes and
// causes of errors (Clean), and the bodies that pass by as they are (Guard).

// redacted stands where a secret was.
const redacted = "[redacted]"

// longestFirst sorts the forms of secrets so that none hides in another, and drops what is none.
func longestFirst(secrets []string) []string {
	var forms []string
	for _, s := range secrets {
		if len(s) < minSecretBytes {
			continue
		}
		for _, form := range formsOf(s) {
			if !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return forms
}

// formsOf are the ways in which a secret is written.
func formsOf(secret string) []string {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(secret)            // a text always does
	html, err := json.Marshal(secret) // with & < > as Go and others escape them
	if err != nil {
		return []string{secret}
	}
	inner := func(quoted string) string { return strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`) }
	forms := []string{secret, inner(strings.TrimSpace(plain.String())), inner(string(html)), url.QueryEscape(secret), url.PathEscape(secret)}
	for _, f := range forms[1:3] {
		forms = append(forms, strings.ReplaceAll(f, "/", `\/`)) // as PHP and others do
	}
	return forms
}

// known are the forms of all that is secret now.
func (c *Client) known() []string {
	if c.cfg.Signer == nil {
		return c.secrets
	}
	all := slices.Concat(c.secrets, longestFirst(c.cfg.Signer.Secrets()))
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// Redact replaces secrets in a text.
func (c *Client) Redact(s string) string {
	for _, secret := range c.known() {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	return s
}

// unquote is Redact for what errors say, where secrets are found in whatever way they are written.
func (c *Client) unquote(s string) string {
	secrets := c.cfg.Secrets
	if c.cfg.Signer != nil {
		secrets = slices.Concat(secrets, c.cfg.Signer.Secrets())
	}
	return undisguise(c.Redact(s), secrets)
}

// scrub replaces a cause that quotes a secret; the others stay as they are, for errors.Is.
func (c *Client) scrub(err error) error {
	if err == nil {
		return nil
	}
	if s := err.Error(); c.unquote(s) != s {
		return errors.New(c.unquote(s))
	}
	return err
}

// Guard redacts a body that passes by. What may be the beginning of a secret is held back until the
// next read tells.
func (c *Client) Guard(body io.ReadCloser) io.ReadCloser {
	secrets := c.known()
	if len(secrets) == 0 {
		return body
	}
	g := &guarded{ReadCloser: body, buf: make([]byte, guardBuffer)}
	for _, s := range secrets {
		g.secrets = append(g.secrets, []byte(s))
	}
	return g
}

// guardBuffer is how much of a body is read at once.
const guardBuffer = 8 << 10

// guarded is a body without secrets. It has one owner.
type guarded struct {
	io.ReadCloser
	secrets [][]byte // longest first
	buf     []byte
	held    []byte // may be the beginning of a secret
	ready   []byte
	err     error
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	for len(g.ready) == 0 && g.err == nil {
		var n int
		n, g.err = g.ReadCloser.Read(g.buf)
		text := append(g.held, g.buf[:n]...)
		for _, s := range g.secrets {
			if bytes.Contains(text, s) {
				text = bytes.ReplaceAll(text, s, []byte(redacted))
			}
		}
		keep := 0
		if g.err == nil {
			keep = g.beginning(text)
		}
		g.ready, g.held = text[:len(text)-keep], bytes.Clone(text[len(text)-keep:])
	}
	n := copy(p, g.ready)
	g.ready = g.ready[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, g.err
}

// beginning is how many bytes at the end of a text may begin a secret.
func (g *guarded) beginning(text []byte) int {
	longest := 0
	for _, s := range g.secrets {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if tail := text[len(text)-n:]; tail[0] == s[0] && bytes.HasPrefix(s, tail) {
				longest = n
			}
		}
	}
	return longest
}

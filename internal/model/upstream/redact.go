package upstream

import (
	"errors"
	"io"
	"slices"

	"github.com/stead-dev/stead/internal/redact"
)

// Upstreams quote what they were sent, and the key is part of it. What enters from there is searched
// for the configured secrets, as they are and as JSON and URLs write them: the messages, codes and
// causes of errors (Clean), and the bodies that pass by as they are (Guard).

// known are the forms of all that is secret now.
func (c *Client) known() []string {
	if c.cfg.Signer == nil {
		return c.secrets
	}
	all := slices.Concat(c.secrets, redact.Forms(c.cfg.Signer.Secrets()))
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// Redact replaces secrets in a text.
func (c *Client) Redact(s string) string { return redact.Text(s, c.known()) }

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

// Guard redacts a body that passes by: see redact.Body.
func (c *Client) Guard(body io.ReadCloser) io.ReadCloser { return redact.Body(body, c.known()) }

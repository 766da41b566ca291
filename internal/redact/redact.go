// Package redact takes secrets out of what others say: whoever was sent one may quote it.
//
// Shape: secrets ─▶ Forms, longest first ─▶ Body(reader, forms) ─▶ the same bytes with Mark in place of each
//
// A secret is looked for as it is, and as JSON, URLs and PHP write it. One that comes back transformed in
// another way (hashed, cut, reversed) is not found.
//
// Units and limits: MinBytes; a Body holds back at most the longest form.
package redact

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// MinBytes is the shortest secret: shorter ones would garble every text, and are no secrets.
const MinBytes = 4

// bodyBuffer is how much of a body is read at once.
const bodyBuffer = 8 << 10

// Forms sorts the forms of secrets so that none hides in another, and drops what is none.
func Forms(secrets []string) []string {
	var forms []string
	for _, s := range secrets {
		if len(s) < MinBytes {
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

// Text replaces forms in a text.
func Text(s string, forms []string) string {
	for _, f := range forms {
		s = strings.ReplaceAll(s, f, Mark)
	}
	return s
}

// Body redacts a body that passes by. What may be the beginning of a secret is held back until the next
// read tells.
func Body(from io.ReadCloser, forms []string) io.ReadCloser {
	if len(forms) == 0 {
		return from
	}
	b := &body{ReadCloser: from, buf: make([]byte, bodyBuffer)}
	for _, f := range forms {
		b.secrets = append(b.secrets, []byte(f))
	}
	return b
}

// body is a body without secrets. It has one owner.
type body struct {
	io.ReadCloser
	secrets [][]byte // longest first
	buf     []byte
	held    []byte // may be the beginning of a secret
	ready   []byte
	err     error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for len(b.ready) == 0 && b.err == nil {
		var n int
		n, b.err = b.ReadCloser.Read(b.buf)
		text := append(b.held, b.buf[:n]...)
		for _, s := range b.secrets {
			if bytes.Contains(text, s) {
				text = bytes.ReplaceAll(text, s, []byte(Mark))
			}
		}
		keep := 0
		if b.err == nil {
			keep = b.beginning(text)
		}
		b.ready, b.held = text[:len(text)-keep], bytes.Clone(text[len(text)-keep:])
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, b.err
}

// beginning is how many bytes at the end of a text may begin a secret.
func (b *body) beginning(text []byte) int {
	longest := 0
	for _, s := range b.secrets {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if tail := text[len(text)-n:]; tail[0] == s[0] && bytes.HasPrefix(s, tail) {
				longest = n
			}
		}
	}
	return longest
}

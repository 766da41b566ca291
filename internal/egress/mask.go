package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// spelling is one form of a secret, and what stands in its place.
type spelling struct{ secret, placeholder string }

// forms are the spellings of a value: as it is, as JSON escapes it, percent-encoded, and in Base64.
func forms(value string) []string {
	list := []string{value, jsonPlain(value), url.QueryEscape(value), url.PathEscape(value)}
	if quoted, err := json.Marshal(value); err == nil {
		list = append(list, string(quoted[1:len(quoted)-1]))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			list = append(list, core(enc, value, shift))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// core is the part of the Base64 of any text with value in it that depends on value alone, where
// shift bytes stand before it modulo 3: so "user:secret" is found for every user.
func core(enc *base64.Encoding, value string, shift int) string {
	encoded := enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
	first := (shift*8 + 5) / 6
	last := (shift + len(value)) * 8 / 6
	return encoded[first:last]
}

// jsonPlain is how most other encoders write a string: "<", ">" and "&" stay.
func jsonPlain(value string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return value
	}
	quoted := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return string(quoted[1 : len(quoted)-1])
}

// maskText replaces secrets in a short text.
func maskText(text string, known []spelling) string {
	if len(known) == 0 {
		return text
	}
	var out bytes.Buffer
	m := &masker{w: &out, known: known}
	_, _ = m.Write([]byte(text)) // a buffer takes everything
	_ = m.Close()
	return out.String()
}

func maskHeader(h http.Header, known []spelling) {
	for name, values := range h {
		for i, v := range values {
			values[i] = maskText(v, known)
		}
		if clean := maskText(name, known); clean != name {
			delete(h, name)
		}
	}
}

// masker replaces secrets in a stream. It holds back only an end that could be the beginning of a
// secret, so that a stream of events flows.
type masker struct {
	w     io.Writer
	known []spelling
	live  func() []spelling // the list as it is now, asked for each piece; nil: known stays
	keep  bool              // the length: for streams whose framing is not ours (WebSocket)
	held  []byte
}

func (m *masker) Write(b []byte) (int, error) {
	if m.live != nil {
		m.known = m.live()
	}
	if len(m.known) == 0 && len(m.held) == 0 {
		return m.w.Write(b)
	}
	data := b
	if len(m.held) > 0 {
		data = append(m.held, b...)
	}
	done, rest := m.split(data, false)
	if len(done) > 0 {
		if _, err := m.w.Write(done); err != nil {
			return 0, err
		}
	}
	m.held = slices.Clone(rest)
	return len(b), nil
}

// Close writes what was held back.
func (m *masker) Close() error {
	if len(m.held) == 0 {
		return nil
	}
	done, _ := m.split(m.held, true)
	m.held = nil
	_, err := m.w.Write(done)
	return err
}

// split returns what can go, masked, and what must wait; at the end nothing waits.
func (m *masker) split(data []byte, end bool) (done, rest []byte) {
	start := 0 // of what is not in done yet
	for {
		i, s := m.find(data[start:])
		j := len(data)
		if !end {
			j = m.waiting(data, start)
		}
		if i < 0 || start+i >= j {
			// A longer secret may begin here or before, and its end has not come yet.
			return m.pass(data, done, start, j)
		}
		done = append(done, data[start:start+i]...)
		done = append(done, m.instead(s)...)
		start += i + len(s.secret)
	}
}

// pass ends a split: what was not copied needs no copy when nothing was masked.
func (m *masker) pass(data, done []byte, start, end int) (out, rest []byte) {
	if done == nil {
		return data[start:end], data[end:]
	}
	return append(done, data[start:end]...), data[end:]
}

// find returns the first secret, the longest of those at the same place.
func (m *masker) find(data []byte) (int, spelling) {
	at, found := -1, spelling{}
	for _, s := range m.known {
		if i := bytes.Index(data, []byte(s.secret)); i >= 0 && (at < 0 || i < at) {
			at, found = i, s
			data = data[:min(len(data), i+len(s.secret))]
		}
	}
	return at, found
}

// waiting is where an unfinished secret begins, at start or later; len(data) for none.
func (m *masker) waiting(data []byte, start int) int {
	at := len(data)
	for _, s := range m.known {
		first := max(start, len(data)-len(s.secret)+1)
		for i := first; i < at; i++ {
			j := bytes.IndexByte(data[i:at], s.secret[0])
			if j < 0 {
				break
			}
			if i += j; bytes.HasPrefix([]byte(s.secret), data[i:]) {
				at = i
			}
		}
	}
	return at
}

func (m *masker) instead(s spelling) []byte {
	if m.keep {
		return bytes.Repeat([]byte("*"), len(s.secret))
	}
	return []byte(s.placeholder)
}

package upstream

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/stead-dev/stead/internal/redact"
)

// What errors say is searched for secrets in more ways than bodies that pass by: an upstream may quote a header as it
// was sent (Basic, and so base64 of a user and the key), in the case that it likes, or with any of its characters
// escaped. Errors are short and rare, so that this may take its time.

// disguised is a text with its characters as they are when escapes are read and case is none.
type disguised struct {
	plain []byte // in lower case
	from  []int  // of each byte: where what stands for it begins in the text
	end   []int  // and where that ends
}

// undisguised reads %41 and \u0041 wherever they stand.
func undisguised(s string) disguised {
	var d disguised
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if code, ok := digits(s, i+1, 2); ok && c == '%' {
			c, n = byte(code), 3
		} else if strings.HasPrefix(s[i:], `\u`) {
			if code, ok := digits(s, i+2, 4); ok && code < 0x80 { // keys are ASCII
				c, n = byte(code), 6
			}
		}
		d.plain, d.from, d.end = append(d.plain, lower(c)), append(d.from, i), append(d.end, i+n)
		i += n
	}
	return d
}

func digits(s string, at, n int) (uint64, bool) {
	if at+n > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[at:at+n], 16, 16)
	return v, err == nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func lowered(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

// minDisguised is the length of the shortest secret that is looked for so: shorter ones (as "none", of servers that want
// some key) are words that errors have in other cases.
const minDisguised = 8

// minCore is the shortest part of base64 that tells a secret from other texts.
const minCore = 12

// cores are what base64 of any text with the secret in it has of it, at each of the three places where it may begin.
func cores(secret string) []string {
	var out []string
	for before := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all := enc.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
			first := (before*8 + 5) / 6            // its bits are not all of the secret
			last := (before + len(secret)) * 8 / 6 // nor are those behind
			if core := all[first:last]; len(core) >= minCore {
				out = append(out, lowered(core))
			}
		}
	}
	return out
}

// undisguise replaces secrets in a text however they are written. The word of base64 that one stands in goes whole.
func undisguise(s string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) < minDisguised {
			continue
		}
		s = hide(s, lowered(secret), false)
		for _, core := range cores(secret) {
			s = hide(s, core, true)
		}
	}
	return s
}

func hide(s, what string, word bool) string {
	d := undisguised(s)
	text, out, done := string(d.plain), "", 0
	for at := 0; ; {
		i := strings.Index(text[at:], what)
		if i < 0 {
			return out + s[done:]
		}
		from, to := at+i, at+i+len(what)
		for word && from > at && ofBase64(text[from-1]) {
			from--
		}
		for word && to < len(text) && ofBase64(text[to]) {
			to++
		}
		out += s[done:d.from[from]] + redact.Mark
		done, at = d.end[to-1], to
	}
}

func ofBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}

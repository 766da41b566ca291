package param

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
)

// MaxDepth is how deep a skimmed value may be nested; encoding/json has the same limit.
const MaxDepth = 10_000

// Skim reads a request body that is passed on, without reading through it: the members of its one
// object are found by passing over strings and matching brackets, at the speed of memory. What a getter
// is asked for is read as always, and what nobody asks for is for whoever the body is passed on to. A
// text that another reader could cut into other members is refused: brackets match, and outside of
// strings no byte stands that JSON does not have there.
func Skim(b []byte) (Object, error) {
	o := Object{fields: map[string]json.RawMessage{}}
	if !Members(b, func(key string, from, to int) { o.fields[key] = b[from:to:to] }) {
		if err := syntax(b); err != nil {
			return Object{}, err
		}
		return Object{}, stead.Invalid("", "the body must be a JSON object, not %s", kind(b))
	}
	return o, nil
}

// Members tells where the value of each member of the one object in b stands, in their order. It
// reports false for what is no object; see Skim for what it looks at.
func Members(b []byte, each func(key string, from, to int)) bool {
	at := skipSpace(b, 0)
	if byteAt(b, at) != '{' {
		return false
	}
	at = skipSpace(b, at+1)
	if byteAt(b, at) == '}' {
		return skipSpace(b, at+1) == len(b)
	}
	for {
		end := skipString(b, at)
		if end < 0 {
			return false
		}
		key, ok := Unquote(b[at:end])
		at = skipSpace(b, end)
		if !ok || byteAt(b, at) != ':' {
			return false
		}
		from := skipSpace(b, at+1)
		to := skipValue(b, from)
		if to < 0 {
			return false
		}
		each(key, from, to)
		at = skipSpace(b, to)
		switch byteAt(b, at) {
		case ',':
			at = skipSpace(b, at+1)
		case '}':
			return skipSpace(b, at+1) == len(b)
		default:
			return false
		}
	}
}

// byteAt is 0, which JSON does not have, behind the end.
func byteAt(b []byte, at int) byte {
	if at >= len(b) {
		return 0
	}
	return b[at]
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\n' || b[at] == '\r') {
		at++
	}
	return at
}

// skipString is where the string that begins at at ends; -1 if none does.
func skipString(b []byte, at int) int {
	if byteAt(b, at) != '"' {
		return -1
	}
	for begin := at + 1; ; {
		n := bytes.IndexByte(b[begin:], '"')
		if n < 0 {
			return -1
		}
		quote, slashes := begin+n, 0
		for i := quote - 1; i > at && b[i] == '\\'; i-- {
			slashes++
		}
		if begin = quote + 1; slashes%2 == 0 {
			return begin
		}
	}
}

// skipValue is where the value that begins at at ends; -1 if none does.
func skipValue(b []byte, at int) int {
	var open []byte // the brackets that are to come
	for at < len(b) {
		switch c := b[at]; c {
		case '"':
			if at = skipString(b, at); at < 0 {
				return -1
			}
		case '{', '[':
			if len(open) == MaxDepth {
				return -1
			}
			open = append(open, c+2) // in ASCII the closing one is two behind
			at++
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return -1
			}
			open = open[:len(open)-1]
			at++
		default:
			if len(open) > 0 && strings.IndexByte(" \t\r\n,:", c) >= 0 {
				at++
				continue
			}
			if !plain(c) {
				return -1
			}
			for at < len(b) && plain(b[at]) {
				at++
			}
		}
		if len(open) == 0 {
			return at
		}
	}
	return -1
}

// plain reports whether a byte may stand in a number or a word.
func plain(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == 'E' || c == '+' || c == '-' || c == '.'
}

// Mentions reports whether a word is in b, of which after begins with its rarest character. bytes.Contains would compare at
// every byte once it has met some of the word's first.
func Mentions(b []byte, before, after string) bool {
	for {
		i := bytes.IndexByte(b, after[0])
		if i < 0 {
			return false
		}
		if bytes.HasSuffix(b[:i], []byte(before)) && bytes.HasPrefix(b[i:], []byte(after)) {
			return true
		}
		b = b[i+1:] // no word begins before its own character and ends behind another's
	}
}

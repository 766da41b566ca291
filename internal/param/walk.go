package param

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// What Skim finds can be looked into further, in the same way: where it stands, at the speed of memory.

// Elements tells where each element of the array b stands, in their order. It reports false for what is no array; see Skim for
// what it looks at.
func Elements(b []byte, each func(from, to int)) bool {
	at := skipSpace(b, 0)
	if byteAt(b, at) != '[' {
		return false
	}
	at = skipSpace(b, at+1)
	if byteAt(b, at) == ']' {
		return skipSpace(b, at+1) == len(b)
	}
	for {
		to := skipValue(b, at)
		if to < 0 {
			return false
		}
		each(at, to)
		at = skipSpace(b, to)
		switch byteAt(b, at) {
		case ',':
			at = skipSpace(b, at+1)
		case ']':
			return skipSpace(b, at+1) == len(b)
		default:
			return false
		}
	}
}

// Texts tells where each text within a value stands, with its quotation marks: not the names of members, and not what is in
// members that pass names. It goes over the value once, however deep that is.
func Texts(b []byte, pass func(name string) bool, each func(from, to int)) {
	for at := 0; at < len(b); {
		if b[at] != '"' {
			at++
			continue
		}
		to := skipString(b, at)
		if to < 0 {
			return
		}
		colon := skipSpace(b, to)
		if byteAt(b, colon) != ':' {
			each(at, to)
			at = to
			continue
		}
		name, _ := Unquote(b[at:to])
		if at = skipSpace(b, colon+1); pass(name) {
			if at = skipValue(b, at); at < 0 {
				return
			}
		}
	}
}

// Unquote is what a text says that stands between quotation marks: as encoding/json has it, without going over it twice. It
// reports false where an escape is none of JSON.
func Unquote(quoted []byte) (string, bool) {
	rest := quoted[1 : len(quoted)-1]
	at := bytes.IndexByte(rest, '\\')
	if at < 0 {
		return string(rest), true
	}
	out := make([]byte, 0, len(rest))
	for ; at >= 0; at = bytes.IndexByte(rest, '\\') {
		out = append(out, rest[:at]...)
		n := 0
		if out, n = unescape(out, rest[at:]); n == 0 {
			return "", false
		}
		rest = rest[at+n:]
	}
	return string(append(out, rest...)), true
}

// escapes are what is written as a backslash and one other byte.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape puts behind out what the escape says that b begins with, and returns how long that is; 0: it is none.
func unescape(out, b []byte) ([]byte, int) {
	const short, long = len(`\n`), len(`\u0000`)
	if len(b) < short {
		return out, 0
	}
	if c := escapes[b[1]]; c != 0 {
		return append(out, c), short
	}
	r, ok := utf16Unit(b)
	if !ok {
		return out, 0
	}
	if next, ok := utf16Unit(b[long:]); ok {
		if both := utf16.DecodeRune(r, next); both != utf8.RuneError {
			return utf8.AppendRune(out, both), 2 * long
		}
	}
	return utf8.AppendRune(out, r), long // half a pair is RuneError, as encoding/json has it
}

// utf16Unit reads \u0000.
func utf16Unit(b []byte) (rune, bool) {
	const long = len(`\u0000`)
	if len(b) < long || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:long]), 16, 16)
	return rune(n), err == nil
}

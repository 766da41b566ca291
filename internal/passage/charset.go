package passage

import (
	"bytes"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"

	"github.com/stead-dev/stead"
)

// western is what texts without a word about their charset are in, where they are not UTF-8 and look like it: as browsers have it, ISO 8859-1
// is read as Windows-1252.
const western = "windows-1252"

// xmlEncoding is what the first line of XML says.
var xmlEncoding = regexp.MustCompile(`^<\?xml[^>]{0,200}?encoding=["']([A-Za-z0-9._-]{1,40})["']`)

// legacy reads what is no UTF-8: in the charset that a page names, else in Windows-1252 if it looks like that, and never if it could be UTF-8
// that is broken somewhere, or another charset.
func legacy(name string, data []byte) (text, set string, err error) {
	if e, set := declared(name, data); e != nil && set != "utf-8" {
		return decoded(name, data, e, set)
	}
	whole, at, broken := 0, -1, 0
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			if broken++; at < 0 {
				at = i
			}
		case n > 1:
			whole++
		}
		i += n
	}
	if whole > 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		e := stead.Errorf(stead.KindNotImplemented, "file %.80q is no text in UTF-8: %d bytes of it are not, the first in line %d, though others are", name, broken, line)
		e.Hint = "Save all of it as UTF-8."
		return "", "", e
	}
	if !looksWestern(data) {
		e := stead.Errorf(stead.KindNotImplemented, "file %.80q is no text in UTF-8, and does not say or show which charset it is in", name)
		e.Hint = "Save it as UTF-8."
		return "", "", e
	}
	return decoded(name, data, charmap.Windows1252, western)
}

// declared is the charset that HTML or XML says that it is in.
func declared(name string, data []byte) (encoding.Encoding, string) {
	const looksAt = 1024
	begin := data[:min(len(data), looksAt)]
	if m := xmlEncoding.FindSubmatch(begin); m != nil {
		return charset.Lookup(string(m[1]))
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm", ".xhtml":
	default:
		return nil, ""
	}
	e, set, _ := charset.DetermineEncoding(begin, "")
	if set == western && !bytes.Contains(bytes.ToLower(begin), []byte("charset")) {
		return nil, "" // that is what is taken where nothing is said
	}
	return e, set
}

func decoded(name string, data []byte, e encoding.Encoding, set string) (string, string, error) {
	out, err := io.ReadAll(io.LimitReader(e.NewDecoder().Reader(bytes.NewReader(data)), MaxBytes+1)) // what is longer is refused
	if err != nil || bytes.IndexByte(out, 0) >= 0 {
		return "", "", unread(name, "no text in "+set)
	}
	return strings.ToValidUTF8(string(out), "\ufffd"), set, nil
}

// looksWestern says whether bytes that are no UTF-8 are text of a western language: few of them are above ASCII, one or two in a row, and within
// words they are letters. That tells Cyrillic, Greek, Asian and most central European charsets apart, and what is no text.
func looksWestern(data []byte) bool {
	letters, high, odd := 0, 0, 0
	run := 0
	for i, c := range data {
		switch {
		case c < ' ' && !slices.Contains([]byte("\t\n\r\f\x1b"), c), c == 0x7f, slices.Contains([]byte("\x81\x8d\x8f\x90\x9d"), c):
			return false
		case c < utf8.RuneSelf:
			run = 0
			if letter(c) {
				letters++
			}
			continue
		}
		high++
		if run++; run > 3 {
			odd++
		}
		r := charmap.Windows1252.DecodeByte(c)
		within := i > 0 && i+1 < len(data) && letter(data[i-1]) && letter(data[i+1])
		if within && !unicode.IsLetter(r) && !strings.ContainsRune("’‘–—·°´\u00ad\u00a0", r) {
			odd++
		}
	}
	const few = 10 // one in so many
	return high*2 <= letters+few && odd*few <= high
}

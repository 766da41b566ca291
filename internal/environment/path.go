package environment

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

// uriPrefix begins a path that is written as a URI (RFC 8089). No path of a file begins so: those are
// absolute.
const uriPrefix = "file:///"

// WirePath is a path as JSON can hold it, which is UTF-8 alone: itself where it is that, else a URI of the
// scheme file, in which every byte but letters, digits, "-", ".", "_", "~" and "/" is percent-encoded.
// FromWire gives the path back, to the byte.
func WirePath(p string) string {
	if utf8.ValidString(p) {
		return p
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(uriPrefix, "/"))
	for _, c := range []byte(p) {
		if plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0; plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// FromWire reads what WirePath wrote; field is where it stands in the request. Any path may be written as
// such a URI.
func FromWire(field, s string) (string, error) {
	rest, ok := strings.CutPrefix(s, uriPrefix)
	if !ok {
		return s, nil
	}
	p, err := url.PathUnescape(rest)
	if err != nil {
		return "", stead.Invalid(field, "%s is no URI of a file: %s", field, err)
	}
	return "/" + p, nil
}

// FilePath checks where a file is to be: a path below WorkspaceDir, absolute or relative to it, as it is written
// in the request's field. It is about the text alone: links are the workspace's business.
func FilePath(field, wire string) (string, error) {
	p, err := FromWire(field, wire)
	if err != nil {
		return "", err
	}
	if p != "" && p[0] != '/' && !strings.HasPrefix(p, "file:") {
		p = WorkspaceDir + "/" + p
	}
	clean := path.Clean(p)
	switch {
	case len(p) > MaxPathBytes:
		return "", stead.Invalid(field, "%s is %d bytes long, the limit is %d", field, len(p), MaxPathBytes)
	case strings.Contains(p, "\x00"):
		return "", stead.Invalid(field, "%s holds a NUL", field)
	case !strings.HasPrefix(clean, WorkspaceDir+"/") || strings.HasSuffix(p, "/"):
		return "", stead.Invalid(field, "%s must name a file below %s, not %.200q", field, WorkspaceDir, p)
	}
	return clean, nil
}

package egress

import (
	"path"
	"strings"
)

// plainPath is how a request's path is decided about and recorded: /a/../%64iary, //diary and /diary are one place to most servers, and so
// a policy about one must be about all. As RFC 3986 (6.2.2) has it, escapes of what needs none are undone, the others are in capitals, and
// segments of dots are followed; several slashes are one. What is sent stays as it was written, since it may be signed.
func plainPath(p string) string {
	if !strings.HasPrefix(p, "/") {
		return p
	}
	if strings.IndexByte(p, '%') >= 0 {
		p = unescaped(p)
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	plain := path.Clean(p)
	if last := p[strings.LastIndexByte(p, '/')+1:]; plain != "/" && (last == "" || last == "." || last == "..") {
		plain += "/"
	}
	return plain
}

// unescaped undoes escapes of letters, digits and -._~ and writes the others in capitals.
func unescaped(p string) string {
	const hex, length = "0123456789ABCDEF", len("%41")
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '%' || i+length > len(p) {
			b.WriteByte(p[i])
			continue
		}
		code := strings.ToUpper(p[i+1 : i+length])
		high, low := strings.IndexByte(hex, code[0]), strings.IndexByte(hex, code[1])
		switch c := byte(high<<4 | low); {
		case high < 0 || low < 0:
			b.WriteByte(p[i])
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString("%" + code)
		}
		i += length - 1
	}
	return b.String()
}

package web

import (
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
)

// normal reads a URL as a page's: of several spellings one, so that neither scopes nor rules of access depend on them. It is none
// with a query (which may lead on for ever, and may hold a secret), with a user, or with what servers read differently.
func normal(raw string, base *url.URL) (*url.URL, bool) {
	if len(raw) > MaxURLBytes || strings.ContainsRune(raw, '\\') {
		return nil, false
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return nil, false
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery {
		return nil, false
	}
	if escaped := strings.ToLower(u.EscapedPath()); strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") {
		return nil, false
	}
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }
	p := cleaned(u.Path)
	if len(p) > source.MaxPathBytes || strings.ContainsFunc(p, bad) {
		return nil, false
	}
	return &url.URL{Scheme: u.Scheme, Host: hostOf(u), Path: p}, true
}

// hostOf is a URL's host in lower case, with its port where that is not the scheme's own.
func hostOf(u *url.URL) string {
	name, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port == "" || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return name
	}
	return name + ":" + port
}

// cleaned takes dots and empty parts out of a path; a slash at the end stays.
func cleaned(p string) string {
	out := path.Clean("/" + p)
	if out != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		out += "/"
	}
	return out
}

// scope is what lies below a start page.
type scope struct {
	secure     bool // https alone
	host       string
	page, tree string // the path of the start page, and what begins those below it
}

// scopes are those of a site; the first is that of its first start page, whose pages have paths without a host.
type scopes []scope

func scopesOf(urls []string) (scopes, error) {
	var out scopes
	for _, raw := range urls {
		u, ok := normal(raw, nil)
		if !ok {
			return nil, stead.Invalid("urls", "%.200q is no URL of a page", raw)
		}
		s := scope{secure: u.Scheme == "https", host: u.Host, page: u.Path, tree: u.Path}
		switch base := path.Base(u.Path); {
		case strings.HasSuffix(u.Path, "/"):
		case isFile(base): // /docs/index.html: what lies beside it
			s.tree = strings.TrimSuffix(u.Path, base)
		default:
			s.tree += "/"
		}
		out = append(out, s)
	}
	return out, nil
}

// isFile reports whether a name has an ending as files have: v1.2 has none.
func isFile(name string) bool {
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	return ext != "" && strings.Trim(ext, "abcdefghijklmnopqrstuvwxyz") == ""
}

// meets: whoever begins with http is led to https often; the other way round it is not gone.
func (s scope) meets(u *url.URL) bool {
	return s.host == u.Host && (u.Scheme == "https" || !s.secure)
}

// has reports whether a page may be asked for.
func (l scopes) has(u *url.URL) bool {
	for _, s := range l {
		if s.meets(u) && (u.Path == s.page || strings.HasPrefix(u.Path, s.tree)) {
			return true
		}
	}
	return false
}

// host reports whether it is a host of the site's, of which robots.txt and sitemaps may be asked for.
func (l scopes) host(u *url.URL) bool {
	for _, s := range l {
		if s.meets(u) {
			return true
		}
	}
	return false
}

// path is what a page is called within the source.
func (l scopes) path(u *url.URL) string {
	switch {
	case u.Host != l[0].host:
		return "//" + u.Host + u.Path
	case u.Path == "/":
		return "/"
	}
	return u.Path[1:]
}

package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/source"
)

// stamp is what is kept of a page that was read, beside what it says.
type stamp struct {
	Tag      string   `json:"e,omitempty"` // its ETag
	Modified string   `json:"m,omitempty"` // its Last-Modified, as it came
	Links    []string `json:"l,omitempty"` // pages, or what were none, that it led to first: each is of one page, so that all together are not many
}

// String is what is stored. Of a page that leads to too much nothing is: it is read each time.
func (s stamp) String() string {
	out, _ := json.Marshal(s) // of strings
	if len(out) > maxStampBytes {
		return source.NoStamp
	}
	return string(out)
}

// parseStamp reads one; what can't be read is none, so that the page is read.
func parseStamp(text string) (s stamp) {
	if json.Unmarshal([]byte(text), &s) != nil {
		return stamp{}
	}
	return s
}

// stampOf is that of an answer.
func stampOf(h http.Header, links []string) stamp {
	s := stamp{Links: links}
	if tag := h.Get("ETag"); isTag(tag) {
		s.Tag = tag
	}
	if m := h.Get("Last-Modified"); m != "" {
		if at, err := http.ParseTime(m); err == nil && at.Before(time.Now()) {
			s.Modified = m
		}
	}
	return s
}

// isTag reports whether an ETag is one that can be sent back.
func isTag(tag string) bool {
	quoted := strings.TrimPrefix(tag, "W/")
	return len(tag) <= maxTagBytes && len(quoted) > 1 && quoted[0] == '"' && strings.IndexByte(quoted[1:], '"') == len(quoted)-2 &&
		!strings.ContainsFunc(quoted, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// version is what a page's version is cited by, if its bytes have one; "": their digest.
func (s stamp) version() string {
	if s.Tag == "" || strings.HasPrefix(s.Tag, "W/") { // a weak one is of several bytes
		return ""
	}
	return "etag:" + strings.Trim(s.Tag, `"`)
}

// short is a link in the stamp of a page, which reads it as its own links.
func short(u, page *url.URL) string {
	if u.Scheme == page.Scheme && u.Host == page.Host {
		return u.EscapedPath()
	}
	return u.String()
}

// known is what is kept of a page.
func (c *crawl) known(u *url.URL) (stamp, bool) {
	o, ok := c.walk.Had(c.scopes.path(u))
	if !ok || o.Digest == "" {
		return stamp{}, false
	}
	return parseStamp(o.Stamp), true
}

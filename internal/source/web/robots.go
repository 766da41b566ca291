package web

import (
	"bytes"
	"net/url"
	"strings"
)

// robots are the rules of a robots.txt that are for us, and the sitemaps that it names. The zero robots allow everything.
type robots struct {
	rules    []rule
	sitemaps []string
	closed   string // why nobody knows the rules, so that nothing is allowed
}

// rule allows or forbids paths. Its parts stand between wildcards.
type rule struct {
	allow  bool
	length int
	parts  []string
	ends   bool // the last part is the end
}

// parseRobots reads a robots.txt: the groups that name us, together; if there is none, those for everybody. What is no rule is
// passed over; of a file that is too long the end does not count.
func parseRobots(data []byte) robots {
	if len(data) > maxRobotsBytes {
		data = data[:maxRobotsBytes]
		data = data[:bytes.LastIndexByte(data, '\n')+1]
	}
	var ours, all robots
	named, forUs, forAll, inRules := false, false, false, true
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\r"), []byte("\n"))
	for line := range bytes.Lines(data) {
		text, _, _ := strings.Cut(string(line), "#")
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "user-agent":
			if inRules { // another group begins
				forUs, forAll, inRules = false, false, false
			}
			name := strings.ToLower(value)
			if end := strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' && r != '_' }); end >= 0 && name != "*" {
				name = name[:end]
			}
			forUs, forAll = forUs || name == token, forAll || name == "*"
			named = named || name == token
		case "allow", "disallow":
			inRules = true
			if value == "" {
				continue
			}
			if forUs && len(ours.rules) < maxRobotsRules {
				ours.rules = append(ours.rules, parseRule(key == "allow", value))
			}
			if forAll && len(all.rules) < maxRobotsRules {
				all.rules = append(all.rules, parseRule(key == "allow", value))
			}
		case "sitemap":
			if len(all.sitemaps) < maxSitemaps {
				all.sitemaps = append(all.sitemaps, value)
			}
		}
	}
	if named {
		ours.sitemaps = all.sitemaps
		return ours
	}
	return all
}

func parseRule(allow bool, pattern string) rule {
	pattern, ends := strings.CutSuffix(spelled(pattern), "$")
	return rule{allow, len(pattern), strings.Split(pattern, "*"), ends}
}

// matches finds each part behind the one before, as early as can be: that takes time in proportion to the path's length.
func (r rule) matches(p string) bool {
	rest, ok := strings.CutPrefix(p, r.parts[0])
	if !ok {
		return false
	}
	if len(r.parts) == 1 {
		return !r.ends || rest == ""
	}
	last := len(r.parts) - 1
	for _, part := range r.parts[1:last] {
		_, behind, ok := strings.Cut(rest, part)
		if !ok {
			return false
		}
		rest = behind
	}
	if r.ends {
		return strings.HasSuffix(rest, r.parts[last])
	}
	return strings.Contains(rest, r.parts[last])
}

// allows reports whether a page may be asked for: the longest rule counts, and of two the one that allows.
func (r robots) allows(u *url.URL) bool {
	if r.closed != "" {
		return false
	}
	p := spelled(u.EscapedPath())
	best, allow := -1, true
	for _, rule := range r.rules {
		if (rule.length > best || rule.length == best && rule.allow) && rule.matches(p) {
			best, allow = rule.length, rule.allow
		}
	}
	return allow
}

// spelled writes a path in one way: what need not be escaped is not, everything else that is not ASCII is, in upper case.
func spelled(p string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		c := p[i]
		escaped := false
		if c == '%' && i+2 < len(p) {
			if high, low := strings.IndexByte(hex, upper(p[i+1])), strings.IndexByte(hex, upper(p[i+2])); high >= 0 && low >= 0 {
				c, escaped = byte(high<<4|low), true
				i += 2
			}
		}
		if c >= 0x80 || escaped && !unreserved(c) {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

package token

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/stead-dev/stead"
)

// claims are what a token says, read once: a name that stands in it twice is refused, since two readers could
// take it for two things.
type claims map[string]json.RawMessage

func claimsOf(payload []byte) (claims, error) {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, refused("the token's claims are no JSON object")
	}
	c := claims{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, refused("the token's claims can't be read")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, refused("the token's claims can't be read")
		}
		if _, twice := c[name.(string)]; twice { // the names of an object are strings
			return nil, refused("the token says a claim twice")
		}
		c[name.(string)] = v
	}
	return c, nil
}

// at is a claim by its name, or by a path of names with dots.
func (c claims) at(path string) (json.RawMessage, bool) {
	if v, ok := c[path]; ok { // names like https://acme.example/groups have dots too
		return v, true
	}
	head, tail, deeper := strings.Cut(path, ".")
	v, ok := c[head]
	if !ok || !deeper {
		return nil, false
	}
	var inner claims
	if json.Unmarshal(v, &inner) != nil {
		return nil, false
	}
	return inner.at(tail)
}

// string is a claim that is one; "" for any other.
func (c claims) string(name string) string {
	var s string
	_ = json.Unmarshal(c[name], &s) // then it is ""
	return s
}

// strings are those of a claim that is one or a list of them.
func (c claims) strings(path string) ([]string, error) {
	v, ok := c.at(path)
	if !ok {
		return nil, nil
	}
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}, nil
	}
	var list []string
	if json.Unmarshal(v, &list) != nil {
		return nil, refused("the token's claim %.80q is neither a string nor a list of strings", path)
	}
	return list, nil
}

// time is a claim in Unix seconds, which RFC 7519 lets have fractions.
func (c claims) time(name string) (t time.Time, has bool, err error) {
	v, ok := c[name]
	if !ok {
		return t, false, nil
	}
	const latest = 1 << 40 // some 35,000 years: what is above is a mistake, and no time.Time
	var n float64
	if json.Unmarshal(v, &n) != nil || math.IsNaN(n) || n < 0 || n > latest || string(v) == "null" {
		return t, false, refused("the token's claim %q is no time", name)
	}
	return time.UnixMilli(int64(n * 1000)), true, nil
}

// principal is whom the claims stand for.
func (i *trusted) principal(c claims, project stead.ProjectID) (stead.Principal, error) {
	sub := c.string("sub")
	if sub == "" || len(sub) > MaxSubjectBytes || strings.ContainsFunc(sub, unicode.IsControl) {
		return stead.Principal{}, refused("the token's sub must be 1 to %d bytes of text", MaxSubjectBytes)
	}
	p := stead.Principal{ID: i.Prefix + sub}
	rule, err := i.rule(c)
	if err != nil {
		return p, err
	}
	p.Kind, p.Role, p.Bound = rule.Kind, rule.Role, rule.Bound
	p.Project, err = i.project(c, project)
	return p, err
}

// rule is the first one that fits.
func (i *trusted) rule(c claims) (Rule, error) {
	for _, r := range i.Rules {
		if r.Claim == "" {
			return r, nil
		}
		has, err := c.strings(r.Claim)
		if err == nil && slices.Contains(has, r.Value) { // what is no list of strings is not that value
			return r, nil
		}
	}
	e := stead.Errorf(stead.KindForbidden, "the token is valid, and gives no role on this server")
	e.Hint = "The rules are in the configuration, below auth.issuers; the claims that they name must be in the token."
	return Rule{}, e
}

// project is where the token counts: the issuer's, or one of those that it names itself.
func (i *trusted) project(c claims, asked stead.ProjectID) (stead.ProjectID, error) {
	mine := []string{string(i.Project)}
	if i.ProjectClaim != "" {
		var err error
		if mine, err = c.strings(i.ProjectClaim); err != nil {
			return "", err
		}
	}
	mine = slices.DeleteFunc(mine, func(p string) bool { return !usable(p) })
	switch {
	case asked != "" && slices.Contains(mine, string(asked)):
		return asked, nil
	case asked != "":
		return "", stead.Errorf(stead.KindForbidden, "the token does not count in the project that the request names")
	case len(mine) == 1:
		return stead.ProjectID(mine[0]), nil
	case len(mine) == 0:
		return "", stead.Errorf(stead.KindForbidden, "the token is valid, and names no project of this server")
	}
	e := stead.Errorf(stead.KindForbidden, "the token counts in %d projects, and the request names none", len(mine))
	e.Hint = "Send the one that is meant in the header OpenAI-Project."
	return "", e
}

// maxProjectBytes bounds a project's name out of a token.
const maxProjectBytes = 128

// usable reports whether a claim's value can be a project: those with a colon are the server's own.
func usable(p string) bool {
	return p != "" && len(p) <= maxProjectBytes && !strings.ContainsFunc(p, func(r rune) bool { return r == ':' || unicode.IsControl(r) || unicode.IsSpace(r) })
}

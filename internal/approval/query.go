package approval

import (
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sensitive"
)

// pinned is what may be seen of what a request pins, and the SHA-256 of it where that may not be all: of the query of a request out
// of an environment, in which there may be a key or a signature.
func pinned(req policy.Request) (shown, exact string) {
	if req.Pinned == "" || req.Connection == nil {
		return req.Pinned, ""
	}
	return shownQuery(req.Pinned), hash([]byte(req.Pinned))
}

// shownQuery masks the values of a query that are named, or have the form, as secrets are. What is no query is left.
func shownQuery(text string) string {
	rest, ok := strings.CutPrefix(text, "?")
	if !ok {
		return text
	}
	var b strings.Builder
	b.WriteByte('?')
	for rest != "" {
		pair, end := rest, len(rest)
		if at := strings.IndexAny(rest, "&;"); at >= 0 {
			pair, end = rest[:at], at+1
		}
		b.WriteString(shownPair(pair))
		b.WriteString(rest[len(pair):end])
		rest = rest[end:]
	}
	return b.String()
}

func shownPair(pair string) string {
	name, value, named := strings.Cut(pair, "=")
	switch {
	case !hides(pair, maxNested):
		return pair
	case named && value != "" && !hides(name, maxNested):
		return name + "=" + masked
	}
	return masked
}

// maxNested is how often what stands in a query is decoded: a URL in a URL in a URL.
const maxNested = 3

// hides reports whether a part of a query has a secret in it, also in an address within.
func hides(part string, nested int) bool {
	plain, err := url.QueryUnescape(part)
	if err != nil {
		plain = part
	}
	if len(sensitive.FindSecrets(plain)) > 0 {
		return true
	}
	for pair := range strings.FieldsFuncSeq(plain, func(r rune) bool { return strings.ContainsRune("?&;#", r) }) {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" && signs(name) {
			return true
		}
	}
	return nested > 0 && plain != part && hides(plain, nested-1)
}

// signs reports whether a value of a query is named as secrets, or what stands for one, are: keys and signatures, of signed addresses too.
func signs(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "", "[", "", "]", "", " ", "").Replace(name))
	for _, part := range []string{"signature", "credential", "accesskey", "passphrase", "passcode"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return secretive(name) || slices.Contains([]string{"key", "sig", "sign", "hmac", "auth", "jwt", "code", "otp", "pin", "pwd", "pass", "pw", "sid", "session", "sessionid", "bearer"}, name)
}

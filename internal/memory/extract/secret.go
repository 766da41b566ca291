package extract

import (
	"math"
	"regexp"
	"strings"
	"sync"
)

// What looks like a secret is not remembered. Secrets of vaults do not come here at all (package redact); these
// are those that people and tools write into a conversation.

// masked stands where a secret was.
const masked = "[secret]"

// Secret reports whether a text holds what looks like one.
func Secret(text string) bool {
	_, found := Mask(text)
	return found
}

// Mask takes what looks like secrets out of a text, and reports whether there was any.
func Mask(text string) (string, bool) {
	found := false
	for _, p := range secrets() {
		text = p.ReplaceAllStringFunc(text, func(s string) string { found = true; return masked })
	}
	out := longWord().ReplaceAllStringFunc(text, func(w string) string {
		if !random(w) {
			return w
		}
		found = true
		return masked
	})
	out = digits().ReplaceAllStringFunc(out, func(d string) string {
		if !card(d) {
			return d
		}
		found = true
		return masked
	})
	return out, found
}

// secrets are the forms that providers give their keys, and the words that people put in front of theirs.
var secrets = sync.OnceValue(func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range []string{
		`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)`,
		`\b(sk|pk|rk)[-_](live|test|proj|ant|or|svcacct)?[-_]?[A-Za-z0-9_-]{16,}`,
		`\b(AKIA|ASIA)[A-Z0-9]{16}\b`, `\bgh[pousr]_[A-Za-z0-9]{20,}`, `\bgithub_pat_[A-Za-z0-9_]{20,}`, `\bglpat-[A-Za-z0-9_-]{16,}`,
		`\bxox[abprs]-[A-Za-z0-9-]{10,}`, `\bAIza[A-Za-z0-9_-]{30,}`, `\bhf_[A-Za-z0-9]{20,}`, `\bnpm_[A-Za-z0-9]{30,}`,
		`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`,
		`(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]+:[^\s/@]+@`,
		`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{16,}`,
		`(?i)\b(password|passwd|passphrase|passcode|pin|secret|api[ _-]?key|access[ _-]?token|auth[ _-]?token|client[ _-]?secret|private[ _-]?key|credentials?)\b(\s+(for|of|to|on|at)\s+[^\s:=]+(\s+[^\s:=]+){0,3}?)?\s*(is|was|=|:|->|are)\s*["'` + "`" + `]?[^\s"'` + "`" + `]{2,}[^\s"'` + "`" + `.,;!?]`,
		`(?i)\bpassword of \S+`,
	} {
		out = append(out, regexp.MustCompile(p))
	}
	return out
})

var (
	longWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z0-9_+/=-]{24,}`) })
	digits   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b\d(?:[ -]?\d){12,18}\b`) })
)

// random reports whether a long word is none of a language: it has digits and both cases, and its letters are
// spread as chance spreads them. Ids of the runtime are none: they have one case.
func random(w string) bool {
	const minEntropy = 3.8 // bits a character: words of languages joined by dashes stay below
	if strings.HasPrefix(w, "http") || !strings.ContainsAny(w, "0123456789") || w == strings.ToLower(w) || w == strings.ToUpper(w) {
		return false
	}
	counts := map[rune]int{}
	for _, r := range w {
		counts[r]++
	}
	bits := 0.0
	for _, n := range counts {
		p := float64(n) / float64(len(w))
		bits -= p * math.Log2(p)
	}
	return bits >= minEntropy
}

// card reports whether digits pass the check of payment cards (ISO/IEC 7812, Luhn's).
func card(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		d := int(s[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return sum%10 == 0
}

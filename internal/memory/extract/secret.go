package extract

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead/internal/sensitive"
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
	all := sensitive.Find(text, sensitiveKinds())
	found := len(all) > 0
	text = sensitive.Replace(text, all, func(string) string { return masked })
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
	return out, found
}

// sensitiveKinds are what has a form of its own: keys of those that give them out, and numbers of cards.
var sensitiveKinds = sync.OnceValue(func() []sensitive.Kind {
	return append(sensitive.Secrets(), slices.DeleteFunc(sensitive.Personal(), func(k sensitive.Kind) bool { return k.Name != sensitive.CreditCard && k.Name != sensitive.IBAN })...)
})

// secrets are what has less of one: what begins like a key, of whatever length, and the words that people put in front
// of theirs. To remember one word less does no harm, so that these are taken more widely than guardrails do.
var secrets = sync.OnceValue(func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range []string{
		`\b(sk|pk|rk)[-_](live|test|proj|ant|or|svcacct)?[-_]?[A-Za-z0-9_-]{16,}`,
		`\b(gh[a-z]_|github_pat_|glpat-|hf_|npm_|AIza|xox[a-z]-|AKIA|ASIA|eyJ)[A-Za-z0-9._-]{12,}`,
		`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{16,}`,
		`(?i)\b(password|passwd|passphrase|passcode|pin|secret|api[ _-]?key|access[ _-]?token|auth[ _-]?token|client[ _-]?secret|private[ _-]?key|credentials?)\b(\s+(for|of|to|on|at)\s+[^\s:=]+(\s+[^\s:=]+){0,3}?)?\s*(is|was|=|:|->|are)\s*["'` + "`" + `]?[^\s"'` + "`" + `]{2,}[^\s"'` + "`" + `.,;!?]`,
		`(?i)\bpassword of \S+`,
	} {
		out = append(out, regexp.MustCompile(p))
	}
	return out
})

var longWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z0-9_+/=-]{24,}`) })

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

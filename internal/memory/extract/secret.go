package extract

import (
	"maps"
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
	found, lower := false, strings.ToLower(text)
	for _, p := range secrets() { // first: what people say of a password is longer than the value behind its name
		if p.possible(lower) {
			text = p.without(text, &found)
		}
	}
	text = maskSaid(text, &found)
	take := func(all []sensitive.Found) {
		found = found || len(all) > 0
		text = sensitive.Replace(text, all, func(string) string { return masked })
	}
	take(sensitive.Apart(append(sensitive.FindSecrets(text), sensitive.Find(text, numbers())...)))
	take(randomWords(text))
	return text, found
}

// without takes what a pattern finds out of a text, and says that it did. What is none is looked at again from behind its value on.
func (s *secret) without(text string, found *bool) string {
	var out strings.Builder
	kept, at, value := 0, 0, s.SubexpIndex("value")
	for at <= len(text) {
		m := s.FindStringSubmatchIndex(text[at:])
		if m == nil {
			break
		}
		end := at + m[1]
		if value > 0 {
			v := text[at+m[2*value] : at+m[2*value+1]]
			if v == "" || strings.Contains(v, masked) || !s.judge(v, text[at+m[2*value+1]:]) {
				at += max(m[2*value+1], 1)
				continue
			}
		}
		const before = 3 // the end of the first group, which stays
		out.WriteString(text[kept:at+m[before]] + masked)
		kept, at, *found = end, end, true
		if m[1] == 0 {
			break
		}
	}
	return out.String() + text[kept:]
}

// numbers are those of cards and accounts, which have a form of their own as secrets do.
var numbers = sync.OnceValue(func() []sensitive.Kind {
	return slices.DeleteFunc(sensitive.Personal(), func(k sensitive.Kind) bool { return k.Name != sensitive.CreditCard && k.Name != sensitive.IBAN })
})

// secrets are what has less of one: what begins like a key, of whatever length, and the words that people put in front
// of theirs. To remember one word less does no harm, so that these are taken more widely than guardrails do. Of each what its first group has stays.
var secrets = sync.OnceValue(func() []secret {
	out := []secret{
		secretOf(`()\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct)?[-_]?[A-Za-z0-9_-]{16,}`, "sk-", "sk_", "pk-", "pk_", "rk-", "rk_"),
		secretOf(`()\b(?:gh[a-z]_|github_pat_|glpat-|hf_|npm_|AIza|xox[a-z]-|AKIA|ASIA|eyJ)[A-Za-z0-9._-]{12,}`, keyHints()...),
		secretOf(`(?i)()\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{16,}`, "bearer", "basic"),
		secretOf(`(?i)()\b(?:pin|secret|api[ _-]?key|access[ _-]?token|auth[ _-]?token|client[ _-]?secret|private[ _-]?key|credentials?)\b(?:\s+(?:for|of|to|on|at)\s+[^\s:=]+(?:\s+[^\s:=]+){0,3}?)?\s*(?:is|was|=|:|->|are)\s*["'`+"`"+`]?(?P<value>[^\s"'`+"`"+`]{2,}[^\s"'`+"`"+`.,;!?])`, "pin", "secret", "key", "token", "credential"),
		secretOf(`(?i)()\b(?:door|gate|entry|access|alarm|safe|lock|locker|security|garage|building|house|key ?box|keypad|elevator|wi-?fi|vault|launch|unlock|disarm|bike|cabinet|suitcase|apartment|office|front|back|phone|card|sim)(?:'s)?\s+(?:code|combination|pin)\b`+whose+codeIs+withDigit, "code", "combination", "pin"),
		secretOf(`(?i)()\b(?:code|combination|pin)\s+(?:for|of|to|at)\s+(?:\pL+\s+){0,3}(?:door|gate|entry|alarm|safe|lock|locker|garage|building|house|key ?box|keypad|vault|launch|bike|cabinet|suitcase)\b`+whose+codeIs+withDigit, "code", "combination", "pin"),
		secretOf(`(?i)(^|[^\pL\pN])(?:türcode|zugangscode|alarmcode|code d'entrée|código de (?:la puerta|acceso|acesso)|codice (?:della porta|di accesso)|kod do drzwi|deurcode|toegangscode|codul de acces|код (?:двери|домофона|доступа)|kapı kodu)`+whose+codeIs+withDigit, "code", "código", "codice", "kod", "codul", "код"),
	}
	all := passwords()
	for _, words := range slices.Sorted(maps.Keys(all)) {
		out = append(out, secretOf(`(?i)(^|[^\pL\pN])(?:`+words+`)`+whose+aside+saysIt(all[words])+value+sentence, hintsOf(words)...))
	}
	return out
})

// secret is a pattern, and what of small letters a text must have so that it is worth trying: patterns are slow. No hints: it always is.
type secret struct {
	*regexp.Regexp
	hints []string
	judge judge // of patterns with a group "value"
	odd   bool  // the value has one of oddOnes
}

func secretOf(pattern string, hints ...string) secret {
	return secret{Regexp: regexp.MustCompile(pattern), hints: hints, judge: concrete}
}

func (s *secret) possible(lower string) bool {
	return len(s.hints) == 0 || slices.ContainsFunc(s.hints, func(h string) bool { return strings.Contains(lower, h) })
}

// keyHints are how keys begin, in small letters.
func keyHints() []string {
	out := []string{"github_pat_", "glpat-", "hf_", "npm_", "aiza", "xox", "akia", "asia", "eyj"}
	for c := 'a'; c <= 'z'; c++ {
		out = append(out, "gh"+string(c)+"_")
	}
	return out
}

// hintsOf are how the words of a pattern of alternatives begin.
func hintsOf(words string) []string {
	out := strings.Split(words, "|")
	for i, w := range out {
		if end := strings.IndexAny(w, " ?([ "); end > 0 {
			w = w[:end-1]
		}
		out[i] = w
	}
	return out
}

// passwords is the word for one in the languages that most people of Europe speak, and how they say what it is.
func passwords() map[string]string {
	return map[string]string{
		`passwords?|passwd|passphrase|pass ?code|pwd|pswd|pw`: `is|was|are|è|era`, // Italian has no other word
		`passwort|kennwort`:          `ist|lautet|war|heißt`,
		`mots? de passe`:             `est|était`,
		`contraseña|clave de acceso`: `es|era`,
		`senha|palavra-passe`:        `é|era`,
		`parola d'ordine`:            `è|era`,
		`hasło`:                      `to|jest|brzmi`,
		`wachtwoord`:                 `is|was|luidt`,
		`parol[aăe]`:                 `este|e|era`,
		`пароль|паролем`:             `это|является|был|це|є|був`,
		`şifre(?:m|miz|si)?|parolam`: `şudur|şöyle`,
		`lösenord(?:et)?`:            `är|var`,
		`heslo`:                      `je|bylo`,
		`jelszó|jelszavam`:           `ez`,
		`κωδικός πρόσβασης|συνθηματικό`: `είναι`,
	}
}

// saysIt is what stands between the word for a secret and the secret: a sign, or a verb between blanks.
func saysIt(verbs string) string {
	return `(?:\s*(?:=|:|->|→|—|–)\s*|\s+-\s+|\s+(?:` + verbs + `)\s+(?:now\s+|jetzt\s+)?)`
}

// How a sentence goes on behind the word for a secret.
const (
	// whose: "for the bank", "von Anna".
	whose = `(?:\s+[^\s:=.,;!?]+){0,4}?`
	// aside is what is said between commas: ", by the way,".
	aside = `(?:\s*,[^,.;!?\n]{1,40},)?`
	// codeIs is saysIt of numbers, whose form says what they are.
	codeIs = `(?:\s*(?:=|:|->|→|—|–)\s*|\s+-\s+|\s+(?:is|ist|lautet|est|es|è|é|jest|to|luidt|este|это)\s+(?:now\s+|jetzt\s+)?)`
	// value is the first word of a secret, in its own group.
	value = `["'` + "`" + `„“«]?(?P<value>[^\s"'` + "`" + `]*[^\s"'` + "`" + `.,;!?])`
	// sentence is the rest of it: a secret may be words. A dot within it ends none.
	sentence  = `(?:[^.;!?\n]|[.!?][^\s])*`
	withDigit = `[^\s\pN]{0,8}\pN[\pN\pL#*-]{1,15}(?:[ -]\pN[\pN#*-]{0,7}){0,3}`
)

// randomWords finds the long words that chance wrote.
func randomWords(text string) (out []sensitive.Found) {
	const long = 24
	from := 0
	for at := 0; at <= len(text); at++ {
		if at < len(text) && ofKey(text[at]) {
			continue
		}
		if at-from >= long && random(text[from:at]) {
			out = append(out, sensitive.Found{Span: sensitive.Span{From: from, To: at}})
		}
		from = at + 1
	}
	return out
}

// ofKey reports whether a byte may be of a key.
func ofKey(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '+' || c == '/' || c == '=' || c == '-'
}

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

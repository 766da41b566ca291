package extract

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// The rules by which a candidate is refused. Each is tried on examples in rules_test.go.

const (
	// minWords is how many words a memory has at least, and minLetters how many letters.
	minWords   = 3
	minLetters = 10
)

// check says why a candidate is refused; "": it is not.
func (a Ask) check(f Found) string {
	switch {
	case !slices.Contains(a.Kinds, f.Kind):
		return "not a kind that was asked for"
	case len(f.Items) == 0 || !a.cites(f.Items):
		return "cites no message of the conversation"
	case f.Kind != "episode" && strings.Contains(f.Subject+f.Text, masked): // a summary may say that there was one
		return whyMasked
	case f.Supersedes != "" && !a.AnyKnown && !slices.ContainsFunc(a.Known, func(k Known) bool { return k.ID == f.Supersedes }):
		return "supersedes what is not known"
	}
	if Secret(f.Subject) {
		return whySecret
	}
	return Check(f.Text)
}

const (
	whySecret = "holds a secret"
	whyMasked = "is about a secret, which is masked"
)

func (a Ask) cites(items []string) bool {
	return !slices.ContainsFunc(items, func(id string) bool {
		return !slices.ContainsFunc(a.Messages, func(m Message) bool { return m.Item == id })
	})
}

// Check says why a text is not worth remembering, or must not be; "": neither.
func Check(text string) string {
	words, letters := len(strings.Fields(text)), 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	p := patterns()
	switch {
	case len(text) > MaxTextBytes:
		return "too long"
	case words < minWords || letters < minLetters:
		return "says too little"
	case Secret(text):
		return whySecret
	case strings.HasSuffix(text, "?"):
		return "a question"
	case ordersAgent(text):
		return "an instruction to an agent"
	case p.smallTalk.MatchString(text):
		return "small talk"
	case p.ofItself.MatchString(text):
		return "about the assistant itself"
	case p.unsure.MatchString(text):
		return "says that nothing is known"
	case p.passing.MatchString(text):
		return "only true for a moment"
	}
	return ""
}

// rules are the patterns of Check.
type rules struct {
	smallTalk, ofItself, unsure, passing *regexp.Regexp
}

var patterns = sync.OnceValue(func() rules {
	of := func(alternatives ...string) *regexp.Regexp {
		return regexp.MustCompile(`(?i)(` + strings.Join(alternatives, "|") + `)`)
	}
	return rules{
		smallTalk: of(
			`^(the )?(user|assistant|agent)( has)? (said|says|says? |greeted|greets|thanked|thanks|wished|asked how)\b.{0,20}(hello|hi|hey|thanks|thank you|goodbye|bye|good (morning|evening|night)|well|are you)?\.?$`,
			`^(the )?(user|assistant) (greeted|greets|thanked|thanks|said (hello|hi|thanks|goodbye))\b`,
			`^(hello|hi|hey|thanks|thank you|ok|okay|sure|great|good (morning|evening|night))\b.{0,20}$`,
		),
		ofItself: of(`\bas an ai\b`, `\bi am an? (ai|language model|assistant)`, `^the (assistant|ai|agent|model) (is|was|can|cannot|can't|will|offers?|offered|tries|tried) (helpful|able|happy|ready|unable|to help|help|not|an)\b`),
		unsure: of(`^(i |the assistant |the user )?(don't|do not|doesn't|does not|didn't) (know|remember|have any|say|mention|specify)`,
			`^(nothing|no (information|facts?|preferences?|memor))\b.{0,40}\b(was|were|is|are|to|worth|given|mentioned|stated|found|provided)\b`, `\b(unknown|not specified|not mentioned|unclear)\.?$`),
		passing: of(`\bright now\b`, `\bat (the|this) moment\b`, `^(the )?user is (currently )?(waiting|typing|asking|testing|talking|chatting|writing)\b`),
	}
})

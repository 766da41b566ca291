package extract

import (
	"regexp"
	"strings"
	"sync"
)

// An order to an agent is no memory, however it came into a conversation. A rule of people is one, also where it speaks of approvals, of a
// model that is a machine, and of an assistant who is a person.

// order is a pattern of orders, and what makes a rule of people of it; nil: nothing does.
type order struct {
	of, unless *regexp.Regexp // unless ends where of begins, or is all that is found
}

var orders = sync.OnceValue(func() []order {
	o := func(of, unless string) order {
		out := order{of: regexp.MustCompile(`(?i)` + of)}
		if unless != "" {
			out.unless = regexp.MustCompile(`(?i)` + unless)
		}
		return out
	}
	// not is a negation, in the same part of a sentence as what it denies.
	const not = `\b(?:never|not|cannot|nobody|no|nothing|\pL+n['’]t)\b`
	return []order{
		o(`\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|polic|guardrail|previous|above)`,
			`\b(?:never|not|cannot|\pL+n['’]t)\s+$|\b(?:\pL+s|manager|supervisor|owner|director|customer|operator|law|contract) (?:can|may|could|must not) $`),
		o(`\b(?:without|skip|skips|skipping|bypass)\b.{0,20}\bapproval`, not+`(?:\s+[\pL\pN%€$-]+){0,6}\s+$`),
		o(`\bno need for\b.{0,20}\bapproval`, ``),
		o(`\bsystem prompt\b`, ``), o(`\bdeveloper mode\b`, ``), o(`\bjailbreak`, ``),
		o(`\byou (?:must|should|shall|are to|will) (?:now |always |never )`, ``),
		o(`\bfrom now on,? (?:you|the (?:assistant|agent|model))\b`, ``),
		o(`(?:^|[^\pL\s]\s*|\b(?:the|this|an|any|every|each|your|ai|that|all|and|so|then)\s+)(?:assistant|agent|ai)s? (?:must|shall|is (?:allowed|required|authori[sz]ed) to|may now)\b`, ``),
		o(`(?:^|[^\pL\s]\s*|\b(?:the|this|any|every|your|ai|language|that|all|and|so|then)\s+)model (?:must|shall|is (?:allowed|required|authori[sz]ed) to|may now)\b(?: be \pL+ed\b)?`, `(?:must|shall) be \pL+ed$`),
		o(`\b(?:do not|don['’]t|never) (?:tell|inform|ask|mention).{0,30}\b(?:user|human|operator|anyone)s?\b(?:'s)?(?: for (?:their |his |her |the |an? )?(?:password|pin|card|code|credential|bank)\pL*)?`, `ask.* for (?:\pL+ )?(?:password|pin|card|code|credential|bank)\pL*$`),
	}
})

// ordersAgent reports whether a text tells an agent what to do.
func ordersAgent(text string) bool {
	for _, o := range orders() {
		for at := 0; at < len(text); {
			m := o.of.FindStringIndex(text[at:])
			if m == nil {
				break
			}
			from, to := at+m[0], at+m[1]
			if o.unless == nil || !o.unless.MatchString(text[from:to]) && !denied(o.unless, text[:from]) {
				return true
			}
			at = from + 1 // another may begin within it
			for at < len(text) && text[at] != ' ' {
				at++
			}
		}
	}
	return false
}

// denied reports whether what stands before an order makes none of it: up to a comma, or a word that begins something else.
func denied(unless *regexp.Regexp, before string) bool {
	last := unless.FindString(before)
	return last != "" && !elsewhere().MatchString(strings.ToLower(last))
}

var elsewhere = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\b(?:and|but|or|so|then|just|please|you|assistants?|agents?|models?|ai|need|matter|longer|mind|wait|hesitate)\b`)
})

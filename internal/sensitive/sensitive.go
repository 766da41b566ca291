// Package sensitive finds in texts what should not be there: personal data, and secrets, by the forms that they have.
//
// Shape: text ─▶ Find(text, kinds) ─▶ []Found, each a Span of bytes with the name of its kind ─▶ Replace
//
// Units and limits: places are bytes. It takes time in proportion to the text. What has no form (names, addresses,
// passwords that are words) is not found, and what looks like one is found also where it is none.
//
// Errors: none. Everything is pure, and safe for concurrent use.
package sensitive

import (
	"cmp"
	"slices"
	"strings"
)

// Span is a place in a text: the bytes From to To.
type Span struct{ From, To int }

// Kind is a kind of thing that is found by its form.
type Kind struct {
	Name string
	Find func(text string) []Span // none within another
}

// Found is a place where there is something of a kind.
type Found struct {
	Span
	Kind string
}

// Find looks for everything of some kinds.
func Find(text string, kinds []Kind) []Found {
	var all []Found
	for _, k := range kinds {
		for _, s := range k.Find(text) {
			all = append(all, Found{s, k.Name})
		}
	}
	return Apart(all)
}

// Apart is what was found without what overlaps: of two the earlier, and of those the longer, counts, so that each
// byte is of one thing. It may change all.
func Apart(all []Found) []Found {
	if len(all) < 2 {
		return all
	}
	slices.SortStableFunc(all, inOrder)
	end := 0
	return slices.DeleteFunc(all, func(f Found) bool {
		if f.From < end {
			return true
		}
		end = f.To
		return false
	})
}

// inOrder has the earlier first, and of those the longer.
func inOrder(a, b Found) int { return cmp.Or(a.From-b.From, b.To-a.To) }

// Replace is a text with marks in the places of what was found, as Find and Apart order them.
func Replace(text string, all []Found, mark func(kind string) string) string {
	if len(all) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, f := range all {
		b.WriteString(text[at:f.From])
		b.WriteString(mark(f.Kind))
		at = f.To
	}
	b.WriteString(text[at:])
	return b.String()
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// wordly reports whether a byte is of a word of ASCII: others may stand next to a number, as in languages without spaces.
func wordly(c byte) bool { return digit(c) || letter(c) || c == '_' }

// apart reports whether neither neighbour of a span belongs to the same word.
func apart(text string, s Span) bool {
	return (s.From == 0 || !wordly(text[s.From-1])) && (s.To == len(text) || !wordly(text[s.To]))
}

package guardrail

import (
	"slices"
	"strings"
)

// span is a place in a text: bytes from to to.
type span struct{ from, to int }

// kind is a kind of thing that is found by its form.
type kind struct {
	name string
	find func(text string) []span // none within another
}

// Kinds are the names of the kinds of personal data.
func Kinds() []string {
	var out []string
	for _, k := range piiKinds() {
		out = append(out, k.name)
	}
	return out
}

// mark stands where a thing was.
func mark(kind string) string { return "[redacted " + kind + "]" }

// found is a span of a kind.
type found struct {
	span
	kind string
}

// find looks for everything that a rule finds by its place. Of two that overlap the earlier, and of those the longer,
// counts: each byte is of one thing.
func (c *rule) find(text string) []found {
	var all []found
	for _, k := range c.kinds {
		for _, s := range k.find(text) {
			all = append(all, found{s, k.name})
		}
	}
	for _, p := range c.patterns {
		for _, s := range p.FindAllStringIndex(text, -1) {
			if s[1] > s[0] {
				all = append(all, found{span{s[0], s[1]}, "pattern"})
			}
		}
	}
	if len(all) < 2 {
		return all
	}
	slices.SortStableFunc(all, func(a, b found) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	end := 0
	return slices.DeleteFunc(all, func(f found) bool {
		if f.from < end {
			return true
		}
		end = f.to
		return false
	})
}

// replaced is a text with marks in place of what was found.
func replaced(text string, all []found) string {
	if len(all) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, f := range all {
		b.WriteString(text[at:f.from])
		b.WriteString(mark(f.kind))
		at = f.to
	}
	b.WriteString(text[at:])
	return b.String()
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// wordly reports whether a byte is of a word of ASCII: others may stand next to a number, as in languages without spaces.
func wordly(c byte) bool { return digit(c) || letter(c) || c == '_' }

// apart reports whether neither neighbour of a span belongs to the same word.
func apart(text string, s span) bool {
	return (s.from == 0 || !wordly(text[s.from-1])) && (s.to == len(text) || !wordly(text[s.to]))
}

package recall

import (
	"slices"
	"strings"
	"unicode"
)

// shape is what kind of text an entry is.
type shape struct {
	asks      float32 // share of it that is questions
	addresses float32 // share of it that tells somebody else about themselves: statements that say "you" and not "I"
	self      bool    // a statement in it says "I": it speaks of its author
	timed     bool    // it says when something was or will be
}

// sentence is one in the making.
type sentence struct {
	letters  int
	text     bool // more than space
	i, you   bool // it has such a word
	wordFrom int  // where the word under way begins; -1: none is
}

func (a *analyzer) shape(text string) shape {
	var out shape
	total, questions, addressed := 0, 0, 0
	s := sentence{wordFrom: -1}
	end := func(question bool) {
		total += s.letters
		switch {
		case question:
			questions += s.letters
		case s.i:
			out.self = true
		case s.you:
			addressed += s.letters
		}
		s = sentence{wordFrom: -1}
	}
	for at, r := range text {
		s.letters++
		switch {
		case unicode.IsLetter(r):
			s.text = true
			if s.wordFrom < 0 {
				s.wordFrom = at
			}
			continue
		case s.wordFrom >= 0:
			s.word(text[s.wordFrom:at])
		}
		switch r {
		case '.', '!', '?':
			if s.text {
				end(r == '?')
			}
		case ' ', '\n':
		default:
			s.text = true
		}
	}
	if s.wordFrom >= 0 {
		s.word(text[s.wordFrom:])
	}
	if end(false); total > 0 {
		out.asks, out.addresses = float32(questions)/float32(total), float32(addressed)/float32(total)
	}
	text = strings.ToLower(text)
	out.timed = slices.ContainsFunc(a.times, func(w string) bool { return strings.Contains(text, w) })
	return out
}

// word hears a word of the sentence: does it mean who speaks, or who is spoken to?
func (s *sentence) word(w string) {
	s.wordFrom = -1
	if w == "US" || len(w) > len("yourselves") {
		return // a country, or no pronoun
	}
	switch strings.ToLower(w) {
	case "i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves":
		s.i = true
	case "you", "your", "yours", "yourself", "yourselves":
		s.you = true
	}
}

// tells is how much an entry counts for what it tells.
func (w *weights) tells(s shape) float32 {
	return 1 - float32(w.asks)*s.asks - float32(w.addresses)*s.addresses
}

// ofAuthor is how much more an entry counts for a query about its author. "I" in it means them: what it says, it says of them. Of what
// tells somebody else about themselves ("you must be proud of it") nothing is about its author.
func (w *weights) ofAuthor(s shape) float32 {
	if s.self {
		return float32(w.ofSelf)
	}
	return float32(w.byAuthor) * (1 - s.addresses)
}

// timeWords are parts of texts that say when; "_" is a space.
const timeWords = `yesterday today tonight tomorrow _ago last_ next_ this_week this_month weekend monday tuesday wednesday
thursday friday saturday sunday january february march_ april june july august september october november december
recently just_ few_days week month year since`

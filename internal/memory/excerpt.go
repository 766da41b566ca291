package memory

import (
	"math"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/memory/recall"
)

const (
	// minExcerpt is the least of a long text that is worth showing, in bytes.
	minExcerpt = 400
	// bytesPerToken is how tokens are estimated.
	bytesPerToken = 4
	// hitShare and aroundShare are which part of what is left of a budget one text that is longer than that may take: a half, a quarter.
	hitShare    = 2
	aroundShare = 4
	// minNews is the shortest word, in bytes, for which another part of what was shown in part is shown.
	minNews = 4
)

// room is what is left of a budget of tokens.
type room struct {
	query  string // whose words are looked for in what is too long
	left   int
	whole  bool // there is no budget: nothing is cut
	missed int  // entries that had no room
}

// Part is a part of an entry: bytes of its text with its caption.
type Part struct{ From, To int }

// Whole is the part that is all of an entry.
var Whole = Part{0, math.MaxInt}

// take brings an entry into the room that there is. Of one that is longer than that, the part around the words of the query is kept, of a
// share of what is left; what is not worth showing then is left out and counted. Of one of which parts were shown, what has none of the
// query's words that they lack is left out: it is known.
func (r *room) take(e *Entry, share int, shown []Part) (part Part, ok bool) {
	if r.whole && len(shown) == 0 {
		return Whole, true
	}
	text := strings.TrimSpace(e.Text + " " + e.Caption)
	at := -1
	if len(shown) > 0 {
		if at = news(text, r.query, shown); at < 0 {
			return Part{}, false
		}
	}
	n := e.Tokens()
	if part = Whole; n > r.left && !r.whole {
		most := r.left/share*bytesPerToken - len(e.Source.Author) - len(cutMark)*2
		if most < minExcerpt {
			r.missed++
			return Part{}, false
		}
		if at < 0 {
			at = place(text, r.query)
		}
		e.Text, part = excerpt(text, at, most)
		e.Caption = ""
		n = e.Tokens()
	}
	r.left -= n
	return part, true
}

// cutMark stands where something was cut off.
const cutMark = "…"

// excerpt is the part of a text around a place, of at most some bytes besides its marks.
func excerpt(text string, at, most int) (string, Part) {
	if len(text) <= most {
		return text, Whole
	}
	from := max(0, min(at-most/2, len(text)-most))
	out := strings.TrimSpace(strings.ToValidUTF8(text[from:from+most], ""))
	if from > 0 {
		out = cutMark + " " + out
	}
	if from+most < len(text) {
		out += " " + cutMark
	}
	return out, Part{from, from + most}
}

// place is where the longest word of a query that a text has stands in it; 0: it has none.
func place(text, query string) int {
	words := strings.Fields(strings.ToLower(query))
	longestFirst(words)
	low := strings.ToLower(text)
	for _, w := range words {
		if w = strings.Trim(w, ".,;:!?\"'()"); w == "" {
			continue
		}
		if i := strings.Index(low, w); i >= 0 {
			return i
		}
	}
	return 0
}

// news is where the longest word of a query stands that a text has and that the parts of it lack which were shown; -1: there is none.
func news(text, query string, shown []Part) int {
	var known []string
	for _, p := range shown {
		if from, to := max(p.From, 0), min(p.To, len(text)); from < to {
			known = append(known, strings.ToLower(text[from:to]))
		}
	}
	words := recall.Words(query)
	longestFirst(words)
	low := strings.ToLower(text)
	for _, w := range words {
		if len(w) < minNews || slices.ContainsFunc(known, func(k string) bool { return strings.Contains(k, w) }) {
			continue
		}
		if i := strings.Index(low, w); i >= 0 {
			return i
		}
	}
	return -1
}

func longestFirst(words []string) {
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
}

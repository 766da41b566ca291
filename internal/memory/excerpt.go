package memory

import (
	"slices"
	"strings"
)

const (
	// minExcerpt is the least of a long text that is worth showing, in bytes.
	minExcerpt = 400
	// bytesPerToken is how tokens are estimated.
	bytesPerToken = 4
	// hitShare and aroundShare are which part of what is left of a budget one text that is longer than that may take: a half, a quarter.
	hitShare    = 2
	aroundShare = 4
)

// room is what is left of a budget of tokens.
type room struct {
	query  string // whose words are looked for in what is too long
	left   int
	whole  bool // there is no budget: nothing is cut
	missed int  // entries that had no room
}

// take brings an entry into the room that there is. Of one that is longer than that, the part around the words of the query is kept, of a
// share of what is left; what is not worth showing then is left out and counted.
func (r *room) take(e *Entry, share int) (excerpt, ok bool) {
	if r.whole {
		return false, true
	}
	n := e.Tokens()
	if n > r.left {
		most := r.left/share*bytesPerToken - len(e.Source.Author) - len(cutMark)*2
		if most < minExcerpt {
			r.missed++
			return false, false
		}
		e.Text, excerpt = Excerpt(strings.TrimSpace(e.Text+" "+e.Caption), r.query, most)
		e.Caption = ""
		n = e.Tokens()
	}
	r.left -= n
	return excerpt, true
}

// cutMark stands where something was cut off.
const cutMark = "…"

// Excerpt is the part of a text around the longest word of a query that it has, of at most some bytes besides its marks, and whether anything was cut off.
func Excerpt(text, query string, most int) (string, bool) {
	if len(text) <= most {
		return text, false
	}
	words := strings.Fields(strings.ToLower(query))
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	low, at := strings.ToLower(text), 0
	for _, w := range words {
		if w = strings.Trim(w, ".,;:!?\"'()"); w == "" {
			continue
		}
		if i := strings.Index(low, w); i >= 0 {
			at = i
			break
		}
	}
	from := max(0, min(at-most/2, len(text)-most))
	out := strings.TrimSpace(strings.ToValidUTF8(text[from:from+most], ""))
	if from > 0 {
		out = cutMark + " " + out
	}
	if from+most < len(text) {
		out += " " + cutMark
	}
	return out, true
}

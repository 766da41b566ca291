package recall

import (
	"slices"
	"strings"
)

// shape says what kind of text an entry is: which share of it is questions, and whether it says when
// something was or will be.
func (a *analyzer) shape(text string) (asks float32, timed bool) {
	total, questions, sentence := 0, 0, 0
	blank := true // the sentence has nothing but space so far
	for _, r := range text {
		sentence++
		switch r {
		case '.', '!', '?':
			if !blank {
				total += sentence
				if r == '?' {
					questions += sentence
				}
				sentence = 0
			}
			blank = true
		case ' ', '\n':
		default:
			blank = false
		}
	}
	if total += sentence; total > 0 {
		asks = float32(questions) / float32(total)
	}
	text = strings.ToLower(text)
	return asks, slices.ContainsFunc(a.times, func(w string) bool { return strings.Contains(text, w) })
}

// timeWords are parts of texts that say when; "_" is a space.
const timeWords = `yesterday today tonight tomorrow _ago last_ next_ this_week this_month weekend monday tuesday wednesday
thursday friday saturday sunday january february march_ april june july august september october november december
recently just_ few_days week month year since`

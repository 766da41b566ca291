package recall

import "strings"

// shape says what kind of text an entry is: which share of it is questions, and whether it says when
// something was or will be.
func shape(text string) (asks float32, timed bool) {
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
	for w := range strings.FieldsSeq(timeWords) {
		if strings.Contains(text, strings.ReplaceAll(w, "_", " ")) {
			return asks, true
		}
	}
	return asks, false
}

// timeWords are parts of texts that say when; "_" is a space.
const timeWords = `yesterday today tonight tomorrow _ago last_ next_ this_week this_month weekend monday tuesday wednesday
thursday friday saturday sunday january february march_ april june july august september october november december
recently just_ few_days week month year since`

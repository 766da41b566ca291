package recall

import "strings"

// stem reduces an English word in lower case to what its forms have in common: "painted",
// "paintings" and "paint" become "paint". It is the algorithm of M. F. Porter ("An algorithm for
// suffix stripping", Program 14(3), 1980), step by step as in that paper. Words with anything but
// a–z in them, and words shorter than three letters, come back as they are.
func stem(word string) string {
	if len(word) < 3 {
		return word
	}
	for i := range len(word) {
		if word[i] < 'a' || word[i] > 'z' {
			return word
		}
	}
	w := stemPlural(word)
	w = stemPast(w)
	if strings.HasSuffix(w, "y") && hasVowel(w[:len(w)-1]) {
		w = w[:len(w)-1] + "i"
	}
	second, third := step2(), step3()
	w = replaceSuffix(w, second[:])
	w = replaceSuffix(w, third[:])
	w = dropSuffix(w)
	if strings.HasSuffix(w, "e") {
		base := w[:len(w)-1]
		if m := measure(base); m > 1 || m == 1 && !endsShort(base) {
			w = base
		}
	}
	if strings.HasSuffix(w, "ll") && measure(w[:len(w)-1]) > 1 {
		w = w[:len(w)-1]
	}
	return w
}

// stemPlural is step 1a.
func stemPlural(w string) string {
	switch {
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "ies"):
		return w[:len(w)-2]
	case strings.HasSuffix(w, "ss"):
		return w
	case strings.HasSuffix(w, "s"):
		return w[:len(w)-1]
	}
	return w
}

// stemPast is step 1b.
func stemPast(w string) string {
	if strings.HasSuffix(w, "eed") {
		if measure(w[:len(w)-3]) > 0 {
			return w[:len(w)-1]
		}
		return w
	}
	base, ok := strings.CutSuffix(w, "ed")
	if !ok {
		base, ok = strings.CutSuffix(w, "ing")
	}
	if !ok || !hasVowel(base) {
		return w
	}
	switch {
	case strings.HasSuffix(base, "at"), strings.HasSuffix(base, "bl"), strings.HasSuffix(base, "iz"):
		return base + "e"
	case endsDouble(base) && !strings.ContainsAny(base[len(base)-1:], "lsz"):
		return base[:len(base)-1]
	case measure(base) == 1 && endsShort(base):
		return base + "e"
	}
	return base
}

// suffix is a rule: an ending, and what takes its place.
type suffix struct{ old, new string }

func step2() [20]suffix {
	return [...]suffix{{"ational", "ate"}, {"ization", "ize"}, {"iveness", "ive"}, {"fulness", "ful"}, {"ousness", "ous"},
		{"tional", "tion"}, {"biliti", "ble"}, {"entli", "ent"}, {"ousli", "ous"}, {"ation", "ate"}, {"alism", "al"},
		{"aliti", "al"}, {"iviti", "ive"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"}, {"abli", "able"},
		{"alli", "al"}, {"ator", "ate"}, {"eli", "e"}}
}

func step3() [7]suffix {
	return [...]suffix{{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ness", ""}, {"ful", ""}}
}

// replaceSuffix applies the first rule whose ending fits, if the rest has a consonant after a vowel.
func replaceSuffix(w string, rules []suffix) string {
	for _, r := range rules {
		if base, ok := strings.CutSuffix(w, r.old); ok {
			if measure(base) > 0 {
				return base + r.new
			}
			return w
		}
	}
	return w
}

// dropSuffix is step 4.
func dropSuffix(w string) string {
	for _, s := range []string{"ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion", "al", "er", "ic", "ou"} {
		base, ok := strings.CutSuffix(w, s)
		if !ok {
			continue
		}
		if measure(base) > 1 && (s != "ion" || strings.HasSuffix(base, "s") || strings.HasSuffix(base, "t")) {
			return base
		}
		return w
	}
	return w
}

// measure counts the groups of consonants that follow vowels: the paper's m.
func measure(w string) int {
	n, vowelBefore := 0, false
	for i := range len(w) {
		v := isVowel(w, i)
		if vowelBefore && !v {
			n++
		}
		vowelBefore = v
	}
	return n
}

func isVowel(w string, i int) bool {
	switch w[i] {
	case 'a', 'e', 'i', 'o', 'u':
		return true
	case 'y':
		return i > 0 && !isVowel(w, i-1)
	}
	return false
}

func hasVowel(w string) bool {
	for i := range len(w) {
		if isVowel(w, i) {
			return true
		}
	}
	return false
}

func endsDouble(w string) bool {
	n := len(w)
	return n > 1 && w[n-1] == w[n-2] && !isVowel(w, n-1)
}

// endsShort reports consonant, vowel, consonant at the end, the last one not w, x or y.
func endsShort(w string) bool {
	n := len(w)
	return n > 2 && !isVowel(w, n-3) && isVowel(w, n-2) && !isVowel(w, n-1) && !strings.ContainsAny(w[n-1:], "wxy")
}

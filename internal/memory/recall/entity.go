package recall

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An entity has several names. Two kinds are known without a model: initials ("International Business Machines", "IBM"), by
// which an entry is found as if it had them written, and what an entry says is another name of something ("Robert Smith, also
// known as Bob"), which is looked for beside the first.

const (
	// minInitials and maxInitials bound how many letters initials have: two are those of many people and of many words.
	minInitials, maxInitials = 3, 6
	// maxNames is of how many names of a text other forms are known.
	maxNames = 64
	// maxAliases is for how many words of other names a query looks.
	maxAliases = 16
)

// saidSo are the words between two names of one thing, longest first.
var saidSo = []string{
	"is also known as", "also known as", "is also called", "also called", "better known as", "formerly known as", "is known as", "known as",
	"is short for", "short for", "stands for", "nicknamed", "is nicknamed", "goes by", "formerly", "aka", "a.k.a.",
}

// smallInNames are the words that names have within, and no capital.
var smallInNames = []string{"of", "and", "the", "for", "de", "du", "la", "van", "von", "der", "&"}

// alias is another name that an entry gives to something: both as terms that the entry itself has.
type alias struct {
	entry    int32
	from, to []int32
}

// name is a run of words with capitals, and of small ones between them.
type name struct {
	words    []string // as written
	from, to int      // where it stands in the text, in bytes
	first    bool     // a sentence begins with it
}

// names are the names in a text. A word that a sentence begins with may be one.
func names(text string) []name {
	var out []name
	var run name
	var small []string // since the last word with a capital
	end := func() {
		for len(run.words) > 0 && english().stop[strings.ToLower(run.words[0])] {
			run.words, run.first = run.words[1:], false
		}
		if len(run.words) > 0 && len(out) < maxNames {
			out = append(out, run)
		}
		run, small = name{}, nil
	}
	last, first := 0, true // where the word before ended; whether a sentence begins
	for from, to := nextWord(text, 0); from < to; from, to = nextWord(text, to) {
		gap := text[last:from]
		if gap != " " && gap != "-" && gap != "" {
			end()
		}
		first = first || strings.ContainsAny(gap, ".!?:\n")
		part := text[from:to]
		switch r, _ := utf8.DecodeRuneInString(part); {
		case unicode.IsUpper(r):
			if len(run.words) == 0 {
				run.from, run.first = from, first
			}
			run.words, run.to = append(append(run.words, small...), part), to
			small = nil
		case len(run.words) > 0 && len(small) < 2 && slices.Contains(smallInNames, part):
			small = append(small, part)
		default:
			end()
		}
		last, first = to, false
	}
	end()
	return out
}

// nextWord is the next word of a text from a place on, or two equal numbers where there is none.
func nextWord(text string, at int) (from, to int) {
	inWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '&' }
	from = strings.IndexFunc(text[at:], inWord)
	if from < 0 {
		return len(text), len(text)
	}
	from += at
	if to = strings.IndexFunc(text[from:], func(r rune) bool { return !inWord(r) }); to < 0 {
		return from, len(text)
	}
	return from, from + to
}

// initials are the short forms of a name, in lower case: with the small words in it and without, and without the word that its
// sentence begins with, which may be none of the name.
func (n *name) initials() []string {
	if !slices.ContainsFunc(n.words, func(w string) bool { return strings.ToUpper(w) != w }) {
		return nil // of what is shouted
	}
	var out []string
	add := func(words []string, small bool) {
		var b strings.Builder
		letters := 0
		for _, w := range words {
			if r, _ := utf8.DecodeRuneInString(w); unicode.IsUpper(r) || small && unicode.IsLetter(r) {
				b.WriteRune(unicode.ToLower(r))
				letters++
			}
		}
		if letters >= minInitials && letters <= maxInitials && !slices.Contains(out, b.String()) {
			out = append(out, b.String())
		}
	}
	add(n.words, false)
	add(n.words, true)
	if n.first && len(n.words) > minInitials {
		add(n.words[1:], false)
	}
	return out
}

// initialsIn are those of all names of a text, each once.
func initialsIn(all []name) []string {
	var out []string
	for i := range all {
		for _, s := range all[i].initials() {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// sameAs are the pairs of names of which a text says that they are one thing's.
func sameAs(text string, all []name) [][2]name {
	var out [][2]name
	for i := 0; i+1 < len(all); i++ {
		between := strings.Trim(strings.ToLower(text[all[i].to:all[i+1].from]), " ,(\"'“”‘’\t")
		if slices.Contains(saidSo, between) {
			out = append(out, [2]name{all[i], all[i+1]})
		}
	}
	return out
}

// learn keeps the other names that an entry gives, under both.
func (x *Index[T]) learn(n int32, text string, all []name) {
	for _, pair := range sameAs(text, all) {
		a, b := x.termsOf(pair[0]), x.termsOf(pair[1])
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		for _, one := range []alias{{n, a, b}, {n, b, a}} {
			x.aliases[one.from[0]] = append(x.aliases[one.from[0]], one)
		}
	}
}

// unlearn forgets what an entry said of names. Its words must still be there.
func (x *Index[T]) unlearn(n int32) {
	if len(x.aliases) == 0 {
		return
	}
	for _, c := range x.entries[n].words {
		kept := slices.DeleteFunc(x.aliases[c.term], func(a alias) bool { return a.entry == n })
		if x.aliases[c.term] = kept; len(kept) == 0 {
			delete(x.aliases, c.term)
		}
	}
}

// termsOf are the words of a name, which its entry has.
func (x *Index[T]) termsOf(n name) []int32 {
	var out []int32
	for _, w := range x.analyzer.words(strings.Join(n.words, " ")) {
		if t, ok := x.byText[w.stem]; ok && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// otherNames are words by which an entry may have what a query names, with how much they count: those of other names that an entry
// which is seen gives to it, and the initials of names that the query has, each for all the words that it stands for. had are the words of
// the query itself.
func (x *Index[T]) otherNames(text string, had map[int32]bool, e *eyes[T]) []wanted {
	var out []wanted
	add := func(t int32, weight float64) {
		if !had[t] && len(out) < maxAliases && !slices.ContainsFunc(out, func(w wanted) bool { return w.term == t }) {
			out = append(out, wanted{t, weight, x.analyzer.tellsOf(x.terms[t].text, x.Len(), len(x.terms[t].postings))})
		}
	}
	for _, s := range initialsIn(names(text)) {
		if t, ok := x.byText[x.analyzer.base(s)]; ok && e.has(t) {
			add(t, x.weights.alias*float64(len(s)))
		}
	}
	if len(x.aliases) == 0 {
		return out
	}
	for _, t := range slices.Sorted(maps.Keys(had)) {
		for _, a := range x.aliases[t] {
			if !e.sees(a.entry) || slices.ContainsFunc(a.from, func(t int32) bool { return !had[t] }) {
				continue
			}
			for _, t := range a.to {
				add(t, x.weights.alias)
			}
		}
	}
	return out
}

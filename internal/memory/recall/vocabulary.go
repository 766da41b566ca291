package recall

import (
	"cmp"
	"slices"
	"strings"
)

// vocabulary is the words that entries have, each with its postings.
type vocabulary struct {
	byText  map[string]int32
	terms   []term
	unused  []int32           // terms that no entry has any more
	pairs   map[pair][]int32  // terms by the pairs of letters in them
	authors map[int32]int     // terms that are names of authors, with how many entries each wrote
	aliases map[int32][]alias // by the first term of the name that is known already
}

type term struct {
	text     string
	postings []posting // ascending by entry
	gramSize int32     // how many pairs of letters it has
	number   bool      // there are digits in it
}

// pair is two letters that follow each other; the beginning and the end of a word count as one.
type pair [2]rune

func newVocabulary() vocabulary {
	return vocabulary{byText: map[string]int32{}, pairs: map[pair][]int32{}, authors: map[int32]int{}, aliases: map[int32][]alias{}}
}

// term gives the number of a word, which is new if need be.
func (v *vocabulary) term(text string) int32 {
	if t, ok := v.byText[text]; ok {
		return t
	}
	text = strings.Clone(text) // a word must not keep a whole text in memory
	all := pairsOf(text)
	made := term{text: text, gramSize: int32(len(all)), number: strings.ContainsAny(text, "0123456789")}
	t := int32(len(v.terms))
	if k := len(v.unused); k > 0 {
		t = v.unused[k-1]
		v.unused = v.unused[:k-1]
		v.terms[t] = made
	} else {
		v.terms = append(v.terms, made)
	}
	v.byText[text] = t
	for _, p := range all {
		v.pairs[p] = append(v.pairs[p], t)
	}
	return t
}

// drop forgets a word that no entry has any more: what was forgotten leaves no trace here either.
func (v *vocabulary) drop(t int32) {
	if len(v.terms[t].postings) > 0 || v.authors[t] > 0 {
		return
	}
	for _, p := range pairsOf(v.terms[t].text) {
		list := v.pairs[p]
		if at := slices.Index(list, t); at >= 0 {
			v.pairs[p] = slices.Delete(list, at, at+1)
		}
		if len(v.pairs[p]) == 0 {
			delete(v.pairs, p)
		}
	}
	delete(v.byText, v.terms[t].text)
	v.terms[t] = term{}
	v.unused = append(v.unused, t)
}

func (t *term) add(p posting) {
	if k := len(t.postings); k == 0 || t.postings[k-1].entry < p.entry {
		t.postings = append(t.postings, p)
		return
	}
	at, _ := t.find(p.entry)
	t.postings = slices.Insert(t.postings, at, p)
}

func (t *term) remove(entry int32) {
	if at, ok := t.find(entry); ok {
		t.postings = slices.Delete(t.postings, at, at+1)
	}
}

func (t *term) find(entry int32) (int, bool) {
	return slices.BinarySearchFunc(t.postings, entry, func(p posting, e int32) int { return cmp.Compare(p.entry, e) })
}

// like finds the words that look most like one that no entry has, as misspelt names do, with their
// likeness: the share of common pairs of letters (Dice's coefficient), or that of a word within another, as
// compounds have (Versicherung, Krankenversicherungskarte). has says which words are there for whoever asks.
func (v *vocabulary) like(text string, has func(int32) bool) []wanted {
	if len(text) < minFuzzyLetters || strings.ContainsAny(text, "0123456789") {
		return nil // another number is another thing
	}
	all := pairsOf(text)
	common := make([]uint8, len(v.terms)) // a word has at most maxFuzzyBytes + 1 pairs
	var met []int32
	for _, p := range all {
		for _, t := range v.pairs[p] {
			if common[t] == 0 {
				met = append(met, t)
			}
			common[t]++
		}
	}
	var out []wanted
	for _, t := range met {
		other := &v.terms[t]
		likeness := 2 * float64(common[t]) / float64(len(all)+int(other.gramSize))
		if less := min(len(all), int(other.gramSize)); likeness < minLikeness && less >= minInside && int(common[t]) >= less-2 && within(text, other.text) { // its edges are no common pairs
			likeness = minLikeness
		}
		if likeness >= minLikeness && has(t) {
			out = append(out, wanted{term: t, weight: likeness})
		}
	}
	slices.SortFunc(out, func(a, b wanted) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(v.terms[a.term].text, v.terms[b.term].text))
	})
	return out[:min(maxLike, len(out))]
}

// within reports whether one of two words is a part of the other.
func within(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) }

// pairsOf returns the different pairs of letters of a word; none of a very long one.
func pairsOf(text string) []pair {
	if len(text) > maxFuzzyBytes {
		return nil
	}
	const edge = 0
	out := make([]pair, 0, len(text)+1)
	last := rune(edge)
	add := func(r rune) {
		if p := (pair{last, r}); !slices.Contains(out, p) {
			out = append(out, p)
		}
		last = r
	}
	for _, r := range text {
		add(r)
	}
	add(edge)
	return out
}

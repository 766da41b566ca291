package recall

import (
	"cmp"
	"slices"
	"strings"
)

// How well an entry fits a message, to judge whether it is worth being shown unasked. What a message has beside what it is about (that
// somebody says please, what they have done and want done) must not count against an entry: so it is not compared with all words
// of the message, but with those that tell most of what the store knows at all. Nor must one word of fifty that an entry has by chance do.

const (
	// smallStore is as how many entries a store counts at least when it is asked how rare a word is: what all of a few entries are
	// about is no common word for that.
	smallStore = 200
	// fewWords are the words of a message that an entry is compared with at least, those that tell most; of a long one 1 in wordsShare.
	fewWords   = 4
	wordsShare = 3
	// plainly is how much a word tells that any message has, whatever it is about.
	plainly = 0.05
	// shortShare is how much more the share of a score, by words or by vectors, counts than others: no entry has the most that it could have.
	shortShare = 1.8
	// enough is how much the words of a short message must tell, of what a word does that one entry alone has.
	enough = 0.25
	// misspelt is how alike a word is that was plainly meant.
	misspelt = 0.75
)

// fit is how well an entry fits by its words, 0 … 1: how much those tell, by the share that this is of what the message's best words do, or of
// what the entry says; or, of a short message, by the share of its score in what all words of the message could score.
func (x *Index[T]) fit(n int32, q *question, share float64, e *eyes[T]) float64 {
	own, all := 0.0, 0.0
	for _, t := range q.terms {
		if t.tells == 0 {
			continue
		}
		if _, ok := x.terms[t.term].find(n); ok {
			own += t.tells
			all += t.tells
			continue
		}
		all += t.tells * min(1, x.besides(t.term, n, e))
	}
	if all == 0 {
		return 0
	}
	rare := idf(max(smallStore, x.Len()), 1)
	much := all / rare
	return max(min(1, much)*min(1, max(all/q.known, own/rare/max(1, float64(x.places[n].length)))), min(1, much/enough)*min(1, shortShare*share))
}

// besides is how much of a word stands before an entry in its conversation, as spread counts it: an answer rarely repeats what it answers.
func (x *Index[T]) besides(t, n int32, e *eyes[T]) float64 {
	if x.authors[t] > 0 {
		return 0
	}
	w, sum := &x.weights, 0.0
	for _, share := range []float64{w.before1, w.before2} {
		if n = x.places[n].prev; n == none {
			break
		}
		if _, ok := x.terms[t].find(n); ok && e.sees(n) {
			sum += share * (1 + w.asked*float64(x.places[n].asks))
		}
	}
	return sum
}

// known is what the words of a message tell that an entry is compared with, those that tell most. all has what each tells that the store knows.
func known(all []float64) (sum float64) {
	slices.SortFunc(all, func(a, b float64) int { return cmp.Compare(b, a) })
	for _, t := range all[:min(len(all), max(fewWords, len(all)/wordsShare))] {
		sum += t
	}
	return sum
}

// tellsOf is what a word of a message tells that df of n entries have: all the more, the fewer they are, and little if any message has it.
func (a *analyzer) tellsOf(stem string, n, df int) float64 {
	share, ok := a.familiar[stem]
	if !ok {
		share = 1
	}
	return share * idf(max(smallStore, n), df)
}

// tellsLike is what a word tells that stands for an unknown one of a message.
func (x *Index[T]) tellsLike(stem string, l wanted) float64 {
	if l.weight < misspelt {
		return 0
	}
	n, df := x.Len(), len(x.terms[l.term].postings)
	return l.weight * min(x.analyzer.tellsOf(stem, n, df), x.analyzer.tellsOf(x.terms[l.term].text, n, df))
}

// familiarWords are those that any message has, by stem, with their share of what another word would tell.
func (a *analyzer) familiarWords() map[string]float64 {
	out := map[string]float64{}
	for w := range strings.FieldsSeq(requests) {
		out[a.base(w)] = plainly
	}
	for w := range strings.FieldsSeq(manners) {
		out[a.base(w)] = 0
	}
	return out
}

// Words that any message has: of manners, which tell nothing, and of asking for something.
const (
	manners = `please thank thanks hello hi hey okay ok yes yeah yep nope sorry sure great nice fine good morning evening afternoon night bye goodbye welcome
dear regards cheers well oh ah wow lol haha hmm hope kindly cool perfect awesome wonderful amazing alright lovely soon`
	requests = `tell say know want need like let make get got give take go come look find help try mean show explain write prepare create put keep
thing something anything everything nothing someone anyone everyone way day today later now new just really much many lot little bit one two first last next
still already always never maybe perhaps quick quickly short shortly long ready finish finished done start use using add change check talk think feel seem able
possible necessary important everybody somebody anybody without because since until before after while during between around through right back again yet
work better best different whole part kind sort point`
)

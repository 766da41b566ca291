package recall

import (
	"math"
	"sync"
)

// scores are the parts of every entry's score, by its number.
type scores struct {
	*scratch
	mostSession float64   // of any conversation
	near        []float32 // nil: there are no vectors to compare
	asked       *asking
	fits        float64 // the near of an entry that fits whole
}

// wordScore is what an entry has of words, beside what it is made from: one place in memory, not two.
type wordScore struct {
	score  float32 // its own words and its neighbours'
	around float32 // how often it and its neighbours have the word that is looked at
}

// scratch is what a search writes to: bytes for each entry, so that one is used again by later searches. Fresh ones would
// have the collector walk through all indexes every few searches.
type scratch struct {
	words   []wordScore
	session []float32 // of each conversation
	counted []float32 // how often a conversation has the word that is looked at
	touched []int32   // the entries around which that word is
}

var scratches sync.Pool

func newScratch(entries, sessions int) *scratch {
	s, _ := scratches.Get().(*scratch)
	if s == nil {
		s = &scratch{}
	}
	s.words, s.session, s.counted = zeroes(s.words, entries), zeroes(s.session, sessions), zeroes(s.counted, sessions)
	return s
}

// zeroes is n zeroes, in the room of old if they fit there and fill a good part of it.
func zeroes[T any](old []T, n int) []T {
	if cap(old) < n || cap(old) > 4*n {
		return make([]T, n, n+n/8)
	}
	old = old[:n]
	clear(old)
	return old
}

// found reports whether anything of an entry is like what is asked for, but for its conversation.
func (s *scores) found(n int) bool {
	return s.words[n].score != 0 || s.near != nil && s.near[n] != 0
}

// sum is what an entry has of all parts so far, before the factors.
func (s *scores) sum(n int, session int32) float64 {
	sum := s.without(n)
	if session != none {
		sum += float64(s.session[session])
	}
	return sum
}

// without is the sum without the conversation's part.
func (s *scores) without(n int) float64 {
	sum := float64(s.words[n].score)
	if s.near != nil {
		sum += float64(s.near[n])
	}
	return sum
}

// most is what a word that df entries have can add to a score: BM25 grows to k1 + 1.
func (x *Index[T]) most(df int) float64 {
	return idf(x.Len(), df) * (1 + x.weights.own) * (x.weights.k1 + 1)
}

// idf is how much a word that df of n have tells them apart.
func idf(n, df int) float64 {
	return math.Log(1 + (float64(n)-float64(df)+0.5)/(float64(df)+0.5))
}

// saturate is BM25's: the tenth mention of a word tells less than the first.
func (w *weights) saturate(n, length float64) float64 {
	return n * (w.k1 + 1) / (n + w.k1*(1-w.b+w.b*length))
}

// score computes, term by term, the entry's own score and what its neighbours add to it. A word that
// the entry and its neighbours have is saturated once: the three of them are read as one text.
func (x *Index[T]) score(q question, e *eyes[T]) scores {
	s := scores{scratch: newScratch(len(x.entries), len(x.sessions))}
	perWord := x.perWord()
	for _, t := range q.terms {
		weight := t.weight * idf(x.Len(), len(x.terms[t.term].postings))
		x.spread(t.term, float32(x.weights.own*weight), perWord, s.scratch, e)
		for _, at := range s.touched {
			w := &s.words[at]
			w.score += float32(weight * x.weights.saturate(float64(w.around), float64(x.places[at].length)*perWord))
			w.around = 0
		}
		x.addSessions(t, s.session, s.counted)
	}
	for _, n := range s.session {
		s.mostSession = max(s.mostSession, float64(n))
	}
	return s
}

// perWord is what a word of an entry is of the average length of all.
func (x *Index[T]) perWord() float64 { return 1 / max(1, x.length/float64(max(1, x.Len()))) }

// spread scores a word at each entry that has it, with weight own, counts it around there and, less, around the neighbours of
// that, and notes where; and counts it in its conversation. Names stay where they are: they say who, and the neighbours' author is
// somebody else.
func (x *Index[T]) spread(t int32, own float32, perWord float64, s *scratch, seen *eyes[T]) {
	w, words, touched := &x.weights, s.words, s.touched[:0]
	add := func(e int32, n float32) {
		if words[e].around == 0 {
			touched = append(touched, e)
		}
		words[e].around += n
	}
	name := x.authors[t] > 0
	for _, p := range x.terms[t].postings {
		if !seen.sees(p.entry) {
			continue
		}
		d := &x.places[p.entry]
		words[p.entry].score += own * float32(w.saturate(float64(p.n), float64(d.length)*perWord))
		if d.session != none {
			s.counted[d.session] += p.n
		}
		add(p.entry, p.n)
		if name {
			continue
		}
		asked := 1 + float32(w.asked)*d.asks
		if d.next != none {
			add(d.next, p.n*float32(w.before1)*asked)
			if n := x.places[d.next].next; n != none {
				add(n, p.n*float32(w.before2)*asked)
			}
		}
		if d.prev != none {
			add(d.prev, p.n*float32(w.after1))
			if n := x.places[d.prev].prev; n != none {
				add(n, p.n*float32(w.after2))
			}
		}
	}
	s.touched = touched
}

// addSessions adds a term's BM25 of whole conversations, without their length, from how often each has it; counted is nothing but
// zeroes afterwards.
func (x *Index[T]) addSessions(t wanted, into, counted []float32) {
	having := 0
	for _, n := range counted {
		if n > 0 {
			having++
		}
	}
	weight := x.weights.session * t.weight * idf(len(x.sessions), having)
	for s, n := range counted {
		if n > 0 {
			into[s] += float32(weight * sessionSaturate(float64(n)))
			counted[s] = 0
		}
	}
}

// sessionSaturate is BM25 with its usual k1 of 1.2 and no length: long conversations have more of everything.
func sessionSaturate(n float64) float64 { return n * 2.2 / (n + 1.2) }

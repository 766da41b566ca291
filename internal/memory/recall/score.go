package recall

import "math"

// scores are the parts of every entry's score, by its number.
type scores struct {
	own, context, session []float32
	near                  []float32 // nil: there are no vectors to compare
	asked                 *asking
	fits                  float64 // the near of an entry that fits whole
}

// sum is what an entry has of all parts so far, before the factors.
func (s *scores) sum(n int, session int32) float64 {
	sum := float64(s.own[n] + s.context[n])
	if session != none {
		sum += float64(s.session[session])
	}
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
	n := len(x.entries)
	s := scores{own: make([]float32, n), context: make([]float32, n), session: make([]float32, len(x.sessions))}
	around, counted := make([]float32, n), make([]float32, len(x.sessions))
	var touched []int32
	perWord := x.perWord()
	for _, t := range q.terms {
		weight := t.weight * idf(x.Len(), len(x.terms[t.term].postings))
		touched = x.spread(t.term, around, touched[:0], e)
		for _, p := range x.terms[t.term].postings {
			s.own[p.entry] += float32(x.weights.own * weight * x.weights.saturate(float64(p.n), float64(x.places[p.entry].length)*perWord))
		}
		for _, at := range touched {
			s.context[at] += float32(weight * x.weights.saturate(float64(around[at]), float64(x.places[at].length)*perWord))
			around[at] = 0
		}
		x.addSessions(t, s.session, counted, e)
	}
	return s
}

// perWord is what a word of an entry is of the average length of all.
func (x *Index[T]) perWord() float64 { return 1 / max(1, x.length/float64(max(1, x.Len()))) }

// spread counts a word in around, at each entry that has it and, less, at the neighbours of that, and
// says where. Names stay where they are: they say who, and the neighbours' author is somebody else.
func (x *Index[T]) spread(t int32, around []float32, touched []int32, seen *eyes[T]) []int32 {
	w := &x.weights
	add := func(e int32, n float32) {
		if around[e] == 0 {
			touched = append(touched, e)
		}
		around[e] += n
	}
	name := x.authors[t] > 0
	for _, p := range x.terms[t].postings {
		if !seen.sees(p.entry) {
			continue
		}
		add(p.entry, p.n)
		if name {
			continue
		}
		d := &x.places[p.entry]
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
	return touched
}

// addSessions adds a term's BM25 of whole conversations, without their length. counted is nothing but zeroes, and is so again afterwards.
func (x *Index[T]) addSessions(t wanted, into, counted []float32, e *eyes[T]) {
	having := 0
	for _, p := range x.terms[t.term].postings {
		if s := x.places[p.entry].session; s != none && e.sees(p.entry) {
			if counted[s] == 0 {
				having++
			}
			counted[s] += p.n
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

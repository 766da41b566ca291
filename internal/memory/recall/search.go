package recall

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// wanted is a term that is looked for, and how much it counts.
type wanted struct {
	term   int32
	weight float64
	tells  float64 // what it counts when it is judged how well an entry fits
}

// question is a query as the index understands it.
type question struct {
	terms []wanted
	about int32  // the author that it names, if it names one alone
	when  bool   // it asks for a time
	spans []span // that it names
	now   int64
	most  float64 // what its words can score at most, before all factors
	known float64 // what those of its words tell that an entry is compared with; see fit
}

// Search returns the best entries, best first, no two of which say the same.
func (x *Index[T]) Search(q Query[T]) []Hit {
	e := x.eyes(q.See)
	asked := x.understand(q, e)
	s := x.score(asked, e)
	defer scratches.Put(s.scratch)
	x.compare(q, asked, &s, e)
	best := x.best(q, asked, &s, e)
	hits := best.sorted()
	var as map[int32]string
	if q.Spread {
		hits, as = x.spreadOut(hits, q.From)
		hits = hits[:min(len(hits), q.Limit)]
	}
	out := make([]Hit, len(hits))
	for i, h := range hits {
		out[i] = Hit{ID: x.entries[h.entry].id, Score: h.score, Share: min(1, max(h.score/asked.most, s.fit(h.entry))), Fit: max(x.fit(h.entry, &asked, h.score/asked.most, e), min(1, shortShare*s.fit(h.entry))), Alike: as[h.entry]}
		if q.Explain {
			out[i].Parts = x.explain(h.entry, asked, s)
			out[i].Parts.Alike = as[h.entry]
		}
	}
	return out
}

// best are the best entries. What an entry can have at most is compared with the worst of those before anything of it is looked at but its place.
func (x *Index[T]) best(q Query[T], asked question, s *scores, e *eyes[T]) *top[T] {
	best := &top[T]{limit: q.looked(), bySaid: map[uint64]*scored{}}
	most := x.mostFactor(asked)
	for n := range s.words {
		if !s.found(n) || !best.wants((s.without(n)+s.mostSession)*most.any) {
			continue
		}
		p := &x.places[n]
		sum := s.sum(n, p.session)
		if !best.wants(sum * most.of(p)) {
			continue
		}
		d := &x.entries[n]
		if !e.sees(int32(n)) || q.Allow != nil && !q.Allow(d.facets) {
			continue
		}
		best.offer(int32(n), d, sum*x.factors(int32(n), asked).product())
	}
	return best
}

// looked is how many hits are looked through.
func (q *Query[T]) looked() int {
	if !q.Spread {
		return q.Limit
	}
	return max(q.Limit, min(lookedThrough*q.Limit, maxLooked))
}

func (x *Index[T]) understand(q Query[T], e *eyes[T]) question {
	out := question{about: none, now: q.Now, when: asksWhen(q.Text)}
	text := q.Text
	if q.Now != 0 {
		var rest string
		if out.spans, rest = spansAsked(q.Text, time.UnixMilli(q.Now)); rest != text && x.knows(out.spans, e) {
			text = rest
		}
	}
	seen, tried := map[int32]bool{}, map[string]bool{}
	names := 0
	var tell []float64
	for _, w := range x.analyzer.words(text) {
		t, ok := x.byText[w.stem]
		if !ok || !e.has(t) {
			if tried[w.stem] || len(tried) == maxUnknown {
				continue
			}
			tried[w.stem] = true
			out.most += x.most(0)
			nearest := 0.0
			for _, l := range x.like(w.stem, e.has) {
				tells := x.tellsLike(w.stem, l)
				out.terms = append(out.terms, wanted{l.term, x.weights.fuzzy * l.weight, tells})
				nearest = max(nearest, tells)
			}
			tell = append(tell, nearest)
			continue
		}
		if seen[t] {
			continue
		}
		seen[t] = true
		weight := 1.0
		if x.authors[t] > 0 {
			weight = x.weights.name
			out.about = t
			names++
		}
		out.most += weight * x.most(len(x.terms[t].postings))
		tells := x.analyzer.tellsOf(w.stem, x.Len(), len(x.terms[t].postings))
		tell = append(tell, tells)
		out.terms = append(out.terms, wanted{t, weight, tells})
	}
	for _, w := range x.otherNames(text, seen, e) {
		if x.authors[w.term] > 0 {
			w.weight = x.weights.name
			if w.term != out.about {
				out.about = w.term
				names++
			}
		}
		out.terms = append(out.terms, w)
	}
	out.known = known(tell)
	if names > 1 {
		out.about = none
	}
	if len(out.terms) > maxTerms {
		slices.SortStableFunc(out.terms, func(a, b wanted) int {
			return cmp.Compare(len(x.terms[a.term].postings), len(x.terms[b.term].postings))
		})
		out.terms = out.terms[:maxTerms]
	}
	if out.most == 0 { // nothing but stop words: vectors may find something all the same
		out.most = x.most(0)
	}
	return out
}

// compare adds how near the query's vector is to each entry's, of those that are nearer than most.
func (x *Index[T]) compare(q Query[T], asked question, s *scores, e *eyes[T]) {
	s.asked = x.vectors.ask(q.Vector, x.weights.nearFrom)
	if s.asked == nil {
		return
	}
	weight := x.weights.near * asked.most
	if b := q.Balance; b != nil {
		weight *= b.Vectors
		for i := range s.words {
			s.words[i].score *= float32(b.Words)
		}
		for i := range s.session {
			s.session[i] *= float32(b.Words)
		}
		s.mostSession *= b.Words
	}
	s.near = make([]float32, len(s.words))
	allowed := func(n int32) bool { return e.sees(n) && (q.Allow == nil || q.Allow(x.entries[n].facets)) }
	s.asked.above(allowed, func(n int32, above float64) { s.near[n] = float32(weight * above) })
	s.fits = weight / nearShare
}

// nearShare is the share of a hit whose vector is the query's own, without a word in common.
const nearShare = 0.5

// fit is how well an entry fits by its vector, as a share.
func (s *scores) fit(n int32) float64 {
	if s.near == nil || s.fits == 0 {
		return 0
	}
	return float64(s.near[n]) / s.fits
}

// factors are what a score is multiplied by.
type factors struct{ tells, author, time, importance, recency float64 }

func (f factors) product() float64 { return f.tells * f.author * f.time * f.importance * f.recency }

// mostFactors is the most that a score is multiplied by, by what stands in an entry's place: what can't reach the best with it needs
// no closer look.
type mostFactors struct {
	about       int32
	author      float64 // of entries by whom the query is about
	timed, time float64 // of entries that say when, and of all
	recency     float64
	any         float64 // the most of whatever entry
}

// rounded is more than what a factor loses that is kept as a float32.
const rounded = 1e-6

func (x *Index[T]) mostFactor(q question) mostFactors {
	w := &x.weights
	m := mostFactors{about: q.about, author: 1 + float64(max(w.ofAuthor(shape{}), w.ofAuthor(shape{self: true}))), time: 1, recency: (1 + w.recency) * (1 + rounded)}
	if q.spans != nil {
		m.time += w.during
	}
	m.timed = m.time + w.timed
	if q.when {
		m.timed += w.when
	}
	m.any = x.mostWorth * m.recency * m.timed
	if m.about != none {
		m.any *= m.author
	}
	return m
}

func (m *mostFactors) of(p *place) float64 {
	most := float64(p.worth) * m.recency
	if m.about != none && m.about == p.author {
		most *= m.author
	}
	if p.timed {
		return most * m.timed
	}
	return most * m.time
}

func (x *Index[T]) factors(n int32, q question) factors {
	w := &x.weights
	d := &x.entries[n]
	f := factors{tells: float64(d.tells), author: 1, time: 1, importance: w.important(d.importance), recency: 1}
	if q.about != none && q.about == x.places[n].author {
		f.author += float64(d.ofAuthor)
	}
	if x.places[n].timed {
		f.time += w.timed
		if q.when {
			f.time += w.when
		}
	}
	if d.during(q.spans) {
		f.time += w.during
	}
	if age := q.now - d.at; q.now != 0 && d.at != 0 {
		f.recency += w.recency * math.Exp2(-math.Max(0, float64(age))/recencyHalf)
	}
	return f
}

func (w *weights) important(importance float32) float64 {
	return 1 + w.importance*(float64(importance)-0.5)
}

// during reports whether an entry was said in one of the spans, or speaks of it.
func (d *entry[T]) during(asked []span) bool {
	for _, s := range asked {
		if d.at >= s.from && d.at < s.to || slices.ContainsFunc(d.spans, s.overlaps) {
			return true
		}
	}
	return false
}

// knows reports whether an entry that is seen is of a time that is asked for.
func (x *Index[T]) knows(asked []span, e *eyes[T]) bool {
	for n := range x.entries {
		if x.entries[n].during(asked) && e.sees(int32(n)) {
			return true
		}
	}
	return false
}

func (x *Index[T]) explain(n int32, q question, s scores) *Parts {
	f := x.factors(n, q)
	p := &Parts{Terms: map[string]float64{}, Tells: f.tells, Author: f.author, Time: f.time, Importance: f.importance, Recency: f.recency}
	average := max(1, x.length/float64(max(1, x.Len())))
	for _, t := range q.terms {
		if at, ok := x.terms[t.term].find(n); ok {
			count := float64(x.terms[t.term].postings[at].n)
			v := (1 + x.weights.own) * t.weight * idf(x.Len(), len(x.terms[t.term].postings)) * x.weights.saturate(count, float64(x.places[n].length)/average)
			p.Terms[x.terms[t.term].text] += v
			p.Words += v
		}
	}
	p.Neighbours = max(0, float64(s.words[n].score)-p.Words)
	if c := x.places[n].session; c != none {
		p.Session = float64(s.session[c])
	}
	if s.near != nil {
		p.Similarity, p.Near = s.asked.cosine(n), float64(s.near[n])
	}
	return p
}

func asksWhen(text string) bool {
	text = strings.ToLower(text)
	for _, s := range []string{"when ", "what date", "what day", "what month", "what year", "which year", "which month", "how long"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

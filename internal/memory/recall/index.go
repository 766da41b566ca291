package recall

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// none is the number of no entry, conversation or term.
const none int32 = -1

// Index holds entries for Search.
type Index[T any] struct {
	weights  weights
	analyzer *analyzer
	vocabulary
	entries  []entry[T] // by number; removed ones stay as holes until they are used again
	places   []place    // of the same numbers
	groupOf  []int32    // likewise: apart from the rest, since every posting is asked for it
	groups   groups[T]
	free     []int32
	byID     map[string]int32
	sessions []conversation
	bySess   map[string]int32
	length   float64 // of all entries together
	// mostWorth is that of the entry that has, or had, most.
	mostWorth float64
	vectors   vectors
	seed      maphash.Seed // of said: nobody can make two texts that are taken for the same
}

// entry is one entry as the index knows it: no text.
type entry[T any] struct {
	id         string
	words      []count // ascending by term
	tells      float32 // factor: 1 for what tells something all through
	spans      []span  // and which time that is
	place, at  int64
	importance float32
	ofAuthor   float32 // how much more it counts when the query is about its author
	said       uint64  // the same for what says the same, word for word
	facets     T
}

// place is what scoring needs of an entry, apart from the rest so that it is close together in memory.
type place struct {
	session    int32
	prev, next int32 // neighbours in the conversation
	length     float32
	asks       float32 // share of the text that is questions
	worth      float32 // the factors that it has whatever is asked: tells, importance
	author     int32   // term of the author's name
	timed      bool    // says when something was
}

func nowhere() place { return place{session: none, prev: none, next: none, author: none} }

type count struct {
	term int32
	n    float32 // weighted by field
}

type posting struct {
	entry int32
	n     float32
}

// conversation lists its entries in their order.
type conversation struct{ entries []int32 }

// New makes an empty index. Who sees one entry of a group sees all of it: Query.See is asked of one alone.
func New[T any](group func(T) string) *Index[T] {
	return &Index[T]{weights: tuned(), analyzer: english(), vocabulary: newVocabulary(), groups: groups[T]{of: group, byName: map[string]int32{}}, byID: map[string]int32{}, bySess: map[string]int32{}, seed: maphash.MakeSeed()}
}

// Len is how many entries there are.
func (x *Index[T]) Len() int { return len(x.byID) }

// Put adds an entry, in the place of one with the same id.
func (x *Index[T]) Put(e Entry[T]) {
	x.Remove(e.ID)
	n := x.number()
	d := entry[T]{id: e.ID, place: e.Place, at: e.At, importance: float32(e.Importance), facets: e.Facets}
	at := nowhere()
	kind := x.analyzer.shape(e.Text)
	d.tells, at.asks, at.timed, d.ofAuthor = x.weights.tells(kind), kind.asks, kind.timed, x.weights.ofAuthor(kind)
	at.worth = d.tells * float32(x.weights.important(d.importance))
	x.mostWorth = max(x.mostWorth, float64(at.worth))
	if e.At != 0 {
		d.spans = spans(e.Text, time.UnixMilli(e.At))
	}
	all := names(e.Text)
	d.words, at.length, d.said = x.count(e, d.spans, initialsIn(all))
	if w := x.analyzer.words(e.Author); len(w) > 0 {
		at.author = x.term(w[0].stem)
		x.authors[at.author]++
	}
	for _, c := range d.words {
		x.terms[c.term].add(posting{n, c.n})
	}
	x.length += float64(at.length)
	x.entries[n], x.places[n], x.groupOf[n] = d, at, x.groups.join(x.groups.of(e.Facets))
	x.byID[e.ID] = n
	x.learn(n, e.Text, all)
	if e.Session != "" {
		x.join(n, e.Session)
	}
}

// number gives the number of a new entry.
func (x *Index[T]) number() int32 {
	if k := len(x.free); k > 0 {
		n := x.free[k-1]
		x.free = x.free[:k-1]
		return n
	}
	x.entries = append(x.entries, entry[T]{})
	x.places = append(x.places, nowhere())
	x.groupOf = append(x.groupOf, none)
	return int32(len(x.entries) - 1)
}

// count counts the words of all fields, and the initials of names. The date has no length: every entry has one. Nor have initials: a name has it. said tells what it says from what others do: by whom,
// on which day, and in which words, one after the other.
func (x *Index[T]) count(e Entry[T], mentioned []span, initials []string) (out []count, words float32, said uint64) {
	counted := map[int32]float32{}
	length := 0
	var h maphash.Hash
	h.SetSeed(x.seed)
	maphash.WriteComparable(&h, e.At/(24*time.Hour).Milliseconds())
	for _, field := range []string{e.Text, e.Caption, e.Author} {
		for _, w := range x.analyzer.read(field, func(lower string) {
			_, _ = h.WriteString(lower) // never fails
			_ = h.WriteByte(0)
		}) {
			counted[x.term(w.stem)]++
			length++
		}
		_ = h.WriteByte(1)
	}
	if e.At != 0 {
		for _, w := range x.analyzer.words(time.UnixMilli(e.At).UTC().Format("2 January 2006")) {
			counted[x.term(w.stem)]++
		}
	}
	for _, s := range initials {
		counted[x.term(x.analyzer.base(s))]++
	}
	for _, s := range mentioned {
		for _, w := range x.analyzer.words(s.format()) {
			counted[x.term(w.stem)] += float32(x.weights.mentioned)
		}
	}
	out = make([]count, 0, len(counted))
	for t, n := range counted {
		out = append(out, count{t, n})
	}
	slices.SortFunc(out, func(a, b count) int { return cmp.Compare(a.term, b.term) })
	return out, float32(length), h.Sum64()
}

// join puts an entry into its conversation, between its neighbours.
func (x *Index[T]) join(n int32, session string) {
	s, ok := x.bySess[session]
	if !ok {
		s = int32(len(x.sessions))
		x.bySess[strings.Clone(session)] = s
		x.sessions = append(x.sessions, conversation{})
	}
	d := &x.places[n]
	d.session = s
	list := x.sessions[s].entries
	at, _ := slices.BinarySearchFunc(list, x.entries[n].place, func(i int32, p int64) int { return cmp.Compare(x.entries[i].place, p) })
	if at > 0 {
		d.prev = list[at-1]
		x.places[d.prev].next = n
	}
	if at < len(list) {
		d.next = list[at]
		x.places[d.next].prev = n
	}
	x.sessions[s].entries = slices.Insert(list, at, n)
}

// Remove takes an entry out, with every word that only it had. It reports whether there was one.
func (x *Index[T]) Remove(id string) bool {
	n, ok := x.byID[id]
	if !ok {
		return false
	}
	x.unlearn(n)
	d := &x.entries[n]
	for _, c := range d.words {
		x.terms[c.term].remove(n)
	}
	if author := x.places[n].author; author != none {
		if x.authors[author]--; x.authors[author] == 0 {
			delete(x.authors, author)
		}
	}
	for _, c := range d.words {
		x.drop(c.term)
	}
	x.leave(n)
	x.groups.leave(x.groupOf[n])
	x.vectors.drop(n)
	x.length -= float64(x.places[n].length)
	*d, x.places[n] = entry[T]{}, nowhere()
	delete(x.byID, id)
	x.free = append(x.free, n)
	return true
}

// leave takes an entry out of its conversation.
func (x *Index[T]) leave(n int32) {
	d := &x.places[n]
	if d.session == none {
		return
	}
	if d.prev != none {
		x.places[d.prev].next = d.next
	}
	if d.next != none {
		x.places[d.next].prev = d.prev
	}
	s := &x.sessions[d.session]
	if at := slices.Index(s.entries, n); at >= 0 {
		s.entries = slices.Delete(s.entries, at, at+1)
	}
}

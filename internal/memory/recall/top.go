package recall

import (
	"cmp"
	"container/heap"
	"slices"
)

// scored is an entry with its score.
type scored struct {
	entry int32
	said  uint64
	place int // in the heap
	score float64
	id    string
	at    int64
}

// before orders hits: by score, the newer one first, then by id, so that an order never depends on
// how the index came to be.
func (s scored) before(o scored) int {
	if s.score != o.score {
		return cmp.Compare(o.score, s.score) // nearly always: texts are not compared for nothing
	}
	return cmp.Or(cmp.Compare(o.at, s.at), cmp.Compare(s.id, o.id))
}

// top keeps the best of what it is offered, and of those that say the same the best. It is a heap with the worst on top.
type top[T any] struct {
	limit  int
	kept   worstFirst
	bySaid map[uint64]*scored // those kept
}

// wants reports whether a score could be among the best.
func (t *top[T]) wants(score float64) bool {
	return len(t.kept) < t.limit || t.limit > 0 && score >= t.kept[0].score
}

func (t *top[T]) offer(n int32, d *entry[T], score float64) {
	if !t.wants(score) {
		return
	}
	s := &scored{entry: n, said: d.said, score: score, id: d.id, at: d.at}
	same := t.bySaid[s.said]
	switch {
	case t.limit == 0:
	case same != nil:
		if s.before(*same) < 0 {
			s.place = same.place
			t.kept[s.place], t.bySaid[s.said] = s, s
			heap.Fix(&t.kept, s.place)
		}
	case len(t.kept) < t.limit:
		heap.Push(&t.kept, s)
		t.bySaid[s.said] = s
	case s.before(*t.kept[0]) < 0:
		delete(t.bySaid, t.kept[0].said)
		t.kept[0], t.bySaid[s.said] = s, s
		heap.Fix(&t.kept, 0)
	}
}

func (t *top[T]) sorted() []scored {
	out := make([]scored, len(t.kept))
	for i, s := range t.kept {
		out[i] = *s
	}
	slices.SortFunc(out, scored.before)
	return out
}

type worstFirst []*scored

func (w worstFirst) Len() int           { return len(w) }
func (w worstFirst) Less(i, j int) bool { return w[i].before(*w[j]) > 0 }
func (w worstFirst) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].place, w[j].place = i, j
}
func (w *worstFirst) Push(s any) {
	last := s.(*scored)
	last.place = len(*w)
	*w = append(*w, last)
}
func (w *worstFirst) Pop() any {
	last := len(*w) - 1
	s := (*w)[last]
	*w = (*w)[:last]
	return s
}

package recall

import (
	"cmp"
	"container/heap"
	"slices"
)

// scored is an entry with its score.
type scored struct {
	entry int32
	score float64
	id    string
	at    int64
}

// before orders hits: by score, the newer one first, then by id, so that an order never depends on
// how the index came to be.
func (s scored) before(o scored) int {
	return cmp.Or(cmp.Compare(o.score, s.score), cmp.Compare(o.at, s.at), cmp.Compare(s.id, o.id))
}

// top keeps the best of what it is offered. It is a heap with the worst on top.
type top[T any] struct {
	limit int
	kept  worstFirst
}

// wants reports whether a score could be among the best.
func (t *top[T]) wants(score float64) bool {
	return len(t.kept) < t.limit || t.limit > 0 && score >= t.kept[0].score
}

func (t *top[T]) offer(n int32, d *entry[T], score float64) {
	s := scored{n, score, d.id, d.at}
	switch {
	case len(t.kept) < t.limit:
		heap.Push(&t.kept, s)
	case t.limit > 0 && s.before(t.kept[0]) < 0:
		t.kept[0] = s
		heap.Fix(&t.kept, 0)
	}
}

func (t *top[T]) sorted() []scored {
	out := slices.Clone(t.kept)
	slices.SortFunc(out, scored.before)
	return out
}

type worstFirst []scored

func (w worstFirst) Len() int           { return len(w) }
func (w worstFirst) Less(i, j int) bool { return w[i].before(w[j]) > 0 }
func (w worstFirst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worstFirst) Push(s any)        { *w = append(*w, s.(scored)) }
func (w *worstFirst) Pop() any {
	last := len(*w) - 1
	s := (*w)[last]
	*w = (*w)[:last]
	return s
}

package recall

// eyes are those of whoever asks: what they don't see has no part in what others score, nor in how a query's words are understood.
type eyes[T any] struct {
	x     *Index[T]
	see   func(T) bool // nil: all is seen
	known []int8       // of each entry: 0 not asked yet, 1 seen, -1 not
}

func (x *Index[T]) eyes(see func(T) bool) *eyes[T] {
	if see == nil {
		return &eyes[T]{}
	}
	return &eyes[T]{x, see, make([]int8, len(x.entries))}
}

func (e *eyes[T]) sees(n int32) bool {
	if e.see == nil {
		return true
	}
	if e.known[n] == 0 {
		e.known[n] = -1
		if e.see(e.x.entries[n].facets) {
			e.known[n] = 1
		}
	}
	return e.known[n] > 0
}

// has reports whether an entry that is seen has a word.
func (e *eyes[T]) has(t int32) bool {
	if e.see == nil {
		return true
	}
	for _, p := range e.x.terms[t].postings {
		if e.sees(p.entry) {
			return true
		}
	}
	return false
}

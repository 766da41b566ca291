package recall

// groups are those that entries belong to, each with a number: who sees one entry of a group sees all of it.
type groups[T any] struct {
	of     func(T) string
	byName map[string]int32
	names  []string
	size   []int32 // how many entries belong to each
	free   []int32 // numbers of groups that nothing belongs to any more
}

// join counts one entry more, and gives the group's number.
func (g *groups[T]) join(name string) int32 {
	n, ok := g.byName[name]
	if !ok {
		if k := len(g.free); k > 0 {
			n, g.free = g.free[k-1], g.free[:k-1]
		} else {
			n = int32(len(g.names))
			g.names, g.size = append(g.names, ""), append(g.size, 0)
		}
		g.byName[name], g.names[n] = n, name
	}
	g.size[n]++
	return n
}

// leave counts one entry less: of a group without any no trace is left.
func (g *groups[T]) leave(n int32) {
	if g.size[n]--; g.size[n] > 0 {
		return
	}
	delete(g.byName, g.names[n])
	g.names[n] = ""
	g.free = append(g.free, n)
}

// eyes are those of whoever asks: what they don't see has no part in what others score, nor in how a query's words are understood.
type eyes[T any] struct {
	x     *Index[T]
	see   func(T) bool // nil: all is seen
	known []int8       // of each group: 0 not asked yet, 1 seen, -1 not
}

func (x *Index[T]) eyes(see func(T) bool) *eyes[T] {
	if see == nil {
		return &eyes[T]{}
	}
	return &eyes[T]{x, see, make([]int8, len(x.groups.names))}
}

func (e *eyes[T]) sees(n int32) bool {
	if e.see == nil {
		return true
	}
	known := &e.known[e.x.groupOf[n]]
	if *known == 0 {
		*known = -1
		if e.see(e.x.entries[n].facets) {
			*known = 1
		}
	}
	return *known > 0
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

package recall

import "slices"

// Around are the entries of a conversation that stand before and after one of it: at most n on each side, of those that are let through, in
// their order. What is not let through is as if it were not there.
func (x *Index[T]) Around(id string, n int, allow func(T) bool) (before, after []string) {
	from, ok := x.byID[id]
	if !ok {
		return nil, nil
	}
	walk := func(step func(place) int32) (out []string) {
		for at := step(x.places[from]); at != none && len(out) < n; at = step(x.places[at]) {
			if d := &x.entries[at]; allow == nil || allow(d.facets) {
				out = append(out, d.id)
			}
		}
		return out
	}
	before = walk(func(p place) int32 { return p.prev })
	slices.Reverse(before)
	return before, walk(func(p place) int32 { return p.next })
}

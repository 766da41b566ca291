package recall

import "slices"

const (
	// aliases is how many hits that say nearly the same keep their places; those beyond come behind what is different.
	aliases = 2
	// nearlySame is the share of all words of two entries that both have, numbers set aside.
	nearlySame = 0.8
	// lookedThrough is among how many times as many hits as are wanted what is different is looked for, and at most how many.
	lookedThrough = 6
	maxLooked     = 300
)

// spreadOut puts hits behind the others that say nearly the same as two better ones, or as one that they were made of, or that was made of them,
// and says as which.
func (x *Index[T]) spreadOut(hits []scored, from func(T) []uint64) (out []scored, as map[int32]string) {
	as = map[int32]string{}
	said := make([][]int32, len(hits))
	for i, h := range hits {
		said[i] = x.said(h.entry)
	}
	var kinds []int // the first hit of each sort
	had := map[int]int{}
	var behind []scored
	kin := kinship[T]{x, from, map[uint64][]int32{}}
	for i, h := range hits {
		if of := kin.of(h.entry); of != none {
			as[h.entry] = x.entries[of].id
			behind = append(behind, h)
			continue
		}
		at := slices.IndexFunc(kinds, func(k int) bool { return alike(said[k], said[i]) })
		if at < 0 {
			kinds = append(kinds, i)
			out = append(out, h)
			had[i] = 1
			continue
		}
		first := kinds[at]
		if had[first]++; had[first] <= aliases {
			out = append(out, h)
			continue
		}
		as[h.entry] = hits[first].id
		behind = append(behind, h)
	}
	return append(out, behind...), as
}

// kinship knows the hits that stand where they are, by what they were made of.
type kinship[T any] struct {
	x    *Index[T]
	from func(T) []uint64
	by   map[uint64][]int32
}

// of is a better hit that stands for an entry; none: there is none yet, and the entry is known from now on.
func (k *kinship[T]) of(n int32) int32 {
	if k.from == nil {
		return none
	}
	from := k.from(k.x.entries[n].facets)
	for _, at := range from {
		for _, other := range k.by[at] {
			if k.x.repeats(n, other) {
				return other
			}
		}
	}
	for _, at := range from {
		k.by[at] = append(k.by[at], n)
	}
	return none
}

// repeats reports whether one of two entries has most words of the shorter one. Numbers count: they are what is different.
func (x *Index[T]) repeats(a, b int32) bool {
	short, long := x.words(a), x.words(b)
	if len(short) > len(long) {
		short, long = long, short
	}
	both := 0
	for _, term := range short {
		if _, has := slices.BinarySearch(long, term); has {
			both++
		}
	}
	return len(short) > 0 && float64(both) >= nearlySame*float64(len(short))
}

// words are those of an entry, ascending, without who says it.
func (x *Index[T]) words(n int32) []int32 {
	d := &x.entries[n]
	out := make([]int32, 0, len(d.words))
	for _, c := range d.words {
		if c.term != x.places[n].author {
			out = append(out, c.term)
		}
	}
	return out
}

// said are the words of an entry, ascending, without numbers and without who says it.
func (x *Index[T]) said(n int32) []int32 {
	d := &x.entries[n]
	out := make([]int32, 0, len(d.words))
	for _, c := range d.words {
		if c.term != x.places[n].author && !x.terms[c.term].number {
			out = append(out, c.term)
		}
	}
	return out
}

// alike reports whether two entries have nearly the same words. Most have not, which few of the words tell, first of all the newest of the store's, which
// are rarely those of every text.
func alike(a, b []int32) bool {
	if len(a) == 0 || float64(min(len(a), len(b))) < nearlySame*float64(max(len(a), len(b))) {
		return false
	}
	apart := int(float64(len(a)+len(b))*(1-nearlySame)/(1+nearlySame)) + 1 // more words than this that one of them lacks are too many
	both, lone := 0, 0
	for i, j := len(a)-1, len(b)-1; i >= 0 && j >= 0 && lone <= apart; {
		switch {
		case a[i] == b[j]:
			both++
			i--
			j--
		case a[i] > b[j]:
			lone++
			i--
		default:
			lone++
			j--
		}
	}
	return float64(both) >= nearlySame*float64(len(a)+len(b)-both)
}

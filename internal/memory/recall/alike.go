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

// spreadOut puts hits behind the others that say nearly the same as two better ones, and says as which.
func (x *Index[T]) spreadOut(hits []scored) (out []scored, as map[int32]string) {
	as = map[int32]string{}
	said := make([][]int32, len(hits))
	for i, h := range hits {
		said[i] = x.said(h.entry)
	}
	var kinds []int // the first hit of each sort
	had := map[int]int{}
	var behind []scored
	for i, h := range hits {
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

// said are the words of an entry, ascending, without numbers and without who says it.
func (x *Index[T]) said(n int32) []int32 {
	d := &x.entries[n]
	out := make([]int32, 0, len(d.words))
	for _, c := range d.words {
		if c.term != d.author && !x.terms[c.term].number {
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

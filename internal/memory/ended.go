package memory

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/memory/recall"
)

// What people said stays as they said it, also when it is no longer true. Where such an item is found, what is true now stands before it.

const (
	// past is how much less an item counts from which something was learned that is superseded.
	past = 0.5
	// maxChain is how many values of a subject are followed to the last one.
	maxChain = 64
)

// current puts what is true now before what is not any more, of the best hits, which may be spare more than are wanted, and gives the first of them.
func (s shelf) current(hits []recall.Hit, q *Search) []recall.Hit {
	if len(s.ended) > 0 {
		allow, see := q.lets(s), q.sight.see()
		at := map[string]int{} // of hits, by id
		for i, h := range hits {
			at[h.ID] = i
		}
		for i := range hits {
			now := s.after(hits[i].ID, q.at)
			if now == "" {
				continue
			}
			if _, f := s.Vector(now); f.content != nil && allow(f) && (see == nil || see(f)) {
				if n, ok := at[now]; !ok {
					at[now] = len(hits)
					found := hits[i]
					found.ID, found.Alike, found.Parts = now, "", nil
					if q.Explain {
						found.Parts = &recall.Parts{Terms: map[string]float64{}}
					}
					hits = append(hits, found)
				} else {
					hits[n].Score, hits[n].Fit = max(hits[n].Score, hits[i].Score), max(hits[n].Fit, hits[i].Fit)
					if hits[n].Alike = ""; hits[n].Parts != nil {
						hits[n].Parts.Alike = ""
					}
				}
			}
			hits[i].Score *= past
			hits[i].Fit *= past
		}
		slices.SortStableFunc(hits, func(a, b recall.Hit) int { return cmp.Or(behind(a)-behind(b), cmp.Compare(b.Score, a.Score)) })
	}
	return hits[:min(len(hits), q.Limit)]
}

// behind is 1 for what came behind what is different, and stays there.
func behind(h recall.Hit) int { return min(1, len(h.Alike)) }

// spare is how many hits more are looked for, since some will count less.
func (s shelf) spare(limit int) int { return min(limit, len(s.ended)) }

// after is what superseded, by a time, what was learned from an item; "": nothing.
func (s shelf) after(id string, at int64) string {
	_, f := s.Vector(id)
	if f.content == nil || f.content.Kind != KindItem {
		return ""
	}
	by := s.ended[spot{f.content.Source.Session, f.content.Source.Item}]
	for _, was := range slices.Sorted(maps.Keys(by)) {
		if now := s.last(by[was], at); now != "" {
			return now
		}
	}
	return ""
}

// last is the last value of those that superseded one another, by a time; "": none was true yet.
func (s shelf) last(now string, at int64) string {
	for range maxChain {
		_, f := s.Vector(now)
		if f.content == nil || f.content.ValidFrom > at {
			return ""
		}
		if f.content.SupersededBy == "" || f.content.ValidUntil > at {
			return now
		}
		now = f.content.SupersededBy
	}
	return ""
}

// american writes the words that have two spellings in one.
var american = strings.NewReplacer("colour", "color", "favour", "favor", "behaviour", "behavior", "neighbour", "neighbor", "flavour", "flavor", "labour", "labor", "honour", "honor", "harbour", "harbor",
	"centre", "center", "theatre", "theater", "licence", "license", "programme", "program", "grey", "gray", "cheque", "check", "organis", "organiz", "travell", "travel", "cancell", "cancel", "catalogue", "catalog")

// spelled is a subject's name as it is compared.
func spelled(name string) string {
	return american.Replace(strings.Join(strings.Fields(strings.ToLower(name)), " "))
}

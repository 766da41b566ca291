package memory

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
)

const (
	// MaxAround is how many entries before and after a hit may be asked for.
	MaxAround = 10
	// maxAroundTokens is the most that stands around hits where the search has no budget.
	maxAroundTokens = 16_000
)

// Neighbour is an entry that stands near a hit in its conversation.
type Neighbour struct {
	Entry
	Place   int  // -1 right before the hit, 1 right after it, of what whoever asks sees
	Excerpt bool // as Hit.Excerpt
	Part    Part
}

// name tells an entry from those of all stores.
func (e *Entry) name() string { return e.Store + "/" + e.ID }

// beside is where a hit's neighbour is.
type beside struct {
	store, id string
	hit       int
	place     int
}

// around gives hits what stands beside them, of at most n on each side: what the search of their store saw and its filters let through.
// The nearest come first, of the best hit before others; each is given once, and none that is a hit itself. shown is what was
// shown of an entry before.
func (s *Service) around(ctx context.Context, p stead.Principal, hits []Hit, looks map[string]Search, n int, left *room, shown func(*Entry) []Part) error {
	near, err := s.beside(ctx, p, hits, looks, n)
	if err != nil {
		return err
	}
	for len(near) > 0 { // one distance after the other, so that no more is read than has room
		distance := near[0].distance()
		end := slices.IndexFunc(near, func(b beside) bool { return b.distance() != distance })
		if end < 0 {
			end = len(near)
		}
		if left.left < 1 {
			left.missed += len(near)
			break
		}
		read, err := s.readBeside(ctx, p, near[:end], looks)
		if err != nil {
			return err
		}
		for _, b := range near[:end] {
			e, ok := read[b.store+"/"+b.id]
			if !ok {
				continue
			}
			if part, ok := left.take(&e, aroundShare, shown(&e)); ok {
				hits[b.hit].Around = append(hits[b.hit].Around, Neighbour{e, b.place, part != Whole, part})
			}
		}
		near = near[end:]
	}
	for i := range hits {
		slices.SortFunc(hits[i].Around, func(a, b Neighbour) int { return a.Place - b.Place })
	}
	return nil
}

func (b beside) distance() int { return max(b.place, -b.place) }

// beside finds what stands beside hits, the nearest first.
func (s *Service) beside(ctx context.Context, p stead.Principal, hits []Hit, looks map[string]Search, n int) ([]beside, error) {
	given := map[string]bool{}
	for i := range hits {
		given[hits[i].name()] = true
	}
	var out []beside
	for store, q := range looks {
		err := s.shelves.With(ctx, Place{p.Project, store}, func(x shelf) {
			allow := q.lets(x)
			see := q.sight.see()
			for i := range hits {
				if hits[i].Store != store {
					continue
				}
				before, after := x.Around(hits[i].ID, n, func(f facets) bool { return see(f) && allow(f) })
				for j, id := range before {
					out = append(out, beside{store, id, i, j - len(before)})
				}
				for j, id := range after {
					out = append(out, beside{store, id, i, j + 1})
				}
			}
		})
		if err == nil {
			err = q.sight.err
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b beside) int {
		for _, d := range []int{a.distance() - b.distance(), a.hit - b.hit} {
			if d != 0 {
				return d
			}
		}
		return a.place - b.place
	})
	return slices.DeleteFunc(out, func(b beside) bool {
		name := b.store + "/" + b.id
		was := given[name]
		given[name] = true
		return was
	}), nil
}

// readBeside reads them as they are now, by their names.
func (s *Service) readBeside(ctx context.Context, p stead.Principal, near []beside, looks map[string]Search) (map[string]Entry, error) {
	out := map[string]Entry{}
	for store, q := range looks {
		var found []recall.Hit
		for _, b := range near {
			if b.store == store {
				found = append(found, recall.Hit{ID: b.id})
			}
		}
		hits, err := s.load(ctx, Place{p.Project, store}, found, q)
		if err == nil {
			err = q.sight.err
		}
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			out[h.name()] = h.Entry
		}
	}
	return out, nil
}

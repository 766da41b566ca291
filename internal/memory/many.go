package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Many is a search in several stores, whose Limit, Tokens and Around are those of the whole answer. Scores of different stores do not
// compare: hits are ordered by their ranks. Of what two stores say alike the better one is given.
type Many struct {
	Search
	Stores  []string
	Lenient bool                // stores that are not there, or may not be read, are left out
	Worth   func(*Hit) bool     // nil: every hit is
	Shown   func(*Entry) []Part // what whoever asks was shown of an entry; nil: nothing of any
}

// SearchMany is Search in several stores.
func (s *Service) SearchMany(ctx context.Context, p stead.Principal, m Many) (Found, error) {
	if err := m.prepare(); err != nil {
		return Found{}, err
	}
	m.now = s.cfg.Now().UnixMilli()
	m.at = cmp.Or(m.AsOf, m.now)
	m.Filter.then = m.at < m.now // of now it must not depend on whose clock is ahead
	out := Found{}
	looks := map[string]Search{} // by store
	for _, store := range m.Stores {
		_, err := s.open(ctx, p, policy.MemoryRead, store)
		if kind := stead.KindOf(err); m.Lenient && (kind == stead.KindNotFound || kind == stead.KindForbidden) {
			out.Gone = append(out.Gone, store)
			continue
		}
		if err == nil && out.Method == "" {
			out.Method = MethodLexical
			if m.vector, out.Why = s.cfg.Embedding.Query(ctx, s.within.Asker(p), m.Query); m.vector != nil {
				out.Method = MethodHybrid
			}
		}
		if err == nil {
			err = s.searchOne(ctx, p, store, &m, looks, &out)
		}
		if err != nil {
			return Found{}, err
		}
	}
	return out, s.fill(ctx, p, &out, looks, &m)
}

func (m *Many) shown(e *Entry) []Part {
	if m.Shown == nil {
		return nil
	}
	return m.Shown(e)
}

// searchOne adds what one store has to what was found, in the order of the ranks.
func (s *Service) searchOne(ctx context.Context, p stead.Principal, store string, m *Many, looks map[string]Search, out *Found) error {
	q := m.Search
	q.sight = s.sight(ctx, p, store)
	if looks[store] = q; m.Worth != nil {
		q.Limit = MaxHits
	}
	hits, err := s.find(ctx, Place{p.Project, store}, q)
	if err == nil {
		err = q.sight.err
	}
	if err != nil {
		return err
	}
	rank := 0
	for _, h := range hits {
		if m.Worth == nil || m.Worth(&h) {
			rank++
			h.Rank = rank
			out.Hits = append(out.Hits, h)
		}
	}
	slices.SortStableFunc(out.Hits, func(a, b Hit) int { return a.Rank - b.Rank })
	return nil
}

// fill gives what was found within the limit and the budget: hits first, from the best down, then what stands around them.
func (s *Service) fill(ctx context.Context, p stead.Principal, out *Found, looks map[string]Search, m *Many) error {
	if len(looks) > 1 {
		out.Hits = sayingOnce(out.Hits)
	}
	found := out.Hits
	left := room{query: m.Query, left: m.Tokens, whole: m.Tokens == 0}
	out.Hits = nil
	for _, h := range found {
		if len(out.Hits) == m.Limit {
			out.More++
			continue
		}
		part, ok := left.take(&h.Entry, hitShare, m.shown(&h.Entry)) // what is too long makes place for smaller ones behind it
		if h.Part, h.Excerpt = part, part != Whole; ok {
			out.Hits = append(out.Hits, h)
		}
	}
	if m.Around > 0 {
		if left.whole {
			left.whole, left.left = false, maxAroundTokens
		}
		if err := s.around(ctx, p, out.Hits, looks, m.Around, &left, m.shown); err != nil {
			return err
		}
	}
	out.LeftOut = left.missed
	return nil
}

// sayingOnce leaves out of hits in several stores what a better one of another store says too, in the same words and order, whatever their
// articles, signs and case; of what was said in conversations, by the same person on the same day.
func sayingOnce(hits []Hit) []Hit {
	by := map[string]string{} // what is said → the store that says it
	return slices.DeleteFunc(hits, func(h Hit) bool {
		const day = 24 * int64(time.Hour/time.Millisecond)
		key := strings.Join(append(wordsOf(h.Text+" "+h.Caption), h.Source.Author), "\x00")
		if h.Kind == KindItem {
			key += fmt.Sprintf("\x00%d", h.when()/day)
		}
		store, ok := by[key]
		if !ok {
			by[key] = h.Store
		}
		return ok && store != h.Store
	})
}

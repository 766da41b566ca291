package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// MaxHits and DefaultHits are how many entries a search returns.
	MaxHits     = 100
	DefaultHits = 10
	// MaxQueryBytes is the longest query.
	MaxQueryBytes = 16 << 10
)

// Filter selects entries by what stands beside their content. The zero value is all that are valid now.
type Filter struct {
	Scopes     []Scope  // any of these; none: all
	Kinds      []Kind   // any of these
	Labels     []string // all of these
	Without    []string // none of these
	Metadata   map[string]string
	Session    string
	NotSession string // of the session, none
	From       int64  // said or happened at or after, Unix milliseconds; what does not say when, from when it is valid, or was written
	Until      int64  // … before
	Superseded bool   // also what is not valid at the search's time

	same func(*Content) bool // nil: any
}

// Search is what is looked for.
type Search struct {
	Query   string
	Filter  Filter
	AsOf    int64 // Unix milliseconds: "last spring" is seen from there, and so is what is valid; 0: now
	Limit   int   // hits; 0: DefaultHits
	Tokens  int   // budget of all hits together; 0: none
	Explain bool

	vector []byte // of Query, packed; nil: none
	sight  *sight // nil: all of the store is seen
}

// Found is what a search found, and how.
type Found struct {
	Hits   []Hit  // best first
	Method string // MethodLexical or MethodHybrid
	Why    string // vectors were to be compared, and were not, for this reason; "": they were, or there are none
}

// Hit is an entry that was found.
type Hit struct {
	Entry
	Score float64
	Share float64       // 0 … 1: how well it fits, to compare between searches; see recall.Hit
	Parts *recall.Parts // with Explain
}

// Search finds entries, best first. It sees every write that was answered before it began.
func (s *Service) Search(ctx context.Context, p stead.Principal, store string, q Search) (Found, error) {
	if err := q.prepare(); err != nil {
		return Found{}, err
	}
	if _, err := s.open(ctx, p, policy.MemoryRead, store); err != nil {
		return Found{}, err
	}
	at := q.AsOf
	now := s.cfg.Now().UnixMilli()
	if at == 0 {
		at = now
	}
	q.sight = s.sight(ctx, p, store)
	out := Found{Method: MethodLexical}
	if q.vector, out.Why = s.cfg.Embedding.Query(ctx, s.within.Asker(p), q.Query); q.vector != nil {
		out.Method = MethodHybrid
	}
	var err error
	if out.Hits, err = s.find(ctx, Place{p.Project, store}, q, at, now); err == nil {
		err = q.sight.err
	}
	if err != nil {
		return Found{}, err
	}
	return out, nil
}

func (q *Search) prepare() error {
	if q.Query == "" || len(q.Query) > MaxQueryBytes {
		return stead.Invalid("query", "query must be 1 to %d bytes", MaxQueryBytes)
	}
	q.Limit = cmp.Or(q.Limit, DefaultHits)
	if q.Limit < 1 || q.Limit > MaxHits {
		return stead.Invalid("limit", "limit must be from 1 to %d", MaxHits)
	}
	if q.Tokens < 0 {
		return stead.Invalid("token_budget", "token_budget must not be negative")
	}
	return nil
}

// load reads what was found, as it is now, within the budget. An entry that is larger than what is
// left of it makes place for smaller ones behind it.
func (s *Service) load(ctx context.Context, p Place, found []recall.Hit, q Search) ([]Hit, error) {
	ids := make([]string, len(found))
	for i, h := range found {
		ids[i] = h.ID
	}
	if len(ids) == 0 {
		return nil, nil
	}
	records, err := s.cfg.Store.ReadMemories(ctx, p, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Record, len(records))
	for _, r := range records {
		byID[r.ID] = r
	}
	var hits []Hit
	left := q.Tokens
	for _, h := range found {
		r, ok := byID[h.ID]
		if !ok {
			continue // forgotten meanwhile
		}
		e, err := entryOf(r)
		if err != nil {
			return nil, err
		}
		if q.sight != nil && !q.sight.sees(&e.Content) || q.Tokens > 0 && e.Tokens() > left {
			continue // it was changed meanwhile, or is too long
		}
		left -= e.Tokens()
		hits = append(hits, Hit{e, h.Score, h.Share, h.Parts})
	}
	return hits, nil
}

// allows says whether an entry is one of those that are looked for.
func (f *Filter) allows(c *Content, at int64) bool {
	switch {
	case len(f.Scopes) > 0 && !slices.Contains(f.Scopes, c.Scope),
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, c.Kind),
		f.Session != "" && f.Session != c.Source.Session,
		f.NotSession != "" && f.NotSession == c.Source.Session,
		f.From != 0 && c.when() < f.From,
		f.Until != 0 && c.when() >= f.Until,
		f.same != nil && !f.same(c),
		!f.Superseded && (c.ValidFrom > at || c.ValidUntil != 0 && c.ValidUntil <= at):
		return false
	}
	for _, l := range f.Labels {
		if !slices.Contains(c.Labels, l) {
			return false
		}
	}
	for _, l := range f.Without {
		if slices.Contains(c.Labels, l) {
			return false
		}
	}
	for k, v := range f.Metadata {
		if have, ok := c.Metadata[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// when is the time of what an entry says, as the ranking has it.
func (c *Content) when() int64 { return cmp.Or(c.Source.At, c.ValidFrom, c.created) }

// milli is a time in Unix milliseconds.
func milli(t time.Time) int64 { return t.UnixMilli() }

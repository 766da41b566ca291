package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
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
	NotSession string              // of the session, none
	WrittenBy  string              // what a principal of this id wrote last, or is named the author of; not what sessions say
	WriterKind stead.PrincipalKind // of WrittenBy: user or service; "": either. Whoever is named the author is taken for a user
	From       int64               // said or happened at or after, Unix milliseconds; what does not say when, from when it is valid, or was written
	Until      int64               // … before
	Superseded bool                // also what is not valid at the search's time

	same func(*Content) bool // nil: any
	then bool                // somebody asks what was known at a time: what does not say since when it holds holds since it was said
}

// Check refuses what selects nothing by a mistake. path names a field for whoever asked.
func (f *Filter) Check(path func(field string) string) error {
	for i, k := range f.Kinds {
		if !slices.Contains(Kinds(), k) {
			name := fmt.Sprintf("%s[%d]", path("kinds"), i)
			return stead.Invalid(name, "%s must be one of %q, not %.40q", name, Kinds(), k)
		}
	}
	for i, s := range f.Scopes {
		name := fmt.Sprintf("%s[%d]", path("scopes"), i)
		if !slices.Contains(ScopeTypes(), s.Type) {
			return stead.Invalid(name+".type", "%s.type must be one of %q, not %.40q", name, ScopeTypes(), s.Type)
		}
		if (s.ID == "") != (s.Type == ScopeProject) {
			return stead.Invalid(name+".id", "%s.id: every scope has one but that of the project", name)
		}
	}
	if f.From != 0 && f.Until != 0 && f.Until <= f.From {
		return stead.Invalid(path("until"), "%s must be after %s", path("until"), path("from"))
	}
	return nil
}

// Search is what is looked for.
type Search struct {
	Query   string
	Filter  Filter
	AsOf    int64 // Unix milliseconds: "last spring" is seen from there, and so is what is valid; 0: now
	Limit   int   // hits; 0: DefaultHits
	Tokens  int   // budget of all hits together, and of what stands around them; 0: none
	Around  int   // entries before and after each hit in its conversation; see MaxAround
	Explain bool

	vector  []byte // of Query, packed; nil: none
	sight   *sight // nil: all of the store is seen
	at, now int64  // AsOf, and the time of the search
}

// Found is what a search found, and how.
type Found struct {
	Hits    []Hit    // best first
	Method  string   // MethodLexical or MethodHybrid
	Why     string   // vectors were to be compared, and were not, for this reason; "": they were, or there are none
	LeftOut int      // hits, and entries around them, that had no room in Tokens
	Gone    []string // stores that were left out: they are not there, or may not be read
	More    int      // hits behind the last one that Limit allows, as far as they were looked for
}

// Hit is an entry that was found.
type Hit struct {
	Entry
	Score float64
	Fit   float64       // 0 … 1: how well it fits, to compare between searches; see recall.Hit
	Parts *recall.Parts // with Explain
	Rank  int           // from 1, in its store

	Excerpt bool        // Text is the part around the query's words: all of it had no room in Tokens
	Part    Part        // which one
	Around  []Neighbour // in the order of the conversation
}

// Search finds entries, best first. It sees every write that was answered before it began.
func (s *Service) Search(ctx context.Context, p stead.Principal, store string, q Search) (Found, error) {
	return s.SearchMany(ctx, p, Many{Search: q, Stores: []string{store}})
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
	if q.Around < 0 || q.Around > MaxAround {
		return stead.Invalid("context", "context must be from 0 to %d", MaxAround)
	}
	return nil
}

// find searches a store without asking policy. Without a vector words alone are looked for.
func (s *Service) find(ctx context.Context, place Place, q Search) ([]Hit, error) {
	var found []recall.Hit
	err := s.shelves.With(ctx, place, func(x shelf) {
		found = x.Search(recall.Query[facets]{
			Text: q.Query, Vector: q.vector, Now: q.at, Limit: q.Limit + x.spare(q.Limit), Spread: true, From: facets.from, Explain: q.Explain, Allow: q.lets(x), See: q.sight.see(),
		})
		found = x.current(found, &q)
	})
	if err != nil {
		return nil, err
	}
	return s.load(ctx, place, found, q)
}

// lets says which entries of a shelf are looked for.
func (q *Search) lets(x shelf) func(facets) bool {
	scopes := x.numbers(q.Filter.Scopes)
	return func(f facets) bool {
		if len(q.Filter.Scopes) > 0 && !slices.Contains(scopes, f.scope) {
			return false
		}
		return q.Filter.allows(f.content, q.at) && (f.expires == 0 || f.expires > q.now)
	}
}

// load reads what was found, as it is now.
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
	for _, h := range found {
		r, ok := byID[h.ID]
		if !ok {
			continue // forgotten meanwhile
		}
		e, err := entryOf(r)
		if err != nil {
			return nil, err
		}
		if q.sight != nil && !q.sight.sees(&e.Content) {
			continue // it was changed meanwhile
		}
		hits = append(hits, Hit{Entry: e, Score: h.Score, Fit: h.Fit, Parts: h.Parts})
	}
	return hits, nil
}

// writtenBy reports whether somebody wrote it last, or is named its author: see Filter.WrittenBy.
func (c *Content) writtenBy(id string, of stead.PrincipalKind) bool {
	kind, by, _ := strings.Cut(c.WrittenBy, ":")
	if c.Source.Session != "" && (c.Kind == KindItem || len(c.Sources) > 0) { // who took it in did not say it
		return false
	}
	wrote := by == id && stead.PrincipalKind(kind) != stead.PrincipalAgent && (of == "" || string(of) == kind)
	return wrote || c.Source.Author == id && c.Source.Session == "" && of != stead.PrincipalService
}

// allows says whether an entry is one of those that are looked for.
func (f *Filter) allows(c *Content, at int64) bool {
	from := c.ValidFrom
	if said := c.when(); f.then && from == 0 && (c.ValidUntil == 0 || said < c.ValidUntil) { // else it was told of when it was over
		from = said
	}
	switch {
	case len(f.Scopes) > 0 && !slices.Contains(f.Scopes, c.Scope),
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, c.Kind),
		f.Session != "" && f.Session != c.Source.Session,
		f.NotSession != "" && f.NotSession == c.Source.Session,
		f.WrittenBy != "" && !c.writtenBy(f.WrittenBy, f.WriterKind),
		f.From != 0 && c.when() < f.From,
		f.Until != 0 && c.when() >= f.Until,
		f.same != nil && !f.same(c),
		!f.Superseded && (from > at || c.ValidUntil != 0 && c.ValidUntil <= at):
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

// Valid reports whether what an entry says holds now.
func (s *Service) Valid(e Entry) bool {
	now := milli(s.cfg.Now())
	return (&Filter{}).allows(&e.Content, now)
}

// when is the time of what an entry says, as the ranking has it.
func (c *Content) when() int64 { return cmp.Or(c.Source.At, c.ValidFrom, c.created) }

// milli is a time in Unix milliseconds.
func milli(t time.Time) int64 { return t.UnixMilli() }

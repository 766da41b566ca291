package vectorstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
)

// Search is what is looked for.
type Search struct {
	Queries []string // a passage counts by the one that it fits best
	Filter  Filter
	Limit   int             // passages; 0: DefaultResults
	Least   float64         // score that a passage must have, 0 … 1
	Balance *recall.Balance // of words and vectors; nil: the usual one
}

// Result is a passage that was found.
type Result struct {
	File  File
	Score float64 // 0 … 1: see recall.Hit.Share
	passage.Passage
}

// Show notes that the session in the name of which the service acts is about to be shown results: see memory.Showings.
func (s *Service) Show(ctx context.Context, project stead.ProjectID, store string, results []Result) error {
	refs := make([]memory.Ref, len(results))
	for i, r := range results {
		refs[i] = memory.Ref{Store: filesOf(project, store).Store, ID: r.File.ID}
	}
	return s.within.Show(ctx, s.cfg.Records, s.now(), refs)
}

// Search finds passages, best first.
func (s *Service) Search(ctx context.Context, p stead.Principal, store string, q Search) ([]Result, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.Balance != nil && s.cfg.Embedding == nil {
		e := stead.Invalid("ranking_options.hybrid_search", "there are no embeddings to weigh: hybrid_search can't be set")
		e.Hint = "Configure a model for them: memory.embeddings.model."
		return nil, e
	}
	d, err := s.open(ctx, p, policy.VectorStoreRead, store)
	if err != nil {
		return nil, err
	}
	found, err := s.search(ctx, p, store, q)
	if err != nil {
		return nil, err
	}
	s.touch(ctx, d)
	return found, nil
}

// search looks again where a document that it had chosen was replaced by a newer version while it looked: neither of the
// two might be found.
func (s *Service) search(ctx context.Context, p stead.Principal, store string, q Search) (found []Result, err error) {
	v := s.sight(ctx, p, store)
	files, err := s.selected(ctx, v, store, q.Filter)
	for range maxLooks {
		if err != nil || len(files) == 0 {
			return nil, err
		}
		hits, err := s.hits(ctx, p, store, q, files)
		if err == nil {
			found, err = s.load(ctx, p.Project, store, hits, files)
		}
		if err != nil || !sourced(files) {
			return found, err
		}
		now, err := s.selected(ctx, v, store, q.Filter)
		if err != nil {
			return nil, err
		}
		same := true
		for attachment := range files {
			_, there := now[attachment]
			same = same && there
		}
		if same {
			return found, nil
		}
		files = now
	}
	return found, err
}

// maxLooks is how often a search begins anew while documents change.
const maxLooks = 3

// sourced reports whether there are documents of sources.
func sourced(files map[string]File) bool {
	for _, f := range files {
		if f.Origin != nil {
			return true
		}
	}
	return false
}

func (q *Search) check() error {
	if len(q.Queries) < 1 || len(q.Queries) > MaxQueries {
		return stead.Invalid("query", "query must be 1 to %d texts", MaxQueries)
	}
	for _, text := range q.Queries {
		if text == "" || len(text) > MaxQueryBytes {
			return stead.Invalid("query", "a query must be 1 to %d bytes", MaxQueryBytes)
		}
	}
	if q.Limit = cmp.Or(q.Limit, DefaultResults); q.Limit < 1 || q.Limit > MaxResults {
		return stead.Invalid("max_num_results", "max_num_results must be from 1 to %d", MaxResults)
	}
	left := MaxFilters
	return q.Filter.check(1, &left)
}

// selected returns the files that are searched, by their attachments.
func (s *Service) selected(ctx context.Context, v *sight, store string, filter Filter) (map[string]File, error) {
	files := map[string]File{}
	err := s.tables.With(ctx, filesOf(v.ask.Principal.Project, store), func(t *table) {
		for _, file := range t.files {
			if file.Status == Completed && filter.allows(file.Attributes) && v.sees(file) {
				files[file.Attachment] = file
			}
		}
	})
	return files, cmp.Or(err, v.err)
}

type hit struct {
	id    string
	score float64
}

// hits are the best passages of all queries together. A query whose vector is not there in time is searched by its words.
func (s *Service) hits(ctx context.Context, p stead.Principal, store string, q Search, files map[string]File) ([]hit, error) {
	vectors := make([][]byte, len(q.Queries))
	for i, text := range q.Queries {
		var why string
		if vectors[i], why = s.cfg.Embedding.Query(ctx, s.within.Asker(p), text); why != "" {
			s.cfg.Log.Debug("a vector store is searched by words alone", "store", store, "reason", why)
			break // one wait is enough
		}
	}
	best := map[string]float64{} // passage → score
	err := s.index.With(ctx, passagesOf(p.Project, store), func(x *index) {
		for i, text := range q.Queries {
			for _, h := range x.Search(recall.Query[origin]{Text: text, Vector: vectors[i], Balance: q.Balance, Limit: q.Limit, See: func(o origin) bool {
				_, ok := files[o.attachment]
				return ok
			}}) {
				if h.Share >= q.Least {
					best[h.ID] = max(best[h.ID], h.Share)
				}
			}
		}
	})
	out := make([]hit, 0, len(best))
	for id, score := range best {
		out = append(out, hit{id, score})
	}
	slices.SortFunc(out, func(a, b hit) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id)) })
	return out[:min(q.Limit, len(out))], err
}

// load reads what was found, as it is now.
func (s *Service) load(ctx context.Context, project stead.ProjectID, store string, hits []hit, files map[string]File) ([]Result, error) {
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i] = h.id
	}
	if len(ids) == 0 {
		return nil, nil
	}
	records, err := s.cfg.Records.ReadMemories(ctx, passagesOf(project, store), ids)
	if err != nil {
		return nil, err
	}
	found := make(map[string]storedPassage, len(records))
	for _, r := range records {
		if found[r.ID], err = passageOf(r); err != nil {
			return nil, err
		}
	}
	out := make([]Result, 0, len(hits))
	for _, h := range hits {
		if p, ok := found[h.id]; ok { // else it was forgotten meanwhile
			out = append(out, Result{files[p.Attachment], h.score, p.Passage})
		}
	}
	return out, nil
}

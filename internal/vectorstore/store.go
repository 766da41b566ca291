package vectorstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

const storeKind document.Kind = "vector store"

// touchInterval is how far last_active_at may be behind: a search is no write, but for one in so long.
const touchInterval = time.Hour

// Fields is what is said about a store.
type Fields struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	LifeDays    int               `json:"life_days,omitempty"` // after it was last active; 0: for ever
}

// Counts says how many files there are in each state.
type Counts struct{ InProgress, Completed, Failed, Cancelled int }

// Total is how many files there are.
func (c Counts) Total() int { return c.InProgress + c.Completed + c.Failed + c.Cancelled }

func (c *Counts) add(s Status) {
	switch s {
	case InProgress:
		c.InProgress++
	case Completed:
		c.Completed++
	case Failed:
		c.Failed++
	case Cancelled:
		c.Cancelled++
	}
}

// Store is a vector store.
type Store struct {
	ID           string
	CreatedAt    int64 // Unix milliseconds, as all times
	LastActiveAt int64
	ExpiresAt    int64 // 0: never
	Expired      bool
	Files        Counts
	Bytes        int64 // of all passages
	Fields
}

// storedStore is the data of a store's document, whose UpdatedAt is when it was last active.
type storedStore struct {
	Fields
	Expired bool `json:"expired,omitempty"`
}

func (f Fields) check() error {
	if utf8.RuneCountInString(f.Name) > stead.MaxNameRunes {
		return stead.Invalid("name", "name must have at most %d characters", stead.MaxNameRunes)
	}
	if utf8.RuneCountInString(f.Description) > maxDescriptionRunes {
		return stead.Invalid("description", "description must have at most %d characters", maxDescriptionRunes)
	}
	if f.LifeDays < 0 || f.LifeDays > MaxLifeDays {
		return stead.Invalid("expires_after.days", "expires_after.days must be from 1 to %d", MaxLifeDays)
	}
	return nil
}

func storeKey(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: storeKind, ID: id}
}

// fill sets what follows from the data and from when the store was active.
func fill(d *document.Document, data storedStore, active int64) error {
	var err error
	if d.Data, err = json.Marshal(data); err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode a vector store")
	}
	d.UpdatedAt, d.ExpiresAt = active, 0
	if data.LifeDays > 0 && !data.Expired {
		d.ExpiresAt = active + (time.Duration(data.LifeDays) * 24 * time.Hour).Milliseconds()
	}
	return nil
}

// CreateStore makes a store with files in it. With a key, the same request again gives the same store.
func (s *Service) CreateStore(ctx context.Context, p stead.Principal, f Fields, files []Attachment, key, digest string) (Store, error) {
	if err := s.allow(ctx, p, policy.VectorStoreWrite, ""); err != nil {
		return Store{}, err
	}
	if err := f.check(); err != nil {
		return Store{}, err
	}
	wanted, err := s.wanted(ctx, p, files)
	if err != nil {
		return Store{}, err
	}
	now := s.now()
	d := document.Document{Key: storeKey(p.Project, document.NewID(Prefix)), CreatedAt: now}
	if err := fill(&d, storedStore{Fields: f}, now); err != nil {
		return Store{}, err
	}
	if d, err = s.cfg.Documents.CreateDocument(ctx, d, key, digest); err != nil {
		return Store{}, err
	}
	if _, err := s.attach(ctx, p.Project, d.ID, wanted); err != nil {
		return Store{}, err
	}
	return s.storeOf(ctx, p, d)
}

func decodeStore(d document.Document) (storedStore, error) {
	var data storedStore
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return data, stead.Wrap(stead.KindInternal, err, "read vector store %s", d.ID)
	}
	return data, nil
}

// storeOf is a store as somebody sees it: without the files that are not there for them.
func (s *Service) storeOf(ctx context.Context, p stead.Principal, d document.Document) (Store, error) {
	data, err := decodeStore(d)
	if err != nil {
		return Store{}, err
	}
	out := Store{ID: d.ID, CreatedAt: d.CreatedAt, LastActiveAt: d.UpdatedAt, ExpiresAt: d.ExpiresAt, Fields: data.Fields}
	out.Expired = data.Expired || d.ExpiresAt != 0 && d.ExpiresAt <= s.now()
	if out.Expired {
		return out, nil
	}
	v := s.sight(ctx, p, d.ID)
	err = s.tables.With(ctx, filesOf(d.Project, d.ID), func(t *table) {
		for _, f := range t.files {
			if v.sees(f) {
				out.Files.add(f.Status)
				out.Bytes += f.Bytes
			}
		}
	})
	return out, cmp.Or(err, v.err)
}

// GetStore returns a store.
func (s *Service) GetStore(ctx context.Context, p stead.Principal, id string) (Store, error) {
	if err := s.allow(ctx, p, policy.VectorStoreRead, id); err != nil {
		return Store{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, storeKey(p.Project, id))
	if err != nil {
		return Store{}, err
	}
	return s.storeOf(ctx, p, d)
}

// open asks policy and returns a store's document, unless the store has expired.
func (s *Service) open(ctx context.Context, p stead.Principal, effect policy.Effect, id string) (document.Document, error) {
	if err := s.allow(ctx, p, effect, id); err != nil {
		return document.Document{}, err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, storeKey(p.Project, id))
	if err != nil {
		return d, err
	}
	if data, err := decodeStore(d); err != nil || data.Expired || d.ExpiresAt != 0 && d.ExpiresAt <= s.now() {
		e := stead.Errorf(stead.KindConflict, "vector store %.80q has expired", id)
		e.Hint = "Its files are no longer searched: make another one of them."
		return d, e
	}
	return d, nil
}

// Page selects a part of a list: what is behind After, or in front of Before, in the list's order.
type Page struct {
	After, Before string
	Limit         int
	Desc          bool
}

// ListStores returns a page of stores in the order of their creation, and whether there are more.
func (s *Service) ListStores(ctx context.Context, p stead.Principal, q Page) ([]Store, bool, error) {
	if err := s.allow(ctx, p, policy.VectorStoreRead, ""); err != nil {
		return nil, false, err
	}
	ask := document.Query{Project: p.Project, Kind: storeKind, After: q.After, Desc: q.Desc, Limit: q.Limit + 1}
	if q.Before != "" { // the page before is the one that follows in the other order, read backwards
		ask.After, ask.Desc = q.Before, !q.Desc
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, ask)
	if err != nil {
		return nil, false, err
	}
	more := len(docs) > q.Limit
	docs = docs[:min(q.Limit, len(docs))]
	if q.Before != "" {
		slices.Reverse(docs)
	}
	out := make([]Store, len(docs))
	for i, d := range docs {
		if out[i], err = s.storeOf(ctx, p, d); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

// UpdateStore changes what is said about a store, which makes it active. One that has expired stays so.
func (s *Service) UpdateStore(ctx context.Context, p stead.Principal, id string, change func(*Fields) error) (Store, error) {
	if err := s.allow(ctx, p, policy.VectorStoreWrite, id); err != nil {
		return Store{}, err
	}
	d, err := s.changeStore(ctx, storeKey(p.Project, id), func(_ document.Document, data *storedStore) error {
		if err := change(&data.Fields); err != nil {
			return err
		}
		return data.check()
	})
	if err != nil {
		return Store{}, err
	}
	return s.storeOf(ctx, p, d)
}

// changeStore changes a store's data over whatever version there is.
func (s *Service) changeStore(ctx context.Context, k document.Key, change func(document.Document, *storedStore) error) (document.Document, error) {
	var err error
	for range maxTries {
		var d document.Document
		if d, err = s.cfg.Documents.GetDocument(ctx, k); err != nil {
			return d, err
		}
		data, err := decodeStore(d)
		if err != nil {
			return d, err
		}
		active := s.now()
		if data.Expired = data.Expired || d.ExpiresAt != 0 && d.ExpiresAt <= active; data.Expired {
			active = d.UpdatedAt
		}
		if err := change(d, &data); err != nil {
			return d, err
		}
		if err := fill(&d, data, active); err != nil {
			return d, err
		}
		d.Version++
		d, err = s.cfg.Documents.UpdateDocument(ctx, d)
		if stead.KindOf(err) != stead.KindConflict {
			return d, err
		}
	}
	return document.Document{}, err
}

// touch notes that a store is active, now and then. That it can't is no reason to refuse what made it active.
func (s *Service) touch(ctx context.Context, d document.Document) {
	if s.now()-d.UpdatedAt < touchInterval.Milliseconds() {
		return
	}
	if _, err := s.changeStore(ctx, d.Key, func(document.Document, *storedStore) error { return nil }); err != nil {
		s.cfg.Log.Warn("note that a vector store is active", "store", d.ID, "error", err)
	}
}

// DeleteStore forgets a store with all of its passages; the files stay.
func (s *Service) DeleteStore(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.VectorStoreWrite, id); err != nil {
		return err
	}
	k := storeKey(p.Project, id)
	if _, err := s.cfg.Documents.GetDocument(ctx, k); err != nil {
		return err
	}
	if err := s.empty(ctx, k); err != nil {
		return err // the store is still there: try again
	}
	if err := s.cfg.Documents.DeleteDocument(ctx, k, 0); err != nil {
		return err
	}
	return s.empty(ctx, k) // of what came meanwhile
}

// empty forgets everything in a store: its passages, its files, their uses and its batches.
func (s *Service) empty(ctx context.Context, k document.Key) error {
	files, passages := filesOf(k.Project, k.ID), passagesOf(k.Project, k.ID)
	var held []string
	if err := s.tables.With(ctx, files, func(t *table) {
		for id := range t.files {
			held = append(held, id)
		}
	}); err != nil {
		return err
	}
	if s.cfg.Emptied != nil {
		if err := s.cfg.Emptied(ctx, k.Project, k.ID); err != nil {
			return err
		}
	}
	for _, id := range held {
		if err := gone(s.cfg.Documents.DeleteDocument(ctx, useKey(k.Project, k.ID, id), 0)); err != nil {
			return err
		}
	}
	if err := s.dropBatches(ctx, k); err != nil {
		return err
	}
	if err := s.cfg.Records.DropMemories(ctx, passages); err != nil {
		return err
	}
	if err := s.cfg.Records.DropMemories(ctx, files); err != nil {
		return err
	}
	s.index.Drop(passages)
	s.tables.Drop(files)
	return nil
}

// gone takes an error away that says that there is nothing to delete.
func gone(err error) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}

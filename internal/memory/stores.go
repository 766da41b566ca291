package memory

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

const storeKind document.Kind = "memory store"

// StorePrefix begins a memory store's id.
const StorePrefix = "memstore_"

// maxDescriptionRunes is the longest description of a store.
const maxDescriptionRunes = 4096

// StoreFields is what is said about a store.
type StoreFields struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// Info is a memory store.
type Info struct {
	ID        string
	CreatedAt int64 // Unix milliseconds
	UpdatedAt int64
	StoreFields
}

func storeKey(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: storeKind, ID: id}
}

func (f StoreFields) check() error {
	if n := utf8.RuneCountInString(f.Name); n < 1 || n > stead.MaxNameRunes {
		return stead.Invalid("name", "name must have 1 to %d characters", stead.MaxNameRunes)
	}
	if utf8.RuneCountInString(f.Description) > maxDescriptionRunes {
		return stead.Invalid("description", "description must have at most %d characters", maxDescriptionRunes)
	}
	return nil
}

// CreateStore makes a store. With a key, the same request again gives the same store.
func (s *Service) CreateStore(ctx context.Context, p stead.Principal, f StoreFields, key string) (Info, error) {
	if err := s.allow(ctx, p, policy.MemoryWrite, ""); err != nil {
		return Info{}, err
	}
	if err := f.check(); err != nil {
		return Info{}, err
	}
	data, err := json.Marshal(f)
	if err != nil {
		return Info{}, stead.Wrap(stead.KindInternal, err, "encode memory store")
	}
	digest, err := digestOf(f)
	if err != nil {
		return Info{}, err
	}
	now := milli(s.cfg.Now())
	d, err := s.cfg.Documents.CreateDocument(ctx, document.Document{
		Key: storeKey(p, document.NewID(StorePrefix)), CreatedAt: now, UpdatedAt: now, Data: data,
	}, key, digest)
	if err != nil {
		return Info{}, err
	}
	return infoOf(d)
}

func infoOf(d document.Document) (Info, error) {
	i := Info{ID: d.ID, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}
	if err := json.Unmarshal(d.Data, &i.StoreFields); err != nil {
		return i, stead.Wrap(stead.KindInternal, err, "read memory store %s", d.ID)
	}
	return i, nil
}

// GetStore returns a store.
func (s *Service) GetStore(ctx context.Context, p stead.Principal, id string) (Info, error) {
	d, err := s.open(ctx, p, policy.MemoryRead, id)
	if err != nil {
		return Info{}, err
	}
	return infoOf(d)
}

// ListStores returns a page of stores, and whether there are more.
func (s *Service) ListStores(ctx context.Context, p stead.Principal, after string, limit int, desc bool) ([]Info, bool, error) {
	if err := s.allow(ctx, p, policy.MemoryRead, ""); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: storeKind, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	out := make([]Info, min(limit, len(docs)))
	for i := range out {
		if out[i], err = infoOf(docs[i]); err != nil {
			return nil, false, err
		}
	}
	return out, len(docs) > limit, nil
}

// UpdateStore changes what is said about a store.
func (s *Service) UpdateStore(ctx context.Context, p stead.Principal, id string, change func(*StoreFields) error) (Info, error) {
	d, err := s.open(ctx, p, policy.MemoryWrite, id)
	if err != nil {
		return Info{}, err
	}
	i, err := infoOf(d)
	if err != nil {
		return Info{}, err
	}
	if err := change(&i.StoreFields); err != nil {
		return Info{}, err
	}
	if err := i.check(); err != nil {
		return Info{}, err
	}
	if d.Data, err = json.Marshal(i.StoreFields); err != nil {
		return Info{}, stead.Wrap(stead.KindInternal, err, "encode memory store")
	}
	d.Version++
	d.UpdatedAt = milli(s.cfg.Now())
	if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err != nil {
		return Info{}, err
	}
	return infoOf(d)
}

// DeleteStore forgets a store with everything in it. What is written to it meanwhile goes too: a writer
// looks whether its store is still there when it has written. Whoever does not see all of it can't forget all of it.
func (s *Service) DeleteStore(ctx context.Context, p stead.Principal, id string) error {
	d, err := s.open(ctx, p, policy.MemoryWrite, id)
	if err != nil {
		return err
	}
	place := Place{p.Project, id}
	if err := s.seesAll(ctx, p, place); err != nil {
		return err
	}
	if err := s.cfg.Store.DropMemories(ctx, place); err != nil {
		return err // the store is still there: try again
	}
	if err := s.cfg.Documents.DeleteDocument(ctx, d.Key, 0); err != nil {
		return err
	}
	s.shelves.Drop(place)
	if err := s.cfg.Store.DropMemories(ctx, place); err != nil {
		return err
	}
	_, err = s.follow(ctx, p, p.Project, nil)
	return err
}

// seesAll refuses who does not see every entry of a store.
func (s *Service) seesAll(ctx context.Context, p stead.Principal, place Place) error {
	look := s.sight(ctx, p, place.Store)
	return s.each(ctx, Query{Place: place}, func(e *Entry) (bool, error) {
		switch {
		case look.sees(&e.Content):
			return true, nil
		case look.err != nil:
			return false, look.err
		}
		return false, stead.Errorf(stead.KindForbidden, "memory store %.80q holds memories that you may not see: who sees them may delete it", place.Store)
	})
}

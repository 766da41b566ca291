package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/memory/recall"
)

// MaxIndexed is how many entries of all stores are indexed in memory at once; stores that were not
// searched for the longest time go first, and are read again when they are searched.
const MaxIndexed = 2_000_000

// facets is what searches filter by.
type facets struct {
	content *Content // without its texts
	expires int64
}

// shelf is the index of one store.
type shelf struct {
	mu       sync.RWMutex
	index    *recall.Index[facets]
	revision int64 // that the index holds
	used     time.Time
}

// shelves are the indexes in memory.
type shelves struct {
	mu    sync.Mutex
	store Store
	now   func() time.Time
	all   map[Place]*shelf
}

func newShelves(s Store, now func() time.Time) *shelves {
	return &shelves{store: s, now: now, all: map[Place]*shelf{}}
}

// with calls search with the index of a store as the store is now.
func (s *shelves) with(ctx context.Context, p Place, search func(*recall.Index[facets])) error {
	shelf := s.of(p)
	if err := shelf.catchUp(ctx, s.store, p); err != nil {
		return err
	}
	shelf.mu.RLock()
	defer shelf.mu.RUnlock()
	search(shelf.index)
	return nil
}

func (s *shelves) of(p Place) *shelf {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[p]
	if found == nil {
		s.evict()
		found = &shelf{index: recall.New[facets]()}
		s.all[p] = found
	}
	found.used = s.now()
	return found
}

// evict makes room. It is called with the lock held.
func (s *shelves) evict() {
	total := 0
	places := make([]Place, 0, len(s.all))
	for p, shelf := range s.all {
		shelf.mu.RLock()
		total += shelf.index.Len()
		shelf.mu.RUnlock()
		places = append(places, p)
	}
	if total < MaxIndexed {
		return
	}
	slices.SortFunc(places, func(a, b Place) int { return s.all[a].used.Compare(s.all[b].used) })
	for _, p := range places[:len(places)/2+1] {
		delete(s.all, p) // whoever searches it keeps it until then
	}
}

// drop forgets the index of a store.
func (s *shelves) drop(p Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, p)
}

// catchUp brings the index to what the database holds.
func (s *shelf) catchUp(ctx context.Context, store Store, p Place) error {
	for {
		s.mu.RLock()
		after := s.revision
		s.mu.RUnlock()
		changes, err := store.MemoryChanges(ctx, p, after, MaxRecords)
		if err != nil || len(changes) == 0 {
			return err
		}
		if err := s.apply(after, changes); err != nil {
			return err
		}
		if len(changes) < MaxRecords {
			return nil
		}
	}
}

func (s *shelf) apply(after int64, changes []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision != after {
		return nil // another search did it
	}
	for _, r := range changes {
		if r.Data == nil {
			s.index.Remove(r.ID)
		} else if err := s.put(r); err != nil {
			return err
		}
		s.revision = r.Revision
	}
	return nil
}

func (s *shelf) put(r Record) error {
	e, err := entryOf(r)
	if err != nil {
		return err
	}
	kept := e.Content
	kept.Text, kept.Caption = "", ""
	session := ""
	if e.Kind == KindItem || e.Kind == KindPassage { // a fact has no neighbours: it is understood on its own
		session = e.Source.Session
	}
	s.index.Put(recall.Entry[facets]{
		ID: e.ID, Text: e.Text, Caption: e.Caption, Author: e.Source.Author, Session: session, Place: e.Source.Index,
		At: cmp.Or(e.Source.At, e.ValidFrom, e.CreatedAt), Importance: e.Importance, Facets: facets{&kept, r.ExpiresAt},
	})
	return nil
}

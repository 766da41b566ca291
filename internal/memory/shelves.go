package memory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Shelf is what is kept in memory of one place, made of its records: an index, a table.
type Shelf interface {
	// Apply takes in a record as it is now; Data nil: it was forgotten.
	Apply(r Record) error
	// Len is how many records it holds.
	Len() int
}

// Shelves keep a Shelf a place, each brought to what the database holds before it is used. They are
// caches: what was not used for the longest time goes when there are more than max records in all, and
// is read again. Safe for concurrent use.
type Shelves[S Shelf] struct {
	mu    sync.Mutex
	store Store
	now   func() time.Time
	max   int
	make  func() S
	all   map[Place]*shelved[S]
}

type shelved[S Shelf] struct {
	mu       sync.RWMutex
	shelf    S
	revision int64 // that the shelf holds
	used     time.Time
}

// NewShelves makes them empty.
func NewShelves[S Shelf](s Store, now func() time.Time, max int, empty func() S) *Shelves[S] {
	return &Shelves[S]{store: s, now: now, max: max, make: empty, all: map[Place]*shelved[S]{}}
}

// With calls read with the shelf of a place as the database is now. read must not keep or change it.
func (s *Shelves[S]) With(ctx context.Context, p Place, read func(S)) error {
	kept := s.of(p)
	if err := kept.catchUp(ctx, s.store, p); err != nil {
		return err
	}
	kept.mu.RLock()
	defer kept.mu.RUnlock()
	read(kept.shelf)
	return nil
}

// Revision is that of a place as the database is now; what With reads from then on is of it or a later one.
func (s *Shelves[S]) Revision(ctx context.Context, p Place) (int64, error) {
	kept := s.of(p)
	if err := kept.catchUp(ctx, s.store, p); err != nil {
		return 0, err
	}
	kept.mu.RLock()
	defer kept.mu.RUnlock()
	return kept.revision, nil
}

func (s *Shelves[S]) of(p Place) *shelved[S] {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[p]
	if found == nil {
		s.evict()
		found = &shelved[S]{shelf: s.make()}
		s.all[p] = found
	}
	found.used = s.now()
	return found
}

// evict makes room. It is called with the lock held.
func (s *Shelves[S]) evict() {
	total := 0
	places := make([]Place, 0, len(s.all))
	for p, kept := range s.all {
		kept.mu.RLock()
		total += kept.shelf.Len()
		kept.mu.RUnlock()
		places = append(places, p)
	}
	if total < s.max {
		return
	}
	slices.SortFunc(places, func(a, b Place) int { return s.all[a].used.Compare(s.all[b].used) })
	for _, p := range places[:len(places)/2+1] {
		delete(s.all, p) // whoever reads it keeps it until then
	}
}

// Drop forgets the shelf of a place.
func (s *Shelves[S]) Drop(p Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, p)
}

// catchUp brings the shelf to what the database holds.
func (s *shelved[S]) catchUp(ctx context.Context, store Store, p Place) error {
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

func (s *shelved[S]) apply(after int64, changes []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision != after {
		return nil // another reader did it
	}
	for _, r := range changes {
		if err := s.shelf.Apply(r); err != nil {
			return err
		}
		s.revision = r.Revision
	}
	return nil
}

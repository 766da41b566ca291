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

// Vectored is a Shelf that finds by vectors as well.
type Vectored interface {
	SetVector(id string, packed []byte) bool
	DropVectors()
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
	embed *Embedding // nil: there are no vectors
}

type shelved[S Shelf] struct {
	mu       sync.RWMutex
	shelf    S
	revision int64 // that the shelf holds
	used     time.Time

	space   string // of the vectors that it holds
	vectors int64  // revision up to which it has them
}

// NewShelves makes them empty. With an Embedding, those that are Vectored get the vectors of their records.
func NewShelves[S Shelf](s Store, now func() time.Time, max int, empty func() S, embed *Embedding) *Shelves[S] {
	return &Shelves[S]{store: s, now: now, max: max, make: empty, all: map[Place]*shelved[S]{}, embed: embed}
}

// With calls read with the shelf of a place as the database is now. read must not keep or change it.
func (s *Shelves[S]) With(ctx context.Context, p Place, read func(S)) error {
	kept := s.of(p)
	if err := kept.catchUp(ctx, s.store, p); err != nil {
		return err
	}
	if space := s.embed.space(); space != "" {
		if err := kept.catchUpVectors(ctx, s.store, p, space); err != nil {
			return err
		}
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

// catchUpVectors brings the shelf the vectors that the database has by now, of records that it holds. They are stored
// in the order of their revisions, so that none comes behind one that was read.
func (s *shelved[S]) catchUpVectors(ctx context.Context, store Store, p Place, space string) error {
	shelf, ok := any(s.shelf).(Vectored)
	if !ok {
		return nil
	}
	for {
		s.mu.RLock()
		was, after, upTo := s.space, s.vectors, s.revision
		s.mu.RUnlock()
		if was != space {
			s.changeSpace(shelf, space)
			continue
		}
		found, err := store.VectorChanges(ctx, p, space, after, upTo, MaxRecords)
		if err != nil || len(found) == 0 {
			return err
		}
		s.takeVectors(shelf, space, after, found)
		if len(found) < MaxRecords {
			return nil
		}
	}
}

func (s *shelved[S]) takeVectors(shelf Vectored, space string, after int64, found []Vector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.space != space || s.vectors != after {
		return // another reader did it
	}
	for _, v := range found {
		shelf.SetVector(v.ID, v.Data)
		s.vectors = v.Revision
	}
}

// changeSpace takes away the vectors of another model.
func (s *shelved[S]) changeSpace(shelf Vectored, space string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.space != space {
		shelf.DropVectors()
		s.space, s.vectors = space, 0
	}
}

package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Erasing is what of memory is erased, with a proof: an entry, or a scope in one store or all of them.
type Erasing struct {
	Store string // "": all, of a scope
	ID    string // of an entry
	Scope Scope  // where there is no ID
}

// String names it: STORE/ENTRY, TYPE:ID of a scope ("project" has no id), or STORE/TYPE:ID.
func (x Erasing) String() string {
	if x.ID != "" {
		return x.Store + "/" + x.ID
	}
	name := x.Scope.Type
	if x.Scope.ID != "" {
		name += ":" + x.Scope.ID
	}
	if x.Store != "" {
		name = x.Store + "/" + name
	}
	return name
}

// ErasingOf is the inverse of String.
func ErasingOf(name string) Erasing {
	var x Erasing
	if store, rest, in := strings.Cut(name, "/"); in && strings.HasPrefix(store, StorePrefix) {
		x.Store, name = store, rest
	}
	if x.Store != "" && strings.HasPrefix(name, Prefix) {
		x.ID = name
		return x
	}
	x.Scope.Type, x.Scope.ID, _ = strings.Cut(name, ":")
	return x
}

// check says what is wrong with it.
func (x Erasing) check() error {
	switch {
	case x.ID != "" && x.Store == "":
		return stead.Invalid("memory_store_id", "memory_store_id says which store the memory is of")
	case x.ID != "":
		return nil
	case !slices.Contains(ScopeTypes(), x.Scope.Type):
		return stead.Invalid("scope.type", "scope.type must be one of %q, not %.40q", ScopeTypes(), x.Scope.Type)
	case (x.Scope.ID == "") != (x.Scope.Type == ScopeProject):
		return stead.Invalid("scope.id", "every scope but that of the project has an id")
	}
	return nil
}

// MayErase is the error of what may not be erased: nothing is erased in part, so whoever asks must see and write all of it.
func (s *Service) MayErase(ctx context.Context, p stead.Principal, x Erasing) error {
	if err := x.check(); err != nil {
		return err
	}
	if x.ID != "" {
		if _, err := s.open(ctx, p, policy.MemoryWrite, x.Store); err != nil {
			return err
		}
		e, err := s.Get(ctx, p, x.Store, x.ID)
		if err == nil {
			err = s.sight(ctx, p, x.Store).mayWrite(&e.Content)
		}
		return err
	}
	stores, err := s.erased(ctx, p, x)
	if err != nil {
		return err
	}
	for _, store := range stores {
		if err := s.writesScope(ctx, p, store, x.Scope); err != nil {
			return err
		}
	}
	return nil
}

// erased are the stores that a scope is erased in.
func (s *Service) erased(ctx context.Context, p stead.Principal, x Erasing) ([]string, error) {
	if err := s.forgettable(p, &Filter{Scopes: []Scope{x.Scope}}); err != nil {
		return nil, err
	}
	if x.Store == "" {
		return s.openAll(ctx, p)
	}
	_, err := s.open(ctx, p, policy.MemoryWrite, x.Store)
	return []string{x.Store}, err
}

// writesScope refuses who does not see and write all that a store has of a scope.
func (s *Service) writesScope(ctx context.Context, p stead.Principal, store string, scope Scope) error {
	look := s.sight(ctx, p, store)
	return s.each(ctx, Query{Place: Place{p.Project, store}}, func(e *Entry) (bool, error) {
		switch {
		case e.Scope != scope, look.sees(&e.Content) && look.writes(&e.Content):
			return true, nil
		case look.err != nil:
			return false, look.err
		}
		return false, stead.Errorf(stead.KindForbidden, "memory store %.80q holds memories of that scope that you may not see or forget: who may erases it", store)
	})
}

// Book is where an erasure is written down, so that its list is whole whoever dies: before it goes, and when it is gone.
type Book struct {
	Means    func([]Ref) error      // these are about to go. Whoever goes on after a death gives them to EraseNow, if Went has not been told
	Went     func(gone []Ref) error // those of them that went
	Counting                        // of what was made of them
}

// EraseNow forgets what was asked for, and what was made of it, whoever sees it by now: that was asked before. begun is what a try meant that
// did not get to tell that it went, and made the same of what was made of it. It may be called again.
func (s *Service) EraseNow(ctx context.Context, p stead.Principal, x Erasing, begun, made []Ref, b Book) error {
	if err := x.check(); err != nil {
		return err
	}
	stores, err := []string{x.Store}, s.allow(ctx, p, policy.MemoryWrite, x.Store)
	if x.ID == "" {
		stores, err = s.erased(ctx, p, x)
	}
	if err != nil {
		return err
	}
	if err := s.Counted(ctx, p.Project, made, b.Counting); err != nil {
		return err
	}
	for len(begun) > 0 {
		n := slices.IndexFunc(begun, func(r Ref) bool { return r.Store != begun[0].Store })
		if n < 0 {
			n = len(begun)
		}
		if err := s.eraseRefs(ctx, p, x, begun[:n], b); err != nil {
			return err
		}
		begun = begun[n:]
	}
	for _, store := range stores {
		if err := s.eraseIn(ctx, p, x, store, b); err != nil {
			return err
		}
	}
	_, err = s.follow(ctx, p, p.Project, &b.Counting) // behind all of them: what is meant itself goes as such
	return err
}

// means reports whether an entry is one of those that are to be erased.
func (x Erasing) means(e *Entry) bool {
	return e.ID == x.ID || x.ID == "" && e.Scope == x.Scope
}

// eraseIn erases what a store has of it, step by step.
func (s *Service) eraseIn(ctx context.Context, p stead.Principal, x Erasing, store string, b Book) error {
	place := Place{p.Project, store}
	q := Query{Place: place, Limit: MaxChanges}
	for {
		var records []Record
		var err error
		if x.ID != "" {
			records, err = s.cfg.Store.ReadMemories(ctx, place, []string{x.ID})
		} else {
			records, err = s.cfg.Store.ListMemories(ctx, q)
		}
		if err != nil {
			return err
		}
		var refs []Ref
		for _, r := range records {
			e, err := entryOf(r)
			if err != nil {
				return err
			}
			if q.After = r.ID; x.means(&e) && s.mayHold(p, &e.Content) == nil {
				refs = append(refs, Ref{store, r.ID})
			}
		}
		if len(refs) > 0 {
			if err := b.Means(refs); err != nil {
				return err
			}
			if err := s.eraseRefs(ctx, p, x, refs, b); err != nil {
				return err
			}
		}
		if x.ID != "" || len(records) < q.Limit {
			return nil
		}
	}
}

// eraseRefs erases entries of one store that are noted, and says which are gone: not those that somebody moved to another scope meanwhile. What
// was learned from an item goes before it, so that a death in between leaves the way to the rest.
func (s *Service) eraseRefs(ctx context.Context, p stead.Principal, x Erasing, refs []Ref, b Book) error {
	place := Place{p.Project, refs[0].Store}
	ids := make([]string, len(refs))
	for i, r := range refs {
		ids[i] = r.ID
	}
	records, err := s.cfg.Store.ReadMemories(ctx, place, ids)
	if err != nil {
		return err
	}
	meant := func(_ Record, e Entry) bool { return x.means(&e) }
	var items []Entry
	for _, r := range records {
		e, err := entryOf(r)
		if err != nil {
			return err
		}
		if meant(r, e) {
			items = append(items, e)
		}
	}
	rest := func(r Record) (bool, error) { // what is erased itself goes as such
		e, err := entryOf(r)
		return err == nil && !x.in(&e), err
	}
	if err := s.derivedFrom(ctx, p, items, func(string) func(Record) (bool, error) { return rest }, &b.Counting); err != nil {
		return err
	}
	for _, r := range records {
		if _, err := s.remove(ctx, r, milli(s.cfg.Now()), false, meant); err != nil {
			return err
		}
	}
	gone, err := s.gone(ctx, p.Project, refs)
	if err != nil {
		return err
	}
	return b.Went(gone)
}

// in reports whether an entry, of whichever store, comes to be erased itself.
func (x Erasing) in(e *Entry) bool { return (x.Store == "" || x.Store == e.Store) && x.means(e) }

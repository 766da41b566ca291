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
	q := Query{Place: Place{p.Project, store}, Limit: MaxRecords}
	for {
		records, err := s.cfg.Store.ListMemories(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range records {
			e, err := entryOf(r)
			if q.After = r.ID; err != nil || e.Scope != scope {
				continue
			}
			switch {
			case look.sees(&e.Content) && look.writes(&e.Content):
			case look.err != nil:
				return look.err
			default:
				return stead.Errorf(stead.KindForbidden, "memory store %.80q holds memories of that scope that you may not see or forget: who may erases it", store)
			}
		}
		if len(records) < q.Limit {
			return nil
		}
	}
}

// EraseNow forgets what was asked for, and what was made of it, whoever sees it by now: that was asked before. each is told of every entry
// that was meant; the number is that of all that went. It may be called again.
func (s *Service) EraseNow(ctx context.Context, p stead.Principal, x Erasing, each func(Ref)) (int, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	in := *s
	in.forgets = each
	if x.ID == "" {
		stores, err := in.erased(ctx, p, x)
		n := 0
		for _, store := range stores {
			if err != nil {
				break
			}
			var some int
			some, err = in.forgetIn(ctx, p, store, Filter{Scopes: []Scope{x.Scope}}, nil)
			n += some
		}
		return n, err
	}
	place := Place{p.Project, x.Store}
	if err := s.allow(ctx, p, policy.MemoryWrite, x.Store); err != nil {
		return 0, err
	}
	found, err := s.cfg.Store.ReadMemories(ctx, place, []string{x.ID})
	if err != nil {
		return 0, err
	}
	n, err := in.forgetOf(ctx, p, place, found, &Filter{Superseded: true}, nil)
	if err != nil {
		return n, err
	}
	more, err := s.follow(ctx, p, p.Project)
	return n + more.Removed, err
}

package memory

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// ForgetEverywhere is ForgetMatching in every store of the project, and says in how many stores something was forgotten. One that the
// principal may not write to ends it with that error before anything is forgotten.
func (s *Service) ForgetEverywhere(ctx context.Context, p stead.Principal, f Filter) (forgotten, stores int, err error) {
	return s.forgetEverywhere(ctx, p, f, func(store string) *sight { return s.sight(ctx, p, store) }, nil)
}

// Erase is ForgetEverywhere of what the principal does not see as well: nothing of a user may stay. It is told to count, as Counting has it.
func (s *Service) Erase(ctx context.Context, p stead.Principal, f Filter, count *Counting) error {
	_, _, err := s.forgetEverywhere(ctx, p, f, func(string) *sight { return nil }, count)
	return err
}

func (s *Service) forgetEverywhere(ctx context.Context, p stead.Principal, f Filter, look func(store string) *sight, count *Counting) (forgotten, stores int, err error) {
	all, err := s.openAll(ctx, p)
	if err == nil {
		err = s.forgettable(p, &f)
	}
	if err != nil {
		return 0, 0, err
	}
	for _, store := range all {
		n, err := s.forgetIn(ctx, p, store, f, look(store), count)
		if forgotten += n; n > 0 {
			stores++
		}
		if err != nil {
			return forgotten, stores, err
		}
	}
	return forgotten, stores, nil
}

// openAll are the stores of the project, all of which may be written to.
func (s *Service) openAll(ctx context.Context, p stead.Principal) ([]string, error) {
	if err := s.allow(ctx, p, policy.MemoryWrite, ""); err != nil {
		return nil, err
	}
	var all []string
	after := ""
	for {
		const page = 100
		list, more, err := s.ListStores(ctx, p, after, page, false)
		if err != nil {
			return nil, err
		}
		for _, st := range list {
			if err := s.allow(ctx, p, policy.MemoryWrite, st.ID); err != nil {
				return nil, err
			}
			all, after = append(all, st.ID), st.ID
		}
		if !more {
			return all, nil
		}
	}
}

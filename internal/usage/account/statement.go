package account

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// Statement says who gets what of a time's usage, by the rules of the configuration. The time has a
// beginning and an end: what is added to a time that has ended, so that it can change a statement,
// are but the records of events that happened in it and are stored later. how says what becomes of records that
// can't be. One of every project is settled as one: its cents are rounded once, and not in each project.
func (s *Service) Statement(ctx context.Context, p stead.Principal, every bool, from, to int64, how usage.Capped) (usage.Statement, error) {
	if err := s.allowWhole(ctx, p, policy.UsageRead); err != nil {
		return usage.Statement{}, err
	}
	f, rules := usage.Filter{From: from, To: to}, s.terms.Load().Rules
	switch {
	case rules == nil || len(rules.All) == 0:
		e := stead.Errorf(stead.KindNotFound, "no settlement is configured")
		e.Hint = "Write settlement: into stead.yaml."
		return usage.Statement{}, e
	case from == 0 || to == 0:
		return usage.Statement{}, stead.Invalid("from", "a statement needs from and to")
	}
	if err := f.Check(); err != nil {
		return usage.Statement{}, err
	}
	settling := usage.NewSettling(rules, how)
	err := s.all(ctx, p, every, f, func(r *usage.Record) (bool, error) { return true, settling.Add(r) })
	if err != nil {
		return usage.Statement{}, err
	}
	return settling.Statement()
}

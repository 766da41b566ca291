package budget

import (
	"context"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// State is how far the budgets are used up that are about a subject's calls at a time, for policies. A counter that no call has asked for yet is
// added up and opened, as for a reservation.
func (s *Service) State(ctx context.Context, who usage.Subject, at int64) (out policy.Budgets, err error) {
	budgets, err := s.all(ctx, who.Project)
	if err != nil {
		return out, err
	}
	of := map[string]*usage.Budget{} // counter → its budget
	var names []string
	for i := range budgets {
		if name, ok := budgets[i].Counter(who, at); ok {
			of[name] = &budgets[i]
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return out, nil
	}
	have, err := s.cfg.Store.Counters(ctx, who.Project, names)
	if err != nil {
		return out, err
	}
	for _, name := range names {
		b := of[name]
		c, known := have[name]
		if !known {
			if c.Spent, err = s.spent(ctx, b, who, at, name); err != nil {
				return out, err
			}
			if err := s.cfg.Store.Open(ctx, who.Project, name, c.Spent); err != nil {
				return out, err
			}
		}
		used := perCent(b.Limit, c.Used())
		if out.Tightest == "" || used > out.Used {
			out.Used, out.Tightest = used, b.ID
		}
		out.Exhausted = out.Exhausted || !usage.Admits(b.Limit, c.Used())
		if b.Scope == usage.ScopeSession {
			out.Session = max(out.Session, used)
		}
	}
	return out, nil
}

// perCent is of what is used up most of a limit.
func perCent(limit, used usage.Amount) int64 {
	return max(policy.PerCent(limit.Cost, used.Cost), policy.PerCent(limit.Tokens, used.Tokens), policy.PerCent(limit.Calls, used.Calls), policy.PerCent(limit.Millis, used.Millis))
}

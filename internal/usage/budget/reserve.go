package budget

import (
	"context"
	"math"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/usage"
)

// maxOpens is how often a reservation is tried again over counters that had to be opened: once is
// enough, unless a period ends in between.
const maxOpens = 3

// Reserve holds what a call may use in every budget that is about it, or says which one is used up.
func (s *Service) Reserve(ctx context.Context, ask usage.Ask) (usage.Grant, error) {
	budgets, err := s.all(ctx, ask.Project)
	if err != nil || len(budgets) == 0 {
		return usage.Grant{}, err
	}
	of := map[string]*usage.Budget{} // counter → its budget
	r := usage.Reservation{Hold: ask.Hold, Session: ask.Session, At: ask.At, Amount: ask.Amount}
	for i := range budgets {
		b := &budgets[i]
		if counter, ok := b.Counter(ask.Subject, ask.At); ok {
			limit := b.Limit
			if over, ok := ask.Over[b.ID]; ok {
				limit = usage.Wider(limit, over)
			}
			if ask.Anyway {
				limit = usage.Amount{}
			}
			of[counter] = b
			r.Claims = append(r.Claims, usage.Claim{Counter: counter, Limit: limit, Adjust: ask.Ended[counter]})
		}
	}
	if len(r.Claims) == 0 {
		return usage.Grant{}, nil
	}
	for range maxOpens {
		v, err := s.cfg.Store.Reserve(ctx, ask.Project, r)
		if err != nil {
			return usage.Grant{}, err
		}
		if v.Refused != nil {
			return usage.Grant{
				Refused: of[v.Refused.Counter], Claim: *v.Refused, Have: v.Have, Environment: ask.Environment[v.Refused.Counter],
			}, nil
		}
		if len(v.Missing) == 0 {
			break
		}
		for _, counter := range v.Missing {
			spent, err := s.spent(ctx, of[counter], ask.Subject, ask.At, counter)
			if err == nil {
				err = s.cfg.Store.Open(ctx, ask.Project, counter, spent)
			}
			if err != nil {
				return usage.Grant{}, err
			}
		}
	}
	var grant usage.Grant
	for _, c := range r.Claims {
		grant.Counters = append(grant.Counters, c.Counter)
	}
	return grant, nil
}

// spent adds up the records that a counter is about. Those of calls that still hold something are
// left out: settling their hold adds them.
func (s *Service) spent(ctx context.Context, b *usage.Budget, who usage.Subject, at int64, counter string) (usage.Amount, error) {
	var sum usage.Amount
	f := b.Records(who, at)
	q := journal.UsageQuery{Session: f.Session, From: f.From, To: f.To}
	for {
		rows, err := s.cfg.Store.UsageRows(ctx, who.Project, q)
		if err != nil {
			return sum, err
		}
		for _, row := range rows {
			r, err := usage.FromRow(who.Project, row)
			if err != nil {
				return sum, err
			}
			if c, ok := b.Counter(usage.SubjectOf(&r), r.At); ok && c == counter {
				sum = sum.Plus(usage.AmountOf(&r))
			}
			q.AfterAt, q.After = row.At, row.UsageName
		}
		if len(rows) < q.PageLimit() {
			return sum, nil
		}
	}
}

// Settle replaces holds by what was used.
func (s *Service) Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error {
	return s.cfg.Store.Settle(ctx, project, all)
}

// Ages of holds.
const (
	// sweepAge is how old a hold must be before anybody asks what became of it, in milliseconds.
	sweepAge = 60_000
	// statelessLife is how much longer than a call may take one of a stateless door may hold: its node is gone.
	statelessLife = 3_600_000
	// sweepBatch is how many holds one sweep looks at.
	sweepBatch = 256
	// maxHolds is how many holds a start looks at; later ones are the sweep's.
	maxHolds = 1 << 20
)

// Orphans settles what the stateless calls of a process held that was killed, and returns how many those were. The
// caller knows that no process has calls under way: it is the only one, and has not begun to serve.
func (s *Service) Orphans(ctx context.Context) (int, error) {
	holds, err := s.cfg.Store.Holds(ctx, math.MaxInt64, maxHolds)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, h := range holds {
		if h.Session != "" {
			continue
		}
		if err := s.orphan(ctx, h); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// orphan counts what a stateless call held whose node died: as a record, and then in the budgets. Either may be repeated.
func (s *Service) orphan(ctx context.Context, h usage.Held) error {
	if r, ok := h.Orphaned(); ok {
		row, err := r.Row()
		if err != nil {
			return err
		}
		if err := s.cfg.Store.AddUsage(ctx, h.Project, []journal.UsageRow{row}); err != nil {
			return err
		}
	}
	return s.Settle(ctx, h.Project, []usage.Settlement{{Hold: h.Hold, Used: h.Amount}})
}

// Sweep settles what a crash left held, and returns how many holds that were. Of a session that
// somebody holds the holder settles. Of others the records say what was used: a record is durable with
// its call's outcome, and names the hold. A stateless call that has held for longer than a call takes counts what it held.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	now := s.cfg.Now().UnixMilli()
	holds, err := s.cfg.Store.Holds(ctx, now-sweepAge, sweepBatch)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, h := range holds {
		if h.Session == "" {
			if now-h.At > s.cfg.CallLife.Milliseconds()+statelessLife {
				if err := s.orphan(ctx, h); err != nil {
					return n, err
				}
				n++
			}
			continue
		}
		used, over, err := s.outcome(ctx, h)
		if err == nil && over {
			err = s.cfg.Store.Settle(ctx, h.Project, []usage.Settlement{{Hold: h.Hold, Used: used}})
			n++
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// outcome says whether the call of a hold is over, and what it used.
func (s *Service) outcome(ctx context.Context, h usage.Held) (used usage.Amount, over bool, err error) {
	head, err := s.cfg.Store.Head(ctx, stead.SessionKey{Project: h.Project, Session: h.Session})
	switch {
	case stead.KindOf(err) == stead.KindNotFound: // deleted: its records are there
	case err != nil:
		return used, false, err
	case head.Holder != "":
		return used, false, nil
	}
	used, err = s.recorded(ctx, h)
	return used, err == nil, err
}

// recorded adds up the records of a session that name a hold.
func (s *Service) recorded(ctx context.Context, h usage.Held) (used usage.Amount, err error) {
	q := journal.UsageQuery{Session: h.Session, From: max(h.At-clockSkew, 1)}
	for {
		rows, err := s.cfg.Store.UsageRows(ctx, h.Project, q)
		if err != nil {
			return used, err
		}
		for _, row := range rows {
			r, err := usage.FromRow(h.Project, row)
			if err != nil {
				return used, err
			}
			if r.Hold == h.Hold {
				used = used.Plus(usage.AmountOf(&r))
			}
			q.AfterAt, q.After = row.At, row.UsageName
		}
		if len(rows) < q.PageLimit() {
			return used, nil
		}
	}
}

// SettleByRecords replaces the hold of a session's call or environment by what its records say.
func (s *Service) SettleByRecords(ctx context.Context, h usage.Held) error {
	used, err := s.recorded(ctx, h)
	if err != nil {
		return err
	}
	return s.Settle(ctx, h.Project, []usage.Settlement{{Hold: h.Hold, Used: used}})
}

// clockSkew is how far clocks of nodes may be apart, in milliseconds.
const clockSkew = 3_600_000

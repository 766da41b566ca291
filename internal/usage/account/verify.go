package account

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// MaxDifferences is the most differences that a verification names; it counts all.
const MaxDifferences = 1000

// Verification is what a verification found.
type Verification struct {
	Sessions int // whose journals were folded
	Journal  Sums
	Store    Sums // of those sessions
	// Kept are the records of sessions that are deleted, and Stateless those of calls without one:
	// there is no journal to hold them against.
	Kept, Stateless usage.Sum
	Count           int                // of all differences
	Differences     []usage.Difference // the first MaxDifferences
	Repaired        int                // records that were missing and were stored now
}

// Sums are totals by kind.
type Sums map[usage.Kind]*usage.Sum

func (s Sums) add(r *usage.Record) {
	if s[r.Kind] == nil {
		s[r.Kind] = &usage.Sum{}
	}
	s[r.Kind].Add(r)
}

// Equal reports whether two totals are the same.
func (s Sums) Equal(o Sums) bool {
	for _, k := range usage.Kinds() {
		a, b := usage.Sum{}, usage.Sum{}
		if s[k] != nil {
			a = *s[k]
		}
		if o[k] != nil {
			b = *o[k]
		}
		if a != b {
			return false
		}
	}
	return true
}

// OK reports whether the records are those of the journals: one by one, and in their sums.
func (v *Verification) OK() bool {
	return v.Count == v.Repaired && (v.Repaired > 0 || v.Journal.Equal(v.Store))
}

// Verify folds every journal of the project, or of every project that has records, anew and compares what it makes with what is stored.
// With repair it stores the records that are missing: those of a time before records were kept.
func (s *Service) Verify(ctx context.Context, p stead.Principal, every, repair bool) (*Verification, error) {
	effect := policy.UsageRead
	if repair {
		effect = policy.UsageWrite
	}
	if err := s.allowWhole(ctx, p, effect); err != nil {
		return nil, err
	}
	projects, err := s.projects(ctx, p, every)
	if err != nil {
		return nil, err
	}
	found := &Verification{Journal: Sums{}, Store: Sums{}}
	for _, project := range projects {
		v := &verifying{Service: s, project: project, repair: repair, seen: map[stead.SessionID]bool{}, found: found}
		if err := v.whole(ctx); err != nil {
			return found, err
		}
	}
	return found, nil
}

// whole goes through a project's sessions, and through its records.
func (v *verifying) whole(ctx context.Context) error {
	if err := v.sessions(ctx); err != nil {
		return err
	}
	return v.each(ctx, v.project, usage.Filter{Notes: true}, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
		switch {
		case r.Kind == usage.Feedback: // it follows from no event
		case r.Session == "":
			v.found.Stateless.Add(r)
		case !v.seen[r.Session]:
			return true, v.keep(ctx, r)
		}
		return true, nil
	})
}

type verifying struct {
	*Service
	project stead.ProjectID
	repair  bool
	seen    map[stead.SessionID]bool
	made    map[stead.SessionID]bool // sessions that were made while the others were looked at
	found   *Verification            // of all projects
}

// sessions goes through all of the project's, in order of id.
func (v *verifying) sessions(ctx context.Context) error {
	q := journal.Query{Limit: stead.MaxPageSize}
	for {
		heads, err := v.Store.Heads(ctx, v.project, q)
		if err != nil {
			return err
		}
		for _, h := range heads {
			if err := v.session(ctx, h.Key); err != nil {
				return err
			}
			q.After = h.Key.Session
		}
		if len(heads) < q.Limit {
			return nil
		}
	}
}

func (v *verifying) session(ctx context.Context, key stead.SessionKey) error {
	v.seen[key.Session] = true
	made, tail, err := v.fold(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		delete(v.seen, key.Session) // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	var stored []usage.Record
	err = v.each(ctx, v.project, usage.Filter{Session: key.Session, Notes: true}, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
		if r.Kind == usage.Feedback {
			return true, nil // it follows from no event
		}
		if _, seq, _, ok := stead.ParseDerivedID(key.Session, r.ID); !ok || seq <= tail {
			stored = append(stored, *r)
			v.found.Store.add(r)
		}
		return true, nil // an append brought it after the journal was read
	})
	if err != nil {
		return err
	}
	for i := range made {
		v.found.Journal.add(&made[i])
	}
	v.found.Sessions++
	return v.differences(ctx, usage.Compare(made, stored))
}

// fold makes the records of a journal, a page of events at a time.
func (v *verifying) fold(ctx context.Context, key stead.SessionKey) (made []usage.Record, tail stead.Seq, err error) {
	view := session.NewView(key)
	for {
		events, err := v.Store.Read(ctx, key, journal.ReadOptions{After: view.Tail})
		if err != nil {
			return nil, 0, err
		}
		for _, e := range events {
			records, err := meter.Follow(view, e)
			if err == nil {
				err = view.Apply(e)
			}
			if err != nil {
				return nil, 0, err
			}
			made = append(made, records...)
		}
		if len(events) < stead.MaxReadEvents {
			return clean(made), view.Tail, nil
		}
	}
}

// clean brings records into the form in which they are read back.
func clean(records []usage.Record) []usage.Record {
	for i := range records {
		records[i] = records[i].Clean()
	}
	return records
}

func (v *verifying) differences(ctx context.Context, found []usage.Difference) error {
	v.found.Count += len(found)
	var missing []usage.Record
	for _, d := range found {
		if len(v.found.Differences) < MaxDifferences {
			v.found.Differences = append(v.found.Differences, d)
		}
		if d.What == usage.Missing {
			missing = append(missing, *d.Journal)
		}
	}
	if !v.repair {
		return nil
	}
	for len(missing) > 0 {
		n := min(len(missing), journal.MaxUsageRows)
		rows, err := usage.Rows(missing[:n])
		if err == nil {
			err = v.Store.AddUsage(ctx, v.project, rows)
		}
		if err != nil {
			return err
		}
		v.found.Repaired += n
		missing = missing[n:]
	}
	return nil
}

// keep counts a record whose session was not looked at: it is deleted, or was made since.
func (v *verifying) keep(ctx context.Context, r *usage.Record) error {
	fresh, known := v.made[r.Session]
	if !known {
		_, err := v.Store.Head(ctx, stead.SessionKey{Project: v.project, Session: r.Session})
		if err != nil && stead.KindOf(err) != stead.KindNotFound {
			return err
		}
		if v.made == nil {
			v.made = map[stead.SessionID]bool{}
		}
		fresh = err == nil
		v.made[r.Session] = fresh
	}
	if fresh {
		return nil
	}
	v.found.Kept.Add(r)
	return nil
}

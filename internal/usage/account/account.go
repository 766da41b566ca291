// Package account answers what was used: it lists records, adds them up, and holds them against the
// journals that they follow from.
//
// Shape: Service ── journal.Usage ──▶ records ──▶ usage.Grouping ──▶ report
//
//	└─ Verify: each session's journal ── meter.Fold ──▶ records = stored records?
//
// Cost: a list reads what it shows; a report or a verification reads every record of its time range
// once, in pages, and keeps only sums.
//
// Concurrency: Service is safe for concurrent use. Verify may run while sessions are moved: a
// session's journal is read first and its records after it, so that what an append brings meanwhile
// is later than what is compared.
//
// Errors: those of the store; KindInvalid of a query; KindForbidden.
package account

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// Store is what of a database the service needs.
type Store interface {
	journal.Store
	journal.Directory
	journal.Usage
}

// Config is what the service needs; every field must be set but those that say otherwise.
type Config struct {
	Store  Store
	Policy policy.Authorizer
	// Terms are those of the configuration, until Replace.
	Terms Terms
	Now   func() time.Time
}

// Terms are what the operator agreed with others.
type Terms struct {
	// Rules are those of settlement statements; nil: there are none.
	Rules *usage.Rules
	// Commitments are of all projects together.
	Commitments []usage.Commitment
}

// Service answers for every project.
type Service struct {
	Config
	terms atomic.Pointer[Terms]
}

// New makes a service.
func New(c Config) *Service {
	s := &Service{Config: c}
	s.terms.Store(&c.Terms)
	return s
}

// Replace takes other terms: what is asked from now on is answered by them.
func (s *Service) Replace(t Terms) { s.terms.Store(&t) }

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect) error {
	_, err := policy.Check(ctx, s.Policy, policy.Request{Principal: p, Effect: effect})
	return err
}

// seen is a filter as a principal sees records: one that is bound sees its own user's.
func seen(p stead.Principal, f usage.Filter) usage.Filter {
	if p.Bound {
		f.Whose = p.ID
	}
	return f
}

// allowWhole is allow for what is about everybody's records at once.
func (s *Service) allowWhole(ctx context.Context, p stead.Principal, effect policy.Effect) error {
	err := s.allow(ctx, p, effect)
	if err == nil && p.Bound {
		err = stead.Errorf(stead.KindForbidden, "a key that is bound to its own sessions sees its own user's usage alone")
	}
	return err
}

// ListQuery asks for a page of records.
type ListQuery struct {
	usage.Filter
	After string // id of a record of this project to go on after; "": from the beginning
	Desc  bool   // the newest first
	Limit int    // 1 … stead.MaxPageSize
}

// List returns a page of records and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, q ListQuery) (page []usage.Record, more bool, err error) {
	if err := s.allow(ctx, p, policy.UsageRead); err != nil {
		return nil, false, err
	}
	if err := q.Check(); err != nil {
		return nil, false, err
	}
	q.Filter = seen(p, q.Filter)
	from, err := s.position(ctx, p.Project, q.After, q.Whose)
	if err != nil {
		return nil, false, err
	}
	from.Desc = q.Desc
	err = s.each(ctx, p.Project, q.Filter, from, func(r *usage.Record) (bool, error) {
		if more = len(page) == q.Limit; !more {
			page = append(page, *r)
		}
		return !more, nil
	})
	return page, more, err
}

// position finds the place of a record in the order of time. The id of a stateless call's holds its
// time; one that follows from an event is looked for among those of its session.
func (s *Service) position(ctx context.Context, project stead.ProjectID, id, whose string) (journal.UsageQuery, error) {
	var q journal.UsageQuery
	if id == "" {
		return q, nil
	}
	if at, ok := usage.TimeOf(id); ok {
		q.AfterAt = at
		q.After, _ = usage.NameOf("", id)
		return q, nil
	}
	if session, ok := stead.SessionOf(id); ok {
		found := false
		err := s.each(ctx, project, usage.Filter{Session: session, Whose: whose, Notes: true}, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
			found = r.ID == id
			q.AfterAt = r.At
			q.After, _ = usage.NameOf(r.Session, r.ID)
			return !found, nil
		})
		if found || err != nil {
			return q, err
		}
	}
	return q, stead.Invalid("after", "after must be the id of a usage record, not %.80q", id)
}

// each calls yield with the records that pass the filter, in the order of the query, until it says
// false or fails. It reads pages: no more than one is in memory.
func (s *Service) each(ctx context.Context, project stead.ProjectID, f usage.Filter, q journal.UsageQuery, yield func(*usage.Record) (bool, error)) error {
	q.Session, q.From, q.To = f.Session, f.From, f.To
	for {
		rows, err := s.Store.UsageRows(ctx, project, q)
		if err != nil {
			return err
		}
		for _, row := range rows {
			r, err := usage.FromRow(project, row)
			if err != nil {
				return err
			}
			q.AfterAt, q.After = row.At, row.UsageName
			if !f.Selects(&r) {
				continue
			}
			if on, err := yield(&r); err != nil || !on {
				return err
			}
		}
		if len(rows) < q.PageLimit() {
			return nil
		}
	}
}

// projects are those that a question is about: the principal's own, or every one that has records, sorted. Whoever
// lets a principal ask about every project has made sure that it may.
func (s *Service) projects(ctx context.Context, p stead.Principal, every bool) ([]stead.ProjectID, error) {
	if !every {
		return []stead.ProjectID{p.Project}, nil
	}
	return s.Store.UsageProjects(ctx)
}

// all is each over the records of several projects, one after the other.
func (s *Service) all(ctx context.Context, p stead.Principal, every bool, f usage.Filter, yield func(*usage.Record) (bool, error)) error {
	projects, err := s.projects(ctx, p, every)
	if err != nil {
		return err
	}
	for _, project := range projects {
		if err := s.each(ctx, project, f, journal.UsageQuery{}, yield); err != nil {
			return err
		}
	}
	return nil
}

// Report adds up the records that pass the filter by some dimensions, those of every project or of the principal's.
func (s *Service) Report(ctx context.Context, p stead.Principal, every bool, f usage.Filter, groupBy []string) (usage.Report, error) {
	if err := s.allow(ctx, p, policy.UsageRead); err != nil {
		return usage.Report{}, err
	}
	if err := f.Check(); err != nil {
		return usage.Report{}, err
	}
	g, err := usage.NewGrouping(groupBy)
	if err != nil {
		return usage.Report{}, err
	}
	err = s.all(ctx, p, every, seen(p, f), func(r *usage.Record) (bool, error) { return true, g.Add(r) })
	return g.Report(), err
}

package account

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// Commitments says how the operator's commitments stand, as of a time (Unix milliseconds; 0: now): each
// in the period that the time is in, over the records of all projects from before it. The sums are those
// of all projects; of a single one the principal hears its own project's part alone.
func (s *Service) Commitments(ctx context.Context, p stead.Principal, at int64) ([]usage.Standing, error) {
	if err := s.allowWhole(ctx, p, policy.UsageRead); err != nil {
		return nil, err
	}
	if at == 0 {
		at = s.Now().UnixMilli()
	}
	var all []*usage.Tracking
	var span usage.Filter // that all of them need
	terms := s.terms.Load()
	for i := range terms.Commitments {
		t := usage.NewTracking(&terms.Commitments[i], at, p.Project)
		if f, ok := t.Filter(); ok {
			if span.To == 0 {
				span.From = f.From
			}
			span.From, span.To = min(span.From, f.From), max(span.To, f.To)
		}
		all = append(all, t)
	}
	if err := s.track(ctx, all, span); err != nil {
		return nil, err
	}
	out := make([]usage.Standing, len(all))
	for i, t := range all {
		out[i] = t.Standing()
	}
	return out, nil
}

// track reads each record of the span once.
func (s *Service) track(ctx context.Context, all []*usage.Tracking, span usage.Filter) error {
	if span.To == 0 {
		return nil
	}
	projects, err := s.Store.UsageProjects(ctx)
	if err != nil {
		return err
	}
	for _, project := range projects {
		err := s.each(ctx, project, span, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
			for _, t := range all {
				t.Add(r)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

package runner

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// That a question is asked, and that its time is over, stands in the audit log with the events that it follows from: whoever is told of
// approvals is told by those records.

// askDrafts adds the records of the questions that are there now and were not before.
func (r *Runner) askDrafts(ctx context.Context, before map[string]func() session.Question, now *session.View, drafts [][]byte) [][]byte {
	asks := now.Asks()
	ids := make([]string, 0, len(asks))
	for id := range asks {
		if _, stood := before[id]; !stood {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		drafts = r.putDraft(ctx, now, asks[id](), policy.Ask, drafts)
	}
	return drafts
}

// putDraft adds the record of what is said about a question.
func (r *Runner) putDraft(ctx context.Context, v *session.View, q session.Question, what string, drafts [][]byte) [][]byte {
	answer := q.Put(what)
	req := v.Request(policy.ApprovalGive, answer.Asking.ID)
	req.Arguments, req.Carried, req.Answer = q.Arguments, true, answer
	said := policy.Decision{By: "agent", Needs: &policy.Needs{}} // its own tools ask
	if d := q.Decided; d != nil {
		said.By, said.Policies, said.Version, said.Quotes = d.By, d.Policies, d.Version, d.Quotes
	}
	if what == policy.Expire {
		said.Needs, said.Allow = nil, answer.Asking.Then == policy.DefaultAllow
	}
	return r.draft(ctx, drafts, req, said)
}

// viewAfter is the view once the events are stored at its tail.
func viewAfter(v *session.View, events []stead.Event) (*session.View, error) {
	next, err := copyView(v)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		e.Seq = next.Tail + 1
		if err := next.Apply(e); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func edits(inputs []session.Input) bool {
	return slices.ContainsFunc(inputs, func(in session.Input) bool { return in.Approval != nil && in.Approval.Arguments != "" })
}

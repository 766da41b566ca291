package approval

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/policy"
)

// What becomes of a question is recorded in the audit log before it counts, and only what counts is recorded: the step is put into the
// question first, which one of all who try can do; then the record is stored; then the step is taken. Whoever dies in between leaves a
// pending step, which anybody finishes after settleFor: its record may then stand twice, and is never missing.
//
//	question ── claim ──▶ question + Pending ── record ──▶ audit log ── finish ──▶ question, one step further

// settleFor is how long whoever began a step is left to finish it.
const settleFor = 10 * time.Second

// Steps.
const (
	stepAsk    = policy.Ask
	stepExpire = policy.Expire
	stepErase  = "erase"
	stepAnswer = "answer"
)

// Pending is a step that is being recorded.
type Pending struct {
	At     int64           `json:"at"`
	Step   string          `json:"step"`
	By     stead.Principal `json:"by"`
	Answer Answer          `json:"answer,omitzero"`
	Record audit.Record    `json:"record"`
}

// pending is a step of a question, with its record.
func (d *Desk) pending(ctx context.Context, q *Question, step string, by stead.Principal, a Answer) *Pending {
	call, now := audit.CallOf(ctx), d.cfg.Now().UnixMilli()
	r := audit.Record{
		At: now, Project: q.Project, Session: q.Session, Agent: q.Agent, Principal: audit.Principal{Kind: by.Kind, ID: by.ID, Role: by.Role, Key: call.Key},
		Resource: q.ID, Decision: audit.Allow, By: By, Policies: q.Policies, Version: q.Version, Request: call.Request, From: call.From,
		Approval: &policy.Asking{
			ID: q.ID, Kind: policy.AskingRequest, Effect: q.Effect, Of: q.Method + " " + q.Path, For: string(q.By.Kind) + ":" + q.By.ID, Digest: q.Digest(),
			Until: q.Until, Then: q.Needs.Lapses(), Roles: q.Needs.Roles, Count: max(1, q.Needs.Count), Answer: a.Decision,
		},
	}
	what := fmt.Sprintf("%s %s, effect %s", q.Effect, cmp.Or(q.Resource, q.Method+" "+q.Path), q.Digest())
	switch step {
	case stepAsk:
		r.Action, r.Decision, r.Reason, r.Detail = audit.ActAsk, audit.RequireApproval, q.Why, what
	case stepExpire:
		r.Action, r.Reason, r.Detail = audit.ActExpire, "nobody answered in time", what
		if q.Needs.Default != policy.DefaultAllow {
			r.Decision = audit.Deny
		}
	case stepErase:
		r.Action, r.Decision, r.Reason, r.Detail = audit.ActExpire, audit.Deny, "what it shows was erased", what
	default:
		r.Action, r.Reason, r.Detail = audit.ActAnswer, a.Reason, a.Decision+" "+what
		if a.To != nil {
			r.Approval.To, r.Detail = a.To.String(), a.Decision+" to "+a.To.String()+": "+what
		}
		if a.Decision == Deny || a.Decision == Cancel {
			r.Decision = audit.Deny
		}
	}
	return &Pending{now, step, by, a, r}
}

// step claims, records and takes a step. KindConflict: somebody else has changed the question, and nothing was recorded.
func (d *Desk) step(ctx context.Context, q *Question, p *Pending) error {
	q.Pending = p
	if err := d.store(ctx, q); err != nil {
		return err
	}
	return d.finish(ctx, q)
}

// finish records the pending step of a question, and takes it.
func (d *Desk) finish(ctx context.Context, q *Question) error {
	p := q.Pending
	if err := d.cfg.Record(ctx, p.Record); err != nil {
		if p.Step == stepAnswer { // else it is due again
			q.Pending = nil
			if undone := d.store(context.WithoutCancel(ctx), q); undone != nil {
				d.cfg.Log.Warn("an answer that could not be recorded is tried again", "request", q.ID, "err", undone)
			}
		}
		return err
	}
	for range maxTries {
		q.take(p)
		err := d.store(context.WithoutCancel(ctx), q)
		if stead.KindOf(err) != stead.KindConflict {
			if err == nil {
				d.cfg.Log.Info("request for approval: "+cmp.Or(p.Answer.Decision, p.Step), "request", q.ID, "effect", q.Effect, "by", p.By.ID)
			}
			return err
		}
		stored, err := d.load(ctx, q.Project, q.ID)
		if err != nil {
			return err
		}
		*q = *stored
		if q.Pending == nil || q.Pending.At != p.At || q.Pending.Step != p.Step { // another took it
			return nil
		}
	}
	return stead.Errorf(stead.KindUnavailable, "request %s is being changed by others; try again", q.ID)
}

// take takes a step, which is recorded.
func (q *Question) take(p *Pending) {
	q.Pending = nil
	switch p.Step {
	case stepAsk:
	case stepExpire, stepErase:
		q.Lapsed = p.At
	default:
		q.answered(p)
	}
}

func (q *Question) answered(p *Pending) {
	given := Given{By: p.By, At: p.At, Reason: p.Answer.Reason, Key: p.Answer.Key}
	switch p.Answer.Decision {
	case Delegate:
		q.Delegated = &policy.Delegation{To: *p.Answer.To, By: p.By}
	case Approve:
		q.Approved, q.Delegated = append(q.Approved, given), nil
		if q.Needs.Missing(q.givers(), q.behind()...) == 0 {
			q.Enough = p.At
		}
	default:
		q.Denial = &given
	}
}

// lapse records that a question is over: its time is (stepExpire), or what it shows is gone (stepErase).
func (d *Desk) lapse(ctx context.Context, q *Question, step string) error {
	return d.step(ctx, q, d.pending(context.WithoutCancel(ctx), q, step, stead.Principal{Project: q.Project, Kind: stead.PrincipalNode, ID: "server"}, Answer{}))
}

// lapses reports whether that is still to be recorded.
func (q *Question) lapses(now int64) bool {
	return q.Pending == nil && q.Lapsed == 0 && q.Enough == 0 && q.Denial == nil && q.Use == nil && (now >= q.Until || q.Erased > 0)
}

// ends is the step by which a question is over that lapses.
func (q *Question) ends() string {
	if q.Erased > 0 {
		return stepErase
	}
	return stepExpire
}

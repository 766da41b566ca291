package runner

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// over are the budgets that somebody has let the turn go over.
func (a *actor) over() map[string]usage.Amount {
	t := a.state.Turn
	if t == nil || len(t.Over) == 0 {
		return nil
	}
	out := map[string]usage.Amount{}
	for _, o := range t.Over {
		if out[o.Budget] = (usage.Amount{}); o.Limit != nil {
			out[o.Budget] = usage.Amount(*o.Limit)
		}
	}
	return out
}

// How long a turn that waits for a budget waits until it looks again by itself: others may have given back
// what they held, or the message that the budget was raised is lost. Twice as long each time.
const (
	firstBudgetRetry = time.Minute
	lastBudgetRetry  = 30 * time.Minute
)

// atLimit ends the turn, or makes it wait, as the budget says that has no room. A response has nobody
// who could decide: its API knows no such answer.
// environment: it is the environment that has no room, and that is not open from then on.
func (a *actor) atLimit(p *plan, grant usage.Grant, environment bool) error {
	b, t := grant.Refused, a.state.Turn
	failure := exhausted(grant)
	if environment {
		failure.Message += " Without room in it the environment can't run, and is suspended."
	}
	if b.OnLimit != usage.LimitWaits || t == nil || t.Response != nil {
		return a.intendEnd(p, session.EndTurn{Kind: session.KindTurnFailed, Error: failure})
	}
	tries := 0
	if t.Budget != nil && t.Budget.Budget == b.ID {
		tries = t.Budget.Tries + 1
	}
	p.waits++
	now := a.r.now()
	retry := now + min(firstBudgetRetry<<min(tries, maxBudgetShift), lastBudgetRetry).Milliseconds()
	if end := b.Period.Ends(now); end != 0 {
		retry = min(retry, end)
	}
	return a.record(p, session.KindBudgetReached, session.BudgetReached{
		Budget: b.ID, Code: failure.Code, Message: failure.Message, Limit: session.Spend(b.Limit), Used: session.Spend(grant.Have.Used()), RetryAt: retry, Environment: environment,
	})
}

// maxBudgetShift keeps the doubling from leaving its type.
const maxBudgetShift = 10

// BudgetChanged lets the turns of a project that wait for a budget try again: it was raised or deleted.
// A turn that is missed, because this node dies here, looks again by itself.
func (r *Runner) BudgetChanged(ctx context.Context, project stead.ProjectID, id string) error {
	q := journal.Query{Status: session.StatusRequiresAction, Limit: stead.MaxPageSize}
	for {
		heads, err := r.cfg.Store.Heads(ctx, project, q)
		if err != nil {
			return err
		}
		for _, h := range heads {
			if err := r.budgetChanged(ctx, h.Key, id); err != nil {
				return err
			}
			q.After = h.Key.Session
		}
		if len(heads) < q.Limit {
			return nil
		}
	}
}

func (r *Runner) budgetChanged(ctx context.Context, key stead.SessionKey, id string) error {
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var events []stead.Event
	for thread, asked := range v.AwaitBudget(id) {
		e, err := session.NewEvent(r.now(), session.KindInputBudget, session.BudgetResult{Budget: id, Asked: asked, Decision: session.DecisionChanged})
		if err != nil {
			return err
		}
		e.Thread = thread
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil
	}
	// Wherever the tail is: of a question that is over, it says nothing.
	_, err = r.cfg.Store.Send(ctx, key, journal.Input{Events: events, If: -1})
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	r.arrived(key)
	return err
}

// budgetEvent answers the question of a turn that waits for a budget.
func (r *Runner) budgetEvent(v *session.View, p stead.Principal, at string, in session.ApprovalInput) (stead.Event, error) {
	w := v.Turn.Budget
	switch in.Decision {
	case session.DecisionApprove, session.DecisionDeny, session.DecisionCancel:
	default:
		return stead.Event{}, stead.Invalid(at+".response.decision", "decision must be approve, deny or cancel, not %.40q", in.Decision)
	}
	if in.Extra != nil && in.Decision != session.DecisionApprove {
		return stead.Event{}, stead.Invalid(at+".response.extra", "extra is for approve alone")
	}
	return session.NewEvent(r.now(), session.KindInputBudget, session.BudgetResult{Budget: w.Budget, Asked: w.Asked, Decision: in.Decision, Extra: in.Extra, Reason: in.Reason, By: p})
}

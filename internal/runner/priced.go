package runner

import (
	"math"
	"time"

	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// What costs money beside model calls: calls of priced tools, and environments. Both are held in the budgets
// before they begin, at the price that their records will have.

// environmentSlice is for how long a resident environment is reserved at once. A budget is overshot by less
// than what that costs, and by what passes the environment's network in it.
const environmentSlice = 5 * time.Minute

// reserveTool holds what a tool call costs. refused: the turn ends or waits, and nothing is called.
func (a *actor) reserveTool(p *plan, call *session.Call, out *session.ToolCalled) (refused bool, err error) {
	out.Cost, out.Prices = a.r.cfg.Prices.Tool(a.r.now(), call.ToolName())
	if out.Cost == 0 || a.r.cfg.Budgets == nil {
		return false, nil
	}
	grant, hold, err := a.hold(p, usage.Amount{Cost: out.Cost}, false)
	switch {
	case err != nil || a.ctx.Err() != nil:
		return true, a.undecided(p, err, "a call of the tool "+call.ToolName())
	case grant.Refused != nil:
		a.log.Info("a budget is used up", "budget", grant.Refused.ID, "tool", call.ToolName())
		return true, a.atLimit(p, grant, false)
	}
	out.Hold = hold
	return false, nil
}

// reserveAction holds what an environment costs that is set up, opened or deleted. refused: it is not.
func (a *actor) reserveAction(p *plan, out *session.EnvironmentCalled) (refused bool, err error) {
	slice, anyway := environmentSlice, out.Store // what a turn did is stored before it ends, also where a budget has no room left for it
	switch out.Action {
	case session.ActionPrepare:
		if !a.state.Environment.Setup.Works {
			return false, nil
		}
		anyway = true // it belongs to no turn that could end or wait
	case session.ActionOpen:
	case session.ActionExpire:
		slice, anyway = 0, true
	default:
		return false, nil
	}
	s, grant, err := a.reserveEnvironment(p, slice, anyway)
	switch {
	case err != nil || a.ctx.Err() != nil:
		return true, a.undecided(p, err, "opening the environment")
	case grant.Refused != nil:
		a.log.Info("a budget is used up; the environment is not opened", "budget", grant.Refused.ID)
		return true, a.atLimit(p, grant, true)
	}
	out.Hold, out.Until, out.Rates = s.Hold, s.Until, s.Rates
	return false, nil
}

// reserveEnvironment holds what the environment may cost until the end of its next slice. Its rates are those of
// that moment. anyway: it is not refused, since it ends what costs.
func (a *actor) reserveEnvironment(p *plan, slice time.Duration, anyway bool) (s session.Slice, grant usage.Grant, err error) {
	now := a.r.now()
	rates := a.r.cfg.Prices.Rates(now)
	if rates == nil {
		return s, grant, nil
	}
	journaled := session.Rates(*rates)
	s.Rates = &journaled
	if a.r.cfg.Budgets == nil {
		return s, grant, nil
	}
	if slice > 0 {
		s.Until = now + slice.Milliseconds()
	}
	grant, s.Hold, err = a.hold(p, usage.Amount{Cost: a.environmentCost(rates, now, slice.Milliseconds())}, anyway)
	if s.Hold != nil {
		s.Hold.Since = now
	}
	return s, grant, err
}

// environmentCost is what a slice costs, with what was stored up to its end and is not on record.
func (a *actor) environmentCost(rates *usage.Rates, now, slice int64) int64 {
	resident := usage.Quantities{Millis: slice}
	cost := rates.Cost(usage.Environment, resident)
	if m := a.state.Environment.Metering; m.Stored > 0 {
		var stored usage.Quantities
		stored.SetStored(m.Bytes, max(now+slice-m.Stored, 0))
		cost += min(rates.Cost(usage.Storage, stored), math.MaxInt64/4)
	}
	return min(cost, math.MaxInt64/4)
}

// extend asks for the environment's next slice. Without room for it the environment ends, and the turn with it
// or until somebody decides.
func (a *actor) extend(p *plan) error {
	s, grant, err := a.reserveEnvironment(p, environmentSlice, false)
	refused := err != nil || grant.Refused != nil
	if err == nil && refused { // until it has ended it costs what it costs
		s, _, err = a.reserveEnvironment(p, environmentSlice, true)
	}
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	s.Refused = refused
	if rec := a.record(p, session.KindEnvironmentExtended, session.EnvironmentExtended(s)); rec != nil {
		return rec
	}
	switch {
	case !refused:
		return nil
	case err != nil:
		return a.undecided(p, err, "more time of the environment")
	}
	a.log.Info("a budget is used up; the environment is suspended", "budget", grant.Refused.ID)
	if a.state.Turn == nil {
		return nil
	}
	return a.atLimit(p, grant, true)
}

// undecided ends the turn: no reservation, no effect.
func (a *actor) undecided(p *plan, err error, what string) error {
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	a.log.Error("a budget can't be read; the turn is ended", "err", err)
	if a.state.Turn == nil {
		return nil
	}
	failure := &session.TurnError{Code: codeInternal, Message: "Whether the budgets allow " + what + " could not be decided."}
	return a.intendEnd(p, session.EndTurn{Kind: session.KindTurnFailed, Error: failure})
}

// settleSlice settles a hold by its records, which are durable by now.
func (a *actor) settleSlice(h *session.Hold) {
	err := a.patient(func() error {
		return a.r.cfg.Budgets.SettleByRecords(a.ctx, usage.Held{Project: a.key.Project, Hold: h.ID, Session: a.key.Session, At: h.Since})
	})
	if err != nil && a.ctx.Err() == nil {
		a.log.Warn("what an environment held in budgets is left for the sweep", "err", err)
	}
}

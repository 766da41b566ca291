package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// Budgets decides whether a call may be made, and holds what it may use until it has ended.
type Budgets interface {
	// Reserve makes a hold for a call, or says why not. A call that no budget is about has none.
	Reserve(ctx context.Context, ask usage.Ask) (usage.Grant, error)
	// Settle replaces holds by what was used; a hold that is not there was settled before.
	Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error
	// SettleByRecords replaces a hold by what the session's records say that it used.
	SettleByRecords(ctx context.Context, h usage.Held) error
}

// Estimates of what a call may use, where nobody says it.
const (
	// defaultHeldOutput is the output of a model whose limit is not known. The request asks for no more.
	defaultHeldOutput = 8192
	// heldMillis is the time that a call holds. It is not cut off after it: a budget of time can be
	// overshot by what the calls under way take longer.
	heldMillis = 60_000
)

// endedHold is a hold of a call that has ended, and what the call used.
type endedHold struct {
	*session.Hold
	used usage.Amount
}

// heldOutput is how many tokens of output a call reserves.
func heldOutput(info model.Info) int { return cmp.Or(info.MaxOutputTokens, defaultHeldOutput) }

// reserve holds what a model call may use in every budget that is about it. When one has no room left
// it ends the turn in the plan, or makes it wait, and reports that the call is refused.
func (a *actor) reserve(p *plan, name string, info model.Info) (*session.Hold, bool, error) {
	if a.r.cfg.Budgets == nil {
		return nil, false, nil
	}
	grant, hold, err := a.hold(p, a.estimate(info), false)
	switch {
	case err != nil || a.ctx.Err() != nil: // no reservation, no call
		return nil, true, a.undecided(p, err, "another model call")
	case grant.Refused != nil:
		a.log.Info("a budget is used up", "budget", grant.Refused.ID, "model", name)
		return nil, true, a.atLimit(p, grant, false)
	}
	return hold, false, nil
}

// Charged says whose budgets are about what a session's agent does.
func (r *Runner) Charged(ctx context.Context, key stead.SessionKey) (usage.Subject, error) {
	v, err := r.view(ctx, key)
	if err != nil {
		return usage.Subject{}, err
	}
	return charged(v), nil
}

func charged(v *session.View) usage.Subject {
	return usage.Subject{Project: v.Key.Project, Agent: v.Created.Agent.Limited(), Session: v.Key.Session, User: v.Created.Principal.ID}
}

// hold reserves an amount; anyway: also where a budget has no room. No hold: no budget is about it.
func (a *actor) hold(p *plan, n usage.Amount, anyway bool) (grant usage.Grant, hold *session.Hold, err error) {
	a.holds++
	ask := usage.Ask{
		Subject: charged(&a.state.View),
		// An epoch is one holder's: no other makes a hold of this name.
		Hold: fmt.Sprintf("%s%s_%d_%d", usage.HoldPrefix, a.key.Session, a.lease.Epoch, a.holds), At: a.r.now(), Amount: n,
		Ended: map[string]usage.Counter{}, Environment: a.environmentHolds(), Over: a.over(), Anyway: anyway,
	}
	for _, e := range p.ended { // their outcomes are known, though not durable yet
		if e.Since > 0 {
			continue // what its earlier records say is not known here: it counts as it was held
		}
		for _, c := range e.Counters {
			ask.Ended[c] = ask.Ended[c].Plus(usage.Counter{Spent: e.used, Held: usage.Amount{}.Minus(amountOf(e.Hold))})
		}
	}
	err = a.patient(func() (err error) {
		grant, err = a.r.cfg.Budgets.Reserve(a.ctx, ask)
		return err
	})
	if err != nil || grant.Refused != nil || len(grant.Counters) == 0 {
		return grant, nil, err
	}
	hold = &session.Hold{ID: ask.Hold, Counters: grant.Counters, Cost: n.Cost, Tokens: n.Tokens, Calls: n.Calls, Millis: n.Millis}
	p.held = append(p.held, hold)
	return grant, hold, nil
}

// estimate is the most that a call should use: its input as the context is believed to be, the whole
// output, at the price of uncached input.
func (a *actor) estimate(info model.Info) usage.Amount {
	input := a.requestTokens()
	output := int64(heldOutput(info))
	if t := a.state.Turn; t != nil && t.Response != nil && t.Response.Ask.MaxOutputTokens > 0 {
		output = int64(t.Response.Ask.MaxOutputTokens)
	}
	u := stead.Usage{InputTokens: input, OutputTokens: output}
	written := u
	written.CacheWriteTokens = input
	price := a.r.cfg.Prices.Dearest(usage.Sale{
		At: a.r.now(), Model: info.Name, Provider: info.Provider, Upstream: info.Upstream, Tier: a.state.Created.Agent.Spec.ServiceTier,
	}, cmp.Or(info.Highest, info.Price))
	return attempts(info, usage.Amount{Cost: max(price.Cost(u), price.Cost(written)), Tokens: input + output, Calls: 1, Millis: heldMillis})
}

// spend is what a call counts against the session's limit until it has ended.
func (a *actor) spend(info model.Info) int64 {
	if a.state.Created.SpendLimitCents == nil {
		return 0
	}
	return a.estimate(info).Cost
}

// requestTokens is how many tokens a request is believed to have now.
func (a *actor) requestTokens() int64 {
	return int64(a.state.Context.Tokens(a.state.Context.Bytes() + a.fixedBytes()))
}

// attempts is what a call holds that may be on two routes at once.
func attempts(info model.Info, one usage.Amount) usage.Amount {
	if info.Hedged {
		one.Cost, one.Tokens, one.Calls = 2*one.Cost, 2*one.Tokens, 2*one.Calls
	}
	return one
}

// environmentHolds is what the session's environment holds, by counter: a refusal says so.
func (a *actor) environmentHolds() map[string]usage.Amount {
	e := a.state.Environment
	if e == nil || e.Slice.Hold == nil {
		return nil
	}
	out := map[string]usage.Amount{}
	for _, c := range e.Slice.Hold.Counters {
		out[c] = amountOf(e.Slice.Hold)
	}
	return out
}

// exhausted is the Agents API's word for a budget that has no room.
func exhausted(g usage.Grant) *session.TurnError {
	code := model.CodeUsageLimit
	if g.Refused.Scope == usage.ScopeSession {
		code = codeSessionBudget
	}
	return &session.TurnError{Code: code, Message: g.Exhausted()}
}

const codeSessionBudget = "session_budget_exceeded"

func amountOf(h *session.Hold) usage.Amount {
	return usage.Amount{Cost: h.Cost, Tokens: h.Tokens, Calls: h.Calls, Millis: h.Millis}
}

// follow notes the holds that an event ended, with what its records say that they used.
func (p *plan) follow(before, after []*session.Hold, records []usage.Record) {
	for _, h := range before {
		if slices.ContainsFunc(after, func(o *session.Hold) bool { return o.ID == h.ID }) {
			continue
		}
		e := endedHold{Hold: h}
		for i := range records {
			if records[i].Hold == h.ID {
				e.used = e.used.Plus(usage.AmountOf(&records[i]))
			}
		}
		p.ended = append(p.ended, e)
	}
}

// settle ends the holds of the calls whose outcome is durable now. What a crash leaves is found by the
// budgets' sweep.
func (a *actor) settle(p *plan) {
	var all []usage.Settlement
	for _, e := range p.ended {
		if e.Since > 0 {
			a.settleSlice(e.Hold)
			continue
		}
		all = append(all, usage.Settlement{Hold: e.ID, Used: e.used})
	}
	a.settleAll(all)
}

// unhold gives back what was held for calls that are not made: their append was refused.
func (a *actor) unhold(p *plan) {
	var all []usage.Settlement
	for _, h := range p.held {
		all = append(all, usage.Settlement{Hold: h.ID})
	}
	a.settleAll(all)
}

func (a *actor) settleAll(all []usage.Settlement) {
	if len(all) == 0 {
		return
	}
	err := a.patient(func() error { return a.r.cfg.Budgets.Settle(a.ctx, a.key.Project, all) })
	if err != nil && a.ctx.Err() == nil {
		a.log.Warn("holds of budgets are left for the sweep", "err", err)
	}
}

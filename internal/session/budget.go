package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// A budget that is used up and says wait (usage.Budget.OnLimit) holds up the turn instead of failing it:
//
//	budget.reached ─▶ the turn waits: no lease, no process, a required action
//	  input.budget approve ─▶ the model is called: once, or up to so much more
//	               deny    ─▶ the turn fails, with the code that it would have failed with
//	               changed ─▶ the model call is tried again: somebody has raised the budget
//	  RetryAt              ─▶ the same: its period has ended, or others have given back what they held

// Spend is an amount of what budgets limit.
type Spend struct {
	Cost   int64 `json:"cost,omitempty"` // micro-cents
	Tokens int64 `json:"tokens,omitempty"`
	Calls  int64 `json:"calls,omitempty"`
	Millis int64 `json:"millis,omitempty"`
}

// BudgetReached says that a call was not made, or an environment not opened or ended, since a budget is used up, and
// that the turn waits.
type BudgetReached struct {
	Budget  string `json:"budget"` // id
	Code    string `json:"code"`   // of the error that the turn fails with if it is denied
	Message string `json:"message"`
	Limit   Spend  `json:"limit"`    // what is 0 has no limit
	Used    Spend  `json:"used"`     // spent and held at that moment
	RetryAt int64  `json:"retry_at"` // Unix milliseconds: when to look again, unless somebody says something before
	// Environment: it is the environment that has no room, and that is not open meanwhile.
	Environment bool `json:"environment,omitempty"`
}

// Decisions about a budget that a turn waits for, beside approve, deny and cancel.
const DecisionChanged = "changed"

// BudgetResult is what somebody says to a turn that waits for a budget.
type BudgetResult struct {
	Budget string    `json:"budget"`
	Asked  stead.Seq `json:"asked"` // of the question: a late answer is none to a later one
	// Decision: approve, deny, cancel (the turn), or changed (the budget was: look again).
	Decision string          `json:"decision"`
	Extra    *Spend          `json:"extra,omitempty"` // approve: so much beyond what was used; nil: one call
	Reason   string          `json:"reason,omitempty"`
	By       stead.Principal `json:"by"`
}

// BudgetWait is a turn's wait for a budget.
type BudgetWait struct {
	BudgetReached
	Asked stead.Seq `json:"asked"`           // of the first budget.reached of this wait: names the question
	Since int64     `json:"since"`           // Unix milliseconds
	Tries int       `json:"tries,omitempty"` // how often it was looked again
}

// RequestID names the question that the turn waits with.
func (w *BudgetWait) RequestID(s stead.SessionID) string {
	return stead.DerivedID("req", s, w.Asked, 0)
}

// Overdraft lets a turn go on over a budget.
type Overdraft struct {
	Budget string `json:"budget"`
	Limit  *Spend `json:"limit,omitempty"` // instead of the budget's; nil: none, for one answer of the model
}

func (v *View) budgetReached(e stead.Event, p BudgetReached) {
	t := v.Turn
	if t == nil {
		return
	}
	if w := t.Budget; w != nil && w.Budget == p.Budget {
		w.BudgetReached = p
		w.Tries++
		return
	}
	t.Budget = &BudgetWait{BudgetReached: p, Asked: e.Seq, Since: e.At}
}

func (v *View) budgetDecided(e stead.Event, p BudgetResult) {
	t := v.Turn
	if t == nil || t.Budget == nil || t.Budget.Asked != p.Asked {
		return // a second answer, or one for a turn that has ended
	}
	w := t.Budget
	if p.Decision != DecisionChanged {
		v.LastActive = e.At
	}
	switch p.Decision {
	case DecisionChanged:
		w.RetryAt = 0
	case DecisionApprove:
		o := Overdraft{Budget: w.Budget}
		if p.Extra != nil {
			limit := w.raised(*p.Extra)
			o.Limit = &limit
		}
		t.Over = append(slices.DeleteFunc(t.Over, func(o Overdraft) bool { return o.Budget == w.Budget }), o)
		t.Budget = nil
	case DecisionCancel:
		t.Cancelling = true
	default:
		t.Failure = &TurnError{w.Code, w.Message}
		if p.Reason != "" {
			t.Failure.Message += " Reason: " + p.Reason
		}
		t.Budget = nil
	}
}

// raised is the limit after somebody has allowed so much more than was used. What was not reached
// stays, if nothing is added to it.
func (w *BudgetWait) raised(extra Spend) Spend {
	raise := func(limit, used, extra int64) int64 {
		if limit == 0 {
			return 0
		}
		if extra == 0 {
			return limit
		}
		return max(limit, used) + extra
	}
	l, u := w.Limit, w.Used
	return Spend{raise(l.Cost, u.Cost, extra.Cost), raise(l.Tokens, u.Tokens, extra.Tokens), raise(l.Calls, u.Calls, extra.Calls), raise(l.Millis, u.Millis, extra.Millis)}
}

// called: what was refused has begun, so that the turn waits no more.
func (t *TurnView) called() { t.Budget = nil }

// answered: what was allowed for one answer is used up.
func (t *TurnView) answered() {
	t.Over = slices.DeleteFunc(t.Over, func(o Overdraft) bool { return o.Limit == nil })
}

func (v *View) budgetAction() RequiredAction {
	w := v.Turn.Budget
	return RequiredAction{
		Type: ActionBudgetLimit, TurnID: TurnID(v.Key.Session, v.Turn.Seq), RequestID: w.RequestID(v.Key.Session), BudgetID: w.Budget,
		Request: &ActionRequest{Type: ActionBudgetLimit, Message: w.Message + " Let the turn go on over it?", Arguments: mustJSON(map[string]any{
			"budget_id": w.Budget, "limit": w.Limit.wire(true), "used": w.Used.wire(false)})},
	}
}

// wire is a spend in the names of budgets on the wire; null: no limit.
func (s Spend) wire(limit bool) map[string]*int64 {
	out := map[string]*int64{"cost_microcents": &s.Cost, "tokens": &s.Tokens, "calls": &s.Calls, "duration_ms": &s.Millis}
	for name, n := range out {
		if limit && *n == 0 {
			out[name] = nil
		}
	}
	return out
}

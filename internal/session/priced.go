package session

import "github.com/stead-dev/stead"

// Rates are what the session's environment costs: usage.Rates, as they were when a part of its use began.
type Rates struct {
	Hour    int64  `json:"hour,omitempty"`
	Month   int64  `json:"month,omitempty"`
	Egress  int64  `json:"egress,omitempty"`
	Version string `json:"version,omitempty"`
}

// KindEnvironmentExtended says whether a resident environment may go on. Budgets hold what it may use for a slice
// of time; at the end of one its use is on record, and the next is held, or refused.
const KindEnvironmentExtended = "environment.extended"

// EnvironmentExtended ends a slice of a residence.
type EnvironmentExtended struct {
	Hold    *Hold  `json:"hold,omitempty"`    // of the next slice; nil: no budget is about it
	Until   int64  `json:"until,omitempty"`   // Unix milliseconds: when that ends
	Rates   *Rates `json:"rates,omitempty"`   // of it
	Refused bool   `json:"refused,omitempty"` // a budget has no room: the environment is suspended
}

// ExtendEnvironment asks whether the environment may go on for another slice.
type ExtendEnvironment struct{}

func (ExtendEnvironment) command() {}

// Slice is what is held of budgets for an environment.
type Slice struct {
	Hold    *Hold  `json:"hold,omitempty"`
	Until   int64  `json:"until,omitempty"` // Unix milliseconds; 0: it costs nothing
	Rates   *Rates `json:"rates,omitempty"`
	Refused bool   `json:"refused,omitempty"` // the residence has to end
}

// nextSlice says when the residence's slice is over.
func (s *State) nextSlice() []Command {
	e := s.Environment
	if !e.Hosted() || e.Status != EnvironmentConnectedNow || e.Slice.Until == 0 || e.Slice.Refused {
		return nil
	}
	if e.Slice.Until > s.Now {
		return []Command{WaitUntil{e.Slice.Until}}
	}
	return []Command{ExtendEnvironment{}}
}

func (v *View) extended(_ stead.Event, p EnvironmentExtended) {
	e := v.Environment
	if e.Status != EnvironmentConnectedNow {
		return
	}
	if p.Rates == nil {
		p.Rates = e.Slice.Rates
	}
	e.Slice = Slice(p)
}

// begins takes over what is held for an action with the environment.
func (e *EnvironmentView) begins(p EnvironmentCalled) {
	switch p.Action {
	case ActionPrepare, ActionOpen, ActionExpire:
		e.Slice = Slice{Hold: p.Hold, Until: p.Until, Rates: p.Rates}
	}
}

// unheld forgets what was held: the residence, or the action, has ended.
func (e *EnvironmentView) unheld() { e.Slice = Slice{Rates: e.Slice.Rates} }

// budgetWaits reports whether the turn waits for a budget, so that nothing of it begins.
func (v *View) budgetWaits() bool {
	return v.Turn != nil && v.Turn.Budget != nil && v.Turn.Budget.RetryAt > v.Now
}

package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Spent is what a model call used that brought no reply: it broke off, or was cut off, once its answer had begun.
// Its provider charges for it all the same. It stands in the event that ends the call, once.
type Spent struct {
	Call stead.Seq `json:"call"` // model.called
	// Usage is a guess, by what went in and came out, unless the provider told it.
	Usage    stead.Usage  `json:"usage"`
	Told     bool         `json:"told,omitempty"`
	Cost     int64        `json:"cost,omitempty"`     // micro-cents, by the price of that moment
	Prices   string       `json:"prices,omitempty"`   // version of the price book that Cost is by; "": of none
	Provider string       `json:"provider,omitempty"` // as configured; "" where Route says it, or nobody knows
	Region   string       `json:"region,omitempty"`   // of Provider, as configured
	Model    string       `json:"model,omitempty"`    // as the upstream names it
	Route    *model.Route `json:"route,omitempty"`    // where the event does not say it elsewhere
	FirstMS  int64        `json:"first_ms,omitempty"` // until the first word; 0: not known
}

// spent counts it.
func (v *View) spent(s *Spent) {
	if s == nil {
		return
	}
	used, cost := s.Route.Both(s.Usage, s.Cost)
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
	if v.Turn != nil {
		v.Turn.Usage = v.Turn.Usage.Add(used)
	}
}

// modelCut counts what a call has used that is cut off by the event behind this one. What budgets hold for it ends here, with its record.
func (v *View) modelCut(_ stead.Event, p ModelCut) {
	if call := v.Learn.Extract; call != nil && call.Seq == p.Spent.Call {
		v.spentBeside(nil, &p.Spent)
		call.Hold = nil
		return
	}
	if call := v.callBySeq(p.Spent.Call); call != nil {
		v.spent(&p.Spent)
		call.Hold = nil
	}
}

// CallBySeq is the model call in flight that an event names; nil: there is none.
func (v *View) CallBySeq(seq stead.Seq) (call *ModelCall) {
	if v.Learn.Extract != nil && v.Learn.Extract.Seq == seq {
		return v.Learn.Extract
	}
	v.each(func(u *View) bool {
		call = u.callBySeq(seq)
		return call == nil
	})
	return call
}

// callBySeq is CallBySeq for a thread.
func (v *View) callBySeq(seq stead.Seq) *ModelCall {
	switch {
	case v.Turn != nil && v.Turn.Model != nil && v.Turn.Model.Seq == seq:
		return v.Turn.Model
	case v.Compact != nil && v.Compact.Seq == seq:
		return v.Compact
	}
	return nil
}

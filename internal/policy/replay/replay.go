// Package replay asks policies about what recorded sessions did, and shows what they would have changed.
//
// Shape: events of a session, from the first → Recorded {Asked, Gaps}: an Asked {seq, at, request, outcome then} for each effect that
// policies were, or would have been, asked about, and a Gap for each sort of effect of which the journal does not say enough. Asked →
// Change where the outcome is another now.
//
// The requests are those that the runner asks (session.View.Request): what a policy sees of a recorded
// call is what it would have seen then, at that time. What was approved then passes where the same approvals are enough. What a session did
// after a change is not guessed. Reads by people stand in no journal.
//
// Errors: those of a journal that can't be folded.
package replay

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Asked is an effect of a session.
type Asked struct {
	Seq     stead.Seq
	Request policy.Request
	Then    policy.Outcome // what was decided, or done where nobody was asked
	given   approvals
}

// approvals are those that an effect had when it was asked about.
type approvals struct {
	by, behind []stead.Principal // who gave them, and whose would not count
	lapsed     bool              // nobody answered in time
}

// enough reports whether they are what a decision needs.
func (a approvals) enough(n *policy.Needs) bool {
	if a.lapsed {
		return n.Default == policy.DefaultAllow
	}
	return n.Missing(a.by, a.behind...) == 0
}

// Gap is a sort of effects that a session may have had, and that can't be asked about.
type Gap struct {
	Effect policy.Effect
	Why    string
}

// Recorded is what a session's events say.
type Recorded struct {
	Asked []Asked
	Gaps  []Gap // each effect once
}

// Change is an effect that other policies decide otherwise.
type Change struct {
	Asked
	Now      policy.Outcome
	Policies []string // that decide it now
	Reason   string
}

// Effects lists what a session's events say was asked. They begin with the session's first.
func Effects(key stead.SessionKey, events []stead.Event) (Recorded, error) {
	r := &reader{view: session.NewView(key), events: events}
	if err := r.lookForRedactions(); err != nil {
		return Recorded{}, err
	}
	for i, e := range events {
		r.at = i
		if err := r.view.On(e.Thread, func() error { return r.read(e) }); err != nil {
			return Recorded{}, err
		}
		if err := r.view.Apply(e); err != nil {
			return Recorded{}, err
		}
	}
	return r.out, nil
}

// reader goes through a session's events.
type reader struct {
	view   *session.View // before the event, looked at from its thread
	events []stead.Event
	at     int // of the event
	out    Recorded
	anew   map[stead.Seq]bool // events that redactions have written anew; nil: none
	blank  map[string]bool    // call id → its arguments were redacted
}

// ask adds an effect of the event.
func (r *reader) ask(req policy.Request, then policy.Outcome, given approvals) {
	e := r.events[r.at]
	if req.At = e.At; req.Before != nil {
		req.Budgets, req.Before = req.Before.Budgets, nil
	}
	r.out.Asked = append(r.out.Asked, Asked{Seq: e.Seq, Request: req, Then: then, given: given})
}

// gap notes what can't be asked about.
func (r *reader) gap(effect policy.Effect, why string) {
	for _, g := range r.out.Gaps {
		if g.Effect == effect {
			return
		}
	}
	r.out.Gaps = append(r.out.Gaps, Gap{effect, why})
}

// read asks about what an event says: what agents do, or what somebody did at a door.
func (r *reader) read(e stead.Event) error {
	for _, read := range []func(stead.Event) (known bool, err error){r.made, r.calls, r.tools, r.memories, r.outside, r.doors} {
		if known, err := read(e); known || err != nil {
			return err
		}
	}
	return nil
}

// Changes asks about effects anew and keeps those about which the answer is another one. With onTrial,
// policies in shadow count as if they were in force.
func Changes(ctx context.Context, a policy.Authorizer, asked []Asked, onTrial bool) ([]Change, error) {
	var out []Change
	for _, x := range asked {
		d, err := a.Decide(ctx, x.Request)
		if err != nil {
			return nil, err
		}
		c := Change{Asked: x, Now: d.Outcome(), Policies: d.Policies, Reason: d.Reason}
		if d.Needs != nil && x.given.enough(d.Needs) {
			c.Now, c.Reason = policy.Allowed, d.Reason+", and what was approved then is enough"
		}
		if t := d.Shadow; onTrial && t != nil {
			c.Now, c.Policies, c.Reason = t.Outcome, t.Policies, t.Reason
		}
		if c.Now != x.Then {
			out = append(out, c)
		}
	}
	return out, nil
}

package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// What a copy that ends at an item takes of the events behind it: the outcomes of its own calls that
// hold their outputs, and what was done with the environment until the workspace was stored in a state
// that is the copy's. The end of a turn stores the workspace behind the turn's last item.

// behind copies these events.
func (f *fork) behind(c cut, later []stead.Event) error {
	stored, err := f.stored(c.view, later)
	if err != nil {
		return err
	}
	f.moved = map[stead.Seq]stead.Seq{}
	for i, e := range later {
		f.ended = f.ended || endsTurn(e)
		switch {
		case i < stored && ofEnvironment(e.Kind):
			err = f.environment(e)
		case !f.ended && f.openCall():
			err = f.outcome(e)
		case i >= stored:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stored is how many of the later events lead to the newest checkpoint that is true for the copy; 0:
// none is. One is true as long as nothing has touched the workspace that the copy does not know: no
// command of a later item, and no file that was given later. If it is a file that came in between a
// command of the copy and the first checkpoint behind it, that file comes along: better one too many
// than what the command made missing. v is the source at the cut, and is folded on.
func (f *fork) stored(v *View, later []stead.Event) (n int, err error) {
	if e := f.view.Environment; !e.Hosted() || f.expired {
		return 0, nil
	}
	beside := func(u *View) bool {
		return u.Turn != nil && slices.ContainsFunc(u.Turn.Calls, func(c *Call) bool { return c.Attempts > 0 && c.writes() && !f.has(u.focus, c) })
	}
	if v.find(beside) != nil {
		return 0, nil // it was called beside those of the copy
	}
	touched, given := f.view.Environment.Touched > 0, false
	for i, e := range later {
		if err := v.Apply(e); err != nil {
			return 0, stead.Wrap(stead.KindInvalid, err, "the session's events can't be read")
		}
		switch e.Kind {
		case KindInputFile:
			given = true
		case KindToolCalled:
			c, err := calledBy(v, e)
			if err != nil || c.writes() && !f.has(e.Thread, c) {
				return n, err
			}
			touched = touched || c.writes()
		case KindEnvironmentConnected:
			if p, err := Decode[EnvironmentConnected](e); err != nil || p.Reset != nil && !p.Reset.Kept {
				return n, err // what the copy's commands made was lost there
			}
		case KindEnvironmentCheckpointed, KindEnvironmentSuspended:
			if v.Environment.Checkpointed != e.Seq {
				continue // nobody waited for it
			}
			if given && !touched {
				return n, nil
			}
			if n, touched = i+1, false; given {
				return n, nil
			}
		}
	}
	return n, nil
}

// calledBy is the call that an intent is of, which was folded last; nil: nobody's.
func calledBy(v *View, e stead.Event) (*Call, error) {
	id, err := callOf(e)
	u := v.At(e.Thread)
	if err != nil || u == nil {
		return nil, err
	}
	return u.CallByID(id), nil
}

// writes reports whether a call is a command that may touch the workspace.
func (c *Call) writes() bool {
	return c != nil && c.Tool.Environment && c.Tool.Effect != tool.Pure
}

// has reports whether a call of a thread of the source is one of the copy's, and its outcome comes along: of a subagent's open ones, none does.
func (f *fork) has(thread stead.Seq, c *Call) bool {
	v := f.view.At(thread)
	return v != nil && v.Turn != nil && slices.ContainsFunc(v.Turn.Calls, func(own *Call) bool {
		return own.Seq == c.Seq && own.Index == c.Index && (own.State == CallDone || thread == 0 && (own.ownOutput() || own.Attempts > 0))
	})
}

// ofEnvironment reports whether an event tells of an environment's residence and workspace.
func ofEnvironment(kind string) bool {
	switch kind {
	case KindInputFile, KindEnvironmentCalled, KindEnvironmentPrepared, KindEnvironmentConnected, KindEnvironmentCheckpointed,
		KindEnvironmentSuspended, KindEnvironmentFailed, KindEnvironmentDisconnected, KindEnvironmentChanged, KindInputCheckpoint:
		return true
	}
	return false
}

// environment copies an event of the environment. It has another Seq in the copy, as has the intent that
// it is the outcome of.
func (f *fork) environment(e stead.Event) (err error) {
	was := e.Seq
	switch e.Kind {
	case KindEnvironmentPrepared:
		e, err = edit(e, func(p *EnvironmentPrepared) { p.Call = f.place(p.Call) })
	case KindEnvironmentConnected:
		e, err = edit(e, func(p *EnvironmentConnected) { p.Call, p.Upto = f.place(p.Call), f.place(p.Upto) })
	case KindEnvironmentCheckpointed:
		e, err = edit(e, func(p *EnvironmentCheckpointed) {
			p.Call, p.Upto, p.Kept = f.place(p.Call), f.place(p.Upto), f.place(p.Kept)
		})
	case KindEnvironmentSuspended:
		e, err = edit(e, func(p *EnvironmentSuspended) { p.Call, p.Upto = f.place(p.Call), f.place(p.Upto) })
	case KindEnvironmentFailed:
		e, err = edit(e, func(p *EnvironmentFailed) { p.Call = f.place(p.Call) })
	}
	if err != nil {
		return err
	}
	if err := f.add(e); err != nil {
		return err
	}
	f.moved[was], f.last = f.view.Tail, was
	return nil
}

// place is where an event of the source stands in the copy.
func (f *fork) place(seq stead.Seq) stead.Seq {
	if to, ok := f.moved[seq]; ok {
		return to
	}
	return seq
}

// outcome copies what an event says about an open call of the copy that holds its own output.
func (f *fork) outcome(e stead.Event) error {
	about, err := callOf(e)
	if err != nil {
		return err
	}
	c := f.view.CallByID(about)
	recovered := e.Kind == KindRunnerRecovered && f.view.InFlight()
	if !recovered && (c == nil || !f.open(c)) {
		return nil
	}
	if err := f.add(e); err != nil {
		return err
	}
	f.last = e.Seq
	return nil
}

func (f *fork) openCall() bool {
	return f.view.Turn != nil && slices.ContainsFunc(f.view.Turn.Calls, f.open)
}

// open reports whether an item of the copy waits for the outcome of a call. One about subagents has it at once, or is not made in the copy. One that was first shown as a question has its own item
// where it was made, behind the cut.
func (f *fork) open(c *Call) bool {
	return c.ownOutput() && c.State != CallDone && c.Tool.Subagent == nil && (c.Attempts > 0 || !f.view.Turn.questioned(c))
}

// callOf returns the call that an event is about; "" for events about something else.
func callOf(e stead.Event) (string, error) {
	switch e.Kind {
	case KindToolCalled, KindToolReturned, KindToolLost, KindToolHeld, KindToolLapsed, KindToolRequired,
		KindInputApproval, KindInputEdit, KindInputDelegate, KindInputOutcome:
		p, err := Decode[struct {
			CallID string `json:"call_id"`
		}](e)
		return p.CallID, err
	}
	return "", nil
}

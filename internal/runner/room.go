package runner

import (
	"slices"
	"time"

	"github.com/stead-dev/stead/internal/session"
)

// What a full disk leaves. The journal has a reserve (package ballast), so that what was accepted can be
// brought to an end: new input is refused while the reserve is touched, and when little of it is left, what
// runs begins nothing more either. Outcomes, cancels and the ends of turns are journaled as ever.

// roomEvery is how often a session that waits for room looks whether there is some.
const roomEvery = time.Second

// takes refuses inputs on a full disk, unless they only end work.
func (r *Runner) takes(inputs []session.Input) error {
	if !slices.ContainsFunc(inputs, func(in session.Input) bool { return !cancels(in) }) {
		return nil
	}
	return r.cfg.Full()
}

// cancels: the input ends the turn.
func cancels(in session.Input) bool {
	return in.Cancel || in.Approval != nil && in.Approval.Decision == session.DecisionCancel
}

// nothingNew leaves out what begins something. The session is not released meanwhile: giving it up and taking it
// again would write into the journal each time.
func (a *actor) nothingNew(p *plan, cmds []session.Command) []session.Command {
	return slices.DeleteFunc(slices.Clone(cmds), func(c session.Command) bool {
		if !begins(c) {
			return false
		}
		if !p.scarce {
			p.wakeAt(a.r.now() + roomEvery.Milliseconds())
		}
		p.scarce = true
		return true
	})
}

func begins(c session.Command) bool {
	switch c := c.(type) {
	case session.InThread:
		return begins(c.Command)
	case session.ActOnSubagent, session.CallModel, session.CompactContext, session.CallTool, session.KeepMemories, session.ExtractMemories:
		return true
	case session.EnvironmentAction:
		return c.Action == session.ActionPrepare || c.Action == session.ActionOpen
	}
	return false
}

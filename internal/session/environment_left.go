package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// How an environment is left behind otherwise than in order: it died, its node did, or its session was copied.

// environmentDied: commands that run say so themselves.
func (v *View) environmentDied(ev stead.Event, p EnvironmentDisconnected) {
	if v.Environment.Node != p.Node {
		return
	}
	v.Environment.leave(EnvironmentAway, p.Usage)
	v.Environment.Lost = p.Reason
	if p.Ended != "" {
		v.Environment.Lost += ": " + p.Ended
		v.Environment.Error = &EnvironmentError{Code: CodeEnded, Type: "server_error", Message: "The environment ended: " + p.Ended + ". It starts again with the next command."}
	}
	v.gaveUpStoring(ev)
}

// copied: the copy begins with the last checkpoint, wherever the original is, and with the files that
// were given since.
func (e *EnvironmentView) copied(ev stead.Event, p EnvironmentCopied) {
	e.Used = ev.At
	e.Action, e.Call, e.Attempts, e.RetryAt, e.Residence = "", 0, 0, 0, 0
	e.unheld()
	if len(e.Commands) == 0 && e.Asked == 0 && e.Apart == nil {
		e.Touched = 0 // by files alone, and these are given to the copy again
	}
	if e.Hosted() && e.Touched > 0 {
		e.Lost = "the session was copied as of a moment at which its workspace was not stored"
	}
	if e.Status == EnvironmentConnectedNow {
		e.leave(EnvironmentAway, e.Since)
		e.Lost = "the session was copied while it ran"
	}
	e.Wanted, e.Reopened, e.Apart, e.Declined = 0, 0, nil, false // nobody asks here what is asked there
	e.Uploads, e.Given = append(e.Given, e.Uploads...), nil
	e.Past = environment.Usage{} // the session that was copied has used it
	if p.Foreign {
		e.Setup.Sealed = nil
	}
}

// environmentRecovered: the node that had it is gone, and with it what ran.
func (v *View) environmentRecovered(ev stead.Event) {
	e := v.Environment
	if e == nil {
		return
	}
	e.Orphans = e.Orphans || e.Action != "" && e.Action != ActionOpen
	e.unheld()
	e.Action, e.Call, e.Attempts, e.RetryAt = "", 0, 0, 0
	if e.Status == EnvironmentConnectedNow {
		e.leave(EnvironmentAway, e.Since)
		if e.Hosted() {
			e.Lost = "the node that it ran on stopped"
		}
	}
	v.gaveUpStoring(ev)
}

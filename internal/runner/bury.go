package runner

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// bury ends the turn of a session that could not be moved on: a broken invariant ends the turn with
// a report, never the process. When not even that can be written, the session is left alone, held
// by this node so that no other one trips over it too, and new input is still taken.
func (a *actor) bury(cause error) {
	a.log.Error("the session can't be moved on; its turn is ended", "err", cause)
	if err := safely(a.endBroken); err != nil && a.ctx.Err() == nil {
		a.log.Error("the session is left as it is: its journal can't be followed", "err", err)
	}
}

func (a *actor) endBroken() error {
	a.giveUp(everyThread)
	for {
		if err := a.reload(); err != nil {
			return err
		}
		p := &plan{after: a.state.Tail, release: true}
		if a.state.Turn != nil {
			failure := session.TurnEnded{Error: &session.TurnError{Code: codeInternal, Message: "An internal error ended the turn. The operator's log has the details."}}
			if err := a.endTurn(p, session.KindTurnFailed, failure); err != nil {
				return err
			}
		}
		b := journal.Batch{After: p.after, Events: p.events, Usage: p.usage, Release: true, Update: a.listing(a.state.Status())}
		err := a.patient(func() error { return a.r.cfg.Store.Append(a.ctx, a.lease, b) })
		if err == nil {
			a.settle(p)
		}
		if stead.KindOf(err) != stead.KindTail {
			return err
		}
	}
}

// codeInternal is the Agents API's code for a failure of ours.
const codeInternal = "internal_error"

package simulation

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// checkSubagents: whoever made a subagent is told of each of its turns once, and a turn does not complete before; a turn that completes has read all
// that was said to it; and each question has an id of its own.
func (w *world) checkSubagents(a *app, events []stead.Event) {
	v := session.NewView(stead.SessionKey{Project: me.Project, Session: a.id})
	untold := map[stead.Seq]stead.Seq{}                                // turn that has ended → its subagent
	said, read := map[stead.Seq]stead.Seq{}, map[stead.Seq]stead.Seq{} // by thread: the last of each
	for _, e := range events {
		before := v.At(e.Thread)
		if strings.HasPrefix(e.Kind, "turn.") && e.Kind != session.KindTurnStarted && before != nil && before.Turn != nil {
			if e.Kind == session.KindTurnCompleted && said[e.Thread] > read[e.Thread] {
				w.failf("session %s: turn %d of thread %d completes at %d, and what was said at %d was not read", a.id, before.Turn.Seq, e.Thread, e.Seq, said[e.Thread])
			}
			for turn, of := range untold {
				if v.Subagent(of).Parent != e.Thread {
					continue
				}
				delete(untold, turn)
				if e.Kind == session.KindTurnCompleted {
					w.failf("session %s: thread %d completes its turn at %d, and was not told of turn %d of subagent %d", a.id, e.Thread, e.Seq, turn, of)
				}
			}
			if e.Thread != 0 {
				untold[before.Turn.Seq] = e.Thread
			}
		}
		switch e.Kind {
		case session.KindSubagentInput:
			said[e.Thread] = e.Seq
		case session.KindModelCalled:
			if p, err := session.Decode[session.ModelCalled](e); err == nil && p.Purpose == session.PurposeStep {
				read[e.Thread] = e.Seq
			}
		case session.KindSubagentAnswered:
			p, err := session.Decode[session.SubagentAnswered](e)
			if err != nil || untold[p.Turn] != p.Subagent {
				w.failf("session %s: event %d tells of turn %d of subagent %d, which was told or has not ended: %v", a.id, e.Seq, p.Turn, p.Subagent, err)
			}
			delete(untold, p.Turn)
		}
		if err := v.Apply(e); err != nil {
			w.failf("replay: %v", err)
			return
		}
		if e.Kind == session.KindRunnerRecovered {
			w.checkQuestions(a, v)
		}
	}
}

func (w *world) checkQuestions(a *app, v *session.View) {
	seen := map[string]string{}
	for _, q := range v.RequiredActions() {
		if other, twice := seen[q.RequestID]; twice && q.RequestID != "" {
			w.failf("session %s: after event %d calls %s and %s are both asked about as %s", a.id, v.Tail, other, q.CallID, q.RequestID)
		}
		seen[q.RequestID] = q.CallID
	}
}

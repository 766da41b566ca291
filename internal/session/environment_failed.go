package session

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// What events say that failed in an environment, or for want of one, and what its workspace may hold since its last checkpoint.

// environmentFailed: the action may be tried again at a time; if not, whoever waits for it is told.
func (v *View) environmentFailed(ev stead.Event, p EnvironmentFailed) {
	e := v.Environment
	action, attempts, storing := e.Action, e.Attempts, e.Storing
	if !e.done(p.Call) {
		return
	}
	e.Orphans = e.Orphans || action != ActionOpen
	switch action {
	case ActionOpen, ActionExpire:
		e.unheld()
	case ActionPrepare:
		e.setUp(p.SetUp)
	}
	if p.RetryAt > 0 {
		e.Attempts, e.RetryAt = attempts, p.RetryAt
		return
	}
	v.dropEnvironmental(action)
	switch action {
	case ActionPrepare:
		e.Status, e.Error = EnvironmentIsFailed, &p.Error
		v.refuseCommands("The environment could not be prepared: " + p.Error.Message)
	case ActionOpen:
		v.refuseCommands("The environment could not be opened: " + p.Error.Message)
		if storing || e.Wanted > 0 {
			v.notStored(ev, p.Error)
		}
	case ActionExpire:
		e.Used = max(v.Now, ev.At) // policy refuses: it is asked again when as much time has passed once more
	case ActionSave, ActionSuspend:
		v.notStored(ev, p.Error)
	}
}

// codeSandbox is the Agents API's code for a turn that its environment fails.
const codeSandbox = "sandbox_error"

// refuseCommands ends the calls that wait for the environment.
func (v *View) refuseCommands(why string) {
	v.onEach(func() {
		if v.Turn == nil {
			return
		}
		if v.serversInside() && v.Turn.Model == nil {
			v.Turn.Failure = &TurnError{codeSandbox, why} // without its tools the model can't be asked
		}
		for _, c := range v.Turn.Calls {
			if c.Tool.Environment && c.State == CallReady {
				v.Turn.finish(c, stead.ItemFailed, nil, why)
			}
		}
	})
}

// workspaceChanged: the workspace is no longer that of the checkpoint, or somebody wants to be sure that it is.
func (v *View) workspaceChanged(ev stead.Event, p EnvironmentChanged) {
	e := v.Environment
	if !e.Resident(p.Node) {
		return
	}
	v.overtaken()
	e.Asked, e.Unsaved = ev.Seq, false
	if e.Touched == 0 {
		e.Touched = ev.Seq
	}
}

// needed remembers when the environment was needed last.
func (v *View) needed(at int64) {
	if v.Environment != nil {
		v.Environment.Used = at
	}
}

// commandCalled remembers that the workspace may differ from the checkpoint.
func (v *View) commandCalled(e stead.Event, c *Call) {
	env := v.Environment
	if env == nil {
		return
	}
	env.Used = e.At
	if c.Tool.Effect == tool.Pure {
		return
	}
	if env.Touched == 0 {
		env.Touched = e.Seq
	}
	v.overtaken()
	env.Unpublished, env.Reopened = true, 0
	env.Unsaved = false // the end of this turn is worth new tries
	if len(env.Commands) < maxNamedCommands {
		env.Commands = append(env.Commands, Shorten(c.Command(), maxCommandRunes))
	}
}

// Shorten puts a text on one line of at most so many characters.
func Shorten(s string, runes int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > runes {
		return string(r[:runes-1]) + "…"
	}
	return s
}

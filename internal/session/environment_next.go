package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
)

// EnvironmentAction does something with the session's environment, after journaling the intent.
type EnvironmentAction struct {
	Action  Action
	Attempt int  // from 1
	Publish bool // save: what the turn put into environment.OutputsDir becomes artifacts
	Store   bool // open: to store what the workspace holds, and for nothing else
	Keep    bool // save: what is stored apart becomes the session's; nothing else is done
}

func (EnvironmentAction) command() {}

// nextEnvironment says what is to be done with the environment beside the turn. A turn does not
// wait for it, except calls that run in it: see nextTools.
func (s *State) nextEnvironment(w Window) []Command {
	e := s.Environment
	if !e.Hosted() || e.Action != "" {
		return nil
	}
	if s.keeps() {
		return []Command{e.keep()}
	}
	action, at := s.wantedAction(w)
	if action == "" && at == 0 {
		return nil
	}
	if at = max(at, e.RetryAt); at > s.Now {
		return []Command{WaitUntil{at}}
	}
	store := action == ActionOpen && !s.commandWaits()
	return []Command{EnvironmentAction{Action: action, Attempt: e.Attempts + 1, Store: store, Publish: action == ActionSave && s.publishes()}}
}

// wantedAction is what the environment needs next, "" for nothing; at is when, 0: now.
func (s *State) wantedAction(w Window) (action Action, at int64) {
	e := s.Environment
	gone := s.Failed != nil
	if e.Expiring {
		return ActionExpire, 0
	}
	switch e.Status {
	case EnvironmentPending:
		if !gone {
			return ActionPrepare, 0
		}
	case EnvironmentIsFailed:
		if s.commandWaits() { // those that waited when it failed were told: this one came later
			return ActionPrepare, 0
		}
	case EnvironmentReady, EnvironmentIsSuspended, EnvironmentAway:
		switch {
		case s.commandWaits():
			return ActionOpen, s.opensAt()
		case !gone && e.Wanted > 0:
			return ActionOpen, 0
		case s.Turn == nil && w.EnvironmentExpire > 0:
			return ActionExpire, max(e.Used, s.LastActive, s.CreatedAt) + w.EnvironmentExpire.Milliseconds()
		}
	case EnvironmentIsExpired:
		if s.commandWaits() {
			return ActionOpen, 0 // which can only fail: so the agent is told
		}
	case EnvironmentConnectedNow:
		switch {
		case s.commandRuns():
		case gone, e.Slice.Refused && !e.Unsaved:
			return ActionSuspend, 0
		case len(e.Uploads) > 0 && !e.Unsaved, e.Asked+e.Wanted > 0 && !e.Unsaved, s.Turn == nil && e.Touched > 0 && !e.Unsaved && !e.aside(),
			s.publishes() && !e.Unsaved && !(e.aside() && e.Apart.Publish):
			return ActionSave, 0
		case (s.Turn == nil || s.budgetStops()) && w.EnvironmentIdle > 0:
			return ActionSuspend, e.Used + w.EnvironmentIdle.Milliseconds()
		case s.stuck() && w.EnvironmentIdle > 0:
			return ActionSuspend, max(e.Used, s.askedAt()) + w.EnvironmentIdle.Milliseconds()
		}
	}
	return "", 0
}

// askedAt is when the last of what somebody is asked for was asked, in Unix milliseconds: whoever answers at once finds the environment as it was.
func (s *State) askedAt() (at int64) {
	s.eachTurn(func(t *TurnView) {
		for _, c := range t.Calls {
			if c.State != CallDone {
				at = max(at, c.Since)
			}
		}
	})
	for _, w := range s.Effects {
		at = max(at, w.Since)
	}
	return at
}

// opensAt is when the environment may be opened for the commands that wait: of a turn that waits for a budget nothing begins, those of other threads go on.
func (s *State) opensAt() int64 {
	if s.budgetWaits() && s.Turn.Budget.Environment {
		return s.Turn.Budget.RetryAt
	}
	if s.find(func(u *View) bool { return u.commandsWait() && !u.budgetWaits() }) != nil {
		return 0
	}
	return s.find((*View).commandsWait).Turn.Budget.RetryAt
}

// budgetStops: a budget holds up the session: turns wait for it, and all others for these.
func (s *State) budgetStops() bool {
	goesOn := func(u *View) bool { return u.Turn != nil && !u.budgetWaits() && !u.awaitsSubagents() }
	return s.find((*View).budgetWaits) != nil && s.find(goesOn) == nil
}

// commandWaits: a call can only go on in the environment.
func (s *State) commandWaits() bool { return s.find((*View).commandsWait) != nil }

func (v *View) commandsWait() bool {
	if v.Turn == nil || v.Turn.StartedAt == 0 || v.Paused || v.Turn.Cancelling {
		return false
	}
	if v.serversInside() && v.Turn.Model == nil && v.Turn.Fresh && v.Turn.Failure == nil {
		return true
	}
	for _, c := range v.Turn.Calls {
		if c.Tool.Environment && c.State == CallReady {
			return true
		}
	}
	return false
}

// serversInside: the agent has tool servers in its environment, so that the model can only be asked
// while that is open: nobody else knows which tools they have.
func (v *View) serversInside() bool {
	return v.Environment != nil && slices.ContainsFunc(v.Created.Agent.Spec.Tools, agent.Tool.InEnvironment)
}

func (s *State) commandRuns() bool { return s.find((*View).commandsRun) != nil }

func (v *View) commandsRun() bool {
	if v.Turn == nil {
		return false
	}
	for _, c := range v.Turn.Calls {
		if c.Tool.Environment && c.State == CallRunning {
			return true
		}
	}
	return false
}

// open reports whether commands can run in the environment now: it is there, and has what was given.
func (e *EnvironmentView) open() bool {
	return e != nil && e.Status == EnvironmentConnectedNow && (!e.Hosted() || e.Action == "" && (len(e.Uploads) == 0 || e.Unsaved))
}

// awaitsServers: the next step waits until somebody connects the environment with its tool servers.
func (v *View) awaitsServers() bool {
	e := v.Environment
	return v.serversInside() && v.Turn.Fresh && !e.Hosted() && e.Status != EnvironmentConnectedNow
}

// unconnected: the call waits until somebody connects the environment, or is cut off unless its executor comes
// back before it is given up.
func (v *View) unconnected(c *Call) bool {
	e := v.Environment
	return c.Tool.Environment && (c.State == CallReady || c.State == CallRunning) && e != nil && !e.Hosted() && e.Status != EnvironmentConnectedNow
}

// noticeOfReset is what the agent is told.
func noticeOfReset(r Reset) string {
	text := "your environment was reset, because " + r.Why + ". Its processes have ended. "
	since, between := "", " "
	if r.Since > 0 {
		since = " of " + time.UnixMilli(r.Since).UTC().Format(time.RFC3339)
	}
	switch {
	case r.Kept && len(r.Commands) == 0 && len(r.Background) == 0:
		return text + "The workspace is as it was."
	case r.Kept:
		text += "The files in the workspace are as these processes left them; one that was running may have done a part of its work."
	default:
		text += "The workspace is that of the last checkpoint" + since + ": what was changed later is missing."
	}
	if len(r.Commands) > 0 {
		text += " Commands since that checkpoint:" + bullets(r.Commands)
		between = "\n"
	}
	if len(r.Background) > 0 {
		text += between + "In the background these ran at the checkpoint" + since + ", and what they did since may be missing or unfinished:" + bullets(r.Background)
	}
	return text
}

func bullets(lines []string) string {
	return "\n- " + strings.Join(lines, "\n- ")
}

// reset tells the agent that its environment is not what it was.
func (c *Context) reset(e stead.Event) error {
	p, err := Decode[EnvironmentConnected](e)
	if err != nil || p.Reset == nil {
		return err
	}
	c.notice(e.Seq, noticeOfReset(*p.Reset))
	return nil
}

// unpublished tells the agent which of its outputs did not become artifacts.
func (c *Context) unpublished(e stead.Event) error {
	p, err := Decode[EnvironmentCheckpointed](e)
	if err != nil || len(p.TooLarge) == 0 {
		return err
	}
	var large, many []string
	for _, l := range p.TooLarge {
		if l.Many {
			many = append(many, l.Path)
		} else {
			large = append(large, fmt.Sprintf("%s has %d bytes, the limit is %d", l.Path, l.Size, l.Limit))
		}
	}
	if len(large) > 0 {
		c.notice(e.Seq, "these files are too large to become artifacts, and nobody outside of the workspace sees them:"+bullets(large))
	}
	if len(many) > 0 {
		c.notice(e.Seq, fmt.Sprintf("this session has as many artifacts as it may, %d, so that these files did not become artifacts, and perhaps others; "+
			"nobody outside of the workspace sees them until somebody deletes artifacts of the session:", MaxArtifacts)+bullets(many))
	}
	return nil
}

// tooLong tells the agent of what a checkpoint left out, when that has changed.
func (c *Context) tooLong(e stead.Event, v *View) {
	env := v.Environment
	if env == nil || env.Checkpoint == nil || env.Checkpointed != e.Seq || env.Checkpoint.TooLong == c.TooLong {
		return
	}
	if c.TooLong = env.Checkpoint.TooLong; c.TooLong > 0 {
		c.notice(e.Seq, fmt.Sprintf("%d files or directories in your workspace have paths of more than %d bytes, which is the limit of what is stored. "+
			"They, and all that is in them, are lost when your environment is opened again from what is stored: move them up.", c.TooLong, environment.MaxStoredPathBytes))
	}
}

// unsettled tells the agent that what is stored may lack what was renamed, unless the next checkpoint is whole before it hears of that.
func (c *Context) unsettled(e stead.Event, v *View) {
	env := v.Environment
	if env == nil || env.Checkpoint == nil || env.Checkpointed != e.Seq || env.Checkpoint.Unsettled == (c.Unsettled > 0) {
		return
	}
	if !env.Checkpoint.Unsettled {
		c.takeBack(c.Unsettled)
		c.Unsettled = 0
		return
	}
	c.Unsettled = e.Seq
	c.notice(e.Seq, "processes in the background made, removed or renamed files in your workspace all the while it was stored: what they "+
		"renamed just then may be missing in what is stored. It is stored again after your next turn, and while they go on.")
}

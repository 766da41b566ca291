package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// What a turn did in its workspace is stored before the turn ends, wherever the workspace is by then. An
// environment that went away meanwhile (its node stopped, or something ended it) is opened once more for
// that: on the same node its files are still as they were left, and where they are not, opening it says
// so. Nobody needs it to be resident afterwards. The same is done when a copy of the present is asked for.

// KindInputCheckpoint asks for a checkpoint, since a copy of the session is about to be made, or something is forgotten.
const KindInputCheckpoint = "input.checkpoint" // door

// CheckpointInput is its payload.
type CheckpointInput struct {
	// Forget has files of memories taken out of the workspace before it is stored, whenever that is; nil: a copy is about to be made.
	Forget *ForgetFiles `json:"forget,omitempty"`
}

// saveFirst puts a checkpoint before the end of a turn that touched the workspace: what a completed
// turn made is durable, and published. When it can't be stored, after as many tries as there are, the
// turn ends all the same and everybody is told: if the workspace is still there, storing it is tried
// again. See Unstored. Where subagents work it says the end, which has theirs come first: what their commands did until then is stored behind it.
func (s *State) saveFirst(end EndTurn) []Command {
	e := s.Environment
	publish := end.Kind == KindTurnCompleted
	if s.focus != 0 || s.subagentsWork() || !e.Hosted() || e.Unsaved || !e.Unstocked() && !(publish && e.Unpublished) {
		return []Command{end}
	}
	if e.aside() && (e.Apart.Publish || !publish || !e.Unpublished) {
		return s.keepFirst(end)
	}
	next := EnvironmentAction{Action: ActionSave, Attempt: e.Attempts + 1, Publish: publish}
	switch {
	case e.Status == EnvironmentConnectedNow:
	case e.reopens():
		next = EnvironmentAction{Action: ActionOpen, Attempt: e.Attempts + 1, Store: true}
	default:
		return []Command{end}
	}
	if e.Action != "" {
		return nil // its outcome comes
	}
	if e.RetryAt > s.Now {
		return []Command{WaitUntil{e.RetryAt}}
	}
	return []Command{next}
}

// turnEnded: outputs belong to the turn that made them. One that is cancelled ends at once, and its files are stored and its
// outputs published right behind it: who ends a turn wants what it has made so far, and does not want to wait.
func (e *EnvironmentView) turnEnded(kind string, t *TurnView) {
	if kind == KindTurnCancelled && t != nil && e.Unpublished {
		e.Cancelled = t.Seq
		return
	}
	e.Unpublished, e.Cancelled = false, 0
}

// publishes: what is stored now is stored behind a cancelled turn, whose outputs become artifacts. Once another turn runs
// they are published with that.
func (s *State) publishes() bool {
	e := s.Environment
	return s.Turn == nil && e.Unpublished && e.Cancelled > 0
}

// Unstocked reports whether the workspace may hold what its checkpoint does not. In a copy it holds what
// the checkpoint does, whatever the original did since.
func (e *EnvironmentView) Unstocked() bool {
	return e.Hosted() && e.Touched > 0 && (e.Status == EnvironmentConnectedNow || e.reopens())
}

// reopens: it is not resident, and was: opening it finds what that residence left.
func (e *EnvironmentView) reopens() bool {
	return e.Residence > 0 && !e.Expiring && (e.Status == EnvironmentAway || e.Status == EnvironmentIsSuspended)
}

// storing counts how often the environment was opened to be stored alone.
func (e *EnvironmentView) storing(p EnvironmentCalled) {
	e.Storing = p.Action == ActionOpen && p.Store
	if e.Storing {
		e.Reopened++
	}
}

// gaveUpStoring: an environment that ends each time before it is stored is not opened for ever.
func (v *View) gaveUpStoring(ev stead.Event) {
	e := v.Environment
	if e.Reopened >= stead.MaxEnvironmentAttempts {
		v.notStored(ev, EnvironmentError{Code: codeSandbox, Type: "server_error", Message: "the environment ended each time it was opened for that"})
	}
}

// notStored: the tries to store the workspace are over. New ones begin with the next command, or when the
// environment has been idle for as long once more.
func (v *View) notStored(ev stead.Event, why EnvironmentError) {
	v.unstored(ev, why)
	e := v.Environment
	e.Asked, e.Wanted, e.Reopened, e.Unsaved, e.Used = 0, 0, 0, true, max(v.Now, ev.At)
}

// wanted: somebody copies the session, and wants what is in the workspace now; or files are to be forgotten, at the latest when it is opened next.
func (e *EnvironmentView) wanted(ev stead.Event, p CheckpointInput) {
	e.Forget = e.Forget.and(ev.Seq, p.Forget)
	connected := e.Status == EnvironmentConnectedNow
	if !connected && !e.Unstocked() || !e.Hosted() || e.aside() || e.Declined && p.Forget == nil { // of what waits for an approval, or was denied, no copy is made
		return
	}
	e.Wanted, e.Unsaved, e.RetryAt = ev.Seq, false, 0
	if connected && e.Touched == 0 {
		e.Touched = ev.Seq // what runs in the background may have changed it
	}
}

// What events that store a workspace make of what is known of it.

func (v *View) checkpointed(ev stead.Event, p EnvironmentCheckpointed) {
	e := v.Environment
	at, call := ev.At, e.Call
	if !e.done(p.Call) {
		return
	}
	if a := e.Apart; p.Kept > 0 && a != nil {
		at, call, e.Apart = a.At, a.Call, nil
		v.dropEnvironmental(ActionSave)
	}
	v.checkpoint(ev, p.Checkpoint, p.Upto, call)
	e.CheckpointAt = at
	e.refuse(ev, p.Refused)
	e.Since, e.Background = e.Since.Grown(p.Usage), p.Background
	turn := e.Cancelled
	if v.Turn != nil && (turn == 0 || v.Turn.Seq < call) { // not one that began meanwhile
		turn = v.Turn.Seq
	}
	if e.Publishing {
		e.Unpublished, e.Cancelled = false, 0
	}
	for _, l := range p.TooLarge {
		e.TooLarge = slices.DeleteFunc(e.TooLarge, func(old environment.TooLarge) bool { return old.Path == l.Path })
		e.TooLarge = append(e.TooLarge, l)
	}
	e.TooLarge = e.TooLarge[max(0, len(e.TooLarge)-maxTooLarge):]
	for i, a := range p.Artifacts {
		e.TooLarge = slices.DeleteFunc(e.TooLarge, func(old environment.TooLarge) bool { return old.Path == a.Path })
		if len(e.Artifacts) < MaxArtifacts {
			e.Withdrawn = slices.DeleteFunc(slices.Clone(e.Withdrawn), func(old PublishedArtifact) bool { return old.Path == a.Path })
			e.Artifacts = append(e.Artifacts, PublishedArtifact{Published: a, Seq: ev.Seq, Index: i, At: ev.At, Turn: turn})
		}
	}
}

// checkpoint: what was done before the call that stored it is safe.
func (v *View) checkpoint(ev stead.Event, c environment.Checkpoint, upto, call stead.Seq) {
	e := v.Environment
	v.dropApart() // it is an older one
	e.Declined = false
	e.Checkpoint, e.Checkpointed, e.CheckpointAt, e.Unsaved, e.Unstored, e.Background, e.Given = &c, ev.Seq, ev.At, false, nil, nil, nil
	if e.Asked < call {
		e.Asked = 0
	}
	if e.Wanted < call {
		e.Wanted = 0
	}
	if e.Forget != nil && e.Forget.Asked < call {
		e.Forget = nil
	}
	e.Reopened = 0
	e.dropUploads(upto)
	if e.Touched < call {
		e.Touched, e.Commands = 0, nil
	}
}

func (v *View) suspended(ev stead.Event, p EnvironmentSuspended) {
	e := v.Environment
	call, publishes := e.Call, e.Publishing
	if !e.done(p.Call) {
		return
	}
	e.Orphans = false // they were swept with it
	if p.Apart {
		v.storedApart(ev, p, publishes)
	} else {
		v.checkpoint(ev, p.Checkpoint, p.Upto, call)
	}
	e.refuse(ev, p.Refused)
	e.leave(EnvironmentIsSuspended, p.Usage)
}

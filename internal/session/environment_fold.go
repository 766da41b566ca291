package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
)

// What events make of an environment. What is said of its checkpoints is folded in environment_save.go, what fails and what commands do in environment_failed.go.

// foldEnvironment folds the events of an environment; ok is false for events of another kind.
func (v *View) foldEnvironment(e stead.Event) (ok bool, err error) {
	switch e.Kind {
	case KindEnvironmentCreated:
		return true, fold(e, v.environmentCreated)
	case KindToolStreamed:
		return true, nil
	case KindInputFile, KindInputConnection, KindInputArtifact, KindInputCheckpoint, KindEnvironmentCalled, KindEnvironmentPrepared, KindEnvironmentConnected,
		KindEnvironmentCheckpointed, KindEnvironmentSuspended, KindEnvironmentExpired, KindEnvironmentFailed, KindEnvironmentDisconnected, KindEnvironmentChanged, KindEnvironmentCopied, KindEnvironmentExtended:
	default:
		return false, nil
	}
	if v.Environment == nil {
		return true, nil // a journal from elsewhere: what is said of nothing changes nothing
	}
	switch e.Kind {
	case KindInputFile:
		return true, fold(e, v.uploaded)
	case KindInputConnection:
		return true, fold(e, v.connection)
	case KindInputArtifact:
		return true, fold(e, v.artifactDeleted)
	case KindInputCheckpoint:
		return true, fold(e, v.Environment.wanted)
	case KindEnvironmentCalled:
		return true, fold(e, v.environmentCalled)
	case KindEnvironmentExtended:
		return true, fold(e, v.extended)
	case KindEnvironmentPrepared:
		v.dropEnvironmental(ActionPrepare)
		return true, fold(e, v.Environment.prepared)
	case KindEnvironmentConnected:
		v.dropEnvironmental(ActionOpen)
		return true, fold(e, v.connected)
	case KindEnvironmentCheckpointed:
		return true, fold(e, v.checkpointed)
	case KindEnvironmentSuspended:
		return true, fold(e, v.suspended)
	case KindEnvironmentExpired:
		v.dropEnvironmental(ActionSave)
		return true, fold(e, v.Environment.expired)
	case KindEnvironmentFailed:
		return true, fold(e, v.environmentFailed)
	case KindEnvironmentChanged:
		return true, fold(e, v.workspaceChanged)
	case KindEnvironmentCopied:
		v.dropEffects(func(w *EffectWait) bool { return environmental(w.Effect) || w.Effect == policy.EnvironmentSave })
		return true, fold(e, v.Environment.copied)
	}
	return true, fold(e, v.environmentDied)
}

func (v *View) environmentCreated(e stead.Event, p EnvironmentCreated) {
	v.Environment = newEnvironment(&p.Setup)
	v.Created.Environment, v.Created.VaultIDs, v.Created.Principal = p.Object, p.VaultIDs, p.Principal
	v.CreatedAt, v.LastActive = e.At, e.At
	v.wrote(p.Principal)
}

// connection: a self-hosted environment comes and goes with its executor.
func (v *View) connection(ev stead.Event, p ConnectionInput) {
	e := v.Environment
	if e.Hosted() || (!p.Connected && e.Node != p.Node) {
		return // an older connection's end
	}
	e.Status, e.Node = EnvironmentAway, ""
	if p.Connected {
		e.Status, e.Node, e.Error = EnvironmentConnectedNow, p.Node, nil
	}
	e.Used = ev.At
}

func (v *View) environmentCalled(ev stead.Event, p EnvironmentCalled) {
	e := v.Environment
	if t := v.Turn; t != nil && t.Budget != nil && t.Budget.Environment && p.Action == ActionOpen {
		t.called() // what the turn waited for
	}
	e.begins(p)
	e.storing(p)
	e.Action, e.Call, e.Attempts, e.RetryAt = p.Action, ev.Seq, p.Attempt, 0
	e.Expiring, e.Publishing = e.Expiring || expires(ev), p.Publish
	if p.Keep && !p.Decision.Allow { // policies forbid by now what was to be approved
		v.dropApart()
		e.stays()
	}
}

// done ends the action that began with call; false when it is another one's outcome.
func (e *EnvironmentView) done(call stead.Seq) bool {
	if e.Action == "" || e.Call != call {
		return false
	}
	e.Action, e.Call, e.Attempts, e.RetryAt = "", 0, 0, 0
	return true
}

func (e *EnvironmentView) prepared(ev stead.Event, p EnvironmentPrepared) {
	if !e.done(p.Call) {
		return
	}
	e.Status, e.Layer, e.Error, e.Used = EnvironmentReady, p.Layer, nil, ev.At
	e.Checkpoint, e.Checkpointed, e.CheckpointAt, e.Background = &p.Checkpoint, ev.Seq, ev.At, nil
	e.setUp(p.SetUp)
}

func (v *View) connected(ev stead.Event, p EnvironmentConnected) {
	e := v.Environment
	if !e.done(p.Call) {
		return
	}
	e.Status, e.Node, e.Lost, e.Error, e.Used = EnvironmentConnectedNow, p.Node, "", nil, ev.At
	if p.Reset != nil {
		e.Resets, e.LastReset, e.ResetAt = p.Reset.Count, p.Reset, ev.At
		switch {
		case p.Reset.Kept:
		case e.Apart != nil:
			e.restoredApart()
		default:
			e.Touched, e.Commands, e.Unstored, e.Background, e.Given, e.Declined = 0, nil, nil, nil, nil, false
		}
	}
	e.Residence, e.Skills, e.Unsaved, e.Asked = p.Call, p.Skills, e.Declined && e.Wanted == 0, 0
	put := e.dropUploads(p.Upto)
	if len(put) > 0 {
		v.overtaken()
	}
	e.given(put, p.Refused)
	e.refuse(ev, p.Refused)
	if len(put) > 0 && e.Touched == 0 {
		e.Touched = ev.Seq // the workspace is not that of the checkpoint
	}
}

// expired: nothing is left but what was published, and what was used.
func (e *EnvironmentView) expired(_ stead.Event, p EnvironmentExpired) {
	if p.Call > 0 && !e.done(p.Call) {
		return
	}
	e.Status, e.Node, e.Expiring, e.Error, e.Lost = EnvironmentIsExpired, "", false, nil, ""
	e.unheld()
	e.Layer, e.Checkpoint, e.Checkpointed, e.CheckpointAt, e.Background, e.Residence, e.Skills = "", nil, 0, 0, nil, 0, nil
	e.Uploads, e.Given, e.Touched, e.Commands, e.Unsaved, e.Unstored, e.Orphans, e.Wanted = nil, nil, 0, nil, false, nil, false, 0
	e.Apart, e.Declined = nil, false
	e.Forget = nil
}

// leave ends a residence.
func (e *EnvironmentView) leave(status string, used environment.Usage) {
	e.Status, e.Node, e.Asked = status, "", 0
	e.unheld()
	e.Past, e.Since = e.Past.Plus(e.Since.Grown(used)), environment.Usage{}
}

package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
)

// Statuses of an environment, as on the wire.
const (
	EnvironmentPending      = "pending"
	EnvironmentReady        = "ready"
	EnvironmentConnectedNow = "connected"
	EnvironmentAway         = "disconnected"
	EnvironmentIsSuspended  = "suspended"
	EnvironmentIsExpired    = "expired"
	EnvironmentIsFailed     = "failed"
)

// EnvironmentView folds what is known of the session's environment.
type EnvironmentView struct {
	Setup  environment.Setup `json:"setup"`
	Status string            `json:"status"`
	Error  *EnvironmentError `json:"error,omitempty"`
	Node   stead.NodeID      `json:"node,omitempty"` // where it is resident, or its executor connected
	// Residence is the open of the last residence, 0 for none.
	Residence stead.Seq `json:"residence,omitempty"`

	Action   Action    `json:"action,omitempty"` // under way
	Call     stead.Seq `json:"call,omitempty"`   // of its intent
	Attempts int       `json:"attempts,omitempty"`
	RetryAt  int64     `json:"retry_at,omitempty"` // Unix milliseconds

	// Expiring: an expiry has begun, and ends in nothing else.
	Expiring bool `json:"expiring,omitempty"`

	Skills       []environment.Skill     `json:"skills,omitempty"`
	Layer        string                  `json:"layer,omitempty"`
	Checkpoint   *environment.Checkpoint `json:"checkpoint,omitempty"`
	Checkpointed stead.Seq               `json:"checkpointed,omitempty"` // of the event that brought it

	Uploads []Upload        `json:"uploads,omitempty"` // not in the workspace yet
	Given   []Upload        `json:"given,omitempty"`   // in the workspace, and not in the checkpoint
	Refused []RefusedUpload `json:"refused,omitempty"` // the latest that could not be put there
	// Touched is the first command since the checkpoint, 0 for none, and Commands names them.
	Touched  stead.Seq `json:"touched,omitempty"`
	Commands []string  `json:"commands,omitempty"`
	// CheckpointAt is when the checkpoint was made, in Unix milliseconds, and Background are the commands
	// that ran in the background then: they may have gone on.
	CheckpointAt int64    `json:"checkpoint_at,omitempty"`
	Background   []string `json:"background,omitempty"`
	// Asked is the event that asks for a checkpoint beside those at the ends of turns, 0 for none.
	Asked stead.Seq `json:"asked,omitempty"`
	// Wanted is the event that asks for one since the session is copied, 0 for none: it outlives residences.
	Wanted stead.Seq `json:"wanted,omitempty"`
	// Forget are files that are to be taken out of the workspace before it is stored, or anything runs in it; nil: none.
	Forget *ForgetFiles `json:"forget,omitempty"`
	// Unpublished: a command of this turn may have made outputs that no checkpoint has published; or one of Cancelled,
	// a turn that was cancelled, and so did not wait for that; 0: there is none.
	Unpublished bool      `json:"unpublished,omitempty"`
	Cancelled   stead.Seq `json:"cancelled,omitempty"`
	Publishing  bool      `json:"publishing,omitempty"` // Action does
	// Unsaved: the last tries to checkpoint failed. The turn ends all the same; the next command, or
	// being idle, begins new ones.
	Unsaved bool `json:"unsaved,omitempty"`
	// Storing: Action opens it to store what it holds; Reopened is how often that was begun since the last
	// command or checkpoint.
	Storing  bool `json:"storing,omitempty"`
	Reopened int  `json:"reopened,omitempty"`
	// Unstored: the workspace has not been stored since tries to do so were given up. nil: it has.
	Unstored *Unstored `json:"unstored,omitempty"`
	// Apart is what is stored apart, until it is approved; nil: nothing is. Declined: the workspace is as somebody who was asked did not want it
	// stored, so that nobody is asked again before it changes.
	Apart    *Apart `json:"apart,omitempty"`
	Declined bool   `json:"declined,omitempty"`
	// Orphans: an action that stores was cut off or failed, so that there may be blobs nobody names.
	Orphans bool   `json:"orphans,omitempty"`
	Lost    string `json:"lost,omitempty"` // why the residence ended without a checkpoint; "": it did not
	Resets  int    `json:"resets,omitempty"`
	// LastReset is the last of them, ResetAt its time in Unix milliseconds.
	LastReset *Reset `json:"last_reset,omitempty"`
	ResetAt   int64  `json:"reset_at,omitempty"`
	Used      int64  `json:"used,omitempty"` // Unix milliseconds: when it was last needed

	Artifacts []PublishedArtifact `json:"artifacts,omitempty"`
	// Withdrawn are artifacts that were deleted, while nothing newer has their path: what the file holds does
	// not become one again.
	Withdrawn []PublishedArtifact `json:"withdrawn,omitempty"`
	// TooLarge are the files of which the agent was told last that they did not become artifacts: those
	// that still have not, when the directory of outputs was looked at last.
	TooLarge []environment.TooLarge `json:"too_large,omitempty"`
	Past     environment.Usage      `json:"past"`  // of residences that have ended; of a self-hosted one: all
	Since    environment.Usage      `json:"since"` // of the present one, as of its last command or checkpoint
	// Metering is what of all that is on record.
	Metering Metering `json:"metering"`
	// Slice is what of its use budgets hold now.
	Slice Slice `json:"slice,omitzero"`
}

// Limits of what the view keeps.
const (
	maxNamedCommands = 16
	maxCommandRunes  = 160
	maxTooLarge      = 64
	// MaxUploads is the most files that wait to be put into a workspace.
	MaxUploads = 256
	// MaxArtifacts is the most artifacts of a session.
	MaxArtifacts = 1000
)

// Resident reports whether the environment runs on a node.
func (e *EnvironmentView) Resident(node stead.NodeID) bool {
	return e != nil && e.Setup.Type == EnvironmentHosted && e.Status == EnvironmentConnectedNow && e.Node == node
}

// Hosted reports whether this runtime hosts it.
func (e *EnvironmentView) Hosted() bool { return e != nil && e.Setup.Type == EnvironmentHosted }

func newEnvironment(setup *environment.Setup) *EnvironmentView {
	if setup == nil || setup.Type == EnvironmentNone || setup.Type == "" {
		return nil
	}
	return &EnvironmentView{Setup: *setup, Status: EnvironmentPending}
}

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

// ID is the artifact's id.
func (a PublishedArtifact) ID(s stead.SessionID) string {
	return stead.DerivedID("artifact", s, a.Seq, a.Index)
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

// Gone reports whether the workspace is deleted, or being deleted.
func (e *EnvironmentView) Gone() bool { return e.Expiring || e.Status == EnvironmentIsExpired }

// leave ends a residence.
func (e *EnvironmentView) leave(status string, used environment.Usage) {
	e.Status, e.Node, e.Asked = status, "", 0
	e.unheld()
	e.Past, e.Since = e.Past.Plus(e.Since.Grown(used)), environment.Usage{}
}

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

// held reports whether a holder of the lease does something with the environment, or has it: when
// the holder is gone, that is cut off.
func (e *EnvironmentView) held() bool {
	return e != nil && (e.Action != "" || e.Hosted() && e.Status == EnvironmentConnectedNow)
}

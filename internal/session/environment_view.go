package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
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

// Gone reports whether the workspace is deleted, or being deleted.
func (e *EnvironmentView) Gone() bool { return e.Expiring || e.Status == EnvironmentIsExpired }

// held reports whether a holder of the lease does something with the environment, or has it: when
// the holder is gone, that is cut off.
func (e *EnvironmentView) held() bool {
	return e != nil && (e.Action != "" || e.Hosted() && e.Status == EnvironmentConnectedNow)
}

func newEnvironment(setup *environment.Setup) *EnvironmentView {
	if setup == nil || setup.Type == EnvironmentNone || setup.Type == "" {
		return nil
	}
	return &EnvironmentView{Setup: *setup, Status: EnvironmentPending}
}

// ID is the artifact's id.
func (a PublishedArtifact) ID(s stead.SessionID) string {
	return stead.DerivedID("artifact", s, a.Seq, a.Index)
}

package session

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
)

// Events of a session's environment. An environment has no journal of its own: it lives in its
// session's, so that what an agent did and what its workspace held are ordered by one log. One that
// was made before its session (prewarmed) begins the journal with environment.created, and the
// session that attaches it appends session.created behind.
const (
	KindEnvironmentCreated = "environment.created" // door
	KindInputFile          = "input.file"          // door: a file is to be in the workspace
	KindInputConnection    = "input.connection"    // door: a self-hosted executor came or went
	KindInputArtifact      = "input.artifact"      // door: an artifact was deleted

	KindEnvironmentCalled       = "environment.called"   // intent
	KindEnvironmentPrepared     = "environment.prepared" // outcomes …
	KindEnvironmentConnected    = "environment.connected"
	KindEnvironmentCheckpointed = "environment.checkpointed"
	KindEnvironmentSuspended    = "environment.suspended"
	KindEnvironmentExpired      = "environment.expired"
	KindEnvironmentFailed       = "environment.failed"       // … and that of each which brought nothing
	KindEnvironmentDisconnected = "environment.disconnected" // it died by itself
	KindEnvironmentChanged      = "environment.changed"      // what was not a command of a turn changed the workspace, or somebody asks for a checkpoint
	KindEnvironmentCopied       = "environment.copied"       // the journal was: what ran stayed where it was
	KindToolStreamed            = "tool.streamed"            // output of a command that runs
)

// Types of environment, as on the wire.
const (
	EnvironmentNone       = "none"
	EnvironmentHosted     = "openai_hosted" // by this runtime
	EnvironmentSelfHosted = "self_hosted"
)

// EnvironmentCreated begins the journal of an environment that waits for its session.
type EnvironmentCreated struct {
	Setup     environment.Setup `json:"setup"`
	Object    json.RawMessage   `json:"object"` // the wire's environment
	VaultIDs  []string          `json:"vault_ids,omitempty"`
	Principal stead.Principal   `json:"principal"`
}

// FileInput is a file that somebody put into the workspace. It gets there before the next command.
type FileInput struct {
	Path string          `json:"path"` // absolute, inside
	Data stead.Text      `json:"data"` // a blob
	By   stead.Principal `json:"by"`
}

// ConnectionInput says that a self-hosted environment's executor connected to a node, or left it.
type ConnectionInput struct {
	Connected bool         `json:"connected"`
	Node      stead.NodeID `json:"node"`
	Reason    string       `json:"reason,omitempty"`
}

// ArtifactInput deletes an artifact.
type ArtifactInput struct {
	ID string          `json:"id"`
	By stead.Principal `json:"by"`
}

// Action is what can be done with an environment.
type Action string

// The actions.
const (
	ActionPrepare Action = "prepare" // make what it starts from: layer, files, first checkpoint
	ActionOpen    Action = "open"    // make it resident
	ActionSave    Action = "save"    // put files in, checkpoint
	ActionSuspend Action = "suspend" // checkpoint and end it
	// ActionExpire deletes its workspace and checkpoints for good. Its intent is the point of no return:
	// from then on they may be gone.
	ActionExpire Action = "expire"
)

// EnvironmentCalled is the intent of an action; its Seq names it.
type EnvironmentCalled struct {
	Action   Action          `json:"action"`
	Attempt  int             `json:"attempt"`           // from 1
	Publish  bool            `json:"publish,omitempty"` // save: outputs become artifacts
	Store    bool            `json:"store,omitempty"`   // open: to store what the workspace holds, and for nothing else
	Apart    bool            `json:"apart,omitempty"`   // suspend: since policies want an approval of what would be stored: see Apart
	Keep     bool            `json:"keep,omitempty"`    // save: of what is stored apart
	Decision policy.Decision `json:"decision"`
	// Of prepare, open and expire: what budgets reserved, until when, and what it is to cost.
	Hold  *Hold  `json:"hold,omitempty"`
	Until int64  `json:"until,omitempty"` // Unix milliseconds
	Rates *Rates `json:"rates,omitempty"`
}

// EnvironmentPrepared is the outcome of ActionPrepare.
type EnvironmentPrepared struct {
	Call       stead.Seq              `json:"call"`
	Layer      string                 `json:"layer,omitempty"` // checkpoint of what packages and set-up commands installed
	Checkpoint environment.Checkpoint `json:"checkpoint"`
	Blobs      []stead.Text           `json:"blobs,omitempty"`  // what storing them added: copies take them along
	SetUp      *environment.SetUp     `json:"set_up,omitempty"` // what packages and set-up commands used
	Dropped
}

// EnvironmentConnected is the outcome of ActionOpen. Files given before it are in the workspace.
type EnvironmentConnected struct {
	Call   stead.Seq    `json:"call"`
	Node   stead.NodeID `json:"node"`
	Driver string       `json:"driver"`
	Upto   stead.Seq    `json:"upto"` // files up to this event are there
	Reset  *Reset       `json:"reset,omitempty"`
	// Skills are what the agent is told that it can learn there.
	Skills []environment.Skill `json:"skills,omitempty"`
	// Refused are files given before it that are not in the workspace, and will not be: everybody is told.
	Refused []environment.Refused `json:"refused,omitempty"`
}

// Reset says that an environment is not what it was: its processes are gone, and perhaps files.
type Reset struct {
	Count int `json:"count"` // resets of this environment so far, this one included
	// Kept: the workspace is as the processes left it. Otherwise it is that of the last checkpoint.
	Kept     bool     `json:"kept"`
	Why      string   `json:"why"`
	Commands []string `json:"commands,omitempty"` // since the last checkpoint: what may be missing
	// Background ran in the background at the last checkpoint, and went on: what it did since may be
	// missing as well.
	Background []string `json:"background,omitempty"`
	Since      int64    `json:"since,omitempty"` // Unix milliseconds: of the last checkpoint; 0: not known
}

// EnvironmentCheckpointed is the outcome of ActionSave.
type EnvironmentCheckpointed struct {
	Call       stead.Seq               `json:"call"`
	Upto       stead.Seq               `json:"upto"` // files up to this event are in it
	Checkpoint environment.Checkpoint  `json:"checkpoint"`
	Blobs      []stead.Text            `json:"blobs,omitempty"`
	Artifacts  []environment.Published `json:"artifacts,omitempty"`  // that are new with it
	TooLarge   []environment.TooLarge  `json:"too_large,omitempty"`  // files that did not become artifacts: the agent is told
	Refused    []environment.Refused   `json:"refused,omitempty"`    // as in EnvironmentConnected
	Background []string                `json:"background,omitempty"` // commands that ran in the background when it was made
	Usage      environment.Usage       `json:"usage"`                // since the environment connected
	Kept       stead.Seq               `json:"kept,omitempty"`       // of the event that stored it apart; 0: it was not
	Forgot     []string                `json:"forgot,omitempty"`     // memories (STORE/ID) whose files were taken out before it was made
	Dropped
}

// EnvironmentSuspended is the outcome of ActionSuspend: nothing runs any more, nothing is lost.
type EnvironmentSuspended struct {
	Call       stead.Seq              `json:"call"`
	Upto       stead.Seq              `json:"upto"`
	Checkpoint environment.Checkpoint `json:"checkpoint"`
	Blobs      []stead.Text           `json:"blobs,omitempty"`
	Refused    []environment.Refused  `json:"refused,omitempty"` // as in EnvironmentConnected
	Usage      environment.Usage      `json:"usage"`
	Forgot     []string               `json:"forgot,omitempty"` // as in EnvironmentCheckpointed

	// Apart: the checkpoint is not the session's until it is approved. What follows is of such a one alone, as in EnvironmentCheckpointed.
	Apart      bool                    `json:"apart,omitempty"`
	Artifacts  []environment.Published `json:"artifacts,omitempty"`
	TooLarge   []environment.TooLarge  `json:"too_large,omitempty"`
	Background []string                `json:"background,omitempty"`
	Changes    *environment.Changes    `json:"changes,omitempty"`
	Dropped
}

// EnvironmentExpired is the outcome of ActionExpire. In a copy it has no call: the copy was made of a
// session whose environment is gone.
type EnvironmentExpired struct {
	Call stead.Seq `json:"call,omitempty"`
}

// EnvironmentError is what is wrong with an environment, as on the wire.
type EnvironmentError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Type    string `json:"type"`
}

// EnvironmentFailed is the outcome of an action that brought nothing.
type EnvironmentFailed struct {
	Call  stead.Seq        `json:"call"`
	Error EnvironmentError `json:"error"`
	// RetryAt, Unix milliseconds: when to try again; 0: not by itself.
	RetryAt int64              `json:"retry_at,omitempty"`
	SetUp   *environment.SetUp `json:"set_up,omitempty"` // as in EnvironmentPrepared, of one that failed
}

// EnvironmentDisconnected says that a resident environment died.
type EnvironmentDisconnected struct {
	Node   stead.NodeID      `json:"node"`
	Reason string            `json:"reason"`
	Ended  string            `json:"ended,omitempty"` // of what, where its driver knows: see environment.Explained
	Usage  environment.Usage `json:"usage"`
}

// EnvironmentChanged asks for a checkpoint beside the ends of turns: processes in the background have
// changed the workspace.
type EnvironmentChanged struct {
	Node stead.NodeID `json:"node"`
}

// EnvironmentCopied is written into a copy of a session, behind what was copied.
type EnvironmentCopied struct {
	// Foreign: from another server, which alone can read what is sealed.
	Foreign bool `json:"foreign,omitempty"`
}

// ToolStreamed is output of a command that runs, coalesced.
type ToolStreamed struct {
	CallID string `json:"call_id"`
	Text   string `json:"text"`
}

// expires reports whether the workspace and the checkpoints of a session may be gone from an event on.
func expires(e stead.Event) bool {
	switch e.Kind {
	case KindEnvironmentExpired:
		return true
	case KindEnvironmentCalled:
		p, err := Decode[EnvironmentCalled](e)
		return err == nil && p.Action == ActionExpire && p.Decision.Allow
	}
	return false
}

// EnvironmentID is the id of a session's environment: it derives from the session's.
func EnvironmentID(s stead.SessionID) string {
	return EnvironmentPrefix + string(s)[len(stead.SessionPrefix):]
}

// EnvironmentPrefix begins every environment's id.
const EnvironmentPrefix = "env_"

// SessionOfEnvironment is the inverse of EnvironmentID; false for what is no environment's id.
func SessionOfEnvironment(id string) (stead.SessionID, bool) {
	const hexDigits = 32
	if len(id) != len(EnvironmentPrefix)+hexDigits || id[:len(EnvironmentPrefix)] != EnvironmentPrefix {
		return "", false
	}
	return stead.SessionID(stead.SessionPrefix + id[len(EnvironmentPrefix):]), true
}

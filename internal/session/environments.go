package session

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Environments is the service of environments, their files and artifacts. Implemented by package
// runner, with the same promises as Service.
type Environments interface {
	// CreateEnvironment makes one that a session attaches later; it is prepared at once.
	CreateEnvironment(ctx context.Context, p stead.Principal, req EnvironmentRequest) (EnvironmentInfo, error)
	// Environment returns one, attached or not, by its id.
	Environment(ctx context.Context, p stead.Principal, id string) (EnvironmentInfo, error)
	// ListEnvironments lists those that this runtime hosts, in order of id.
	ListEnvironments(ctx context.Context, p stead.Principal, q PageQuery) (Page[EnvironmentInfo], error)
	// PutFile puts a file into the workspace, replacing a regular one of that path: it is there before
	// the next command. When it returns, the file is on disk. One that turns out to be impossible is given
	// up and told: see EnvironmentInfo.Refused. Where that can be seen at once, it is KindConflict.
	PutFile(ctx context.Context, p stead.Principal, id, path string, data []byte) (environment.File, error)
	Files(ctx context.Context, p stead.Principal, id string, q environment.ListQuery) (environment.FilePage, error)
	// ReadFile writes a file of the workspace to w. An error before the first byte leaves w untouched.
	ReadFile(ctx context.Context, p stead.Principal, id, path string, w io.Writer) error
	// Executor says that a self-hosted environment's executor connected to a node, or left it.
	Executor(ctx context.Context, key stead.SessionKey, in ConnectionInput) error

	Artifacts(ctx context.Context, p stead.Principal, id stead.SessionID, q PageQuery) (Page[ArtifactInfo], error)
	Artifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) (ArtifactInfo, error)
	// ArtifactContent writes the artifact to w. An error before the first byte leaves w untouched.
	ArtifactContent(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string, w io.Writer) error
	DeleteArtifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) error
}

// EnvironmentRequest makes an environment.
type EnvironmentRequest struct {
	Plan        EnvironmentPlan
	VaultIDs    []string
	Key, Digest string // idempotency, see journal.Input
}

// EnvironmentPlan is an environment as it was asked for, with everything that it needs resolved.
type EnvironmentPlan struct {
	// Attach is the id of one that was made before; then nothing else is set.
	Attach string
	Type   string
	Config json.RawMessage // what may be shown
	Blobs  [][]byte        // contents that Config names by digest
	// Seal encrypts what may not be shown, for the session that it is given, to be stored as a blob; once it is, keep stores what opens it. nil:
	// there is nothing.
	Seal func(stead.SessionKey) (sealed []byte, keep func(context.Context) error)
	// BaseVersion is the version of the template that it inherits from, whose secrets Config does not show; 0: there is none.
	BaseVersion int64
	// Works says that it has packages or set-up commands.
	Works bool
	// Broad says that its network leads to hosts that no list names.
	Broad bool
	// Object makes the wire's environment of an id.
	Object func(id string) json.RawMessage
}

// ForeignEnvironment is what a file says of an environment.
type ForeignEnvironment struct {
	Type   string
	Config json.RawMessage
	// Made says that its workspace is: what it is made of need not be found any more.
	Made bool
	// Content is what the file brings, by digest.
	Content func(digest string) ([]byte, error)
}

// EnvironmentInfo is an environment as it is now.
type EnvironmentInfo struct {
	ID         string
	Type       string
	Status     string
	Error      *EnvironmentError
	Config     json.RawMessage
	Session    stead.SessionID // that attached it; "": none yet
	CreatedAt  int64           // Unix milliseconds
	Checkpoint *environment.Checkpoint
	Resets     int
	LastReset  *Reset          // the last of them; nil: there was none
	ResetAt    int64           // Unix milliseconds: when that was
	Refused    []RefusedUpload // the latest files that could not be put into the workspace
	// Unpublished are outputs that did not become artifacts, the last of them.
	Unpublished []environment.TooLarge
	Usage       environment.Usage
}

// ArtifactInfo is the wire's artifact.
type ArtifactInfo struct {
	ID            string          `json:"id"`
	CreatedAt     int64           `json:"created_at"`
	EnvironmentID string          `json:"environment_id"`
	Object        string          `json:"object"` // "agent.session.artifact"
	Path          string          `json:"path"`
	SessionID     stead.SessionID `json:"session_id"`
	SizeBytes     int64           `json:"size_bytes"`
	TurnID        string          `json:"turn_id"`
}

// Info is the session's environment as it is now; false when it has none.
func (v *View) Info() (EnvironmentInfo, bool) {
	e := v.Environment
	if e == nil {
		return EnvironmentInfo{}, false
	}
	info := EnvironmentInfo{
		ID: EnvironmentID(v.Key.Session), Type: e.Setup.Type, Status: e.Status, Error: e.Problem(), Config: e.Setup.Config,
		CreatedAt: v.CreatedAt, Checkpoint: e.Checkpoint, Resets: e.Resets, LastReset: e.LastReset, ResetAt: e.ResetAt, Unpublished: e.TooLarge, Refused: e.Refused, Usage: e.Usage(),
	}
	if v.Created.Agent.ID != "" {
		info.Session = v.Key.Session
	}
	return info, true
}

// Artifacts lists the session's artifacts, the oldest first.
func (v *View) Artifacts() []ArtifactInfo {
	if v.Environment == nil {
		return nil
	}
	s := v.Key.Session
	out := make([]ArtifactInfo, 0, len(v.Environment.Artifacts))
	for _, a := range v.Environment.Artifacts {
		out = append(out, ArtifactInfo{
			ID: a.ID(s), CreatedAt: a.At / 1000, EnvironmentID: EnvironmentID(s), Object: "agent.session.artifact",
			Path: a.Path, SessionID: s, SizeBytes: a.Size, TurnID: TurnID(s, a.Turn),
		})
	}
	return out
}

// environmentObject is the wire's environment: a copy of a session has an environment of its own, and so an
// address of its own for an executor.
func (v *View) environmentObject() json.RawMessage {
	raw := v.Created.Environment
	if v.Environment == nil {
		return raw
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return raw
	}
	own, was := EnvironmentID(v.Key.Session), ""
	if json.Unmarshal(fields["id"], &was) == nil && was != "" && was != own {
		if url := fields["remote_url"]; url != nil { // it ends with the id, whoever made it
			fields["remote_url"] = bytes.ReplaceAll(url, []byte(was), []byte(own))
		}
	}
	fields["id"] = mustJSON(own)
	return mustJSON(fields)
}

// SetupOf is what the environment of a session is made of, as the first event of its journal has it; nil: it has none.
func SetupOf(first stead.Event) (*environment.Setup, error) {
	switch first.Kind {
	case KindEnvironmentCreated:
		made, err := Decode[EnvironmentCreated](first)
		return &made.Setup, err
	case KindSessionCreated:
		made, err := Decode[Created](first)
		return made.Setup, err
	}
	return nil, nil
}

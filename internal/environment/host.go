package environment

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Host keeps the environments of one node: it chooses drivers, makes what an environment starts
// from, opens it, stores it, ends it. One environment belongs to one session, and every call about
// it comes from the holder of that session's lease, one at a time; the tools are called in parallel.
//
// Errors: *stead.Error. KindInvalid and KindNotImplemented are final, the others may pass.
type Host interface {
	// Tools are what an agent can do in an environment. They find it by Call.Session.
	Tools() []tool.Tool
	// Prepare makes the layer and the first checkpoint. It is repeatable. note takes the connections of
	// set-up commands. After an error Prepared has nothing but SetUp.
	Prepare(ctx context.Context, key stead.SessionKey, setup Setup, note Note) (Prepared, error)
	// Open makes the environment resident on this node. What this node still has resident of the
	// session is ended first. A file of State.Files that can't be in the workspace is told in
	// Opened.Refused; Save and Suspend do likewise.
	Open(ctx context.Context, key stead.SessionKey, from State) (Opened, error)
	// Save puts files into the open environment and stores its workspace.
	Save(ctx context.Context, key stead.SessionKey, s SaveRequest) (Saved, error)
	// Suspend does the same, publishes like Save, and ends the environment.
	Suspend(ctx context.Context, key stead.SessionKey, s SaveRequest) (Saved, error)
	// Drop ends a residence at once, if it is the one that this node has. The workspace stays on the
	// disk.
	Drop(key stead.SessionKey, residence stead.Seq)
	// Forget removes what this node has of a session that is deleted.
	Forget(ctx context.Context, key stead.SessionKey) error
	// Rewrite makes checkpoints without files that must be forgotten, the earlier ones first. It changes none that is there.
	Rewrite(ctx context.Context, key stead.SessionKey, checkpoints []string, f Forgetting) ([]Rewritten, error)
	// Evict removes what this node's disk has of a workspace that is not resident: it is restored from its checkpoint when it is
	// needed. unused says whether nobody has opened it, or is about to, and is asked before and once more when nobody can any more.
	Evict(ctx context.Context, key stead.SessionKey, unused func() (bool, error)) error
	// Files lists the workspace: as it is, where it is resident here, else as of the checkpoint.
	Files(ctx context.Context, key stead.SessionKey, from State, q ListQuery) (FilePage, error)
	// Admits says why a file of that path and size can't be put into the workspace as it is now
	// (KindConflict, KindTooLarge). nil: nothing is in its way, or the environment is not resident here.
	Admits(ctx context.Context, key stead.SessionKey, path string, size int64) error
	// ReadFile writes one file of it to w, likewise, as it is read: at most MaxFileBytes. An error before the
	// first byte leaves w untouched.
	ReadFile(ctx context.Context, key stead.SessionKey, from State, path string, w io.Writer) error
	// Background names the commands whose processes go on in a resident environment although no call
	// waits for them; nil: none, or it is not resident on this node.
	Background(key stead.SessionKey) []string
	// Origin is the session's environment as a place where tool servers run, and from where they are
	// reached, while it is resident here.
	Origin(key stead.SessionKey) tool.Origin
	// Used is what an environment that is resident here has used, its disk left out, since it was opened.
	// Of a self-hosted one, whose Residence is 0, it is what that has used since this was asked last, as
	// its executor says it: peaks are what they are now. Zero: there is none here.
	Used(key stead.SessionKey) Resided
	// Connected reports whether a self-hosted environment's executor is connected to this node.
	Connected(key stead.SessionKey) bool
}

// Setup is what an environment is made of. The core only looks at Type; the rest is read by whoever
// hosts environments.
type Setup struct {
	Type   string          `json:"type"`             // as on the wire: openai_hosted or self_hosted
	Config json.RawMessage `json:"config,omitempty"` // may be shown
	// Sealed may not: variables and set-up commands, encrypted for Owner, as a blob. A copy keeps the
	// owner; one that came from another server has none, since only that server could read it.
	Sealed *stead.Text     `json:"sealed,omitempty"`
	Owner  stead.SessionID `json:"owner,omitempty"`
	Blobs  []stead.Text    `json:"blobs,omitempty"` // that Config names by digest
	// Works says that there are packages or set-up commands, so that preparing takes time, which costs.
	Works bool `json:"works,omitempty"`
}

// Prepared is what an environment starts from.
type Prepared struct {
	Layer      string // checkpoint of what packages and set-up commands installed; "": nothing
	Checkpoint Checkpoint
	Blobs      []stead.Text // what storing them added
	SetUp      *SetUp       // what its packages and commands used; nil: none ran, since there are none or somebody's layer was there
}

// SetUp is what a set-up used that ran, to its end or not.
type SetUp struct {
	Millis int64 `json:"ms"` // wall time
	Usage  Usage `json:"usage"`
}

// Note puts a fact into the session's journal and returns once it is durable: what passes the border of
// the environment stands there before it does.
type Note func(ctx context.Context, kind string, data any) error

// State is what the journal knows of an environment.
type State struct {
	Setup      Setup
	Layer      string    // as Prepared says
	Checkpoint string    // digest
	Residence  stead.Seq // names the last residence, 0 for none
	Next       stead.Seq // names the one that Open begins
	Files      []Put     // to put into the workspace
	// Forget are files that must be forgotten, before anything runs; nil: none.
	Forget *Forgetting
	Note   Note
	// Tools are the session's tools for code in the environment; nil: it has none.
	Tools Caller
	// Credentials are the session's.
	Credentials []Credential
}

// Credential is a secret that commands use towards its hosts and never see: they have a placeholder for it,
// in a variable.
type Credential struct {
	Variable string   // its name
	Hosts    []string // as patterns of the way out have them; nil: the names in the network's allowed domains
	// Value opens the secret for a request to HOST:PORT, each time anew. An error refuses the request.
	Value func(ctx context.Context, destination string) (string, error)
	// Mask reads the value as it is now, to hide it where servers show it; "": there is none.
	Mask func(ctx context.Context) (string, error)
	// Changes grows when this process changed what Mask reads; nil: it never does.
	Changes func() uint64
}

// Caller lets code call the session's tools.
type Caller interface {
	// List lists the tools.
	List(ctx context.Context) ([]tool.Spec, error)
	// Call makes a call like one of the model's: it is journaled, decided and approved, and may take as
	// long as a person does. When ctx ends, a call that was not made yet is given up.
	Call(ctx context.Context, name string, arguments json.RawMessage) (tool.Result, error)
}

// SecretHosts are the patterns by which a credential of a session goes to a name: the contract's ports of HTTPS.
func SecretHosts(name string) []string { return []string{name + ":443", name + ":8443"} }

// Put is a file that is to be in the workspace.
type Put struct {
	Path string // absolute, inside
	Data stead.Text
}

// Opened is a resident environment.
type Opened struct {
	Driver string
	// Kept: the workspace is as State.Residence left it. Otherwise it was restored from the checkpoint.
	Kept bool
	Done <-chan struct{} // closed when it died by itself
	// WhyEnded says of what, once Done is closed: see Explained. It may be nil.
	WhyEnded func() string
	// Used is what it has used since it was opened, also when it has ended.
	Used func() Usage
	// Changed says that processes in the background have changed the workspace since its last checkpoint.
	Changed <-chan struct{}
	// Skills are what its capability directories hold, for the agent to know of.
	Skills  []Skill
	Refused []Refused // of State.Files
}

// Refused is a file that somebody gave and that is not in the workspace, because what is there is in its
// way: it is given up, so that nothing else waits for it.
type Refused struct {
	Path   string `json:"path"`   // absolute, inside
	Reason string `json:"reason"` // a sentence
}

// Skill is something that an agent can learn by reading a file.
type Skill struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Path        string `json:"path"` // of its SKILL.md, inside
}

// SaveRequest says how to store a workspace.
type SaveRequest struct {
	Files    []Put
	Forget   *Forgetting // files that must be forgotten, before it is stored; nil: none
	Previous string      // digest of the last checkpoint
	Publish  string      // directory of which new and changed files become artifacts; "": none
	// Room is how many files may become artifacts; 0: any number; NoRoom: none.
	Room int
	// Known maps a path to the digest of what was published from there last, or to the Mark of what was
	// too large for that.
	Known map[string]string
	// Compare asks for what differs from Previous, for whoever must answer whether it may be stored.
	Compare bool
}

// NoRoom is the SaveRequest.Room of a session that has as many artifacts as it may.
const NoRoom = -1

// Saved is a stored workspace.
type Saved struct {
	Checkpoint Checkpoint
	Blobs      []stead.Text // what storing it added
	Artifacts  []Published  // that are new
	TooLarge   []TooLarge   // files that are not published, and were not known to be so
	Refused    []Refused    // of SaveRequest.Files
	Background []string     // commands that ran in the background when it was made, as Host.Background says
	Changes    *Changes     // where SaveRequest.Compare asks for them
	Usage      Usage
}

// MaxChanges is how many files Changes names.
const MaxChanges = 100

// Changes are what differs between two checkpoints. Directories are not in it.
type Changes struct {
	Total int      `json:"total"`           // of all
	Files []Change `json:"files,omitempty"` // the first MaxChanges, by path
}

// Change is one file that differs.
type Change struct {
	Path   string `json:"path"`             // absolute, inside, as WirePath writes it
	What   string `json:"what"`             // ChangeAdded, ChangeChanged or ChangeRemoved
	Size   int64  `json:"size,omitempty"`   // bytes
	SHA256 string `json:"sha256,omitempty"` // in hex, of a file that is stored in one piece
	Link   string `json:"link,omitempty"`   // where a link leads
}

// Values of Change.What.
const (
	ChangeAdded   = "added"
	ChangeChanged = "changed"
	ChangeRemoved = "removed"
)

// Published is a file that became an artifact.
type Published struct {
	Path   string       `json:"path"`   // absolute, inside, as WirePath writes it
	Size   int64        `json:"size"`   // bytes
	Digest string       `json:"digest"` // SHA-256 of the whole, in hex
	Parts  []stead.Text `json:"parts"`  // blobs, in order
}

// TooLarge is a file that did not become an artifact, because of its size or because the session has as
// many as it may.
type TooLarge struct {
	Path  string `json:"path"`           // absolute, inside, as WirePath writes it
	Size  int64  `json:"size"`           // bytes
	Limit int64  `json:"limit"`          // bytes
	Many  bool   `json:"many,omitempty"` // the number of artifacts is why
}

// Mark is what SaveRequest.Known says of it: it is told again when its size has changed.
func (l TooLarge) Mark() string {
	if l.Many {
		return fmt.Sprintf("too many: %d", l.Size)
	}
	return fmt.Sprintf("too large: %d", l.Size)
}

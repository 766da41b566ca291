// Package tool is the contract of something an agent can call, with the class of its effect.
//
// Shape: Source → []Tool{Spec, Call}; Call {key, arguments} → Result {content, is_error}.
//
// Delivery: the runner makes a call only after its intent is durable, and gives the same Key on
// every try of the same call. What it may do when the outcome is missing depends on Effect.
//
// Errors: Call returns a Result for everything the tool itself said, failures included
// (Result.IsError). An error means that the outcome is missing: *NotSentError when the call surely
// never reached the tool (safe to repeat), anything else when it may have.
//
// Source: Model Context Protocol 2025-11-25, tools and tool annotations.
package tool

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"time"

	"github.com/stead-dev/stead"
)

// Effect is the class of a tool's effect on the world: it decides what recovery may do.
type Effect string

// The classes of effect. The zero value must be read as Unknown.
const (
	Pure       Effect = "pure"       // reads only: call again
	Idempotent Effect = "idempotent" // honours the key, or repeating is harmless: call again with the same key
	Unknown    Effect = "unknown"    // never repeated: somebody must say what happened
)

// Spec describes a tool.
type Spec struct {
	Name        string // as the source knows it
	Description string
	Parameters  json.RawMessage // JSON Schema of an object
	Effect      Effect
	Destination string // HOST:PORT that calls go to, in lower case; "": they go to no address
}

// Call is one invocation.
type Call struct {
	Key       string // stable across retries, unique for the call: an idempotency key
	Arguments json.RawMessage
	Session   stead.SessionKey
	Turn      string
	Agent     stead.AgentID
	Principal stead.Principal   // whoever the session serves
	Behind    []stead.Principal // as policy.Request.Behind: Principal, and all who told the agent something
	Alone     bool              // as policy.Request.Alone: what is Principal's own may be used
	Labels    stead.Labels      // of the session
	At        stead.Seq         // the session's last event: what it is shown by the call it has not seen before
	// Progress, if set, is told what the tool says while it works. It must not block.
	Progress func(message string)
	// Output, if set, is handed what a command prints while it runs, in order. It must not block long.
	Output func(text string)
}

// Result is what the tool said.
type Result struct {
	Content []stead.Content // input_text and input_image parts
	IsError bool            // the tool ran and failed; the model is told
	Exit    *int            // of a command: its exit code
	Labels  []string        // of memories and documents that it shows: they become the session's
}

// Tool is one callable. Safe for concurrent use.
type Tool interface {
	Spec() Spec
	Call(ctx context.Context, c Call) (Result, error)
}

// Server is what a session's agent declares of a tool server (the wire's "mcp" tool). With URL it is
// reached by HTTP, with Command it is a process; with neither it is the server that the operator's
// configuration names Label.
type Server struct {
	Project stead.ProjectID // whose agent it is: of the operator's servers it has its own
	Label   string
	URL     string            // streamable HTTP
	Headers map[string]string // with URL; never secrets
	// Credential proves who asks, with URL, or towards a server of the configuration that wants to know; nil: nothing does.
	Credential Credential
	Command    *Command       // needs an Origin
	Metadata   map[string]any // sent with each request (request_metadata)
	Allowed    []string       // nil: all
	Memory     []MemoryStore  // not a server, but the runtime's own tools over these memory stores
	Teams      []string       // with Memory: whose memories are there besides the user's, the agent's and the project's
	AllScopes  bool           // with Memory: everybody's are
	Scope      string         // with Memory: of what is remembered, where a call names none; see memory.SessionScope
	Semantic   *Semantic      // not a server, but the runtime's own tools over semantic models
	SQL        *SQL           // not a server, but the runtime's own tools over SQL databases
	Files      *FileSearch    // not a server, but the runtime's own tool over vector stores
	// Origin is where Command runs and from where URL is reached. nil: URL is reached from this host,
	// and there is nowhere for a Command: what a request says never runs on the host.
	Origin Origin
}

// Credential is a bearer token for one server, which nobody sees but who sends it. Safe for concurrent use.
type Credential interface {
	// Key names whose it is, and which: servers with the same URL and Key share connections.
	Key() string
	// Token is asked for each request, right before it is sent. refused is the token with which the
	// server has just answered 401, "" at first: another one may be returned. Errors that speak of
	// the credential itself have the code CodeCredential, and repeating the request helps nobody.
	// "" is no token: the request is sent without.
	Token(ctx context.Context, refused string) (string, error)
	// Consents reports whether the user may be asked for a token that the server takes: see Unconsented.
	Consents() bool
}

// Wanted is what a session needs a credential for.
type Wanted struct {
	ID        string // of the credential; "": the one that is for the URL
	ServerURL string
	Inside    bool            // the server is reached from the session's environment
	For       stead.Principal // whoever the session serves
	Consents  bool            // without a credential, the user is asked for their consent
}

// CodeCredential is the code of an error of a credential that can't be used.
const CodeCredential = "credential_unusable"

// CodeConsent is the code of an error of a server that takes a call once its user lets the agent act for them.
const CodeConsent = "consent_required"

// Challenge is what a server said when it refused a request: its WWW-Authenticate fields (RFC 9110, 11.6.1).
type Challenge struct{ Fields []string }

func (*Challenge) Error() string { return "the server refuses who has no consent of its user" }

// Unconsented is the error of a server that wants its user's consent. Nothing was done there.
func Unconsented(fields []string) *stead.Error {
	return &stead.Error{Kind: stead.KindForbidden, Code: CodeConsent, Message: "the tool server wants its user's consent", Err: &Challenge{fields}}
}

// MemoryStore is a memory store that an agent has.
type MemoryStore struct {
	ID       string
	Writable bool
}

// FileSearch is the file_search tool that an agent has: one tool of that name, pure, with the argument
// queries (a list of texts). Its result is one JSON object, so that doors can show it as well as models
// read it: {"results": […]}, best first, each with the API's file_id, filename, score, attributes and text.
type FileSearch struct {
	Stores  []string
	Options json.RawMessage // an object: max_num_results, ranking_options and filters as the API has them
}

// Semantic is the semantic models of a project that an agent has: those that are named, or all.
type Semantic struct {
	Project stead.ProjectID
	Models  []string // nil: all
}

// SQL is the databases of a project that an agent has: those that are named, or all.
type SQL struct {
	Project   stead.ProjectID
	Databases []string // nil: all
}

// Sourced is a Tool whose results come from different places, which sessions are labelled with in place of its server.
type Sourced interface {
	Tool
	// Origin is where the result of a call with these arguments comes from; "": from the server.
	Origin(arguments json.RawMessage) string
}

// Binder is a Tool whose calls are calls of other servers' tools: the runner makes those, as if the model had asked for them. A
// tool that is bound so is offered through the Binder alone.
type Binder interface {
	Tool
	// Bound are the tools that a call may come down to. An error says that not all of them are known: any tool may be one then.
	Bound() ([]Target, error)
	// Bind says which tool a call with these arguments is one of. An error is told to the model.
	Bind(arguments json.RawMessage) (Bound, error)
	// Rebind checks other arguments for the call that Bind gave for asked, as somebody wants it made, and gives those that it is made
	// with. An error is told to whoever that is.
	Rebind(asked, arguments json.RawMessage) (json.RawMessage, error)
	// Ready says why the call that Bind gave for asked may not be made now, as c says it would be: an error that is told to the model.
	// KindUnavailable: nobody can say, and it is not made yet.
	Ready(ctx context.Context, asked json.RawMessage, c Call) error
}

// Target is a tool of a server.
type Target struct{ Server, Name string }

// Bound is a call that another one stands for.
type Bound struct {
	Target
	Title     string // of what was asked for, as approvals may be asked for it by name
	Arguments json.RawMessage
	Effect    Effect // "": as the tool says
	Approval  bool   // somebody must approve it
}

// FileSearchName is the name of the tool, and the label that its calls go by.
const FileSearchName = "file_search"

// Command starts a tool server that speaks over its stdin and stdout.
type Command struct {
	Args    []string // the program, looked up in the inside's PATH, and its arguments
	Dir     string   // absolute, inside; "": the workspace
	EnvVars []string // names of the inside's variables that it needs
}

// Origin is a place apart from this host: a session's environment. It may have to be started before
// it can do anything, and may be suspended and resumed behind the same Origin. Safe for concurrent use.
//
// Errors: KindUnavailable when the place can't be had now, KindNotImplemented for what it can't do,
// KindForbidden for an address that its rules refuse.
type Origin interface {
	// Key names the place: servers with the same Label, Command and Key share a process. Places of
	// different sessions have different keys.
	Key() string
	// Start runs a command there. The stream's Read is its stdout and ends with it: io.EOF after exit
	// code 0, else an error that says how it ended. Write is its stdin. Close ends it, and returns when
	// it is gone. stderr is written to serially, never after Close returned. ctx bounds the start alone.
	Start(ctx context.Context, c Command, stderr io.Writer) (io.ReadWriteCloser, error)
	// Dial connects from there, by the rules of there. The name in address is resolved there.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Source finds the tools of a server. It caches connections and listings, reconnects, and follows
// tool-list changes.
type Source interface {
	// Tools returns the server's tools. KindUnavailable when it can't be reached now,
	// KindInvalid when it names a server that is not configured.
	Tools(ctx context.Context, s Server) ([]Tool, error)
}

// NotSentError says that a call surely did not reach its tool.
type NotSentError struct{ Err error }

func (e *NotSentError) Error() string { return "the call was not sent: " + e.Err.Error() }
func (e *NotSentError) Unwrap() error { return e.Err }

// Limits of this contract.
const (
	// MaxResultBytes is the largest result of one call; more is cut, and the cut is said.
	MaxResultBytes = 16 << 20
	// ConnectTimeout bounds connecting to a server and listing its tools.
	ConnectTimeout = 20 * time.Second
	// MaxServerTools is the most tools of one server.
	MaxServerTools = 2048
)

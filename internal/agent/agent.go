// Package agent holds reusable agent configurations, as immutable versions.
//
// Shape: agent id → versions 1, 2, 3 …, each a whole Spec; a session pins one version at creation
// and carries the Spec in its journal, so that no later change reaches it.
//
//	request ── Rules.Decode ──▶ Patch ── Apply ──▶ Spec, validated ── Wire ──▶ answer
//
// A field that a request omits stays as it is, null resets it. What this build does not do is
// refused by name, and so are secrets: a Spec is in the journal of every session that runs it.
//
// Limits: see stead.MaxTools, MaxToolsBytes, MaxInstructionsBytes, MaxNameRunes and the metadata
// limits. Validate names the field at fault.
//
// Errors: KindInvalid with a param, KindNotFound, KindConflict (another update came between).
//
// Source: OpenAI Agents API (npm openai 7.57.0, resources/beta/agents/agents.d.ts). Ours, beyond it:
// require_approval and effects on an mcp tool, max_steps.
package agent

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
)

// Spec is the configuration of an agent. Its JSON is the wire's.
type Spec struct {
	Name         *string           `json:"name"`
	Model        string            `json:"model"`
	Instructions *string           `json:"instructions"`
	Tools        []Tool            `json:"tools"`
	Reasoning    Reasoning         `json:"reasoning"`
	ServiceTier  string            `json:"service_tier"`
	Text         Text              `json:"text"`
	MultiAgent   MultiAgent        `json:"multi_agent"`
	Compaction   Compaction        `json:"compaction"`
	Experimental Experimental      `json:"experimental"`
	Metadata     map[string]string `json:"metadata"`
	MaxSteps     int               `json:"max_steps,omitempty"` // ours: model calls a turn; 0: stead.DefaultMaxSteps
}

// Reasoning configures reasoning models.
type Reasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

// Text configures what the agent writes.
type Text struct {
	Format    Format `json:"format"`
	Verbosity string `json:"verbosity"`
}

// Format is "text" or "json_schema" with its schema.
type Format struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema,omitempty"`
}

// MultiAgent configures subagents.
type MultiAgent struct {
	Enabled                bool `json:"enabled"`
	MaxConcurrentSubagents *int `json:"max_concurrent_subagents"`
}

// Concurrent is how many subagents may work at once.
func (m MultiAgent) Concurrent() int {
	switch {
	case !m.Enabled:
		return 0
	case m.MaxConcurrentSubagents == nil:
		return stead.DefaultConcurrentSubagents
	}
	return *m.MaxConcurrentSubagents
}

// Compaction says whether the context is compacted in the background or while the turn waits.
type Compaction struct {
	Async bool `json:"async"`
}

// Experimental holds switches that may go.
type Experimental struct {
	TimeAwareness bool `json:"time_awareness"`
}

// Tool is one entry of an agent's tools. Type says which fields count.
type Tool struct {
	Type string `json:"type"` // "function", "mcp", …

	// function: executed by the application.
	Name         string          `json:"name,omitempty"`
	Description  string          `json:"description,omitempty"`
	Parameters   json.RawMessage `json:"parameters,omitempty"`
	Async        bool            `json:"async,omitempty"`
	DeferLoading bool            `json:"defer_loading,omitempty"`

	// mcp: executed by the runtime.
	ServerLabel      string            `json:"server_label,omitempty"`
	Transport        *Transport        `json:"transport,omitempty"`         // nil: the operator's server of that label
	AllowedTools     []string          `json:"allowed_tools,omitzero"`      // nil: all; empty: none
	ConnectionOrigin string            `json:"connection_origin,omitempty"` // "service" or "environment"
	CredentialID     *string           `json:"credential_id,omitempty"`     // of the session's vaults; nil: the one that is for the URL, if there is one
	RequestMetadata  map[string]any    `json:"request_metadata,omitempty"`
	Required         bool              `json:"required,omitempty"`
	RequireApproval  *Approval         `json:"require_approval,omitempty"` // ours
	Effects          map[string]string `json:"effects,omitempty"`          // ours: tool name → effect class, overrides the server's hints

	// memory: ours, executed by the runtime; ServerLabel is "memory".
	MemoryStores []MemoryStore `json:"memory_stores,omitempty"`
	Recall       *Recall       `json:"recall,omitempty"`     // before each turn; nil: nothing is
	Extraction   *Extraction   `json:"extraction,omitempty"` // after each turn; nil: nothing is
	Teams        []string      `json:"teams,omitempty"`      // whose memories it has besides its user's, its own and the project's
	Scope        string        `json:"scope,omitempty"`      // of what the agent remembers by its tools and files: see MemoryScopeUser; "": its user's, where there is one
	Scopes       string        `json:"scopes,omitempty"`     // whose its tools reach: MemoryScopesSession (also "") or MemoryScopesAll

	// semantic: ours, executed by the runtime; ServerLabel is "semantic".
	SemanticModels []string `json:"models,omitempty"` // nil: all of the project

	// sql: ours, executed by the runtime; ServerLabel is "sql".
	Databases []string `json:"databases,omitempty"` // nil: all of the project

	// file_search: the Responses API's, executed by the runtime; ServerLabel is "file_search".
	VectorStoreIDs []string        `json:"vector_store_ids,omitempty"`
	MaxNumResults  int             `json:"max_num_results,omitempty"` // 0: the tool's own
	Filters        json.RawMessage `json:"filters,omitempty"`
	RankingOptions json.RawMessage `json:"ranking_options,omitempty"`

	// programmatic_tool_calling
	Enabled *bool `json:"enabled,omitempty"`
}

// Types of Tool that this build runs; every other type of the contract is refused by name.
const (
	ToolFunction = "function"
	ToolMCP      = "mcp"
	// ToolEnvironment is ours: it says which tools of the session's environment the agent has
	// (allowed_tools), what repeating them does (effects) and which calls wait for a person.
	ToolEnvironment = "environment"
	// ToolMemory is ours: tools that search memory stores and, where access is read_write, add to them,
	// change and forget.
	ToolMemory = "memory"
	// ToolSemantic is ours: tools that describe semantic models, query them and take their actions.
	ToolSemantic = "semantic"
	// ToolSQL is ours: tools that ask SQL databases of the operator, and tell of their tables.
	ToolSQL = "sql"
	// ToolFileSearch is a tool that searches vector stores.
	ToolFileSearch = "file_search"
	// ToolProgrammatic lets code in the session's environment call the session's other tools.
	ToolProgrammatic = "programmatic_tool_calling"
)

// Served reports whether the tools are those of a tool source, which knows them by ServerLabel.
func (t Tool) Served() bool {
	switch t.Type {
	case ToolMCP, ToolMemory, ToolSemantic, ToolSQL, ToolFileSearch:
		return true
	}
	return false
}

// MaxSemanticModels is how many models a semantic tool may name.
const MaxSemanticModels = 16

// MaxDatabases is how many databases a sql tool may name.
const MaxDatabases = 16

// MaxVectorStores is how many vector stores a file_search tool may have.
const MaxVectorStores = 16

// Transport says how a tool server is reached.
type Transport struct {
	Type      string            `json:"type"` // "http" or "stdio"
	ServerURL string            `json:"server_url,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Auth      string            `json:"auth,omitempty"`    // AuthOAuth: whoever the session serves is asked for their consent; "": nobody
	Command   string            `json:"command,omitempty"` // stdio: a program of the environment
	Args      []string          `json:"args,omitempty"`
	Cwd       string            `json:"cwd,omitempty"`
	EnvVars   []string          `json:"env_vars,omitempty"`
}

// Approval says which calls wait for a person. As JSON it is "always", "never" or
// {"always": {"tool_names": […]}, "never": {"tool_names": […]}}, as in the Responses API.
type Approval struct {
	Mode   string   // "always", "never", or "" with the lists
	Always []string // tool names
	Never  []string // tool names
}

// Needs reports whether a call of the tool needs approval. Without a policy none does.
func (a *Approval) Needs(tool string) bool {
	if a == nil {
		return false
	}
	for _, n := range a.Never {
		if n == tool {
			return false
		}
	}
	for _, n := range a.Always {
		if n == tool {
			return true
		}
	}
	// With only a never list, everything else asks: the safe reading.
	return a.Mode == "always" || (a.Mode == "" && len(a.Always) == 0 && len(a.Never) > 0)
}

// Agent is one version of a reusable agent.
type Agent struct {
	ID        stead.AgentID
	Version   int   // from 1
	CreatedAt int64 // Unix milliseconds: of version 1
	UpdatedAt int64 // Unix milliseconds: of this version
	Spec      Spec
}

// Store keeps agents. Implementations: packages sqlite and postgres. Durable when it returns nil.
type Store interface {
	// PutAgent stores version a.Version; KindConflict unless it is the newest plus one (1 for a new agent).
	// A key makes a creation idempotent as in journal.Input: the stored agent comes back.
	PutAgent(ctx context.Context, project stead.ProjectID, a Agent, key, digest string) (Agent, error)
	// GetAgent returns a version, 0 for the newest.
	GetAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID, version int) (Agent, error)
	// ListAgents returns the newest versions in order of id, after an id (exclusive), at most limit.
	ListAgents(ctx context.Context, project stead.ProjectID, after stead.AgentID, desc bool, limit int) ([]Agent, error)
	// DeleteAgent removes all versions; sessions that pinned one carry on.
	DeleteAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID) error
}

// WireTool is a Tool as the wire shows it: every field that the contract lists for its type is
// there, null where it is not set.
type WireTool struct{ Tool }

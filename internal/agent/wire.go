package agent

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/stead-dev/stead"
)

// Wire is an Agent as the wire shows it.
type Wire struct {
	ID           stead.AgentID     `json:"id"`
	Object       string            `json:"object"`  // "agent"
	Version      int               `json:"version"` // ours
	CreatedAt    int64             `json:"created_at"`
	UpdatedAt    int64             `json:"updated_at"`
	Name         *string           `json:"name"`
	Model        string            `json:"model"`
	Instructions *string           `json:"instructions"`
	Tools        []WireTool        `json:"tools"`
	Reasoning    Reasoning         `json:"reasoning"`
	ServiceTier  string            `json:"service_tier"`
	Text         Text              `json:"text"`
	MultiAgent   MultiAgent        `json:"multi_agent"`
	Compaction   Compaction        `json:"compaction"`
	Experimental Experimental      `json:"experimental"`
	Metadata     map[string]string `json:"metadata"`
	MaxSteps     *int              `json:"max_steps"` // ours
}

// Wire makes the agent's wire form.
func (a Agent) Wire() Wire {
	const milli = 1000
	s := a.Spec
	w := Wire{
		ID: a.ID, Object: "agent", Version: a.Version,
		CreatedAt: a.CreatedAt / milli, UpdatedAt: a.UpdatedAt / milli,
		Name: s.Name, Model: s.Model, Instructions: s.Instructions, Tools: WireTools(s.Tools),
		Reasoning: s.Reasoning, ServiceTier: s.ServiceTier, Text: s.Text, MultiAgent: s.MultiAgent,
		Compaction: s.Compaction, Experimental: s.Experimental, Metadata: s.Metadata,
	}
	if w.Metadata == nil {
		w.Metadata = map[string]string{}
	}
	if s.MaxSteps > 0 {
		w.MaxSteps = &s.MaxSteps
	}
	return w
}

// WireTools makes the tools' wire form: never nil.
func WireTools(tools []Tool) []WireTool {
	out := make([]WireTool, len(tools))
	for i, t := range tools {
		out[i] = WireTool{t}
	}
	return out
}

type wireFunction struct {
	Type         string          `json:"type"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	Parameters   json.RawMessage `json:"parameters"`
	Async        bool            `json:"async"`
	DeferLoading bool            `json:"defer_loading"`
}

type wireMCP struct {
	Type             string            `json:"type"`
	ServerLabel      string            `json:"server_label"`
	Transport        any               `json:"transport"`
	AllowedTools     []string          `json:"allowed_tools"` // nil: null, all
	ConnectionOrigin string            `json:"connection_origin"`
	CredentialID     *string           `json:"credential_id"`
	RequestMetadata  map[string]any    `json:"request_metadata"`
	Required         bool              `json:"required"`
	RequireApproval  *Approval         `json:"require_approval"` // ours
	Effects          map[string]string `json:"effects"`          // ours
}

type wireHTTP struct {
	Type      string            `json:"type"`
	ServerURL string            `json:"server_url"`
	Headers   map[string]string `json:"headers"`
	Auth      string            `json:"auth,omitempty"` // ours
}

type wireStdio struct {
	Type    string   `json:"type"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
	Cwd     string   `json:"cwd"`
	EnvVars []string `json:"env_vars"`
}

type wireEnvironment struct {
	Type            string            `json:"type"`
	AllowedTools    []string          `json:"allowed_tools"` // nil: null, all
	RequireApproval *Approval         `json:"require_approval"`
	Effects         map[string]string `json:"effects"`
}

type wireMemory struct {
	Type            string            `json:"type"`
	MemoryStores    []MemoryStore     `json:"memory_stores"`
	Recall          *Recall           `json:"recall"`     // null: off
	Extraction      *Extraction       `json:"extraction"` // null: off
	Teams           []string          `json:"teams"`
	Scope           string            `json:"scope"`
	Scopes          string            `json:"scopes"`
	AllowedTools    []string          `json:"allowed_tools"` // nil: null, all
	RequireApproval *Approval         `json:"require_approval"`
	Effects         map[string]string `json:"effects"`
}

type wireSemantic struct {
	Type            string            `json:"type"`
	Models          []string          `json:"models"`        // null: all of the project
	AllowedTools    []string          `json:"allowed_tools"` // null: all
	RequireApproval *Approval         `json:"require_approval"`
	Effects         map[string]string `json:"effects"`
}

type wireSQL struct {
	Type            string            `json:"type"`
	Databases       []string          `json:"databases"`     // null: all of the project
	AllowedTools    []string          `json:"allowed_tools"` // null: all
	RequireApproval *Approval         `json:"require_approval"`
	Effects         map[string]string `json:"effects"`
}

type wireFileSearch struct {
	Type            string            `json:"type"`
	VectorStoreIDs  []string          `json:"vector_store_ids"`
	MaxNumResults   *int              `json:"max_num_results"` // null: the tool's own
	Filters         json.RawMessage   `json:"filters"`
	RankingOptions  json.RawMessage   `json:"ranking_options"`
	RequireApproval *Approval         `json:"require_approval"` // ours
	Effects         map[string]string `json:"effects"`          // ours
}

func fileSearchOf(t Tool) wireFileSearch {
	w := wireFileSearch{t.Type, t.VectorStoreIDs, nil, t.Filters, t.RankingOptions, t.RequireApproval, orMap(t.Effects)}
	if t.MaxNumResults > 0 {
		w.MaxNumResults = &t.MaxNumResults
	}
	return w
}

type wireWebSearch struct {
	Type           string  `json:"type"`
	AllowedDomains *string `json:"allowed_domains"`
	ContextSize    string  `json:"context_size"`
	Location       *string `json:"location"`
	Mode           string  `json:"mode"`
}

type wireProgrammatic struct {
	Type    string `json:"type"`
	Enabled bool   `json:"enabled"`
}

// MarshalJSON implements json.Marshaler.
func (t WireTool) MarshalJSON() ([]byte, error) {
	switch t.Type {
	case ToolFunction:
		return json.Marshal(wireFunction{t.Type, t.Name, t.Description, orObject(t.Parameters), t.Async, t.DeferLoading})
	case ToolMCP:
		return json.Marshal(wireMCP{
			Type: t.Type, ServerLabel: t.ServerLabel, Transport: wireTransport(t.ServerLabel, t.Transport),
			AllowedTools: t.AllowedTools, ConnectionOrigin: orString(t.ConnectionOrigin, OriginService),
			CredentialID: t.CredentialID, RequestMetadata: orMap(t.RequestMetadata), Required: t.Required,
			RequireApproval: t.RequireApproval, Effects: orMap(t.Effects),
		})
	case ToolEnvironment:
		return json.Marshal(wireEnvironment{t.Type, t.AllowedTools, t.RequireApproval, orMap(t.Effects)})
	case ToolMemory:
		return json.Marshal(wireMemory{t.Type, t.MemoryStores, t.Recall, t.Extraction, append([]string{}, t.Teams...), cmp.Or(t.Scope, MemoryScopeDefault), cmp.Or(t.Scopes, MemoryScopesSession), t.AllowedTools, t.RequireApproval, orMap(t.Effects)})
	case ToolSemantic:
		return json.Marshal(wireSemantic{t.Type, t.SemanticModels, t.AllowedTools, t.RequireApproval, orMap(t.Effects)})
	case ToolSQL:
		return json.Marshal(wireSQL{t.Type, t.Databases, t.AllowedTools, t.RequireApproval, orMap(t.Effects)})
	case ToolFileSearch:
		return json.Marshal(fileSearchOf(t.Tool))
	case toolWebSearch: // only ever disabled, see decodeTool
		return json.Marshal(wireWebSearch{Type: t.Type, ContextSize: "medium", Mode: "disabled"})
	case ToolProgrammatic:
		return json.Marshal(wireProgrammatic{t.Type, t.Enabled != nil && *t.Enabled})
	default:
		return nil, fmt.Errorf("tool type %q has no wire form", t.Type)
	}
}

// wireTransport shows an operator's server as the stdio transport that names it, which is also how
// a client may send it back.
func wireTransport(label string, t *Transport) any {
	switch {
	case t == nil:
		return wireStdio{Type: TransportStdio, Command: label, Args: []string{}, EnvVars: []string{}}
	case t.Type == TransportStdio:
		return wireStdio{t.Type, t.Command, orList(t.Args), t.Cwd, orList(t.EnvVars)}
	default:
		return wireHTTP{t.Type, t.ServerURL, orMap(t.Headers), t.Auth}
	}
}

func orObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

func orString(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func orMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orList(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

package client

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Session is what a person is shown of a session.
type Session struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Agent  struct {
		ID      string  `json:"id"`
		Version int     `json:"version"`
		Name    *string `json:"name"`
		Model   string  `json:"model"`
	} `json:"agent"`
	CreatedAt       int64             `json:"created_at"`     // Unix seconds
	LastActiveAt    int64             `json:"last_active_at"` // Unix seconds
	Metadata        map[string]string `json:"metadata"`
	RequiredActions []Action          `json:"required_actions"`
	Usage           *Usage            `json:"usage"`
	Error           *string           `json:"error"`
	Paused          bool              `json:"paused"`
	Environment     struct {
		ID        string `json:"id"` // "" for type none
		Type      string `json:"type"`
		RemoteURL string `json:"remote_url"` // of a self-hosted one: whole when the session is asked for by its id
	} `json:"environment"`
	Raw json.RawMessage `json:"-"`
}

// Usage counts tokens.
type Usage struct {
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	TotalTokens  int64 `json:"total_tokens"`
}

// Action is something that waits for the application or a person.
type Action struct {
	Type      string          `json:"type"`
	TurnID    string          `json:"turn_id"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	RequestID string          `json:"request_id"`
	Place     string          `json:"environment_id"` // that waits for its executor
	Request   *struct {
		Arguments   json.RawMessage `json:"arguments"`
		Message     string          `json:"message"`
		Name        *string         `json:"name"`
		ServerLabel string          `json:"server_label"`
		Key         string          `json:"idempotency_key"`
		Why         string          `json:"why"`
		Digest      string          `json:"digest"`
		Call        *CallShown      `json:"call"`
		ExpiresAt   int64           `json:"expires_at"`
		OnExpiry    string          `json:"on_expiry"`
		URL         string          `json:"url"`
	} `json:"request"`
	BudgetID string `json:"budget_id"`
}

// Types of Action.
const (
	ActionFunction = "function_call"
	ActionApproval = "mcp_approval_request"
	ActionOutcome  = "outcome_unknown"
	ActionConnect  = "environment_connection"
	ActionBudget   = "budget_limit"
	ActionConsent  = "oauth_consent"
	ActionEffect   = "effect_approval"  // policies hold something else than a tool call
	ActionRequest  = "request_approval" // a request of the API waits, no session
)

// Tool names what waits: "server/tool" of a tool server's call, the name of a function.
func (a Action) Tool() string {
	if a.Request == nil {
		return a.Name
	}
	name := a.Request.ServerLabel
	switch {
	case a.Request.Name == nil:
	case name == "": // no tool: an effect
		name = *a.Request.Name
	default:
		name += "/" + *a.Request.Name
	}
	return name
}

// Why is what policies say of a call that waits for approval; "" where they have no part in it.
func (a Action) Why() string {
	if a.Request == nil {
		return ""
	}
	return strings.TrimSuffix(a.Request.Why, ".")
}

// Digest is that of what a request for approval shows; "" of others.
func (a Action) Digest() string {
	if a.Request == nil {
		return ""
	}
	return a.Request.Digest
}

// Link is the page that somebody must open; "" where there is none.
func (a Action) Link() string {
	if a.Request == nil {
		return ""
	}
	return a.Request.URL
}

// Args are the call's arguments as JSON.
func (a Action) Args() string {
	if a.Request != nil {
		return string(a.Request.Arguments)
	}
	return string(a.Arguments)
}

// Approval is an entry of the inbox.
type Approval struct {
	ID        string          `json:"id"`
	Status    string          `json:"status"` // open, approved, denied, expired, used
	Effect    string          `json:"effect"` // of a request of the API, or of ActionEffect
	SessionID string          `json:"session_id"`
	CreatedAt int64           `json:"created_at"`
	Action    Action          `json:"action"`
	Raw       json.RawMessage `json:"-"`
}

// Pool is a pool of model throughput.
type Pool struct {
	Name              string          `json:"name"`
	TokensPerMinute   int64           `json:"tokens_per_minute"` // 0: no limit
	RequestsPerMinute int64           `json:"requests_per_minute"`
	Concurrent        int64           `json:"concurrent"`
	Running           int             `json:"running"`
	Waiting           int             `json:"waiting"`
	Refused           int64           `json:"refused"`
	Raw               json.RawMessage `json:"-"`
}

// Agent is what a person is shown of an agent.
type Agent struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Model        string            `json:"model"`
	Instructions *string           `json:"instructions"`
	Version      int               `json:"version"`
	CreatedAt    int64             `json:"created_at"`
	Tools        []json.RawMessage `json:"tools"`
	Raw          json.RawMessage   `json:"-"`
}

// Turn is one request of the user and all that came of it.
type Turn struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Usage *Usage `json:"usage"`
	// SubagentID is whose turn it is; nil: the session's own agent's.
	SubagentID *string `json:"subagent_id"`
}

// Subagent is one that an agent of the session made.
type Subagent struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Instructions []Content `json:"instructions"`
}

// Item is an entry of a conversation.
type Item struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Role        string          `json:"role"`
	Status      string          `json:"status"`
	Name        string          `json:"name"`
	ServerLabel string          `json:"server_label"`
	CallID      string          `json:"call_id"`
	Arguments   json.RawMessage `json:"arguments"`
	Content     []Content       `json:"content"`
	Summary     []Content       `json:"summary"`
	Output      json.RawMessage `json:"output"`
	Error       json.RawMessage `json:"error"`
	Command     string          `json:"command"` // of a command_execution
	ExitCode    *int            `json:"exit_code"`
	DurationMS  *int64          `json:"duration_ms"`
	TurnID      string          `json:"turn_id"`
	Raw         json.RawMessage `json:"-"`
}

// Content is a part of a message.
type Content struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Refusal  string `json:"refusal"` // in place of Text
	ImageURL string `json:"image_url"`
}

// Text is the item's text for people: a message's, a summary's, or what a call brought.
func (i *Item) Text() string {
	switch {
	case len(i.Content) > 0:
		return joinContent(i.Content)
	case len(i.Summary) > 0:
		return joinContent(i.Summary)
	}
	if s := plain(i.Error); s != "" {
		return "error: " + s
	}
	return plain(i.Output)
}

func joinContent(parts []Content) string {
	var texts []string
	for _, p := range parts {
		if p.ImageURL != "" {
			texts = append(texts, "[image]")
			continue
		}
		texts = append(texts, p.Text+p.Refusal)
	}
	return strings.Join(texts, "\n")
}

// plain reads the shapes that outputs and errors have: a string, a list of parts, {"content": […]},
// {"message": …}; anything else is shown as JSON.
func plain(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []Content
	if json.Unmarshal(raw, &parts) == nil {
		return joinContent(parts)
	}
	var object struct {
		Content []Content `json:"content"`
		Message string    `json:"message"`
	}
	if json.Unmarshal(raw, &object) == nil {
		if len(object.Content) > 0 {
			return joinContent(object.Content)
		}
		if object.Message != "" {
			return object.Message
		}
	}
	return string(raw)
}

// Event is one event of a session's stream. Which fields are set depends on Type.
type Event struct {
	ID      string   `json:"-"` // where to go on from
	Type    string   `json:"type"`
	Session *Session `json:"session"`
	Turn    *Turn    `json:"turn"`
	Item    *Item    `json:"item"`
	ItemID  string   `json:"item_id"`
	TurnID  string   `json:"turn_id"`
	Delta   string   `json:"delta"`
	// Subagent is set by EventSubagent… events.
	Subagent *Subagent `json:"subagent"`
	// Environment is set by EventEnvironment… events, the rest by EventReset.
	Environment *Environment    `json:"environment"`
	FilesKept   bool            `json:"files_kept"`
	Reason      string          `json:"reason"`
	Commands    []string        `json:"commands"` // whose effects may be missing
	Files       []RefusedFile   `json:"files"`    // of EventRefused
	Raw         json.RawMessage `json:"-"`
}

// Types of Event that the command line looks at.
const (
	EventCreated         = "agent.session.created"
	EventIdle            = "agent.session.idle"
	EventInProgress      = "agent.session.in_progress"
	EventRequiresAction  = "agent.session.requires_action"
	EventFailed          = "agent.session.failed"
	EventTurnCreated     = "agent.session.turn.created"
	EventTurnCompleted   = "agent.session.turn.completed"
	EventTurnFailed      = "agent.session.turn.failed"
	EventTurnCancelled   = "agent.session.turn.cancelled"
	EventItemAdded       = "agent.session.turn.item.added"
	EventItemDone        = "agent.session.turn.item.done"
	EventTextDelta       = "agent.session.turn.output_text.delta"
	EventRefusalDelta    = "agent.session.turn.refusal.delta"
	EventReasoningDelta  = "agent.session.turn.reasoning_summary_text.delta"
	EventCommandDelta    = "agent.output.command_execution_output.delta"
	EventReset           = "agent.session.environment.reset"
	EventRefused         = "agent.session.environment.files_refused"
	EventSubagentCreated = "agent.session.subagent.created"
	EventSubagentClosed  = "agent.session.subagent.closed"
	EventSubagentActive  = "agent.session.subagent.active"
	// EventEnvironment begins the type of an event that brings an environment's new status.
	EventEnvironment = "agent.session.environment."
)

// page is one page of a list.
type page[T any] struct {
	Data    []T    `json:"data"`
	HasMore bool   `json:"has_more"`
	LastID  string `json:"last_id"`
}

// keep decodes an object and keeps its JSON; plain is the type without its UnmarshalJSON.
func keep(data []byte, plain any, raw *json.RawMessage) error {
	if err := json.Unmarshal(data, plain); err != nil {
		return fmt.Errorf("decode an object of the server: %w", err)
	}
	*raw = append(json.RawMessage(nil), data...)
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Session) UnmarshalJSON(b []byte) error {
	type bare Session
	return keep(b, (*bare)(s), &s.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Approval) UnmarshalJSON(b []byte) error {
	type bare Approval
	return keep(b, (*bare)(a), &a.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Agent) UnmarshalJSON(b []byte) error {
	type bare Agent
	return keep(b, (*bare)(a), &a.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *Item) UnmarshalJSON(b []byte) error {
	type bare Item
	return keep(b, (*bare)(i), &i.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Event) UnmarshalJSON(b []byte) error {
	type bare Event
	return keep(b, (*bare)(e), &e.Raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pool) UnmarshalJSON(b []byte) error {
	type bare Pool
	return keep(b, (*bare)(p), &p.Raw)
}

// CallShown is what is said of a call that waits for approval: where it goes, for whom, and by which agent.
type CallShown struct {
	Class       string `json:"class"`
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
	Server      *struct {
		URL     string   `json:"url"`
		Command []string `json:"command"`
	} `json:"server"`
	For    string   `json:"for"`
	Behind []string `json:"behind"`
	Agent  struct {
		ID      string `json:"id"`
		Version int    `json:"version"`
		Base    string `json:"base"`
	} `json:"agent"`
	Untrusted []string `json:"untrusted"`
}

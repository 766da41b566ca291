package session

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/policy"
)

// The wire's objects, as the Agents API writes them (npm openai 7.57.0, resources/beta/agents).
// They are made from the journal and never stored.

// Statuses of a Session.
const (
	StatusIdle           = "idle"
	StatusInProgress     = "in_progress"
	StatusRequiresAction = "requires_action"
	StatusFailed         = "failed"
)

// Statuses of a Turn.
const (
	TurnQueued     = "queued"
	TurnInProgress = "in_progress"
	TurnWaiting    = "waiting"
	TurnComplete   = "completed"
	TurnFail       = "failed"
	TurnCancel     = "cancelled"
)

// Session is the wire's agent session.
type Session struct {
	ID              stead.SessionID   `json:"id"`
	Object          string            `json:"object"` // "agent.session"
	Agent           SessionAgent      `json:"agent"`
	CreatedAt       int64             `json:"created_at"`
	Environment     json.RawMessage   `json:"environment"`
	Error           *string           `json:"error"`
	LastActiveAt    int64             `json:"last_active_at"`
	Metadata        map[string]string `json:"metadata"`
	RequiredActions []RequiredAction  `json:"required_actions"`
	Status          string            `json:"status"`
	Usage           *TokenUsage       `json:"usage"`
	VaultIDs        []string          `json:"vault_ids"`
	CacheOptions    *CacheOptions     `json:"prompt_cache_options,omitempty"`
	Review          string            `json:"review,omitempty"`
	SpendControl    *SpendControl     `json:"spend_control,omitempty"`
	Paused          bool              `json:"paused,omitempty"`      // ours
	ForkedFrom      *Origin           `json:"forked_from,omitempty"` // ours
	Conversation    bool              `json:"-"`                     // of the Responses API, which shows it otherwise
	Owner           stead.Principal   `json:"-"`                     // whom it serves
}

// SessionAgent is the pinned agent as a session shows it.
type SessionAgent struct {
	ID           stead.AgentID      `json:"id"`
	Version      int                `json:"version,omitempty"` // ours: 0 for an inline agent
	Instructions *string            `json:"instructions"`
	Model        string             `json:"model"`
	MultiAgent   agent.MultiAgent   `json:"multi_agent"`
	Name         *string            `json:"name"`
	Reasoning    agent.Reasoning    `json:"reasoning"`
	ServiceTier  string             `json:"service_tier"`
	Text         agent.Text         `json:"text"`
	Tools        []agent.WireTool   `json:"tools"`
	Compaction   agent.Compaction   `json:"compaction"`
	Experimental agent.Experimental `json:"experimental"`
	MaxSteps     int                `json:"max_steps,omitempty"` // ours
}

// CacheOptions is the prompt cache lifetime, "30m" or "12h".
type CacheOptions struct {
	TTL string `json:"ttl"`
}

// SpendControl is a session's limit and what it used of it, in US cents.
type SpendControl struct {
	Consumed *int64 `json:"consumed"`
	Limit    int64  `json:"limit"`
}

// TokenUsage is the wire's usage.
type TokenUsage struct {
	InputTokens        int64        `json:"input_tokens"`
	InputTokensDetails InputDetail  `json:"input_tokens_details"`
	OutputTokens       int64        `json:"output_tokens"`
	OutputDetails      OutputDetail `json:"output_tokens_details"`
	TotalTokens        int64        `json:"total_tokens"`
}

// InputDetail is part of TokenUsage.
type InputDetail struct {
	CachedTokens int64 `json:"cached_tokens"`
	Written      int64 `json:"-"` // to a cache: responses say it, the Agents API has no word for it
}

// OutputDetail is part of TokenUsage.
type OutputDetail struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

func wireUsage(u stead.Usage) *TokenUsage {
	return &TokenUsage{
		InputTokens: u.InputTokens, InputTokensDetails: InputDetail{u.CachedTokens, u.CacheWriteTokens},
		OutputTokens: u.OutputTokens, OutputDetails: OutputDetail{u.ReasoningTokens},
		TotalTokens: u.Total(),
	}
}

// Types of RequiredAction. OutcomeUnknown, BudgetLimit, Consent and EffectApproval are ours.
const (
	ActionFunctionCall   = "function_call"
	ActionMCPApproval    = "mcp_approval_request"
	ActionOutcomeUnknown = "outcome_unknown"

	ActionEnvironmentConnection = "environment_connection" // a self-hosted executor must connect
	ActionBudgetLimit           = "budget_limit"           // a budget is used up: somebody raises it, or lets the turn go on
	ActionConsent               = "oauth_consent"          // a tool server wants its user's consent: somebody opens the page
	ActionEffectApproval        = "effect_approval"        // policies hold something else than a tool call: somebody must allow it
)

// RequiredAction is something that the application or a person must do before the turn goes on.
type RequiredAction struct {
	Type      string          `json:"type"`
	TurnID    string          `json:"turn_id,omitempty"`
	CallID    string          `json:"call_id,omitempty"`    // function_call, outcome_unknown
	Name      string          `json:"name,omitempty"`       // function_call
	Arguments json.RawMessage `json:"arguments,omitempty"`  // function_call
	RequestID string          `json:"request_id,omitempty"` // mcp_approval_request, outcome_unknown, budget_limit
	Request   *ActionRequest  `json:"request,omitempty"`    // mcp_approval_request, outcome_unknown, budget_limit
	BudgetID  string          `json:"budget_id,omitempty"`  // budget_limit

	EnvironmentID string `json:"environment_id,omitempty"` // environment_connection
}

// ActionRequest is what to show to whoever answers.
type ActionRequest struct {
	Type        string          `json:"type"` // "mcp_tool_call", "budget_limit", "effect"
	Arguments   json.RawMessage `json:"arguments"`
	Message     string          `json:"message"`
	Name        *string         `json:"name"`
	ServerLabel string          `json:"server_label"`
	Key         string          `json:"idempotency_key,omitempty"` // outcome_unknown: the key that was sent
	Why         string          `json:"why,omitempty"`             // mcp_approval_request: what policies say of it
	Call        *CallShown      `json:"call,omitempty"`            // mcp_approval_request: where it goes, for whom, by which agent
	Digest      string          `json:"digest,omitempty"`          // mcp_approval_request: of what is shown; an answer may name it
	ExpiresAt   int64           `json:"expires_at,omitempty"`      // mcp_approval_request: Unix seconds
	OnExpiry    string          `json:"on_expiry,omitempty"`       // what becomes of it then: deny or allow
	URL         string          `json:"url,omitempty"`             // oauth_consent: the page to open, for whom the session serves

	Consent string           `json:"-"` // oauth_consent: its id, and who may see the page
	For     *stead.Principal `json:"-"`
}

// Approval is an entry of the inbox: a required action and whose it is.
type Approval struct {
	Object    string          `json:"object"` // "approval"
	ID        string          `json:"id"`     // the request_id
	SessionID stead.SessionID `json:"session_id"`
	CreatedAt int64           `json:"created_at"`
	Action    RequiredAction  `json:"action"`
	// Effect and Resource are those of an effect that is no tool call; "" elsewhere.
	Effect   policy.Effect `json:"effect,omitempty"`
	Resource string        `json:"resource,omitempty"`
}

// Turn is the wire's turn.
type Turn struct {
	ID           string          `json:"id"`
	Object       string          `json:"object"` // "agent.session.turn"
	AgentID      stead.AgentID   `json:"agent_id"`
	CompletedAt  *int64          `json:"completed_at"`
	CreatedAt    int64           `json:"created_at"`
	Error        *TurnError      `json:"error"`
	SessionID    stead.SessionID `json:"session_id"`
	StartedAt    *int64          `json:"started_at"`
	Status       string          `json:"status"`
	SubagentID   *string         `json:"subagent_id"`
	Usage        *TokenUsage     `json:"usage"`
	CacheOptions *CacheOptions   `json:"prompt_cache_options"`
}

// Item is the wire's item: one of the …Item types below.
type Item interface{ ItemID() string }

// MessageItem is a message of the user or the agent.
type MessageItem struct {
	ID      string           `json:"id"`
	Type    string           `json:"type"`
	Content []WireContent    `json:"content"`
	Phase   *string          `json:"phase"`
	Role    string           `json:"role"`
	Status  stead.ItemStatus `json:"status"`
	TurnID  string           `json:"turn_id"`
}

// WireContent is one part of a message or output.
type WireContent struct {
	Type     string  `json:"type"`
	Text     *string `json:"text,omitempty"`
	Refusal  *string `json:"refusal,omitempty"` // refusal, in place of the text
	ImageURL *string `json:"image_url,omitempty"`
	Detail   string  `json:"detail,omitempty"`   // input_image of a response that said it
	FileURL  *string `json:"file_url,omitempty"` // input_file: https: or data:
	Filename string  `json:"filename,omitempty"` // input_file

	// Annotations are ours, and of output_text alone: the Agents API has none.
	Annotations []citation.Annotation `json:"annotations,omitempty"`
}

// ReasoningItem is a reasoning summary.
type ReasoningItem struct {
	ID      string            `json:"id"`
	Type    string            `json:"type"`
	Status  *stead.ItemStatus `json:"status"`
	Summary []SummaryText     `json:"summary"`
	TurnID  string            `json:"turn_id"`
	// Made is what a model made it as, with what its provider encrypted; nil: nothing was. It is no part of the Agents API,
	// and of the Responses API where it is asked for.
	Made func() stead.Item `json:"-"`
}

// SummaryText is a part of a reasoning summary.
type SummaryText struct {
	Type string `json:"type"` // "summary_text"
	Text string `json:"text"`
}

// FunctionCallItem asks the application for a result.
type FunctionCallItem struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"`
	Arguments json.RawMessage  `json:"arguments"`
	CallID    string           `json:"call_id"`
	Name      string           `json:"name"`
	Status    stead.ItemStatus `json:"status"`
	TurnID    string           `json:"turn_id"`
}

// FunctionOutputItem is the application's answer. Output is a string, a list of content, or null.
type FunctionOutputItem struct {
	ID     string           `json:"id"`
	Type   string           `json:"type"`
	CallID string           `json:"call_id"`
	Error  *string          `json:"error"`
	Output json.RawMessage  `json:"output"`
	Status stead.ItemStatus `json:"status"`
	TurnID string           `json:"turn_id"`
}

// MCPCallItem is a call that the runtime executes. Output is null, or {"content": […]}; Error is
// null or {"message": …}.
type MCPCallItem struct {
	ID          string           `json:"id"`
	Type        string           `json:"type"`
	Arguments   json.RawMessage  `json:"arguments"`
	Error       json.RawMessage  `json:"error"`
	Name        string           `json:"name"`
	Output      json.RawMessage  `json:"output"`
	ServerLabel string           `json:"server_label"`
	Status      stead.ItemStatus `json:"status"`
	TurnID      string           `json:"turn_id"`
	RequestID   string           `json:"approval_request_id,omitempty"` // ours: of a call that the application allowed
}

// ApprovalRequestItem asks the application whether a call may be made. It is ours: responses alone have it.
type ApprovalRequestItem struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Arguments   json.RawMessage `json:"arguments"`
	Name        string          `json:"name"`
	ServerLabel string          `json:"server_label"`
	TurnID      string          `json:"turn_id"`
}

// ApprovalResponseItem is the application's answer.
type ApprovalResponseItem struct {
	ID        string  `json:"id"`
	Type      string  `json:"type"`
	RequestID string  `json:"approval_request_id"`
	Approve   bool    `json:"approve"`
	Reason    *string `json:"reason"`
	TurnID    string  `json:"turn_id"`
}

// ItemID implements Item.
func (i *ApprovalRequestItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *ApprovalResponseItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *MessageItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *ReasoningItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *FunctionCallItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *FunctionOutputItem) ItemID() string { return i.ID }

// ItemID implements Item.
func (i *MCPCallItem) ItemID() string { return i.ID }

// StreamEvent is one event of a session's stream. Its JSON is the wire's; Cursor is the SSE id and
// stands in event_id as well, with the session, so that event ids are unique.
type StreamEvent struct {
	Cursor stead.Cursor
	Type   string // "agent.session.turn.created", …
	Body   any    // a struct with the wire's JSON
}

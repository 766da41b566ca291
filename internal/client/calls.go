package client

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stead-dev/stead"
)

// pageSize is what the CLI asks for at once; the API allows no more.
const pageSize = 100

// list reads pages until limit entries are there, or all of them with limit 0.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int, id func(T) string) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	var all []T
	for {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		query.Set("limit", strconv.Itoa(n))
		var p page[T]
		if err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Data...)
		if !p.HasMore || len(p.Data) == 0 || (limit > 0 && len(all) >= limit) {
			return all, nil
		}
		query.Set("after", id(p.Data[len(p.Data)-1]))
	}
}

func sessionPath(id, rest string) string { return "/v1/agents/sessions/" + id + rest }

// CreateSession makes a session; body is the wire's request.
func (c *Client) CreateSession(ctx context.Context, body any) (Session, error) {
	var s Session
	return s, c.call(ctx, http.MethodPost, "/v1/agents/sessions", nil, body, &s)
}

// Session returns one session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	var s Session
	return s, c.call(ctx, http.MethodGet, sessionPath(url.PathEscape(id), ""), nil, nil, &s)
}

// Sessions lists sessions, the newest first; query may hold status, agent_id and metadata filters.
func (c *Client) Sessions(ctx context.Context, query url.Values, limit int) ([]Session, error) {
	return list(ctx, c, "/v1/agents/sessions", query, limit, func(s Session) string { return s.ID })
}

// DeleteSession removes a session and all that was derived from it.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, sessionPath(url.PathEscape(id), ""), nil, nil, nil)
}

// Items lists a session's items, oldest first.
func (c *Client) Items(ctx context.Context, id string) ([]*Item, error) {
	return list(ctx, c, sessionPath(url.PathEscape(id), "/items"), url.Values{"order": {"asc"}}, 0, func(i *Item) string { return i.ID })
}

// Trace is the trace of a root turn.
type Trace struct {
	ID        string          `json:"id"` // of the turn
	CreatedAt int64           `json:"created_at"`
	OTLP      json.RawMessage `json:"otlp"`
}

// Traces lists the traces of a session's root turns, the newest first; limit 0: all.
func (c *Client) Traces(ctx context.Context, id string, limit int) ([]Trace, error) {
	return list(ctx, c, sessionPath(url.PathEscape(id), "/traces"), nil, limit, func(t Trace) string { return t.ID })
}

// NewestItem returns the id of a session's newest item, "" for none.
func (c *Client) NewestItem(ctx context.Context, id string) (string, error) {
	var page struct {
		FirstID *string `json:"first_id"`
	}
	query := url.Values{"limit": {"1"}, "order": {"desc"}}
	err := c.call(ctx, http.MethodGet, sessionPath(url.PathEscape(id), "/items"), query, nil, &page)
	if err != nil || page.FirstID == nil {
		return "", err
	}
	return *page.FirstID, nil
}

// Send submits input events. When it returns, they are on the server's disk.
func (c *Client) Send(ctx context.Context, id string, events ...any) error {
	return c.call(ctx, http.MethodPost, sessionPath(url.PathEscape(id), "/events"), nil, map[string]any{"events": events}, nil)
}

// Message is the input event of a user's message.
func Message(text string) any {
	return map[string]any{"type": "agent.session.input.message", "input": []any{UserInput(text)}}
}

// UserInput is a user's message as sessions.create takes it.
func UserInput(text string) any {
	return map[string]any{"role": "user", "content": []any{map[string]string{"type": "input_text", "text": text}}}
}

// Cancel is the input event that stops the running turn.
func Cancel() any { return map[string]string{"type": "agent.session.input.cancel"} }

// Edit is the input event that approves a call with other arguments, a JSON object.
func Edit(requestID, reason, digest string, arguments json.RawMessage) any {
	response := map[string]any{"type": "mcp_tool_call", "decision": "approve", "arguments": arguments}
	if reason != "" {
		response["reason"] = reason
	}
	if digest != "" {
		response["digest"] = digest
	}
	return map[string]any{
		"type": "agent.session.input.mcp_approval_request_result", "request_id": requestID, "response": response,
	}
}

// Delegate is the input event that hands an approval to a user, a service or a role.
func Delegate(requestID, reason, kind, id string) any {
	to := map[string]string{"kind": kind, "id": id}
	if kind == "role" {
		to = map[string]string{"role": id}
	}
	response := map[string]any{"type": "mcp_tool_call", "decision": "delegate", "to": to}
	if reason != "" {
		response["reason"] = reason
	}
	return map[string]any{
		"type": "agent.session.input.mcp_approval_request_result", "request_id": requestID, "response": response,
	}
}

// Decision is the input event that answers an approval request: approve, deny or cancel. The agent
// is told the reason, if there is one. With the digest of what was shown, it answers nothing else.
func Decision(requestID, decision, reason, digest string) any {
	response := map[string]string{"type": "mcp_tool_call", "decision": decision}
	if reason != "" {
		response["reason"] = reason
	}
	if digest != "" {
		response["digest"] = digest
	}
	return map[string]any{
		"type": "agent.session.input.mcp_approval_request_result", "request_id": requestID, "response": response,
	}
}

// More is how much beyond what was used a turn may use of a budget. What is 0 is not said.
type More struct {
	Cost   int64 `json:"cost_microcents,omitempty"`
	Tokens int64 `json:"tokens,omitempty"`
	Calls  int64 `json:"calls,omitempty"`
	Millis int64 `json:"duration_ms,omitempty"`
}

// BudgetDecision is the input event that answers a turn that waits for a budget: approve (one answer of
// the model, or so much more), deny or cancel.
func BudgetDecision(requestID, decision, reason string, more More) any {
	response := map[string]any{"type": ActionBudget, "decision": decision}
	if reason != "" {
		response["reason"] = reason
	}
	if more != (More{}) {
		response["extra"] = more
	}
	return map[string]any{
		"type": "agent.session.input.mcp_approval_request_result", "request_id": requestID, "response": response,
	}
}

// Outcome is the input event that answers an unknown outcome: happened (with what the call
// returned), not_happened or give_up.
func Outcome(requestID, decision, output string) any {
	response := map[string]any{"decision": decision}
	if decision == "happened" {
		response["output"] = output
	}
	return map[string]any{
		"type": "agent.session.input.outcome_unknown_result", "request_id": requestID, "response": response,
	}
}

// ToolResult is the input event that answers a function call.
func ToolResult(a Action, success bool, output, failure string) any {
	e := map[string]any{"type": "agent.session.input.tool_result", "turn_id": a.TurnID, "call_id": a.CallID, "success": success}
	if success {
		e["output"] = output
	} else {
		e["error"] = failure
	}
	return e
}

// Pause and Resume stop and restart a session between two steps.
func (c *Client) Pause(ctx context.Context, id string) (Session, error) {
	return c.act(ctx, id, "/pause", nil)
}

// Resume undoes Pause.
func (c *Client) Resume(ctx context.Context, id string) (Session, error) {
	return c.act(ctx, id, "/resume", nil)
}

// ControlParams say which sessions, and what becomes of them.
type ControlParams struct {
	Action string        `json:"action"` // pause, resume or cancel
	Filter ControlFilter `json:"filter"`
	After  string        `json:"after,omitempty"`
	DryRun bool          `json:"dry_run,omitempty"`
}

// ControlFilter selects sessions; what is empty selects all.
type ControlFilter struct {
	AgentID  string            `json:"agent_id,omitempty"`
	Status   string            `json:"status,omitempty"`
	User     string            `json:"user,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Model    string            `json:"model,omitempty"`
	Tool     string            `json:"tool,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Controlled is what became of them.
type Controlled struct {
	Matched  int `json:"matched"`
	Changed  int `json:"changed"`
	Failed   int `json:"failed"`
	Failures []struct {
		SessionID string `json:"session_id"`
		Message   string `json:"message"`
	} `json:"failures"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

// Control steers many sessions, a request for each ten thousand. What it returns with an error was done before it.
func (c *Client) Control(ctx context.Context, p ControlParams) (sum Controlled, err error) {
	for {
		var one Controlled
		if err := c.call(ctx, http.MethodPost, "/v1/agents/sessions/control", nil, p, &one); err != nil {
			return sum, err
		}
		sum.Matched, sum.Changed, sum.Failed = sum.Matched+one.Matched, sum.Changed+one.Changed, sum.Failed+one.Failed
		sum.Failures = append(sum.Failures, one.Failures...)
		if !one.HasMore || one.LastID == nil {
			return sum, nil
		}
		p.After = *one.LastID
	}
}

// Fork copies a session up to an item, or all that is settled with "".
func (c *Client) Fork(ctx context.Context, id, item string) (Session, error) {
	body := map[string]any{}
	if item != "" {
		body["item_id"] = item
	}
	return c.act(ctx, id, "/fork", body)
}

func (c *Client) act(ctx context.Context, id, what string, body any) (Session, error) {
	var s Session
	return s, c.call(ctx, http.MethodPost, sessionPath(url.PathEscape(id), what), nil, body, &s)
}

// Export writes a session's file to w.
func (c *Client) Export(ctx context.Context, id string, w io.Writer) error {
	return c.download(ctx, sessionPath(url.PathEscape(id), "/export"), nil, w)
}

// Import makes a session of an exported file.
func (c *Client) Import(ctx context.Context, r io.Reader) (Session, error) {
	var s Session
	return s, c.call(ctx, http.MethodPost, "/v1/agents/sessions/import", nil, r, &s)
}

// Approvals lists what waits for a person, the oldest first.
func (c *Client) Approvals(ctx context.Context) ([]Approval, error) {
	return list(ctx, c, "/v1/approvals", url.Values{"order": {"asc"}}, 0, func(a Approval) string { return a.ID })
}

// Approval returns one request that waits; one of the API, also when it is over.
func (c *Client) Approval(ctx context.Context, id string) (Approval, error) {
	var a Approval
	return a, c.call(ctx, http.MethodGet, "/v1/approvals/"+url.PathEscape(id), nil, nil, &a)
}

// Answer answers a request of the API that waits, with an input event as sessions take it.
func (c *Client) Answer(ctx context.Context, id string, input any) error {
	event, ok := input.(map[string]any)
	if !ok {
		return stead.Errorf(stead.KindInternal, "the answer can't be sent")
	}
	answer := map[string]any{}
	switch said := event["response"].(type) {
	case map[string]any:
		maps.Copy(answer, said)
	case map[string]string:
		for name, value := range said {
			answer[name] = value
		}
	}
	delete(answer, "type") // is of what sessions ask
	return c.call(ctx, http.MethodPost, "/v1/approvals/"+url.PathEscape(id), nil, answer, nil)
}

// Pools lists the pools of model throughput of the node that answers.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	return list(ctx, c, "/v1/capacity", nil, 0, func(p Pool) string { return p.Name })
}

// Agents lists agents, the newest first.
func (c *Client) Agents(ctx context.Context) ([]Agent, error) {
	return list(ctx, c, "/v1/agents", nil, 0, func(a Agent) string { return a.ID })
}

// Agent returns one agent.
func (c *Client) Agent(ctx context.Context, id string) (Agent, error) {
	var a Agent
	return a, c.call(ctx, http.MethodGet, "/v1/agents/"+url.PathEscape(id), nil, nil, &a)
}

// PutAgent creates an agent, or with an id makes its next version.
func (c *Client) PutAgent(ctx context.Context, id string, spec json.RawMessage) (Agent, error) {
	path := "/v1/agents"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	var a Agent
	return a, c.call(ctx, http.MethodPost, path, nil, spec, &a)
}

// DeleteAgent removes an agent; sessions that pinned it carry on.
func (c *Client) DeleteAgent(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/agents/"+url.PathEscape(id), nil, nil, nil)
}

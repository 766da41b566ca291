package session

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
)

// Kinds of event. Doors write the session.* and input.* ones through Send; the lease's holder
// writes the others. Intents (…called) come in pairs with outcomes.
const (
	KindSessionCreated  = "session.created"
	KindSessionUpdated  = "session.updated"
	KindSessionPaused   = "session.paused"
	KindSessionCopied   = "session.copied" // stands in a copy behind what was copied: what was asked and approved is the source's alone
	KindSessionResumed  = "session.resumed"
	KindSessionFailed   = "session.failed" // terminal
	KindInputMessage    = "input.message"
	KindInputItems      = "input.items" // more of the conversation, without a turn
	KindInputCancel     = "input.cancel"
	KindInputToolResult = "input.tool_result"
	KindInputApproval   = "input.approval"
	KindInputDelegate   = "input.delegate"
	KindInputEdit       = "input.edit" // an approval of a call with other arguments
	KindInputOutcome    = "input.outcome"
	KindInputBudget     = "input.budget"
	KindInputRefused    = "input.refused" // by a guardrail: nothing of it is kept
	KindInputConsent    = "input.consent"

	KindTurnStarted      = "turn.started"
	KindTurnCompleted    = "turn.completed"
	KindTurnFailed       = "turn.failed"
	KindTurnCancelled    = "turn.cancelled"
	KindModelCalled      = "model.called"
	KindModelStreamed    = "model.streamed"
	KindModelReplied     = "model.replied"
	KindModelFailed      = "model.failed"
	KindModelCut         = "model.cut" // what a call had used that the runner.recovered behind it cuts off
	KindToolCalled       = "tool.called"
	KindToolHeld         = "tool.held" // by policies, until somebody approves
	KindToolReturned     = "tool.returned"
	KindToolLapsed       = "tool.lapsed" // nobody answered, and it is made
	KindToolLost         = "tool.lost"
	KindToolRequired     = "tool.required"  // of the application: a function that was held is asked for
	KindToolRequested    = "tool.requested" // by code in the environment
	KindToolsListed      = "tools.listed"   // of a response's tool servers
	KindContextCompacted = "context.compacted"
	KindResponseDeleted  = "session.response_deleted"
	KindItemDeleted      = "session.item_deleted"
	KindRunnerRecovered  = "runner.recovered"
	KindTimerFired       = "timer.fired"
	KindBudgetReached    = "budget.reached"
	KindConsentNeeded    = "consent.needed" // by a tool server, of its user
	KindConsentLapsed    = "consent.lapsed"
)

// Created is the first event of every session.
type Created struct {
	Agent     AgentPin          `json:"agent"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	VaultIDs  []string          `json:"vault_ids,omitempty"`
	Principal stead.Principal   `json:"principal"`
	// SpendLimitCents is the most that the session may cost, in US cents; nil: no limit.
	SpendLimitCents *int64          `json:"spend_limit_cents,omitempty"`
	Environment     json.RawMessage `json:"environment"` // the wire's object
	// Setup is what the environment is made of; nil: there is none, or it was made before.
	Setup    *environment.Setup `json:"setup,omitempty"`
	CacheTTL string             `json:"cache_ttl,omitempty"` // "30m" or "12h"
	Review   string             `json:"review,omitempty"`
	// Conversation: the session is one of the Responses API.
	Conversation bool `json:"conversation,omitempty"`
	// With: the session was made with the message, or the items, that stand behind this event. What was made before there was this mark does not say it.
	With bool `json:"with,omitempty"`
	// Origin says where a fork or an import came from.
	Origin *Origin `json:"origin,omitempty"`
	// Labels are those of the texts that a copy begins with, where it was given metadata of its own.
	Labels stead.Labels `json:"labels,omitempty"`
	// Decision is that of the policies; nil: there were none.
	Decision *policy.Decision `json:"decision,omitempty"`
}

// AgentPin is the agent version that a session runs, whole.
type AgentPin struct {
	ID      stead.AgentID `json:"id"`      // of a saved agent, or made for an inline one
	Version int           `json:"version"` // 0: given inline
	Spec    agent.Spec    `json:"spec"`
	// Base is the saved agent that this one was made from by somebody who may not change that: it is another one, without its
	// rights and memories, and what limits that limits this. "": there is none.
	Base stead.AgentID `json:"base,omitempty"`
}

// Limited is the agent whose budgets, guardrails, routes and kill switches hold.
func (p AgentPin) Limited() stead.AgentID { return cmp.Or(p.Base, p.ID) }

// Apart makes it an agent of its own.
func (p AgentPin) Apart(id stead.AgentID) AgentPin {
	return AgentPin{ID: id, Spec: p.Spec, Base: p.Limited()}
}

// Paused stops a session after what is in flight; Resumed undoes it.
type Paused struct {
	By stead.Principal `json:"by"`
}

// Failed ends a session for good.
type Failed struct {
	Error TurnError `json:"error"`
}

// Message is user input. Without a running turn it makes one, whose id derives from its Seq; with
// one it steers that.
type Message struct {
	Input []InputMessage `json:"input,omitempty"`
	// Items and Response make a turn that is a response (see response.go): Input is empty then.
	Items    []stead.Item    `json:"items,omitempty"`
	Labels   stead.Labels    `json:"labels,omitempty"` // that the items had where they were taken from
	Response *ResponseAsk    `json:"response,omitempty"`
	By       stead.Principal `json:"by"`
	// Guardrails are what guardrails did to it before it was stored: it stands here as they left it.
	Guardrails []guardrail.Finding `json:"guardrails,omitempty"`
	// Traceparent says of which span elsewhere a turn that it makes is a part (W3C Trace Context); "": of none.
	Traceparent string `json:"traceparent,omitempty"`
}

// ItemsInput adds to the conversation without asking for anything.
type ItemsInput struct {
	Items  []stead.Item    `json:"items"`
	Labels stead.Labels    `json:"labels,omitempty"` // as in Message
	By     stead.Principal `json:"by"`

	Guardrails []guardrail.Finding `json:"guardrails,omitempty"` // as in Message
}

// InputRefused says that a guardrail refused what somebody sent. Nothing follows from it.
type InputRefused struct {
	Guardrails []guardrail.Finding `json:"guardrails"`
	By         stead.Principal     `json:"by"`
}

// InputMessage is one message of the user.
type InputMessage struct {
	Content []stead.Content `json:"content"`
}

// CancelInput asks to stop a turn: the one that ran when it was accepted, no later one.
type CancelInput struct {
	Turn stead.Seq       `json:"turn"` // of the turn's input.message; 0: none ran, and nothing is stopped
	By   stead.Principal `json:"by"`
}

// ToolResult is the application's answer to a function call. Late and second answers are ignored.
type ToolResult struct {
	CallID  string          `json:"call_id"`
	Success bool            `json:"success"`
	Output  []stead.Content `json:"output,omitempty"`
	Error   string          `json:"error,omitempty"`
	By      stead.Principal `json:"by"`

	Guardrails []guardrail.Finding `json:"guardrails,omitempty"` // as in Message
}

// ApprovalResult answers an approval request. Decision is approve, deny or cancel (the turn).
type ApprovalResult struct {
	CallID   string          `json:"call_id"`
	Decision string          `json:"decision"`
	Digest   string          `json:"digest,omitempty"` // of what was shown: View.Digest
	Reason   string          `json:"reason,omitempty"`
	By       stead.Principal `json:"by"`
}

// ApprovalEdit approves a call with other arguments than were asked for. It is no ApprovalResult, so that a node that does
// not know it makes no call with the old ones.
type ApprovalEdit struct {
	CallID    string          `json:"call_id"`
	Arguments json.RawMessage `json:"arguments"`
	Digest    string          `json:"digest"` // of what was shown, with the old arguments
	Reason    string          `json:"reason,omitempty"`
	// Ask replaces ToolCall.Ask: what guardrails asked for before, and what they ask for now; nil: the arguments ask for nothing new.
	Ask *policy.Decision `json:"ask,omitempty"`
	By  stead.Principal  `json:"by"`

	Guardrails []guardrail.Finding `json:"guardrails,omitempty"` // as in Message
}

// OutcomeResult answers an outcome-unknown request.
type OutcomeResult struct {
	CallID string `json:"call_id"`
	// Decision: "happened" (Output is what it returned), "not_happened" (run it), "give_up" (the
	// model is told that nobody knows).
	Decision string          `json:"decision"`
	Output   []stead.Content `json:"output,omitempty"`
	By       stead.Principal `json:"by"`

	Guardrails []guardrail.Finding `json:"guardrails,omitempty"` // as in Message
}

// TurnStarted begins work on the queued turn.
type TurnStarted struct{}

// TurnEnded is the payload of turn.completed, turn.failed (with Error) and turn.cancelled.
type TurnEnded struct {
	Error *TurnError `json:"error,omitempty"`
	// Decision is that of the policies which refused the turn's model call; nil elsewhere.
	Decision *policy.Decision `json:"decision,omitempty"`
}

// TurnError is a customer-safe failure; Code is one of the Agents API's.
type TurnError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Purposes of a model call.
const (
	PurposeStep    = ""        // the turn's next step
	PurposeCompact = "compact" // a summary of older items
	// PurposeRemember takes out of turns that ended what is worth remembering.
	PurposeRemember = "remember"
)

// ModelCalled is the intent of a model call; its Seq names the call.
type ModelCalled struct {
	Model   string    `json:"model"`
	Purpose string    `json:"purpose,omitempty"`
	Attempt int       `json:"attempt"`        // from 1
	Upto    stead.Seq `json:"upto,omitempty"` // compact: items of events up to here
	Hold    *Hold     `json:"hold,omitempty"` // what budgets reserved for it; nil: no budget is about it
	// Spend is what it may cost, in micro-cents, which counts against the session's limit until it has ended; 0: there is no limit, or no price.
	Spend    int64           `json:"spend,omitempty"`
	Decision policy.Decision `json:"decision"`
	// Described are labels of tool servers that strangers may run, of whose tools the model is about to read what they say: see View.Describing.
	Described []string `json:"described,omitempty"`
}

// Hold is what budgets reserved for a call, or for a slice of an environment's time, before it began. Its outcome
// settles it; of an environment's there may be several records.
type Hold struct {
	ID       string   `json:"id"`
	Counters []string `json:"counters"`
	Cost     int64    `json:"cost,omitempty"` // micro-cents
	Tokens   int64    `json:"tokens,omitempty"`
	Calls    int64    `json:"calls,omitempty"`
	Millis   int64    `json:"millis,omitempty"`
	// Since (Unix milliseconds) is when an environment's was made, of which there may be several records; 0: a call's.
	Since int64 `json:"since,omitempty"`
}

// ModelStreamed is streamed text, coalesced. The first segment of an index makes its item known.
type ModelStreamed struct {
	Call     stead.Seq `json:"call"`
	Segments []Segment `json:"segments"`
}

// Segment is a run of text of one item.
type Segment struct {
	Index int            `json:"i"`
	Type  stead.ItemType `json:"type"` // message or reasoning
	Part  int            `json:"part,omitempty"`
	Text  string         `json:"text"`
	// Refusal: the message is a refusal. Journals from before there was this mark have them as texts.
	Refusal bool `json:"refusal,omitempty"`
}

// ModelReplied is the outcome of a model call. Text that ModelStreamed events hold already is not
// stored again: for such an item Streamed says how many bytes of it they hold, and the item's text
// here is the rest.
type ModelReplied struct {
	Call    stead.Seq   `json:"call"`
	Items   []ReplyItem `json:"items"`
	Usage   stead.Usage `json:"usage"`
	Guessed bool        `json:"guessed,omitempty"` // Usage is, in part at least: the provider did not say it
	Finish  string      `json:"finish"`
	Model   string      `json:"model,omitempty"` // as the upstream names it
	// Provider, as configured; "" where Route says it.
	Provider string `json:"provider,omitempty"`
	Region   string `json:"region,omitempty"`    // of Provider, as configured
	Cost     int64  `json:"cost,omitempty"`      // micro-cents, by the price of that moment
	Prices   string `json:"prices,omitempty"`    // version of the price book that Cost is by; "": of none
	Bytes    int    `json:"ctx_bytes,omitempty"` // estimate of the request's size, to learn bytes a token from
	// Route is where the call went, where there was more than one way, or the upstream names its model
	// otherwise than it was asked for.
	Route   *model.Route `json:"route,omitempty"`
	FirstMS int64        `json:"first_ms,omitempty"` // until the first word; 0: not known
	// Guardrails are what guardrails did to the items before anybody saw them: they stand here as they were left.
	Guardrails []guardrail.Finding `json:"guardrails,omitempty"`
	// Defined are the tool servers of which the model was told something else than at the call before, or for the first time: label → digest.
	Defined map[string]string `json:"defined,omitempty"`
}

// ReplyItem is an item with what the runner knew about its tool when it arrived.
type ReplyItem struct {
	stead.Item
	Streamed []int     `json:"streamed,omitempty"` // bytes already journaled: of the text, or a summary part each
	Tool     *ToolCall `json:"tool,omitempty"`     // calls only
	Code     bool      `json:"-"`                  // code in the environment asks for it, and no reply
}

// ToolCall is how a call is to be executed, as resolved when the model asked for it.
type ToolCall struct {
	Server   string      `json:"server,omitempty"`   // mcp: the server's label
	Name     string      `json:"name,omitempty"`     // mcp: the tool as the server knows it
	Effect   tool.Effect `json:"effect,omitempty"`   // mcp: what repeating it does
	Class    tool.Effect `json:"class,omitempty"`    // what policies are told of it; "": Effect. An agent's own word counts for repeats alone
	Approval bool        `json:"approval,omitempty"` // mcp: somebody must approve it first
	Origin   string      `json:"origin,omitempty"`   // where its result comes from; "": Server
	// Destination is HOST:PORT of an operator's server; "": it has none, or the agent names it.
	Destination string `json:"destination,omitempty"`
	// Environment: it runs in the session's environment, which must be open. Without Server it is one
	// of the environment's own tools.
	Environment bool `json:"environment,omitempty"`
	// Arguments are those that the tool gets, where the call is of an action that stands for it; nil: those of the item.
	Arguments json.RawMessage `json:"arguments,omitempty"`
	// Passages: what it returns are passages of files, which the model may cite.
	Passages bool   `json:"passages,omitempty"`
	Async    bool   `json:"async,omitempty"`  // function: the turn goes on meanwhile
	Reject   string `json:"reject,omitempty"` // malformed, unknown or refused by a guardrail: told to the model, never executed
	// Subagent: the call is about subagents, and done in the journal; nil: it is not.
	Subagent *SubagentCall `json:"subagent,omitempty"`
	// Ask is the decision of guardrails that the call waits until somebody approves it; nil: they let it pass.
	Ask *policy.Decision `json:"ask,omitempty"`
	// Decision is what policies said of a function before the application was asked for it: with Needs, it is not yet, and with Reject it
	// never is. nil: there were none.
	Decision *policy.Decision `json:"decision,omitempty"`
}

// class is the class of effect that policies are told.
func (t *ToolCall) class() tool.Effect { return cmp.Or(t.Class, t.Effect, tool.Unknown) }

// ModelFailed is the outcome of a model call that brought nothing.
type ModelFailed struct {
	Call  stead.Seq `json:"call"`
	Error TurnError `json:"error"`
	// RetryAt, Unix milliseconds: when to try again; 0: not at all.
	RetryAt int64        `json:"retry_at,omitempty"`
	Route   *model.Route `json:"route,omitempty"` // as in ModelReplied
	Spent   *Spent       `json:"spent,omitempty"` // nil: its answer had not begun
	// Held: what it needs waits for approvals, and each has an effect.held behind this. It counts as no attempt.
	Held bool `json:"held,omitempty"`
}

// ToolCalled is the intent of a tool call that the runtime executes.
type ToolCalled struct {
	CallID   string          `json:"call_id"`
	Key      string          `json:"key"`              // idempotency key: the same on every attempt
	Attempt  int             `json:"attempt"`          // from 1
	Cost     int64           `json:"cost,omitempty"`   // micro-cents, if it is made
	Prices   string          `json:"prices,omitempty"` // version of the price book that Cost is by
	Hold     *Hold           `json:"hold,omitempty"`   // what budgets reserved for it
	Decision policy.Decision `json:"decision"`
}

// ToolHeld says that a call waits for approval, since policies want it. ApprovalResult answers it; when
// the time that Decision.Needs sets is over, the call is refused, or a ToolLapsed lets it be made.
type ToolHeld struct {
	CallID   string          `json:"call_id"`
	Decision policy.Decision `json:"decision"`
}

// ToolLapsed says that nobody answered in time whether a held call may be made, and that it is, since Needs.Default says so.
type ToolLapsed struct {
	CallID string `json:"call_id"`
}

// ToolRequired says that a function which policies held may be called after all: from here on the application is asked for it. One that
// was not held is asked for by the reply itself (ToolCall.Decision).
type ToolRequired struct {
	CallID   string          `json:"call_id"`
	Decision policy.Decision `json:"decision"`
}

// ToolRequested is a call that code in the environment asks for, while a turn runs. It is executed,
// governed and shown like a call of the model, which never sees it: its result is for the code.
type ToolRequested struct {
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Type      stead.ItemType  `json:"type"` // function_call or mcp_call
	Tool      ToolCall        `json:"tool"`

	Guardrails []guardrail.Finding `json:"guardrails,omitempty"` // what they did to the arguments
}

// ToolReturned is the outcome of a tool call.
type ToolReturned struct {
	CallID     string          `json:"call_id"`
	Output     []stead.Content `json:"output,omitempty"`
	Error      string          `json:"error,omitempty"` // the tool failed, or policy refused it: the model is told
	DurationMS int64           `json:"duration_ms,omitempty"`
	// NotSent: the attempt ended before the tool was called, so that it counts and costs nothing.
	NotSent bool `json:"not_sent,omitempty"`
	Exit    *int `json:"exit,omitempty"` // of a command
	// Decision is that of the policies which refused the call; nil elsewhere.
	Decision *policy.Decision `json:"decision,omitempty"`
	// Guardrails are what guardrails did to what the tool returned: it stands here as they left it.
	Guardrails []guardrail.Finding `json:"guardrails,omitempty"`
	// Usage is what a self-hosted environment has used since the call before.
	Usage *environment.Usage `json:"usage,omitempty"`
	// Resided is what a hosted one has used since it connected, the disk left out: what is known when the
	// server is killed before the next checkpoint.
	Resided *environment.Resided `json:"resided,omitempty"`
	// Mounted is what memory stores that are files of the environment had to do with it; nil: nothing.
	Mounted *Mounted `json:"mounted,omitempty"`
	// Labels are those of memories that the tool found: they become the session's, as those of a recall.
	Labels []string `json:"labels,omitempty"`
}

// ToolLost says that a call's outcome is missing although the runner lives: the connection broke.
type ToolLost struct {
	CallID string `json:"call_id"`
	Reason string `json:"reason"`
	// Sent is false when the call surely never reached the tool.
	Sent bool `json:"sent"`
	// RetryAt, Unix milliseconds, where the class of effect allows another try.
	RetryAt int64 `json:"retry_at,omitempty"`
	// Unconsented: the server wants its user's consent, and a consent.needed stands behind this. It counts as no try.
	Unconsented bool `json:"unconsented,omitempty"`
	// Held: effects of it wait for approvals, and each has an effect.held behind this. It counts as no try.
	Held bool `json:"held,omitempty"`
}

// ContextCompacted replaces the items of events up to Upto by a summary, for the model's eyes only:
// the journal keeps them. It is the outcome of a ModelCalled with PurposeCompact.
type ContextCompacted struct {
	Call    stead.Seq   `json:"call"`
	Upto    stead.Seq   `json:"upto"`
	Summary stead.Text  `json:"summary"`
	Usage   stead.Usage `json:"usage"`
	Guessed bool        `json:"guessed,omitempty"` // as in ModelReplied
	Cost    int64       `json:"cost,omitempty"`
	// The rest is as in ModelReplied.
	Prices   string       `json:"prices,omitempty"`
	Model    string       `json:"model,omitempty"`
	Provider string       `json:"provider,omitempty"`
	Region   string       `json:"region,omitempty"`
	Route    *model.Route `json:"route,omitempty"`
	// Redacted: something that the summary was made of was redacted, and it with it. What it stood for is given to models again.
	Redacted bool `json:"redacted,omitempty"`
}

// RunnerRecovered is written by a holder that finds intents without outcomes: whoever held the
// session before is gone. It cuts off model calls and treats tool calls by their effect class.
type RunnerRecovered struct {
	Node  stead.NodeID `json:"node"`
	Epoch stead.Epoch  `json:"epoch"`
	Spent []Spent      `json:"spent,omitempty"` // by the model calls that it cuts off, as far as is known: MaxSpentAtOnce at most
}

// MaxSpentAtOnce is how many model calls a runner.recovered says the use of: an event has few usage records. Each of the others has a
// model.cut before it, on its thread.
const MaxSpentAtOnce = 2

// ModelCut says what a model call had used that is about to be cut off.
type ModelCut struct {
	Spent Spent `json:"spent"`
}

// TimerFired brings the time into the core: waits up to At are over.
type TimerFired struct {
	At int64 `json:"at"` // Unix milliseconds
}

// NewEvent encodes a payload. It fails with KindTooLarge above stead.MaxEventBytes.
func NewEvent(at int64, kind string, payload any) (stead.Event, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(payload); err != nil {
		return stead.Event{}, fmt.Errorf("encode %s: %w", kind, err)
	}
	data := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if len(data) > stead.MaxEventBytes {
		return stead.Event{}, stead.Errorf(stead.KindTooLarge, "a %s event of %d bytes is larger than the limit of %d bytes", kind, len(data), stead.MaxEventBytes)
	}
	return stead.Event{At: at, Kind: kind, Data: data}, nil
}

// Decode reads a payload.
func Decode[T any](e stead.Event) (T, error) {
	if p, ok := e.Payload.(T); ok {
		return p, nil
	}
	var p T
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, stead.Wrap(stead.KindInternal, err, "event %d (%s) can't be read", e.Seq, e.Kind)
	}
	return p, nil
}

package session

import (
	"context"
	"encoding/json"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
)

// Service is what every door calls: the one way in. Implemented by package runner.
//
// Every call takes the principal and passes the gate. What a call returned nil for is durable.
// Lists and reads see every write that was acknowledged before them. A session of another project
// is KindNotFound.
type Service interface {
	// Create makes a session, with its first input if there is one. The same Key with the same
	// request gives the same session again.
	Create(ctx context.Context, p stead.Principal, req CreateRequest) (Session, error)
	Get(ctx context.Context, p stead.Principal, id stead.SessionID) (Session, error)
	Update(ctx context.Context, p stead.Principal, id stead.SessionID, u Updated) (Session, error)
	List(ctx context.Context, p stead.Principal, q ListQuery) (Page[Session], error)
	// Delete removes the session and all that was derived from it. A session that is in progress
	// must be cancelled first: KindConflict.
	Delete(ctx context.Context, p stead.Principal, id stead.SessionID) error
	// Erase is Delete, and says which memories went with it.
	Erase(ctx context.Context, p stead.Principal, id stead.SessionID) (Erased, error)

	// Send submits input. When it returns, the input is on disk.
	Send(ctx context.Context, p stead.Principal, id stead.SessionID, req SendRequest) error
	// Stream calls yield with each wire event after the cursor, then follows until ctx ends, yield
	// returns an error (which Stream returns), or the session is gone (KindNotFound). From nil it
	// starts at what comes next: nothing that happens after Stream was called is missed; ready is
	// called once that is certain, before the first event.
	Stream(ctx context.Context, p stead.Principal, id stead.SessionID, after *stead.Cursor, ready func(), yield func(StreamEvent) error) error

	Items(ctx context.Context, p stead.Principal, id stead.SessionID, q ItemQuery) (Page[Item], error)
	Turns(ctx context.Context, p stead.Principal, id stead.SessionID, q PageQuery) (Page[Turn], error)
	Turn(ctx context.Context, p stead.Principal, id stead.SessionID, turn string) (Turn, error)

	// Subagents lists those of the session, nested and closed ones as well. Each has items and turns of its own.
	Subagents(ctx context.Context, p stead.Principal, id stead.SessionID, q PageQuery) (Page[SubagentObject], error)
	Subagent(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string) (SubagentObject, error)
	SubagentItems(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q ItemQuery) (Page[Item], error)
	SubagentTurns(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q PageQuery) (Page[Turn], error)
	SubagentTurn(ctx context.Context, p stead.Principal, id stead.SessionID, subagent, turn string) (Turn, error)

	// Pause lets what is in flight finish and starts nothing more until Resume. Both are idempotent.
	Pause(ctx context.Context, p stead.Principal, id stead.SessionID) (Session, error)
	Resume(ctx context.Context, p stead.Principal, id stead.SessionID) (Session, error)
	// Control does to many sessions what is done to one, and goes on when some can't be changed. It is idempotent.
	Control(ctx context.Context, p stead.Principal, req ControlRequest) (Controlled, error)
	// Fork copies the session's history up to and including an item into a new idle session; an
	// empty item copies all that is settled.
	Fork(ctx context.Context, p stead.Principal, id stead.SessionID, req ForkRequest) (Session, error)
	// Export writes the session as JSON lines: a header, its events, its blobs. Import makes a new
	// session from such a file. See export.go for the format.
	Export(ctx context.Context, p stead.Principal, id stead.SessionID, w io.Writer) error
	Import(ctx context.Context, p stead.Principal, r io.Reader) (Session, error)

	// Approvals lists required actions that wait for a person (mcp approvals and unknown outcomes)
	// over all sessions of the project.
	Approvals(ctx context.Context, p stead.Principal, q PageQuery) (Page[Approval], error)
}

// Responses is what the door of the Responses API calls for responses and conversations that are kept.
// Implemented by package runner.
type Responses interface {
	// Respond stores the input of a response. When it returns, the response is on disk and will be
	// worked on. KindNotFound of the response or conversation that it follows; KindConflict while
	// the conversation has another response under way; KindInvalid, naming "input", when its outputs
	// don't fit the calls that wait for them.
	Respond(ctx context.Context, p stead.Principal, req RespondRequest) (Response, error)
	Response(ctx context.Context, p stead.Principal, id string) (Response, error)
	// ResponseInput returns what the response was made of: all items before its own output.
	ResponseInput(ctx context.Context, p stead.Principal, r Response) ([]Item, error)
	// ResponseOutput returns what it said. However long its session is, its own turn alone is read.
	ResponseOutput(ctx context.Context, p stead.Principal, r Response) ([]Item, error)
	// DeleteResponse hides a response. The session goes with its last one, unless it is a conversation.
	DeleteResponse(ctx context.Context, p stead.Principal, id string) error

	// CreateConversation makes a session with the given items and nothing to do.
	CreateConversation(ctx context.Context, p stead.Principal, req ConversationRequest) (Session, error)
	// AddItems adds to a conversation and returns the new items; KindConflict while a response is
	// under way.
	AddItems(ctx context.Context, p stead.Principal, id stead.SessionID, req ConversationRequest) ([]Item, error)
	// Item returns one item of a session, DeleteItem hides one, also from the model; KindConflict while a
	// response is under way.
	Item(ctx context.Context, p stead.Principal, id stead.SessionID, item string) (Item, error)
	// Labels are those of all that was said in a session; see View.Labels. Whoever takes items of it elsewhere
	// reads them behind the items.
	Labels(ctx context.Context, p stead.Principal, id stead.SessionID) (stead.Labels, error)
	DeleteItem(ctx context.Context, p stead.Principal, id stead.SessionID, item string) error
}

// RespondRequest makes a response: in a session of its own, after the response Previous, or in a
// conversation; Previous and Conversation exclude each other.
type RespondRequest struct {
	Previous     string
	Conversation stead.SessionID
	Items        []stead.Item
	Labels       stead.Labels // that items had where they were taken from
	Ask          ResponseAsk
	Traceparent  string // of which span elsewhere it is a part; see Message
	Key, Digest  string
	Guarded      Guarded
}

// ConversationRequest makes a conversation, or adds to it (without Metadata).
type ConversationRequest struct {
	Items       []stead.Item
	Labels      stead.Labels // as in RespondRequest
	Metadata    map[string]string
	Key, Digest string
	Guarded     Guarded
}

// Guarded is what guardrails did to a request. Doors leave it as it is.
type Guarded struct {
	Asked    bool // they were
	Findings []guardrail.Finding
}

// Response is a response as it stands.
type Response struct {
	Session      stead.SessionID
	Seq          stead.Seq // of its input: its id and its turn's derive from it
	Turn         Turn      // its status is the turn's
	Ask          ResponseAsk
	Conversation bool   // the session is a conversation
	Previous     string // the response that it follows; "" for none
}

// ID is the response's id.
func (r Response) ID() string { return ResponseID(r.Session, r.Seq) }

// Agents is the service of reusable agents. Implemented by package runner.
type Agents interface {
	CreateAgent(ctx context.Context, p stead.Principal, spec agent.Spec, key, digest string) (agent.Agent, error)
	GetAgent(ctx context.Context, p stead.Principal, id stead.AgentID, version int) (agent.Agent, error)
	// UpdateAgent applies change to the newest version and stores the result as the next.
	UpdateAgent(ctx context.Context, p stead.Principal, id stead.AgentID, change func(*agent.Spec) error) (agent.Agent, error)
	ListAgents(ctx context.Context, p stead.Principal, q PageQuery) (Page[agent.Agent], error)
	DeleteAgent(ctx context.Context, p stead.Principal, id stead.AgentID) error
}

// CreateRequest makes a session. It runs the saved agent AgentID as Override changes it, or, without
// AgentID, what Override makes of the defaults, which must name a model.
type CreateRequest struct {
	AgentID stead.AgentID
	// Override changes the saved agent's spec (or a zero Spec with defaults, without AgentID) for
	// this session. nil leaves it.
	Override        func(*agent.Spec) error
	Environment     *EnvironmentPlan // nil: none
	Input           []InputMessage
	Metadata        map[string]string
	VaultIDs        []string
	SpendLimitCents *int64
	CacheTTL        string
	Review          string
	Traceparent     string // of which span elsewhere the turn of Input is a part; see Message
	Key, Digest     string // idempotency, see journal.Input
}

// Created is the event that makes the session, without an environment.
func (r CreateRequest) Created(pin AgentPin, p stead.Principal) Created {
	return Created{
		Agent: pin, Metadata: r.Metadata, VaultIDs: r.VaultIDs, Principal: p, SpendLimitCents: r.SpendLimitCents,
		Environment: json.RawMessage(`{"type":"none"}`), CacheTTL: r.CacheTTL, Review: r.Review,
	}
}

// SendRequest is the body of one POST of input events.
type SendRequest struct {
	Inputs      []Input
	Traceparent string // of which span elsewhere the turn that it makes is a part; see Message
	Key, Digest string
}

// Input is exactly one of these.
type Input struct {
	Message  []InputMessage
	Cancel   bool
	Result   *ToolResultInput
	Approval *ApprovalInput
	Outcome  *OutcomeInput
	Guarded  Guarded
}

// Answers is the request that an input answers; "": none.
func (in *Input) Answers() string {
	switch {
	case in.Approval != nil:
		return in.Approval.RequestID
	case in.Outcome != nil:
		return in.Outcome.RequestID
	}
	return ""
}

// ToolResultInput answers a function call.
type ToolResultInput struct {
	TurnID  string
	CallID  string
	Success bool
	Output  []stead.Content
	Error   string
}

// ApprovalInput answers an approval request, or the question of a turn that waits for a budget: approve,
// deny or cancel.
type ApprovalInput struct {
	RequestID string
	Decision  string
	Reason    string
	Digest    string    // of what was shown; "": whoever answers does not say
	To        *Delegate // delegate: to whom
	Arguments string    // approve: as a JSON object, those that the call is made with; "": as asked for
	Checked   bool      // Arguments were held against the tool's schema and the guardrails; no wire says so
	// Ask is what guardrails ask for because of Arguments, and asked for before; nil: nothing new. No wire says it.
	Ask   *policy.Decision
	Extra *Spend // approve, of a budget: so much more than was used; nil: one call of the model
}

// OutcomeInput answers an outcome-unknown request: happened, not_happened or give_up.
type OutcomeInput struct {
	RequestID string
	Decision  string
	Output    []stead.Content
}

// ForkRequest says up to where to copy.
type ForkRequest struct {
	Item     string // an item's id, inclusive; "" for everything settled
	Turn     string // a turn's id: all up to its end; not beside Item
	Metadata map[string]string
}

// PageQuery is a page of a list: after an id (exclusive), in the given order.
type PageQuery struct {
	After string
	Limit int // 1 … stead.MaxPageSize; 0: stead.DefaultPageSize
	Desc  bool
}

// ListQuery selects sessions.
type ListQuery struct {
	PageQuery
	Filter
}

// ItemQuery selects items of a session, or of one turn.
type ItemQuery struct {
	PageQuery
	Thread stead.Seq // of a subagent; 0: the root's
	Turn   string
	Gone   map[string]bool // ids of items that were deleted: the service knows them
}

// Page is one page of a list.
type Page[T any] struct {
	Data    []T
	HasMore bool
}

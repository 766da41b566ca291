package session

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
)

// CallState is how far a tool call has come.
type CallState string

// The states of a call. Ready and Running are the runtime's; the middle three wait for somebody.
const (
	CallReady    CallState = "ready"    // may be executed (after RetryAt)
	CallRunning  CallState = "running"  // intent durable, outcome missing
	CallWaiting  CallState = "waiting"  // a function: the application executes it
	CallApproval CallState = "approval" // somebody must allow it first
	CallUnknown  CallState = "unknown"  // it may have happened: somebody must say
	CallDone     CallState = "done"
)

// Call is a tool call of the running turn.
type Call struct {
	Seq       stead.Seq       `json:"seq"`   // of the model.called that it answers: its item id derives from it
	Index     int             `json:"index"` // output index within that call
	Output0   int             `json:"out"`   // wire output index
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Type      stead.ItemType  `json:"type"` // function_call or mcp_call
	Tool      ToolCall        `json:"tool"`

	// Edited are the arguments that whoever approved the call wants it to be made with; nil: those that were asked for.
	Edited json.RawMessage `json:"edited,omitempty"`

	// Code: asked for by code in the environment, and not by the model.
	Code bool `json:"code,omitempty"`

	State    CallState `json:"state"`
	Attempts int       `json:"attempts,omitempty"`
	RetryAt  int64     `json:"retry_at,omitempty"` // Unix milliseconds
	Since    int64     `json:"since,omitempty"`    // Unix milliseconds: since when it waits for somebody
	Asked    stead.Seq `json:"asked,omitempty"`    // of the event that made it wait: names the question
	Number   int       `json:"number,omitempty"`   // of the question among those of that event; 0: it has the call's Index
	Until    int64     `json:"until,omitempty"`    // Unix milliseconds: when a call that policies hold is refused

	// Decided is what policies said last, and Approved who approved the call.
	Decided  *policy.Decision  `json:"decided,omitempty"`
	Approved []stead.Principal `json:"approved,omitempty"`
	// EditedBy are those who changed its arguments, and Wrote counts who of View.Wrote stands behind it, since it was asked about.
	EditedBy []stead.Principal `json:"edited_by,omitempty"`
	// Untrusted are the sources of what the agent had read by then.
	Untrusted []string `json:"untrusted,omitempty"`
	Wrote     int      `json:"wrote,omitempty"`
	// Delegated is who the next approval was handed to; nil: nobody by name.
	Delegated *Delegation `json:"delegated,omitempty"`
	// Moved: since it was approved and begun, its server is another one.
	Moved bool `json:"moved,omitempty"`
	// Lapsed: nobody answered in time, and policies said that it is made then. They are asked again.
	Lapsed bool `json:"lapsed,omitempty"`
	// Request is the question that the application answered before the call's turn; "": there was none.
	Request string `json:"request,omitempty"`

	Status stead.ItemStatus `json:"status"`
	Output []stead.Content  `json:"output,omitempty"`
	Error  string           `json:"error,omitempty"`
	Exit   *int             `json:"exit,omitempty"` // of a command
	Took   int64            `json:"took,omitempty"` // milliseconds

	// Cost (micro-cents), Prices and Hold are those of the attempt under way.
	Cost   int64  `json:"cost,omitempty"`
	Prices string `json:"prices,omitempty"`
	Hold   *Hold  `json:"hold,omitempty"`
}

// Key is the call's idempotency key: the same on every attempt, and never another call's.
func (c *Call) Key(session stead.SessionID) string {
	return stead.DerivedID("key", session, c.Seq, c.Index)
}

// Args are the arguments that the call is made with.
func (c *Call) Args() json.RawMessage {
	if c.Edited != nil {
		return c.Edited
	}
	if c.Tool.Arguments != nil {
		return c.Tool.Arguments
	}
	return c.Arguments
}

// ToolName is how usage records and the price book name the call's tool: "server/tool", or "tool".
func (c *Call) ToolName() string {
	if c.Tool.Server != "" {
		return c.Tool.Server + "/" + c.Tool.Name
	}
	return c.Name
}

// RequestID names the question that a call waits with. A call that is asked about again, after it
// was made again, has another one: an answer that comes late can't answer the wrong question.
func (c *Call) RequestID(session stead.SessionID) string {
	return stead.DerivedID("req", session, c.Asked, c.question())
}

func (c *Call) question() int { return cmp.Or(c.Number, c.Index) }

// ask begins a call's question, which an event asks alone.
func (c *Call) ask(e stead.Event) { c.Since, c.Asked, c.Number = e.At, e.Seq, 0 }

// ask begins a question of an event that may ask about several calls, of any threads. Calls of several replies, and those of code, can have the
// same Index: the first of them has the question of that number, and each other one a number that is no call's.
func (v *View) ask(e stead.Event, c *Call) {
	c.ask(e)
	taken, last := false, 0
	v.eachTurn(func(t *TurnView) {
		for _, other := range t.Calls {
			last = max(last, other.Index)
			if other != c && other.Asked == e.Seq {
				last = max(last, other.Number)
				taken = taken || other.question() == c.Index
			}
		}
	})
	if taken {
		c.Number = last + 1
	}
}

// CallByID finds an open or just finished call of the running turn; nil when there is none.
func (v *View) CallByID(id string) *Call {
	if v.Turn == nil {
		return nil
	}
	// The newest first: a model may use an id again once the old call is done.
	for _, c := range slices.Backward(v.Turn.Calls) {
		if c.CallID == id {
			return c
		}
	}
	return nil
}

// CallByRequest finds the call of a required action; nil when there is none. What is the application's to
// allow is none.
func (v *View) CallByRequest(requestID string) *Call {
	if v.Turn == nil {
		return nil
	}
	for _, c := range v.Turn.Calls {
		if c.RequestID(v.Key.Session) == requestID && !v.Turn.asks(c) {
			return c
		}
	}
	return nil
}

// What the model is told when nobody can say what happened.
const (
	toldCancelled = "The turn was cancelled. Whether this call took effect is not known."
	toldNotMade   = "The turn was cancelled before this call was made."
	toldGaveUp    = "Whether this call took effect is not known: its outcome was lost and nobody could find out."
	toldHappened  = "The call took effect. What it returned is not known."
)

// ToldCodeGone is what is said of a call that code asked for, when nobody waits for it any more.
const ToldCodeGone = "The code that asked for this call is gone: it was not made."

// asks: nothing was done yet, and somebody else must act, or this node.
func (c *Call) asks() bool {
	return c.State == CallReady || c.State == CallWaiting || c.State == CallApproval
}

// cancelled is what is said of an open call when its turn ends.
func (c *Call) cancelled() string {
	if c.State == CallApproval || (c.State == CallReady && c.Attempts == 0) {
		return toldNotMade
	}
	return toldCancelled
}

// ownOutput: the call's item holds its output, so that a copy of the item needs the outcome.
func (c *Call) ownOutput() bool { return c.Type != stead.ItemFunctionCall }

// told is a call's outcome as the model gets it: a command's with how it ended, and a function's with the arguments that it was made with,
// where those are not the model's.
func (c *Call) told() (output []stead.Content, failure string) {
	switch {
	case c.Exit != nil:
		head := fmt.Sprintf("Exit code %d after %.1f s. Output:\n", *c.Exit, float64(c.Took)/1000)
		return append(stead.TextContent(stead.ContentInputText, head), c.Output...), c.Error
	case c.Function():
		return withEdit(c.ToldEdited(), c.Output, c.Error)
	}
	return c.Output, c.Error
}

func (t *TurnView) finish(c *Call, status stead.ItemStatus, output []stead.Content, failure string) {
	c.State, c.Status, c.Output, c.Error, c.Hold = CallDone, status, output, failure, nil
	t.Fresh = t.Fresh || !c.Code
}

func (v *View) toolResult(e stead.Event, p ToolResult) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallWaiting {
		return // a second answer, or one for a turn that has ended
	}
	v.LastActive = e.At
	v.heard(SourceFunction)
	v.wrote(p.By)
	if p.Success {
		v.Turn.finish(c, stead.ItemCompleted, p.Output, "")
		return
	}
	if p.Error == "" {
		p.Error = "The function failed."
	}
	v.Turn.finish(c, stead.ItemFailed, p.Output, p.Error)
}

func (v *View) approval(e stead.Event, p ApprovalResult) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallApproval || c.Expired(e.At) {
		return
	}
	v.LastActive = e.At
	switch p.Decision {
	case DecisionApprove:
		v.approved(c, p.By)
	case DecisionCancel:
		v.Turn.Cancelling = true
	default:
		reason := "The call was not approved."
		if p.Reason != "" {
			reason += " Reason: " + p.Reason
		}
		v.reasoned(p.By, p.Reason)
		v.Turn.finish(c, stead.ItemFailed, nil, reason)
	}
}

// Decisions of approvals and of unknown outcomes.
const (
	DecisionApprove     = "approve"
	DecisionDeny        = "deny"
	DecisionCancel      = "cancel"
	DecisionEdit        = "edit" // approve, with other arguments: in the audit log
	DecisionHappened    = "happened"
	DecisionNotHappened = "not_happened"
	DecisionGiveUp      = "give_up"
)

func (v *View) outcome(e stead.Event, p OutcomeResult) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallUnknown {
		return
	}
	v.LastActive = e.At
	switch p.Decision {
	case DecisionHappened:
		if len(p.Output) == 0 {
			p.Output = stead.TextContent(stead.ContentInputText, toldHappened)
		} else {
			v.wrote(p.By)
		}
		v.heard(c.source())
		v.Turn.finish(c, stead.ItemCompleted, p.Output, "")
	case DecisionNotHappened:
		v.again(e, c, 0)
	default:
		v.Turn.finish(c, stead.ItemIncomplete, nil, toldGaveUp)
	}
}

func (v *View) toolCalled(e stead.Event, p ToolCalled) {
	if c := v.CallByID(p.CallID); c != nil {
		c.State, c.Attempts, c.RetryAt, c.Decided = CallRunning, p.Attempt, 0, p.Decision.Recorded()
		c.Cost, c.Prices, c.Hold = p.Cost, p.Prices, p.Hold
		if t := v.Turn; t.Budget != nil && !t.Budget.Environment {
			t.called()
		}
		if c.Tool.Environment {
			v.commandCalled(e, c)
		}
	}
}

func (v *View) toolReturned(_ stead.Event, p ToolReturned) {
	if e := v.Environment; e != nil {
		e.used(p)
	}
	c := v.CallByID(p.CallID)
	if c == nil || c.State == CallDone {
		return
	}
	status := stead.ItemCompleted
	if p.Error != "" {
		status = stead.ItemFailed
	}
	if c.State == CallRunning && !p.NotSent {
		v.heard(c.source())
	}
	v.shown(p.Mounted)
	v.found(p.Labels)
	v.dropEffects(func(w *EffectWait) bool { return w.Within == withinCall(c) })
	c.Exit, c.Took = p.Exit, p.DurationMS
	v.Turn.finish(c, status, p.Output, p.Error)
}

func (v *View) toolLost(e stead.Event, p ToolLost) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallRunning {
		return
	}
	c.Hold = nil
	if p.Unconsented || p.Held {
		c.Attempts-- // it is no try of the call that its user was to be asked first
	}
	tries := c.Attempts < stead.MaxToolAttempts
	switch {
	case !p.Sent && tries, c.Tool.repeatable() && tries:
		v.again(e, c, p.RetryAt)
	case !p.Sent, c.Tool.Effect == tool.Pure:
		v.Turn.finish(c, stead.ItemFailed, nil, "The tool could not be reached: "+p.Reason)
	default:
		c.State = CallUnknown
		c.ask(e)
	}
}

// recovered treats everything in flight as cut off. The tries of a call that a crash cut off are
// not held against the tool.
func (v *View) recovered(e stead.Event, p RunnerRecovered) {
	for i := range p.Spent {
		if call := v.CallBySeq(p.Spent[i].Call); call != nil && call == v.Learn.Extract {
			v.spentBeside(nil, &p.Spent[i])
		} else {
			v.onEach(func() {
				if v.callBySeq(p.Spent[i].Call) != nil {
					v.spent(&p.Spent[i])
				}
			})
		}
	}
	v.Learn.Extract, v.Learn.Keep = nil, 0 // both are done again
	v.environmentRecovered(e)
	v.onEach(func() { v.cutOff(e) })
}

// cutOff treats everything of a thread that was in flight.
func (v *View) cutOff(e stead.Event) {
	v.Compact = nil
	t := v.Turn
	if t == nil {
		return
	}
	t.Recall = 0 // it is looked up again
	if t.Model != nil {
		t.cut()
	}
	for _, c := range t.Calls {
		if c.Code && (c.asks() || c.State == CallRunning && c.Tool.repeatable()) {
			t.finish(c, stead.ItemIncomplete, nil, ToldCodeGone)
			continue
		}
		if c.State != CallRunning {
			continue
		}
		c.Hold = nil
		if c.Tool.repeatable() {
			v.again(e, c, 0)
		} else {
			c.State = CallUnknown
			v.ask(e, c)
		}
	}
}

func (c ToolCall) repeatable() bool {
	return c.Effect == tool.Pure || c.Effect == tool.Idempotent
}

package session

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// A response (of the Responses API) is a turn. It differs from the turn of a message in this:
//
//	input      any items of a conversation: messages of every role, calls, outputs, reasoning
//	settings   each response brings its own model, instructions, tools and sampling
//	functions  it ends with the calls that the application must make; their outputs are input of a
//	           later response
//	approvals  it ends with the calls that the application must allow, too: see approve.go
//
// Its id derives from the Seq of the input that made it, like its turn's.

// ResponseAsk is what a response asks for.
type ResponseAsk struct {
	// Spec replaces the session's agent from here on.
	Spec agent.Spec `json:"spec"`
	Ask
	// Request is what the response object repeats of its request: one JSON object of the door's. Its
	// "metadata" labels the response; see Metadata.
	Request    json.RawMessage `json:"request,omitempty"`
	Previous   string          `json:"previous,omitempty"` // the response that this one follows
	Background bool            `json:"background,omitempty"`
	// Approved are the calls that answers among the input allow, whole: a fold may begin here.
	Approved []ApprovedCall `json:"approved,omitempty"`
	// Listed are the labels of tool servers whose lists the application has: they are not shown to it again.
	Listed []string `json:"listed,omitempty"`
	// FileResults: searches of files are shown with what they found.
	FileResults bool `json:"file_results,omitempty"`
	// Encrypted: reasoning is shown with what it can be sent back with.
	Encrypted bool `json:"encrypted,omitempty"`
}

// Ask is what a response wants of its model calls, beside what an agent says; see model.Request.
type Ask struct {
	ToolChoice      string   `json:"tool_choice,omitempty"` // forced ones hold for the first call only
	SerialTools     bool     `json:"serial_tools,omitempty"`
	Temperature     *float64 `json:"temperature,omitempty"`
	TopP            *float64 `json:"top_p,omitempty"`
	MaxOutputTokens int      `json:"max_output_tokens,omitempty"`
	MaxToolCalls    int      `json:"max_tool_calls,omitempty"` // that the runtime executes; 0: no limit
	FormatName      string   `json:"format_name,omitempty"`
	Loose           bool     `json:"loose,omitempty"` // the format's schema is not enforced
	CacheKey        string   `json:"cache_key,omitempty"`
	User            string   `json:"user,omitempty"`
}

// ResponseDeleted hides a response. Its items stay, since later responses are made of them, until
// the session is deleted.
type ResponseDeleted struct {
	Seq stead.Seq       `json:"seq"`
	By  stead.Principal `json:"by"`
}

// ResponsePrefix begins the ids of responses, ConversationPrefix those of the sessions that are
// conversations of the Responses API.
const (
	ResponsePrefix     = "resp"
	ConversationPrefix = "conv_"
)

// ResponseID derives the id of the response that event seq made.
func ResponseID(session stead.SessionID, seq stead.Seq) string {
	return stead.DerivedID(ResponsePrefix, session, seq, -1)
}

// ConversationID is how the Responses API names a session that is a conversation.
func ConversationID(id stead.SessionID) string {
	return ConversationPrefix + strings.TrimPrefix(string(id), stead.SessionPrefix)
}

// ParseResponseID is the inverse of ResponseID; false for everything else.
func ParseResponseID(id string) (stead.SessionID, stead.Seq, bool) {
	s, ok := stead.SessionOf(id)
	if !ok {
		return "", 0, false
	}
	prefix, seq, index, ok := stead.ParseDerivedID(s, id)
	return s, seq, ok && prefix == ResponsePrefix && index < 0
}

// Metadata is the response's own.
func (a *ResponseAsk) Metadata() map[string]string {
	var request struct {
		Metadata map[string]string `json:"metadata"`
	}
	if len(a.Request) == 0 || json.Unmarshal(a.Request, &request) != nil {
		return nil // a door that repeats nothing; one that takes metadata has checked it
	}
	return request.Metadata
}

// Labels are those of all that the session's model is given: the session's metadata, that of every response so
// far, and what items had where they were taken from. What was said is in the context of all that follows, or in
// its summary, and so its labels stay, whatever the metadata is later, and whether or not it is deleted. Only while
// nothing was said can metadata be taken back.
func (v *View) Labels() stead.Labels {
	if v.Said {
		return v.Labelled
	}
	return v.Labelled.And(stead.LabelsOf(v.Created.Metadata))
}

// say notes that there is text from now on, some of which has labels of its own.
func (v *View) say(labels stead.Labels) {
	v.Labelled, v.Said = v.Labels().And(labels), true
}

func (v *View) respond(e stead.Event, p Message) {
	if p.Response == nil {
		return
	}
	v.Turn.Response = p.Response
	v.Labelled = v.Labelled.And(stead.LabelsOf(p.Response.Metadata()))
	v.Created.Agent.Spec = p.Response.Spec
	v.answered(p.Items)
	v.given(p.Items)
	v.revive(e, p)
}

func (v *View) itemsAdded(e stead.Event, p ItemsInput) {
	v.LastActive = e.At
	v.say(p.Labels)
	v.wrote(p.By)
	v.answered(p.Items)
	v.given(p.Items)
	v.learnsItems(e.Seq)
}

// answered keeps count of the calls that the application has been given and not answered yet.
func (v *View) answered(items []stead.Item) {
	for _, it := range items {
		switch it.Type {
		case stead.ItemFunctionCall:
			v.HandedBack = append(v.HandedBack, it.CallID)
		case stead.ItemFunctionCallOutput:
			if i := slices.Index(v.HandedBack, it.CallID); i >= 0 {
				v.HandedBack = slices.Delete(v.HandedBack, i, i+1)
			}
		}
	}
}

// handBack runs when the turn ends.
func (v *View) handBack(kind string) {
	if v.Turn == nil {
		return
	}
	v.Last = v.Turn.Seq
	if kind != KindTurnCompleted {
		return
	}
	for _, c := range v.Turn.Calls {
		switch {
		case v.Turn.asks(c):
			v.Asked = append(v.Asked, c)
		case v.Turn.handsBack(c):
			v.HandedBack = append(v.HandedBack, c.CallID)
		}
	}
}

// handsBack reports whether a call goes to the application with the end of the turn.
func (t *TurnView) handsBack(c *Call) bool {
	return t.Response != nil && c.State == CallWaiting || t.asks(c)
}

// handed is handsBack for the call of an entry.
func (t *TurnView) handed(en *Entry) bool {
	return t != nil && slices.ContainsFunc(t.Calls, func(c *Call) bool {
		return c.Seq == en.Call && c.Index == en.Index && t.handsBack(c)
	})
}

// waitsForApplication: all that is left to do is the application's, so the response ends. A call
// that waits for a person holds it back.
func (t *TurnView) waitsForApplication() bool {
	waits := false
	for _, c := range t.Calls {
		if t.handsBack(c) {
			waits = true
		} else if c.State != CallDone {
			return false
		}
	}
	return waits
}

// toldLimited is what the model is told of a call beyond max_tool_calls.
const toldLimited = "The call was not made: the response reached its maximum of tool calls (max_tool_calls)."

// LimitCalls refuses those of a reply's calls that go beyond the response's limit. It is asked before
// the reply is journaled, so that the refusal stands there.
func (t *TurnView) LimitCalls(items []ReplyItem) {
	if t.Response == nil || t.Response.MaxToolCalls == 0 {
		return
	}
	made := t.ToolCalls
	for i := range items {
		it := &items[i]
		if !it.executes() {
			continue
		}
		if made++; made > t.Response.MaxToolCalls {
			refused := *it.Tool
			refused.Reject = toldLimited
			it.Tool = &refused
		}
	}
}

// executes reports whether an item is a call that the runtime executes.
func (it ReplyItem) executes() bool {
	return it.Tool != nil && it.Tool.Reject == "" && it.Type.IsCall() && it.Type != stead.ItemFunctionCall
}

// given takes input items into the context. Outputs go to their calls.
func (c *Context) given(seq stead.Seq, items []stead.Item) {
	for i, it := range items {
		if it.Type == stead.ItemApprovalResponse {
			c.allowed(seq, i, it)
			continue
		}
		if it.Type == stead.ItemFunctionCallOutput {
			if en := c.handedBack(it.CallID); en != nil {
				en.Open, en.Given = false, false
				en.Item.Output, en.Item.Error = withEdit(en.Told, it.Output, it.Error)
				continue
			}
		}
		open := it.Type == stead.ItemFunctionCall || it.Question != nil
		c.Held = append(c.Held, &Entry{Seq: seq, Index: i, Item: it, Open: open, Given: open})
	}
}

// handedBack finds the open call of an id, the newest first.
func (c *Context) handedBack(id string) *Entry {
	for _, list := range [][]*Entry{c.Held, c.Entries} {
		for _, en := range slices.Backward(list) {
			if en.Given && en.Item.CallID == id {
				return en
			}
		}
	}
	return nil
}

// givenItem is the wire's item of an input item; nil for types that the wire does not show.
func givenItem(s stead.SessionID, turn string, seq stead.Seq, i int, it stead.Item, texts Texts) Item {
	switch it.Type {
	case stead.ItemMessage:
		return &MessageItem{ID: messageID(s, seq, i), Type: "message", Role: it.Role, Status: stead.ItemCompleted,
			TurnID: turn, Content: wireContent(it.Content, texts)}
	case stead.ItemReasoning:
		var parts []string
		for _, t := range it.Summary {
			parts = append(parts, texts(t))
		}
		item := reasoningItem(reasoningID(s, seq, i), turn, parts, stead.ItemCompleted)
		item.Made = made(it, texts)
		return item
	case stead.ItemFunctionCall:
		return &FunctionCallItem{ID: stead.DerivedID(functionPrefix, s, seq, i), Type: "function_call", Arguments: it.Arguments,
			CallID: it.CallID, Name: it.Name, Status: stead.ItemCompleted, TurnID: turn}
	case stead.ItemMCPCall:
		if it.Question == nil {
			return nil
		}
		return &ApprovalRequestItem{ID: stead.DerivedID("mcpr", s, seq, i), Type: "mcp_approval_request", Arguments: it.Arguments,
			Name: it.Name, ServerLabel: it.Question.Server, TurnID: turn}
	case stead.ItemApprovalResponse:
		if it.Answer == nil {
			return nil
		}
		return answerItem(stead.DerivedID("mcpa", s, seq, i), turn, *it.Answer)
	case stead.ItemFunctionCallOutput:
		c := &Call{CallID: it.CallID, Status: stead.ItemCompleted, Output: it.Output, Error: it.Error}
		return outputItem(outputID(s, seq, i), turn, c, texts)
	}
	return nil
}

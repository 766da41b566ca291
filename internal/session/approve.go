package session

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Calls that an agent's require_approval holds wait in a session's turn, for whoever answers (call.go). In a
// response they are the application's to allow: the response ends, and shows each as a question with an id of
// its own. The next turn takes the answers, and with them all of the questions:
//
//	first response    model.replied   the call, held      ─▶ mcp_approval_request
//	                  turn.completed  it is handed back
//	second response   input.message   the answer, and the call whole: it is in this turn, once
//	                  tool.called …   as any call         ─▶ mcp_call with the question's id
//	                  model.called    the model sees what came of it
//
// What is denied, or not answered, is not made, and the model is told. A question is answered in the session
// that asked it and at its end: a copy of the session would ask anew. An application that keeps the
// conversation itself sends the question with its answer, and a new session begins with both. What policies hold is not the
// application's to allow, whatever it answered and whoever it is, and waits as it does in other turns.

// ApprovedCall is a call that an answer among a response's items allows.
type ApprovedCall struct {
	Item      int             `json:"item"` // index of the answer
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Tool      ToolCall        `json:"tool"`
}

// asks reports whether the application is asked, with the end of the turn, whether a call may be made.
func (t *TurnView) asks(c *Call) bool {
	return t.Response != nil && c.State == CallApproval && c.Held() == nil && !c.Code
}

// questioned reports whether a call was first shown as a question. Its own item is shown when it is made.
func (t *TurnView) questioned(c *Call) bool {
	return t.Response != nil && c.Tool.Approval && !c.Code
}

// QuestionID names the question whether a call may be made.
func (c *Call) QuestionID(session stead.SessionID) string {
	return stead.DerivedID("mcpr", session, c.Seq, c.Index)
}

// Allow holds the answers among a response's items against the questions of the session that are open.
// It returns the items with the calls named in the answers, without questions that came along, and the
// calls that are allowed. KindInvalid, with the index of the item, for what was not asked.
func (v *View) Allow(items []stead.Item) ([]stead.Item, []ApprovedCall, error) {
	open := map[string]ApprovedCall{}
	for _, c := range v.Asked {
		open[c.QuestionID(v.Key.Session)] = ApprovedCall{CallID: c.CallID, Name: c.Name, Arguments: c.Arguments, Tool: c.Tool}
	}
	items = slices.DeleteFunc(slices.Clone(items), func(it stead.Item) bool { return it.Question != nil })
	return allow(items, open)
}

// AllowGiven is Allow for a session that begins with the items: the questions are those that came along,
// each in front of its answer. Whether a model ever asked is the application's word: a response's own
// require_approval is what it wants of itself. What repeating their calls does is not known.
func AllowGiven(items []stead.Item) ([]stead.Item, []ApprovedCall, error) {
	open := map[string]ApprovedCall{}
	for _, it := range items {
		if q := it.Question; q != nil {
			open[q.ID] = ApprovedCall{CallID: it.CallID, Name: it.Name, Arguments: it.Arguments, Tool: ToolCall{Server: q.Server, Name: it.Name, Effect: tool.Unknown, Approval: true}}
		}
	}
	return allow(slices.Clone(items), open)
}

// allow takes each answer's question out of those that are open.
func allow(items []stead.Item, open map[string]ApprovedCall) ([]stead.Item, []ApprovedCall, error) {
	var out []ApprovedCall
	for i := range items {
		it := &items[i]
		if it.Type != stead.ItemApprovalResponse {
			continue
		}
		c, ok := open[it.Answer.Request]
		if !ok {
			return nil, nil, unasked(i, it.Answer.Request)
		}
		delete(open, it.Answer.Request)
		if it.CallID = c.CallID; it.Answer.Approve {
			c.Item = i
			out = append(out, c)
		}
	}
	return items, out, nil
}

// Unasked is the error for answers to questions that nobody asked; nil: there are none.
func Unasked(items []stead.Item) error {
	for i, it := range items {
		if it.Type == stead.ItemApprovalResponse {
			return unasked(i, it.Answer.Request)
		}
	}
	return nil
}

func unasked(i int, request string) error {
	e := stead.Invalid(fmt.Sprintf("input[%d].approval_request_id", i), "no approval request with id '%.80s' is open", request)
	e.Hint = "A request is answered once, by the response that follows it: by previous_response_id, or in its conversation."
	return e
}

// revive puts the calls that were allowed into the turn. Each stands where its answer does. Nobody has approved
// them as policies mean it: the answer was to the response's own question, which may be its caller's invention.
func (v *View) revive(e stead.Event, p Message) {
	t := v.Turn
	for _, a := range p.Response.Approved {
		if a.Item < 0 || a.Item >= len(p.Items) || p.Items[a.Item].Answer == nil {
			continue // the copy of a session ends before it
		}
		t.Calls = append(t.Calls, &Call{
			Seq: e.Seq, Index: a.Item, Output0: t.Outputs, CallID: a.CallID, Name: a.Name, Arguments: a.Arguments, Type: stead.ItemMCPCall,
			Tool: a.Tool, State: CallReady, Since: e.At, Asked: e.Seq,
			Request: p.Items[a.Item].Answer.Request, Status: stead.ItemInProgress,
		})
		t.Outputs++
		t.ToolCalls++
	}
}

// What the model is told of a call that the application did not allow.
const (
	toldDenied     = "The call was not approved."
	toldUnanswered = "The call was not made: whether it may be was asked, and not answered."
)

// allowed takes an answer to its call.
func (c *Context) allowed(seq stead.Seq, index int, it stead.Item) {
	en := c.handedBack(it.CallID)
	if en == nil || en.Item.Type != stead.ItemMCPCall || it.Answer == nil {
		return
	}
	en.Given = false
	if it.Answer.Approve {
		en.Call, en.Index = seq, index // its outcome comes as that of the call that is in the turn now
		return
	}
	en.Open, en.Item.Error = false, toldDenied
	if it.Answer.Reason != "" {
		en.Item.Error += " Reason: " + it.Answer.Reason
	}
}

// unanswered closes the calls that a new turn did not answer.
func (c *Context) unanswered() {
	for _, list := range [][]*Entry{c.Entries, c.Held} {
		for _, en := range list {
			if en.Given && en.Item.Type == stead.ItemMCPCall {
				en.Open, en.Given, en.Item.Error = false, false, toldUnanswered
			}
		}
	}
}

// answerItem shows an answer.
func answerItem(id, turn string, a stead.Answer) Item {
	out := &ApprovalResponseItem{ID: id, Type: string(stead.ItemApprovalResponse), RequestID: a.Request, Approve: a.Approve, TurnID: turn}
	if a.Reason != "" {
		out.Reason = &a.Reason
	}
	return out
}

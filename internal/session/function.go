package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Functions are tools that the application executes. Policies are asked before it is:
//
//	model.replied   the call, with the decision   ─▶ allowed: it is a required action from here on
//	                                                 refused: the model is told, and the application never sees it
//	                                                 held: a question for whoever may approve
//	input.approval  the answer
//	tool.required   decided anew                  ─▶ now it is one
//
// The decision and what follows from it are one event: no crash comes between them.

// Function reports whether the application executes the call.
func (c *Call) Function() bool { return c.Type == stead.ItemFunctionCall && c.Tool.Subagent == nil }

// FunctionRequest is what policies are asked before the application is asked for a function: an item of a reply that is about to be
// journaled and costs that much (micro-cents), or what code asks for. false: it is none, or nobody is asked for it anyway.
func (v *View) FunctionRequest(it ReplyItem, cost int64) (policy.Request, bool) {
	c := &Call{Name: it.Name, Arguments: it.Arguments, Type: it.Type}
	if it.Tool != nil {
		c.Tool = *it.Tool
	}
	if !c.Function() || c.Tool.Reject != "" && c.Tool.Decision == nil {
		return policy.Request{}, false
	}
	req := v.ToolRequest(c)
	req.Spend.Cost += cost
	if it.Code {
		req.Labels = withSource(req.Labels, SourceEnvironment)
	}
	return req, true
}

// Asks is what code asks for, as an item.
func (p *ToolRequested) Asks() ReplyItem {
	return ReplyItem{Item: stead.Item{Type: p.Type, CallID: p.CallID, Name: p.Name, Arguments: p.Arguments}, Tool: &p.Tool, Code: true}
}

// Spent is what the call cost, with what was given up beside it, in micro-cents.
func (p *ModelReplied) Spent() int64 {
	_, cost := p.Route.Both(p.Usage, p.Cost)
	return cost
}

// toolRequired asks the application for a function that was held.
func (v *View) toolRequired(e stead.Event, p ToolRequired) {
	if c := v.CallByID(p.CallID); c != nil && c.Function() && c.State == CallReady {
		c.State, c.Decided = CallWaiting, p.Decision.Recorded()
	}
}

// ToldEdited is what the model is told of a call whose arguments somebody changed; "" of any other.
func (c *Call) ToldEdited() string {
	if c.Edited == nil {
		return ""
	}
	return "Whoever approved this call changed its arguments: it is about the call with " + string(c.Edited)
}

// withEdit adds to the outcome of a function that it is about other arguments than the model's.
func withEdit(told string, output []stead.Content, failure string) ([]stead.Content, string) {
	switch {
	case told == "":
	case failure != "":
		failure += " (" + told + ".)"
	default:
		output = append(append([]stead.Content(nil), output...), stead.TextContent(stead.ContentInputText, "\n("+told+".)")...)
	}
	return output, failure
}

// toldEdited is ToldEdited of the call of an entry.
func (t *TurnView) toldEdited(en *Entry) string {
	for _, c := range t.Calls {
		if c.Seq == en.Call && c.Index == en.Index {
			return c.ToldEdited()
		}
	}
	return ""
}

package session

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// An approval is of a call to a certain server: where its URL, its command, or what it is sent changes while the question stands, or
// before what was approved is made, that is void and asked anew. What the operator's configuration says of servers stands in no journal.

// definition is what a call of a server's tools goes to, in JSON; "": there is no such server, or it has none of its own.
func definition(tools []agent.Tool, label string) string {
	for _, t := range tools {
		if label != "" && t.Served() && t.ServerLabel == label {
			t.RequireApproval, t.AllowedTools, t.Required, t.Effects = nil, nil, false, nil // who is asked, and what of it there is
			data, _ := json.Marshal(t)
			return string(data)
		}
	}
	return ""
}

// redefine replaces the session's tools.
func (v *View) redefine(e stead.Event, tools []agent.Tool) {
	before := v.Created.Agent.Spec.Tools
	v.Created.Agent.Spec.Tools = tools
	v.onEach(func() { v.askAnew(e, before, tools) })
}

// askAnew does that for the calls of a thread.
func (v *View) askAnew(e stead.Event, before, tools []agent.Tool) {
	if v.Turn == nil {
		return
	}
	for _, c := range v.Turn.Calls {
		approved := len(c.Approved) > 0 || c.Lapsed
		to := definition(tools, c.Tool.Server)
		if c.State == CallDone || c.State != CallApproval && !approved || to == "" || to == definition(before, c.Tool.Server) {
			continue // of a server that is gone, nothing is called
		}
		c.Approved, c.Delegated, c.Lapsed = nil, nil, false // policies and guardrails ask again
		switch c.State {
		case CallApproval:
			v.ask(e, c)
			v.asks(c)
		case CallReady:
			c.Moved = true
			v.again(e, c, c.RetryAt)
		default:
			c.Moved = true // it may have to be made once more
		}
	}
}

// again lets a call be made once more, not before a time. Where its server is another one than that it was approved for, it is asked about.
func (v *View) again(e stead.Event, c *Call, at int64) {
	c.State, c.RetryAt = CallReady, at
	if c.Moved && c.Tool.Approval {
		c.State, c.RetryAt = CallApproval, 0
		v.ask(e, c)
	}
	c.Moved = false
}

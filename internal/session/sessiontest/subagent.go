package sessiontest

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// aboutAgents makes a call about subagents: mostly of such that there are.
func (g *Gen) aboutAgents(it stead.Item) session.ReplyItem {
	actions := []session.SubagentAction{session.CreateSubagent, session.CreateSubagent, session.WaitForSubagents, session.WaitForSubagents, session.SendSubagent,
		session.InterruptSubagent, session.CloseSubagent, session.ResumeSubagent}
	action := actions[g.rng.IntN(len(actions))]
	args := session.SubagentArgs{Message: g.prose(), AgentID: "subagent_nobody"}
	var own []string
	for _, s := range g.State.Subagents {
		if s.Parent == g.State.Focus() {
			own = append(own, g.State.AgentOf(s.ID))
		}
	}
	if n := len(own); n > 0 && g.chance(95) {
		args.AgentID = own[g.rng.IntN(n)]
		args.AgentIDs = own[:1+g.rng.IntN(n)]
	}
	if g.chance(30) {
		args.Seconds = int64(1 + g.rng.IntN(3))
	}
	args.Any = g.chance(30)
	it.Type, it.Name = action.Item(), string(action)
	it.Arguments, _ = json.Marshal(args)
	return session.ReplyItem{Item: it, Tool: &session.ToolCall{Subagent: &session.SubagentCall{Action: action, Sender: g.State.AgentOf(g.State.Focus())}}}
}

// about does what a call about subagents asks for, as a runner does.
func (g *Gen) about(c session.Command) {
	switch c := c.(type) {
	case session.AnswerTool:
		g.append(session.KindToolReturned, session.ToolReturned{CallID: c.Call.CallID, Output: stead.TextContent(stead.ContentInputText, c.Output)})
	case session.TellParent:
		told, err := g.State.Answered(c.Subagent)
		if err != nil {
			panic(err)
		}
		g.append(session.KindSubagentAnswered, told)
	case session.ActOnSubagent:
		if why := g.State.RefuseSubagent(c.Call); why != "" { // others of the same reply were acted upon
			g.append(session.KindToolReturned, session.ToolReturned{CallID: c.Call.CallID, Error: why})
			return
		}
		if g.State.BehindCancel(c.Call) {
			return
		}
		for _, act := range g.State.SubagentEvents(c.Call, allowed) {
			thread := act.Thread
			if thread == session.NewThread {
				thread = g.State.Tail
			}
			g.on(thread, func() { g.append(act.Kind, act.Payload) })
		}
	}
}

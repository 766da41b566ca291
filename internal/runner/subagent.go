package runner

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// intendSubagent does what a call about subagents asks for: in this very append, and nowhere else.
func (a *actor) intendSubagent(p *plan, call *session.Call) error {
	if why := a.state.RefuseSubagent(call); why != "" { // another call of the same reply was acted upon
		return a.record(p, session.KindToolReturned, session.ToolReturned{CallID: call.CallID, Error: "The call was not made. " + why})
	}
	if a.state.BehindCancel(call) { // by another call of the same reply
		return nil
	}
	decision, held, err := a.permitCall(p, call)
	if held || err != nil {
		return err
	}
	for _, act := range a.state.SubagentEvents(call, decision) {
		thread := act.Thread
		if thread == session.NewThread {
			thread = a.state.Tail
		}
		if r, ok := act.Payload.(session.ToolReturned); ok && call.ToldEdited() != "" {
			r.Output = append(r.Output, stead.TextContent(stead.ContentInputText, "\n("+call.ToldEdited()+".)")...)
			act.Payload = r
		}
		if err := a.state.On(thread, func() error { return a.record(p, act.Kind, act.Payload) }); err != nil {
			return err
		}
	}
	return nil
}

// tellParent tells the agent of the thread how its subagent's turn has ended.
func (a *actor) tellParent(p *plan, s *session.Subagent) error {
	told, err := a.state.Answered(s)
	if err != nil {
		return err
	}
	return a.record(p, session.KindSubagentAnswered, told)
}

// endSubagents cancels the turns of the subagents below the thread, the deepest first: its own is about to end.
func (a *actor) endSubagents(p *plan) error {
	for _, s := range slices.Backward(a.state.Subagents) {
		if !a.state.WorksBelow(s) {
			continue
		}
		if err := a.state.On(s.ID, func() error { return a.intendEnd(p, session.EndTurn{Kind: session.KindTurnCancelled}) }); err != nil {
			return err
		}
	}
	return nil
}

// subagentTools are the tools by which an agent has subagents, in the order in which models get them.
var subagentTools = []struct {
	action      session.SubagentAction
	description string
	parameters  string
}{
	{session.CreateSubagent, "Make a subagent that works on a task by itself, at the same time as you. It has your instructions and tools, and a conversation of its own: " +
		"it knows of yours only what the message says. What it answers comes to you as a message. Returns its agent_id.",
		`{"type":"object","properties":{"message":{"type":"string","description":"The task, with all that is needed to do it."}},"required":["message"],"additionalProperties":false}`},
	{session.SendSubagent, "Tell one of your subagents something more. One that is idle works on; one that works reads it before its next step.",
		`{"type":"object","properties":{"agent_id":{"type":"string"},"message":{"type":"string"}},"required":["agent_id","message"],"additionalProperties":false}`},
	{session.WaitForSubagents, "Wait until subagents of yours have answered. Their answers come as messages.",
		`{"type":"object","properties":{"agent_ids":{"type":"array","items":{"type":"string"}},"any":{"type":"boolean","description":"Wait for the first of them, and not for all."},` +
			`"timeout_seconds":{"type":"integer","minimum":1}},"required":["agent_ids"],"additionalProperties":false}`},
	{session.InterruptSubagent, "Stop what one of your subagents is doing. It stays available.",
		`{"type":"object","properties":{"agent_id":{"type":"string"}},"required":["agent_id"],"additionalProperties":false}`},
	{session.CloseSubagent, "Close one of your subagents, and those that it made: they stop, and take no more input until they are resumed.",
		`{"type":"object","properties":{"agent_id":{"type":"string"}},"required":["agent_id"],"additionalProperties":false}`},
	{session.ResumeSubagent, "Open a closed subagent of yours again.",
		`{"type":"object","properties":{"agent_id":{"type":"string"}},"required":["agent_id"],"additionalProperties":false}`},
}

// subagentParameters is the schema of an action's arguments.
func subagentParameters(action session.SubagentAction) []byte {
	for _, s := range subagentTools {
		if s.action == action {
			return []byte(s.parameters)
		}
	}
	return nil
}

// offerSubagents offers them. depth is that of the agent: the deepest make none.
func (t *toolset) offerSubagents(sender string, depth int) {
	if depth >= stead.MaxSubagentDepth {
		return
	}
	for _, s := range subagentTools {
		t.offer(t.free("subagents", string(s.action)), s.description, offered{subagent: &session.SubagentCall{Action: s.action, Sender: sender}, schema: []byte(s.parameters)})
	}
}

// subagentText tells a subagent what it is.
func subagentText(v *session.View) string {
	s := v.Subagent(v.Focus())
	if s == nil {
		return ""
	}
	return "\n\nYou are the subagent " + s.Name + ". Another agent has given you a task, and reads your last message as your answer; nobody else reads it."
}

package session

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Calls about subagents: what they say, why one is not made, and what it does in the journal.

// SubagentAction is what a call does about subagents.
type SubagentAction string

// The actions, which are the names of the tools as well.
const (
	CreateSubagent    SubagentAction = "create_subagent"
	SendSubagent      SubagentAction = "send_subagent_input"
	ResumeSubagent    SubagentAction = "resume_subagent"
	WaitForSubagents  SubagentAction = "wait_for_subagents"
	InterruptSubagent SubagentAction = "interrupt_subagent"
	CloseSubagent     SubagentAction = "close_subagent"
)

// serverSubagents is what people are told in the place of a tool server.
const serverSubagents = "subagents"

// Item is the type of a call's item.
func (a SubagentAction) Item() stead.ItemType { return stead.ItemType(a + "_call") }

// SubagentCall says that a call is about subagents.
type SubagentCall struct {
	Action SubagentAction `json:"action"`
	Sender string         `json:"sender"` // the agent that calls, as the wire names it
}

// waits reports whether the call waits for subagents.
func (c *SubagentCall) waits() bool { return c != nil && c.Action == WaitForSubagents }

// SubagentArgs are the arguments of such a call.
type SubagentArgs struct {
	AgentID  string   `json:"agent_id"`
	AgentIDs []string `json:"agent_ids"`
	Message  string   `json:"message"`
	Any      bool     `json:"any"`             // wait: for the first, and not for all
	Seconds  int64    `json:"timeout_seconds"` // wait; 0: for ever
}

// SubagentArgs reads the arguments; what can't be read is empty, and refused as such.
func (c *Call) SubagentArgs() SubagentArgs {
	var a SubagentArgs
	_ = json.Unmarshal(c.Args(), &a)
	return a
}

// maxWaitSeconds is the longest that a call waits for subagents, where it says how long.
const maxWaitSeconds = 7 * 24 * 3600

// maxWaitedFor bounds the subagents of one wait.
const maxWaitedFor = stead.MaxSubagents

// RefuseSubagent is why a call about subagents is not made, for the model; "": it is.
func (v *View) RefuseSubagent(c *Call) string {
	args, action := c.SubagentArgs(), c.Tool.Subagent.Action
	if len(args.Message) > stead.MaxSubagentMessageBytes {
		return fmt.Sprintf("message has %d bytes, and the limit is %d. Put what is longer into a file.", len(args.Message), stead.MaxSubagentMessageBytes)
	}
	switch action {
	case CreateSubagent:
		return v.refuseCreate(args)
	case WaitForSubagents:
		if len(args.AgentIDs) == 0 || len(args.AgentIDs) > maxWaitedFor {
			return fmt.Sprintf("agent_ids must hold 1 to %d ids of subagents.", maxWaitedFor)
		}
		for _, id := range args.AgentIDs {
			if v.own(id) == nil {
				return v.unknownSubagent(id)
			}
		}
		return ""
	}
	s := v.own(args.AgentID)
	switch {
	case s == nil:
		return v.unknownSubagent(args.AgentID)
	case action == ResumeSubagent && s.ClosedAt == 0:
		return "The subagent " + s.Name + " is not closed."
	case action == ResumeSubagent || action == CloseSubagent && s.ClosedAt == 0:
		return ""
	case s.ClosedAt > 0:
		return "The subagent " + s.Name + " is closed; resume_subagent opens it again."
	case action == SendSubagent && strings.TrimSpace(args.Message) == "":
		return "message must not be empty."
	case action == SendSubagent && v.thread(s.ID).Turn == nil:
		return v.crowded()
	case action == SendSubagent && v.thread(s.ID).Turn.Unread >= stead.MaxSteeringMessages:
		return fmt.Sprintf("The subagent %s has %d messages that it has not read yet, which is the limit.", s.Name, stead.MaxSteeringMessages)
	case action == InterruptSubagent && v.thread(s.ID).Turn == nil:
		return "The subagent " + s.Name + " has no turn to interrupt."
	}
	return ""
}

// BehindCancel reports whether a call says something to a subagent whose turn was cancelled, or failed, and has not ended: it is for the next one.
func (v *View) BehindCancel(c *Call) bool {
	s := v.own(c.SubagentArgs().AgentID)
	if s == nil || c.Tool.Subagent.Action != SendSubagent {
		return false
	}
	t := v.thread(s.ID).Turn
	return t != nil && (t.Cancelling || t.Failure != nil)
}

func (v *View) refuseCreate(args SubagentArgs) string {
	switch {
	case strings.TrimSpace(args.Message) == "":
		return "message must not be empty."
	case v.Depth(v.focus) >= stead.MaxSubagentDepth:
		return fmt.Sprintf("Subagents stand %d deep at most, and you are at that depth.", stead.MaxSubagentDepth)
	case len(v.Subagents) >= stead.MaxSubagents:
		return fmt.Sprintf("This session has made %d subagents, which is the limit. Send input to one that is idle.", stead.MaxSubagents)
	}
	return v.crowded()
}

// crowded says why no further subagent may begin a turn.
func (v *View) crowded() string {
	most := v.Created.Agent.Spec.MultiAgent.Concurrent()
	if n := v.Working(); n >= most {
		return fmt.Sprintf("%d subagents work at present, and max_concurrent_subagents is %d. Wait for one, or interrupt one.", n, most)
	}
	return ""
}

func (v *View) unknownSubagent(id string) string {
	told, named := fmt.Sprintf("You have no subagent %.80q.", id), 0
	for _, s := range v.Subagents {
		if s.Parent == v.focus && named < maxNamedSubagents {
			told += " " + s.Name + " is " + v.AgentOf(s.ID) + "."
			named++
		}
	}
	return told
}

// maxNamedSubagents is how many an error to the model names.
const maxNamedSubagents = 16

// subagentNames are given in turn.
var subagentNames = []string{
	"Avocet", "Bittern", "Curlew", "Dunlin", "Egret", "Finch", "Grebe", "Heron", "Ibis", "Jay", "Kestrel", "Lapwing", "Merlin", "Nuthatch", "Osprey", "Plover",
}

// NextSubagentName is the name of the subagent that is made next.
func (v *View) NextSubagentName() string {
	n := len(v.Subagents)
	name := subagentNames[n%len(subagentNames)]
	if again := n / len(subagentNames); again > 0 {
		name += fmt.Sprintf(" %d", again+1)
	}
	return name
}

// SubagentEvent is an event to be, and the thread that it stands on.
type SubagentEvent struct {
	Thread  stead.Seq
	Kind    string
	Payload any
}

// NewThread stands for the thread that the event before makes.
const NewThread stead.Seq = -1

// SubagentEvents are what a call about subagents does, in one append. It must not be refused.
func (s *State) SubagentEvents(c *Call, decision policy.Decision) []SubagentEvent {
	args, here := c.SubagentArgs(), s.focus
	said := SubagentInput{CallID: c.CallID, Call: c.Seq, Index: c.Index, Content: stead.TextContent(stead.ContentInputText, args.Message), Sender: s.AgentOf(here)}
	answer := func(what map[string]string) SubagentEvent {
		return SubagentEvent{here, KindToolReturned, ToolReturned{CallID: c.CallID, Output: stead.TextContent(stead.ContentInputText, string(mustJSON(what)))}}
	}
	if c.Tool.Subagent.Action == CreateSubagent {
		id, name := SubagentID(s.Key.Session, s.Tail+1), s.NextSubagentName()
		said.Recipient = id
		return []SubagentEvent{
			{here, KindSubagentCreated, SubagentCreated{CallID: c.CallID, Name: name, Task: said.Content, Decision: decision}},
			{NewThread, KindSubagentInput, said},
			answer(map[string]string{"agent_id": id, "name": name}),
		}
	}
	sub := s.own(args.AgentID)
	changed := SubagentChanged{CallID: c.CallID, Subagent: sub.ID}
	said.Recipient = s.AgentOf(sub.ID)
	done := answer(map[string]string{"agent_id": said.Recipient, "name": sub.Name})
	switch c.Tool.Subagent.Action {
	case SendSubagent:
		return []SubagentEvent{{sub.ID, KindSubagentInput, said}, done}
	case InterruptSubagent:
		return []SubagentEvent{{here, KindSubagentInterrupted, changed}, done}
	case CloseSubagent:
		return []SubagentEvent{{here, KindSubagentClosed, changed}, done}
	}
	return []SubagentEvent{{here, KindSubagentResumed, changed}, done}
}

// Answered is what an agent is told of the end of its subagent's turn.
func (s *State) Answered(sub *Subagent) (SubagentAnswered, error) {
	end := sub.Ended
	out := SubagentAnswered{
		Subagent: sub.ID, Turn: end.Turn, Status: end.Status, Error: end.Error, Sender: s.AgentOf(sub.ID), Name: sub.Name, Recipient: s.AgentOf(sub.Parent),
	}
	return out, s.On(sub.ID, func() error {
		if said := s.Context.Answer(end.Turn); said != nil && end.Status == TurnComplete {
			out.Content, out.Call, out.Index = said.Item.Content, said.Call, said.Index
		}
		return nil
	})
}

package session_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/tool"
)

// at is a server's tools in an agent.
func at(url string) []agent.Tool {
	return []agent.Tool{{Type: agent.ToolMCP, ServerLabel: "box", Transport: &agent.Transport{Type: agent.TransportHTTP, ServerURL: url}}}
}

// asking is a session that asks whether a call may be made, of a server at a.example: since its agent says so, or policies do.
func asking(t *testing.T, byAgent bool) *session.State {
	t.Helper()
	s := session.NewState(sessiontest.Key)
	by := stead.LocalPrincipal()
	how := session.ToolCall{Server: "box", Name: "launch", Effect: tool.Idempotent, Approval: byAgent}
	spec := agent.Spec{Model: "sim", Tools: at("https://a.example")}
	apply(t, s, 1, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1", Spec: spec}, Principal: by, Environment: []byte(`{"type":"none"}`)})
	apply(t, s, 2, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "go")}}, By: by})
	apply(t, s, 3, session.KindTurnStarted, session.TurnStarted{})
	apply(t, s, 4, session.KindModelCalled, session.ModelCalled{Model: "sim", Attempt: 1})
	apply(t, s, 5, session.KindModelReplied, session.ModelReplied{Call: 4, Finish: "tool_calls", Items: []session.ReplyItem{
		{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "a", Name: "launch", Arguments: []byte(`{}`)}, Tool: &how},
	}})
	if !byAgent {
		apply(t, s, 6, session.KindToolHeld, session.ToolHeld{CallID: "a", Decision: policy.Decision{By: "test", Version: "v", Needs: &policy.Needs{Roles: []stead.Role{"approver"}}}})
	}
	return s
}

// TestAnApprovalIsOfOneServer: where a call goes is part of what is asked. If that changes while the question stands, before the call is
// begun, or before it is made once more, what was said is void; what else changes of the session voids nothing.
func TestAnApprovalIsOfOneServer(t *testing.T) {
	by := stead.LocalPrincipal()
	moves := func(s *session.State, url string) {
		tools := at(url)
		apply(t, s, 20, session.KindSessionUpdated, session.Updated{Tools: &tools})
	}
	approves := func(s *session.State) {
		apply(t, s, 21, session.KindInputApproval, session.ApprovalResult{CallID: "a", Decision: session.DecisionApprove, By: by})
	}
	begins := func(s *session.State) {
		apply(t, s, 22, session.KindToolCalled, session.ToolCalled{CallID: "a", Attempt: 1})
	}
	for _, byAgent := range []bool{true, false} {
		s := asking(t, byAgent)
		c := s.CallByID("a")
		request, digest := c.RequestID(sessiontest.Key.Session), s.Digest(c)
		moves(s, "https://a.example")
		model := "sim2"
		apply(t, s, 20, session.KindSessionUpdated, session.Updated{Model: &model})
		if s.CallByRequest(request) == nil || s.Digest(c) != digest {
			t.Errorf("by the agent %v: a change that is none voids the question", byAgent)
		}
		none := []agent.Tool{}
		apply(t, s, 20, session.KindSessionUpdated, session.Updated{Tools: &none})
		if s.CallByRequest(request) == nil {
			t.Errorf("by the agent %v: a call to nowhere is not refused by whoever is asked", byAgent)
		}
		moves(s, "https://evil.example") // also when it was gone between
		if s.CallByRequest(request) != nil || c.State != session.CallApproval || s.Digest(c) == digest {
			t.Errorf("by the agent %v: the question stands for another server: %+v", byAgent, c)
		}

		s = asking(t, byAgent)
		c = s.CallByID("a")
		approves(s)
		moves(s, "https://evil.example")
		if len(c.Approved) > 0 || byAgent != (c.State == session.CallApproval) { // policies are asked again
			t.Errorf("by the agent %v: what was approved goes elsewhere: %+v", byAgent, c)
		}

		s = asking(t, byAgent)
		c = s.CallByID("a")
		approves(s)
		begins(s)
		moves(s, "https://evil.example")
		if c.State != session.CallRunning {
			t.Errorf("by the agent %v: a call under way is %s", byAgent, c.State)
		}
		apply(t, s, 23, session.KindToolLost, session.ToolLost{CallID: "a", Sent: true})
		if len(c.Approved) > 0 || byAgent != (c.State == session.CallApproval) {
			t.Errorf("by the agent %v: made once more, it goes elsewhere: %+v", byAgent, c)
		}
		if byAgent {
			approves(s)
			begins(s)
			apply(t, s, 24, session.KindToolLost, session.ToolLost{CallID: "a", Sent: true})
			if c.State != session.CallReady {
				t.Errorf("approved for the new server, it is asked about again: %s", c.State)
			}
		}
	}
	// What is asked binds the URL by itself, too: the same question of two servers is not the same.
	one, other := asking(t, true), asking(t, true)
	other.Created.Agent.Spec.Tools = at("https://evil.example")
	if one.Digest(one.CallByID("a")) == other.Digest(other.CallByID("a")) {
		t.Error("the digest does not say where the call goes")
	}
}

package runner_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/session"
)

// coordinates lets an agent have subagents.
func coordinates(s *agent.Spec) { s.MultiAgent = agent.MultiAgent{Enabled: true} }

// view folds a session's journal.
func (n *node) view(id stead.SessionID) *session.View {
	n.t.Helper()
	v := session.NewView(n.key(id))
	for _, e := range n.events(id) {
		if err := v.Apply(e); err != nil {
			n.t.Fatal(err)
		}
	}
	return v
}

func TestASubagentAnswersItsParent(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say the sea is 11 km deep"}
Call create_subagent with {"message":"Wait 1s\nSay the moon is far"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}","{agent 2}"]}
Say One: {answer 1}. Two: {answer 2}.`, coordinates)
		n.idle(s.ID)
		if got, want := n.said(s.ID), "One: the sea is 11 km deep. Two: the moon is far."; got != want {
			t.Fatalf("the agent said %q, want %q\n%s", got, want, n.journal(s.ID))
		}
		if turns := n.turns(s.ID); len(turns) != 1 || turns[0].SubagentID != nil || turns[0].Status != session.TurnComplete {
			t.Errorf("turns %+v", turns)
		}
		v := n.view(s.ID)
		if len(v.Subagents) != 2 {
			t.Fatalf("%d subagents", len(v.Subagents))
		}
		for i, sub := range v.Subagents {
			id := v.AgentOf(sub.ID)
			turns, err := n.SubagentTurns(context.Background(), me, s.ID, id, session.PageQuery{})
			if err != nil || len(turns.Data) != 1 || *turns.Data[0].SubagentID != id || turns.Data[0].Status != session.TurnComplete {
				t.Errorf("turns of subagent %d: %+v, %v", i, turns.Data, err)
			}
			items, err := n.SubagentItems(context.Background(), me, s.ID, id, session.ItemQuery{})
			if err != nil || len(items.Data) != 2 {
				t.Errorf("items of subagent %d: %+v, %v", i, items.Data, err)
			}
		}
		if n.count(s.ID, session.KindSubagentAnswered) != 2 || n.count(s.ID, session.KindRunnerRecovered) > 0 {
			t.Errorf("journal\n%s", n.journal(s.ID))
		}
	})
}

// TestATurnCompletesBehindItsSubagents: an agent that does not wait is called again with what its subagents answer.
func TestATurnCompletesBehindItsSubagents(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 30s\nSay late"}
Say I have heard: {answer 1}`, coordinates)
		n.idle(s.ID)
		if got := n.said(s.ID); got != "I have heard: late" {
			t.Fatalf("the agent said %q\n%s", got, n.journal(s.ID))
		}
		if turns := n.turns(s.ID); len(turns) != 1 {
			t.Errorf("%d turns", len(turns))
		}
	})
}

func TestACancelStopsSubagents(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call create_subagent with {\"message\":\"Wait 5m\"}\nSay so"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}`, coordinates)
		time.Sleep(time.Minute)
		v := n.view(s.ID)
		if v.Status() != session.StatusInProgress || v.Working() != 2 || v.Depth(v.Subagents[1].ID) != 2 {
			t.Fatalf("%s, %d work\n%s", v.Status(), v.Working(), n.journal(s.ID))
		}
		n.send(s.ID, cancels)
		n.idle(s.ID)
		kinds := n.kinds(s.ID)
		if got := kinds[len(kinds)-3:]; !slices.Equal(got, []string{session.KindTurnCancelled, session.KindTurnCancelled, session.KindTurnCancelled}) {
			t.Errorf("the journal ends with %v", got)
		}
		if v := n.view(s.ID); v.Working() != 0 {
			t.Errorf("%d subagents work", v.Working())
		}
	})
}

// TestSubagentsAreRefusedAboveTheirNumber: and the agent is told what to do.
func TestSubagentsAreRefusedAboveTheirNumber(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 1m"}
Call create_subagent with {"message":"Wait 1m"}
Call wait_for_subagents with {"agent_ids":["subagent_1"]}
Call send_subagent_input with {"agent_id":"subagent_1","message":"x"}`, func(s *agent.Spec) {
			one := 1
			s.MultiAgent = agent.MultiAgent{Enabled: true, MaxConcurrentSubagents: &one}
		})
		n.idle(s.ID)
		got := n.said(s.ID)
		for _, want := range []string{"max_concurrent_subagents is 1", `You have no subagent "subagent_1"`, `"agent_id":"subagent_`} {
			if !strings.Contains(got, want) {
				t.Errorf("the agent was told %q, which lacks %q", got, want)
			}
		}
		if v := n.view(s.ID); len(v.Subagents) != 1 {
			t.Errorf("%d subagents", len(v.Subagents))
		}
	})
}

// TestSubagentsAreInterruptedClosedAndResumed.
func TestSubagentsAreInterruptedClosedAndResumed(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 10m"}
Then call interrupt_subagent with {"agent_id":"{agent 1}"}
Then call close_subagent with {"agent_id":"{agent 1}"}
Then call send_subagent_input with {"agent_id":"{agent 1}","message":"Say no"}
Then call resume_subagent with {"agent_id":"{agent 1}"}
Then call send_subagent_input with {"agent_id":"{agent 1}","message":"Say back again"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"],"timeout_seconds":60}
Say {answer 2}`, coordinates)
		began := time.Now()
		n.idle(s.ID)
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("it took %s: nothing was interrupted", took)
		}
		if got := n.said(s.ID); got != "back again" {
			t.Fatalf("the agent said %q\n%s", got, n.journal(s.ID))
		}
		for _, kind := range []string{session.KindSubagentInterrupted, session.KindSubagentClosed, session.KindSubagentResumed} {
			if n.count(s.ID, kind) != 1 {
				t.Errorf("%d events %s", n.count(s.ID, kind), kind)
			}
		}
		if v := n.view(s.ID); v.Subagents[0].ClosedAt != 0 {
			t.Error("the subagent is closed")
		}
	})
}

// TestAWaitHoldsNothing: a session whose threads all wait for somebody is released, and goes on with the answer.
func TestAWaitHoldsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call ask with {}\nSay Asked"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 1}`, func(s *agent.Spec) {
			coordinates(s)
			s.Tools = []agent.Tool{{Type: agent.ToolFunction, Name: "ask", Parameters: []byte(`{"type":"object"}`)}}
		})
		waiting := n.until(s.ID, status(session.StatusRequiresAction))
		if len(waiting.RequiredActions) != 1 {
			t.Fatalf("actions %+v", waiting.RequiredActions)
		}
		a := waiting.RequiredActions[0]
		time.Sleep(time.Hour)
		head, err := n.store.Head(context.Background(), n.key(s.ID))
		if err != nil || head.Holder != "" {
			t.Errorf("the session is held by %q, %v", head.Holder, err)
		}
		v := n.view(s.ID)
		if want := session.TurnID(s.ID, v.At(v.Subagents[0].ID).Turn.Seq); a.TurnID != want {
			t.Errorf("the action is of turn %s, want the subagent's %s", a.TurnID, want)
		}
		n.send(s.ID, answers(a, "yes"))
		n.idle(s.ID)
		if got := n.said(s.ID); got != "Asked" {
			t.Fatalf("the agent said %q\n%s", got, n.journal(s.ID))
		}
	})
}

// TestSubagentsSurviveADeadNode: another node goes on with all threads, and nothing is made twice.
func TestSubagentsSurviveADeadNode(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 1m\nSay first"}
Call create_subagent with {"message":"Wait 90s\nSay second"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}","{agent 2}"]}
Say {answer 1} and {answer 2}`, coordinates)
		time.Sleep(30 * time.Second)
		n.Kill()
		other := n.second("b")
		other.idle(s.ID)
		if got := other.said(s.ID); got != "first and second" {
			t.Fatalf("the agent said %q\n%s", got, other.journal(s.ID))
		}
		if made, recovered := other.count(s.ID, session.KindSubagentCreated), other.count(s.ID, session.KindRunnerRecovered); made != 2 || recovered != 1 {
			t.Errorf("%d subagents were made, and %d times the session was recovered", made, recovered)
		}
	})
}

// TestAMessageEndsAWait: what somebody says to the agent while it waits is read before its subagents have answered.
func TestAMessageEndsAWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 90s\nSay slow"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 1}`, coordinates)
		time.Sleep(10 * time.Second)
		n.send(s.ID, says("Say I hear you"))
		time.Sleep(10 * time.Second)
		if got := n.said(s.ID); got != "I hear you" {
			t.Fatalf("the agent said %q\n%s", got, n.journal(s.ID))
		}
		if v := n.view(s.ID); v.Status() != session.StatusInProgress || v.Working() != 1 {
			t.Errorf("%s, %d subagents work", v.Status(), v.Working())
		}
		n.idle(s.ID)
	})
}

// heard is sim, which keeps what it was asked.
type heard struct {
	model.Model
	mu  sync.Mutex
	all []model.Request
}

func (h *heard) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	h.mu.Lock()
	h.all = append(h.all, req)
	h.mu.Unlock()
	return h.Model.Generate(ctx, req)
}

// TestWhatASubagentIsGiven: it is told what it is, has its parent's tools, and those for subagents down to the last depth; of the format of the answer
// it knows nothing.
func TestWhatASubagentIsGiven(t *testing.T) {
	h := &heard{Model: sim.New(sim.Options{})}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call create_subagent with {\"message\":\"Call create_subagent with {\\\"message\\\":\\\"Say deep\\\"}\\nSay c\"}\nSay b"}
Say {}`, func(s *agent.Spec) {
			coordinates(s)
			s.Tools = []agent.Tool{{Type: agent.ToolFunction, Name: "close_subagent", Parameters: []byte(`{"type":"object"}`)}}
			s.Text.Format = agent.Format{Type: "json_schema", Schema: []byte(`{"type":"object"}`)}
		})
		n.idle(s.ID)
		depths := map[int]int{}
		for _, req := range h.all {
			tools := map[string]bool{}
			for _, t := range req.Tools {
				tools[t.Name] = true
			}
			task := req.Items[0].Content[0].Text.Inline
			depth := 3 - strings.Count(task, "create_subagent")
			depths[depth]++
			if (req.Format != nil) != (depth == 0) || strings.Contains(req.Instructions, "You are the subagent") != (depth > 0) {
				t.Errorf("at depth %d: format %v, instructions %q", depth, req.Format, req.Instructions)
			}
			if !tools["close_subagent"] || tools["create_subagent"] != (depth < stead.MaxSubagentDepth) || tools["subagents__close_subagent"] != (depth < stead.MaxSubagentDepth) {
				t.Errorf("at depth %d: tools %v", depth, tools)
			}
		}
		if len(depths) != 4 {
			t.Errorf("calls of the model by depth: %v\n%s", depths, n.journal(s.ID))
		}
	}, withModel(h))
}

// TestACopyHasTheSubagents: they are idle there, and answer to the ids that the agent knows from before.
func TestACopyHasTheSubagents(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say one"}
Say {answer 1}`, coordinates)
		n.idle(s.ID)
		made := n.view(s.ID).AgentOf(n.view(s.ID).Subagents[0].ID)
		own, err := n.Fork(context.Background(), me, s.ID, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := n.Subagents(context.Background(), me, own.ID, session.PageQuery{})
		if err != nil || len(list.Data) != 1 || list.Data[0].ID == made || list.Data[0].Name != "Avocet" {
			t.Fatalf("the copy has %+v, %v", list.Data, err)
		}
		n.send(own.ID, says(`Call send_subagent_input with {"agent_id":"`+made+`","message":"Say two"}
Say {answer 2}`))
		n.idle(own.ID)
		if got := n.said(own.ID); got != "two" {
			t.Errorf("the agent said %q\n%s", got, n.journal(own.ID))
		}
		turns, err := n.SubagentTurns(context.Background(), me, own.ID, list.Data[0].ID, session.PageQuery{})
		if err != nil || len(turns.Data) != 2 || len(n.view(s.ID).Subagents) != 1 {
			t.Errorf("its turns: %+v, %v", turns.Data, err)
		}
		items, err := n.Items(context.Background(), me, own.ID, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items.Data {
			if m, ok := item.(*session.AgentMessageItem); ok && m.Sender != list.Data[0].ID {
				t.Errorf("%s is of %s, want %s", m.ID, m.Sender, list.Data[0].ID)
			}
		}
	})
}

// TestAMessageBehindAnInterruptIsForTheNextTurn, also where one reply has both.
func TestAMessageBehindAnInterruptIsForTheNextTurn(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 90s\nSay late"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}`, coordinates)
		time.Sleep(5 * time.Second)
		n.send(s.ID, says(`Call interrupt_subagent with {"agent_id":"{agent 1}"}
Call send_subagent_input with {"agent_id":"{agent 1}","message":"Say at once"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 2}`))
		n.idle(s.ID)
		if got := n.said(s.ID); got != "at once" {
			t.Fatalf("the agent said %q\n%s", got, n.journal(s.ID))
		}
		turns, err := n.SubagentTurns(context.Background(), me, s.ID, n.view(s.ID).AgentOf(n.view(s.ID).Subagents[0].ID), session.PageQuery{})
		if err != nil || len(turns.Data) != 2 || turns.Data[0].Status != session.TurnCancel || turns.Data[1].Status != session.TurnComplete {
			t.Errorf("its turns: %+v, %v", turns.Data, err)
		}
	})
}

// TestAMessageInTheMomentOfAnEnd: what is said to a subagent in the moment in which its turn would end is read.
func TestAMessageInTheMomentOfAnEnd(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T, n *node) {
			s := n.begin(`Wait 5s
Call create_subagent with {"message":"Wait 5s\nSay first"}
Then call send_subagent_input with {"agent_id":"{agent 1}","message":"Say second"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say done`, coordinates)
			n.idle(s.ID)
			v := n.view(s.ID)
			items, err := n.SubagentItems(context.Background(), me, s.ID, v.AgentOf(v.Subagents[0].ID), session.ItemQuery{PageQuery: session.PageQuery{Desc: true}})
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := items.Data[0].(*session.MessageItem); !ok || m.Text() != "second" {
				t.Fatalf("the subagent said last %s\n%s", mustJSON(t, items.Data[0]), n.journal(s.ID))
			}
		})
	}
}

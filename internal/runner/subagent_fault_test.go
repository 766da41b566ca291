package runner_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/usage"
)

// tasks make so many subagents at once, and wait for all.
func tasks(n int, text string) string {
	var lines, ids []string
	for i := range n {
		lines = append(lines, `Call create_subagent with {"message":"`+text+`"}`)
		ids = append(ids, `"{agent `+string(rune('1'+i))+`}"`)
	}
	return strings.Join(lines, "\n") + "\nThen call wait_for_subagents with {\"agent_ids\":[" + strings.Join(ids, ",") + "]}\nSay all done"
}

// TestANodeTakesManyAnswersAlong: when it dies, or must stop, while more subagents speak than one event has usage records for, all of them go on at the
// next node, and what was spent is on record with the turn of each.
func TestANodeTakesManyAnswersAlong(t *testing.T) {
	const many = 5
	for name, end := range map[string]func(*node){
		"crash": func(n *node) { n.crash("n2") },
		"stop": func(n *node) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = n.Shutdown(ctx) // no time is left
			n.start("n2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p *purse
			bubble(t, func(t *testing.T, n *node) {
				s := n.begin(tasks(many, `Write 100 words every 100ms`), coordinates)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				end(n)
				n.idle(s.ID)
				v := n.view(s.ID)
				if got := n.said(s.ID); got != "all done" || len(v.Subagents) != many {
					t.Fatalf("the agent said %q, with %d subagents\n%s", got, len(v.Subagents), n.journal(s.ID))
				}
				guessed, _ := n.estimated(s.ID)
				turns := map[string]int{}
				for _, r := range guessed {
					turns[r.Turn]++
					if sub, ok := session.ParseSubagentID(s.ID, r.Subagent); r.Subagent != "" && (!ok || r.Turn != session.TurnID(s.ID, v.At(sub).Last)) {
						t.Errorf("a record of turn %s is of subagent %q", r.Turn, r.Subagent)
					}
				}
				if n := len(guessed); n < many {
					t.Errorf("%d calls that were cut off are on record", n)
				}
				for _, sub := range v.Subagents {
					if id := session.TurnID(s.ID, v.At(sub.ID).Last); turns[id] != 1 {
						t.Errorf("turn %s of a subagent has %d records of a call that was cut off, of %v", id, turns[id], turns)
					}
				}
				if c := p.counter(t); c.Held != (usage.Amount{}) || c.Spent.Calls != 3+2*many {
					t.Errorf("the budget's counter is %+v", c)
				}
			}, withPrice(), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Tokens: 10_000_000})))
		})
	}
}

// computeTogether makes a session with an environment, whose agent may have subagents.
func (n *node) computeTogether(text string) stead.SessionID {
	n.t.Helper()
	s, err := n.Create(context.Background(), me, session.CreateRequest{Override: func(s *agent.Spec) error {
		coordinates(s)
		return specOf()(s)
	}, Input: message(text), Environment: hosted()})
	if err != nil {
		n.t.Fatal(err)
	}
	return s.ID
}

// TestATurnThatFailsStopsItsSubagentsBeforeItStores: what their commands did until they were ended is in the checkpoint, and nothing of theirs begins meanwhile.
func TestATurnThatFailsStopsItsSubagentsBeforeItStores(t *testing.T) {
	h := newComputers(nil)
	h.took["save"] = time.Minute
	m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		switch {
		case strings.Contains(req.Instructions, "You are the subagent"):
			after(time.Second, calls("run", `{"command":"step"}`))(ctx, req, yield)
		case len(req.Items) == 1:
			calls("create_subagent", `{"message":"go"}`)(ctx, req, yield)
		default:
			after(5*time.Second, fails(&model.Error{Code: model.CodeInvalid, Message: "no"}))(ctx, req, yield)
		}
	})
	bubble(t, func(t *testing.T, n *node) {
		id := n.computeTogether("go")
		n.idle(id)
		saved := 0
		for _, e := range n.events(id) {
			switch {
			case e.Kind == session.KindEnvironmentCalled && strings.Contains(string(e.Data), `"save"`):
				saved++
			case saved > 0 && e.Thread != 0:
				t.Fatalf("%s of a subagent stands behind the beginning of the checkpoint\n%s", e.Kind, n.journal(id))
			}
		}
		v := n.view(id)
		if saved != 1 || n.turns(id)[0].Status != session.TurnFail || v.Subagents[0].Outcome != session.TurnCancel || v.Environment.Touched != 0 {
			t.Errorf("stored %d times, the turn is %s, the subagent's %s\n%s", saved, n.turns(id)[0].Status, v.Subagents[0].Outcome, n.journal(id))
		}
	}, withModel(m), withComputers(h))
}

// TestEachThreadAsksAQuestionOfItsOwn: one crash leaves calls of three subagents of which nobody knows what became. Each is asked about under an id of its
// own, whatever node is told; an answer that comes twice is none to another question.
func TestEachThreadAsksAQuestionOfItsOwn(t *testing.T) {
	var made atomic.Int32
	slow := does{"slow", tool.Unknown, func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		made.Add(1)
		if !lasts(ctx, time.Hour) {
			return tool.Result{}, ctx.Err()
		}
		return outputs("made")
	}}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(tasks(3, `Call slow with {}`), func(s *agent.Spec) {
			coordinates(s)
			s.Tools = []agent.Tool{mcpServer()}
		})
		time.Sleep(time.Second)
		n.crash("n2")
		asks := func() map[string]session.RequiredAction {
			out := map[string]session.RequiredAction{}
			for _, a := range n.until(s.ID, status(session.StatusRequiresAction)).RequiredActions {
				out[a.RequestID] = a
			}
			return out
		}
		all := asks()
		if len(all) != 3 {
			t.Fatalf("three calls are asked about as %v\n%s", all, n.journal(s.ID))
		}
		for id, a := range all {
			in := session.Input{Outcome: &session.OutcomeInput{RequestID: id, Decision: session.DecisionHappened}}
			n.send(s.ID, in)
			_ = n.second("b-"+stead.NodeID(a.TurnID[len(a.TurnID)-2:])).Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{in}}) // again
			delete(all, id)
			if len(all) == 0 {
				break
			}
			if left := asks(); len(left) != len(all) {
				t.Fatalf("after %d answers %d are asked about", 3-len(all), len(left))
			}
		}
		n.idle(s.ID)
		if got := n.said(s.ID); got != "all done" || made.Load() != 3 {
			t.Errorf("the agent said %q after %d calls", got, made.Load())
		}
	}, withTools(having(slow)))
}

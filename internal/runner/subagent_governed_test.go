package runner_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// TestGuardrailsHoldForSubagents: what an agent tells one, and what one says, passes them before anybody has it.
func TestGuardrailsHoldForSubagents(t *testing.T) {
	for name, c := range map[string]struct {
		rule    guardrail.Rule
		task    string
		outcome string // of the subagent; "": there is none
		never   string // stands nowhere
	}{
		"an answer that is redacted": {rail("no-mails", guardrail.Output, guardrail.Redact, mails), "go", session.TurnComplete, "ada@example.com"},
		"an answer that is blocked":  {rail("manners", guardrail.Output, guardrail.Block, curse), "go", session.TurnFail, "darn"},
		"a task that is blocked":     {rail("manners", guardrail.ToolCall, guardrail.Block, curse), "write the darn thing", "", "write to ada"},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
				switch {
				case strings.Contains(req.Instructions, "You are the subagent"):
					reply("write to ada@example.com, darn")(ctx, req, yield)
				case len(req.Items) == 1:
					calls("create_subagent", `{"message":"`+c.task+`"}`)(ctx, req, yield)
				default:
					reply("ok")(ctx, req, yield)
				}
			})
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("go", coordinates).ID
				n.idle(id)
				v := n.view(id)
				outcome := ""
				if len(v.Subagents) > 0 {
					outcome = v.Subagents[0].Outcome
				}
				if outcome != c.outcome || n.onlyTurn(id).Status != session.TurnComplete {
					t.Errorf("the subagent's turn is %q, its parent's %s\n%s", outcome, n.onlyTurn(id).Status, n.journal(id))
				}
				if strings.Contains(n.journal(id), c.never) {
					t.Errorf("the journal has %q\n%s", c.never, n.journal(id))
				}
				for _, req := range m.asked() {
					if strings.Contains(strings.Join(seen(req), "\n"), c.never) {
						t.Errorf("a model was given %q", seen(req))
					}
				}
			}, withModel(m), withGuardrails(&notes{}, nil, c.rule))
		})
	}
}

// TestWhatIsStoppedStopsInAllThreads: a kill switch ends the calls of models that subagents make, within the second, and none of them begins another.
func TestWhatIsStoppedStopsInAllThreads(t *testing.T) {
	var mu sync.Mutex
	var ends []context.CancelCauseFunc
	stopped := false
	why := stead.Errorf(stead.KindForbidden, "the agent was stopped: it mines coins")
	watch := func(ctx context.Context, _ policy.Request) (context.Context, func()) {
		mu.Lock()
		defer mu.Unlock()
		ctx, end := context.WithCancelCause(ctx)
		ends = append(ends, end)
		return ctx, func() { end(nil) }
	}
	p := &gate{no: func(r policy.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return stopped && r.Effect == policy.ModelCall
	}}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(tasks(3, `Write 600 words every 100ms`), coordinates)
		time.Sleep(10 * time.Second)
		if v := n.view(s.ID); v.Working() != 3 {
			t.Fatalf("%d subagents work", v.Working())
		}
		asked := len(p.of(policy.ModelCall)) // now: whoever is stopped asks at once
		mu.Lock()
		stopped = true
		for _, end := range ends {
			end(why)
		}
		mu.Unlock()
		begun := time.Now()
		n.until(s.ID, func(session.Session) bool { return n.view(s.ID).Working() == 0 })
		if took := time.Since(begun); took > time.Second {
			t.Errorf("they stopped after %s", took)
		}
		n.idle(s.ID)
		v := n.view(s.ID)
		for _, sub := range v.Subagents {
			if sub.Outcome != session.TurnFail {
				t.Errorf("subagent %s is %s\n%s", sub.Name, sub.Outcome, n.journal(s.ID))
			}
		}
		if n.onlyTurn(s.ID).Status != session.TurnFail || len(p.of(policy.ModelCall)) == asked {
			t.Errorf("the turn is %s, and policies were asked %d times since", n.onlyTurn(s.ID).Status, len(p.of(policy.ModelCall))-asked)
		}
	}, withPolicy(p), with(func(c *runner.Config) { c.Watch = watch }))
}

// TestACancelTakesAlongWhatTwoSubagentsAskFor: nothing is asked any more, and nothing that was asked is done.
func TestACancelTakesAlongWhatTwoSubagentsAskFor(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(tasks(2, `Call launch with {}`), func(s *agent.Spec) {
			coordinates(s)
			server := mcpServer()
			server.RequireApproval = &agent.Approval{Mode: agent.ApprovalAlways}
			s.Tools = []agent.Tool{server}
		})
		asks := n.until(s.ID, func(s session.Session) bool { return len(s.RequiredActions) == 2 }).RequiredActions
		n.send(s.ID, cancels)
		if got := n.idle(s.ID); len(got.RequiredActions) != 0 {
			t.Errorf("it still asks %+v", got.RequiredActions)
		}
		err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{decides(asks[0].RequestID, session.DecisionApprove)}})
		if stead.KindOf(err) == "" || len(n.tools.log()) != 0 {
			t.Errorf("an approval behind the cancel: %v, and %d calls", err, len(n.tools.log()))
		}
		for _, sub := range n.view(s.ID).Subagents {
			if sub.Outcome != session.TurnCancel {
				t.Errorf("subagent %s is %s", sub.Name, sub.Outcome)
			}
		}
	})
}

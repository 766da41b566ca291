package runner_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/usage"
)

// TestPoliciesSeeTheChain: they are asked about each task that is given, by whom, and about what subagents do with all who are between.
func TestPoliciesSeeTheChain(t *testing.T) {
	p := &gate{}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call create_subagent with {\"message\":\"Say deep\"}\nSay up"}`, coordinates)
		n.idle(s.ID)
		v := n.view(s.ID)
		first, second := v.AgentOf(v.Subagents[0].ID), v.AgentOf(v.Subagents[1].ID)
		made := p.of(policy.SubagentCreate)
		if len(made) != 2 || made[0].Resource != string(s.Agent.ID) || !strings.Contains(string(made[0].Arguments), "Say deep") ||
			len(made[0].Subagents) != 0 || !slices.Equal(made[1].Subagents, []string{first}) {
			t.Fatalf("policies were asked %+v", made)
		}
		deep := 0
		for _, r := range p.of(policy.ModelCall) {
			if slices.Equal(r.Subagents, []string{first, second}) {
				deep++
			}
			if r.Principal != made[0].Principal || !slices.Equal(r.Behind, made[0].Behind) || !r.Acting {
				t.Errorf("a subagent acts as %+v, behind it %v", r.Principal, r.Behind)
			}
		}
		if deep != 1 {
			t.Errorf("%d model calls of the deepest subagent", deep)
		}
	}, withPolicy(p))
}

func TestASubagentThatIsDenied(t *testing.T) {
	p := decider{effect: policy.SubagentCreate}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say no"}`, coordinates)
		n.idle(s.ID)
		if got := n.said(s.ID); !strings.Contains(got, "not today") || len(n.view(s.ID).Subagents) != 0 {
			t.Errorf("the agent was told %q, and has %d subagents", got, len(n.view(s.ID).Subagents))
		}
	}, withPolicy(p))
}

func TestASubagentThatTakesAnApproval(t *testing.T) {
	p := asks4(policy.SubagentCreate, policy.Needs{Roles: []stead.Role{"owner"}})
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say yes"}
Say {answer 1}`, coordinates)
		asks := n.until(s.ID, status(session.StatusRequiresAction))
		if a := asks.RequiredActions[0]; a.Type != session.ActionMCPApproval || *a.Request.Name != "create_subagent" || !strings.Contains(string(a.Request.Arguments), "Say yes") {
			t.Fatalf("it asks %+v", a)
		}
		if n := len(n.view(s.ID).Subagents); n != 0 {
			t.Fatalf("%d subagents were made before", n)
		}
		if err := n.Send(context.Background(), as("olga", "owner"), s.ID, session.SendRequest{Inputs: []session.Input{decides(asks.RequiredActions[0].RequestID, session.DecisionApprove)}}); err != nil {
			t.Fatal(err)
		}
		n.idle(s.ID)
		if got := n.said(s.ID); got != "yes" {
			t.Errorf("the agent said %q\n%s", got, n.journal(s.ID))
		}
	}, withPolicy(p))
}

// TestACallOfASubagentTakesAnApproval: it is asked about in the session, with the subagent's turn, and denied or made.
func TestACallOfASubagentTakesAnApproval(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call launch with {}"}
Say {answer 1}`, func(s *agent.Spec) {
			coordinates(s)
			server := mcpServer()
			server.RequireApproval = &agent.Approval{Mode: agent.ApprovalAlways}
			s.Tools = []agent.Tool{server}
		})
		asks := n.until(s.ID, status(session.StatusRequiresAction))
		a, v := asks.RequiredActions[0], n.view(s.ID)
		if want := session.TurnID(s.ID, v.At(v.Subagents[0].ID).Turn.Seq); len(asks.RequiredActions) != 1 || a.TurnID != want {
			t.Fatalf("it asks %+v, want one of turn %s", asks.RequiredActions, want)
		}
		if inbox := v.Approvals(); len(inbox) != 1 || inbox[0].ID != a.RequestID || inbox[0].CreatedAt == 0 {
			t.Errorf("the inbox has %+v", inbox)
		}
		if len(n.tools.log()) != 0 {
			t.Error("it was made before")
		}
		n.send(s.ID, decides(a.RequestID, session.DecisionApprove))
		n.idle(s.ID)
		if got := n.tools.log(); len(got) != 1 || !strings.Contains(n.said(s.ID), "launch") {
			t.Errorf("%d calls, and the agent said %q", len(got), n.said(s.ID))
		}
	})
}

// TestATaskIsEdited: whoever approves a task may change it, and the agent is told.
func TestATaskIsEdited(t *testing.T) {
	p := asks4(policy.SubagentCreate, policy.Needs{Roles: []stead.Role{"owner"}})
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say all"}`, coordinates)
		asks := n.until(s.ID, status(session.StatusRequiresAction))
		in := decides(asks.RequiredActions[0].RequestID, session.DecisionApprove)
		answer := func(text string) error {
			in.Approval.Arguments = text
			return n.Send(context.Background(), as("olga", "owner"), s.ID, session.SendRequest{Inputs: []session.Input{in}})
		}
		isKind(t, answer(`["Say a part"]`), stead.KindInvalid)
		if err := answer(`{"message":"Say a part"}`); err != nil {
			t.Fatal(err)
		}
		n.idle(s.ID)
		v := n.view(s.ID)
		if got := v.Subagents[0].Task[0].Text.Inline; got != "Say a part" || !strings.Contains(n.said(s.ID), "changed its arguments") {
			t.Errorf("the task is %q, and the agent was told %q", got, n.said(s.ID))
		}
	}, withPolicy(p))
}

// TestAPauseStopsAllThreads.
func TestAPauseStopsAllThreads(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Wait 10s\nCall create_subagent with {\"message\":\"Say x\"}\nSay y"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 1}`, coordinates)
		time.Sleep(5 * time.Second)
		if _, err := n.Pause(context.Background(), me, s.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if v := n.view(s.ID); len(v.Subagents) != 1 || v.Status() != session.StatusInProgress {
			t.Fatalf("%d subagents, %s", len(v.Subagents), v.Status())
		}
		if _, err := n.Resume(context.Background(), me, s.ID); err != nil {
			t.Fatal(err)
		}
		n.idle(s.ID)
		if got := n.said(s.ID); got != "y" {
			t.Errorf("the agent said %q", got)
		}
	})
}

// TestWhatASubagentReadLabelsItsParent: what a stranger may have written reaches the parent with the answer, and the next subagent with its task.
func TestWhatASubagentReadLabelsItsParent(t *testing.T) {
	p := &gate{}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Call launch with {}"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Then call create_subagent with {"message":"Say clean"}`, func(s *agent.Spec) {
			coordinates(s)
			s.Tools = []agent.Tool{mcpServer()}
		})
		n.idle(s.ID)
		made := p.of(policy.SubagentCreate)
		if len(made) != 2 || len(made[0].Labels[session.LabelUntrusted]) != 0 || !slices.Equal(made[1].Labels[session.LabelUntrusted], []string{"box"}) {
			t.Fatalf("policies were asked about tasks with %+v", made)
		}
		last := p.of(policy.ModelCall)
		for _, r := range last[len(last)-2:] {
			if !slices.Equal(r.Labels[session.LabelUntrusted], []string{"box"}) {
				t.Errorf("a later call of the model, by %v, has the labels %v", r.Subagents, r.Labels)
			}
		}
	}, withPolicy(p))
}

// TestASubagentWaitsForABudget: with its own turn, across a crash, and the budget is the session's.
func TestASubagentWaitsForABudget(t *testing.T) {
	var p *purse
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(`Call create_subagent with {"message":"Say cheap"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 1}`, coordinates)
		s = n.until(s.ID, status(session.StatusRequiresAction))
		time.Sleep(10 * time.Second)
		n.crash("node-2")
		time.Sleep(26 * time.Hour)
		s = n.until(s.ID, status(session.StatusRequiresAction))
		request, v := asked(n, s), n.view(s.ID)
		if want := session.TurnID(s.ID, v.At(v.Subagents[0].ID).Turn.Seq); s.RequiredActions[0].TurnID != want {
			t.Fatalf("it asks with turn %s, want %s", s.RequiredActions[0].TurnID, want)
		}
		n.send(s.ID, approves(request, nil))
		s = n.until(s.ID, func(s session.Session) bool { // the parent's next call
			return s.Status == session.StatusRequiresAction && s.RequiredActions[0].RequestID != request
		})
		n.send(s.ID, approves(asked(n, s), nil))
		n.idle(s.ID)
		if got := n.said(s.ID); got != "cheap" {
			t.Errorf("the agent said %q\n%s", got, n.journal(s.ID))
		}
		if c := p.counter(t); c.Spent.Calls != 4 || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v", c)
		}
	}, withBudgets(&p, waiting(usage.ScopeProject, usage.PeriodTotal)))
}

// TestASubagentWhoseModelIsDenied: its turn fails, with all that was under way for it: no summary outlives it.
func TestASubagentWhoseModelIsDenied(t *testing.T) {
	var summarizes atomic.Bool
	p := &gate{no: func(r policy.Request) bool {
		return r.Effect == policy.ModelCall && len(r.Subagents) > 0 && summarizes.Load()
	}}
	m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		switch {
		case strings.Contains(req.Instructions, "You are the subagent"):
			calls("big", `{}`)(ctx, req, yield)
		case len(req.Items) == 1:
			calls("create_subagent", `{"message":"go"}`)(ctx, req, yield)
		default:
			reply("ok")(ctx, req, yield)
		}
	})
	m.compact = func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		summarizes.Store(true)
		hangs(ctx, req, yield)
	}
	big := does{"big", tool.Pure, func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		lasts(ctx, time.Second)
		return outputs(strings.Repeat("y", 500))
	}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("go", func(s *agent.Spec) {
			coordinates(s)
			s.Compaction.Async, s.Tools = true, []agent.Tool{mcpServer()}
		}).ID
		n.idle(id)
		if v := n.view(id); !summarizes.Load() || v.Subagents[0].Outcome != session.TurnFail || v.Compacts() {
			t.Errorf("a summary began: %t; its turn is %s, and a summary is being made: %t\n%s", summarizes.Load(), v.Subagents[0].Outcome, v.Compacts(), n.journal(id))
		}
	}, withModel(m, small), withTools(having(big)), withPolicy(p))
}

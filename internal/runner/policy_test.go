package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// decider denies one effect, or fails to decide about it.
type decider struct {
	effect policy.Effect
	err    error
}

func (d decider) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	switch {
	case req.Effect != d.effect:
		return policy.Decision{Allow: true, By: "test", Reason: "fine"}, nil
	case d.err != nil:
		return policy.Decision{Allow: true, By: "test"}, d.err
	}
	return policy.Decision{By: "test", Reason: "not today"}, nil
}

// deniers are the ways to say no.
func deniers(effect policy.Effect) map[string]decider {
	return map[string]decider{"no": {effect, nil}, "an error": {effect, errors.New("secret-host is away")}}
}

func withPolicy(a policy.Authorizer) func(*node) {
	return with(func(c *runner.Config) { c.Policy = a })
}

func TestSessionThatIsDenied(t *testing.T) {
	for name, d := range deniers(policy.SessionCreate) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node) {
				_, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Input: message(filled("go"))})
				isKind(t, err, stead.KindForbidden)
				heads, err := n.store.Heads(context.Background(), me.Project, journal.Query{})
				if err != nil || len(heads) != 0 || n.cfg.Blobs.(*memBlobs).count() != 0 {
					t.Errorf("%d sessions, %d blobs, %v", len(heads), n.cfg.Blobs.(*memBlobs).count(), err)
				}
			}, withPolicy(d))
		})
	}
}

func TestModelCallThatIsDenied(t *testing.T) {
	for name, d := range deniers(policy.ModelCall) {
		t.Run(name, func(t *testing.T) {
			m := script(reply("never"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				n.idle(id)
				turn := n.onlyTurn(id)
				if turn.Status != session.TurnFail || len(m.asked()) != 0 {
					t.Fatalf("after %d calls turn %+v", len(m.asked()), turn)
				}
				if says := turn.Error.Message; !strings.Contains(says, "allowed") || strings.Contains(says, "secret-host") {
					t.Errorf("the turn says %q", says)
				}
			}, withModel(m), withPolicy(d))
		})
	}
}

func TestToolCallThatIsDenied(t *testing.T) {
	for name, d := range deniers(policy.ToolCall) {
		t.Run(name, func(t *testing.T) {
			m := script(calls("launch", `{}`), reply("a pity"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				n.idle(id)
				if len(n.tools.log()) != 0 || n.count(id, session.KindToolCalled) != 0 {
					t.Error("the tool was called")
				}
				if told := seen(m.last())[2]; !strings.Contains(told, "allowed") || strings.Contains(told, "secret-host") {
					t.Errorf("the model was told %q", told)
				}
				if got := n.items(id); !slices.Equal(got[1:], []string{"mcp launch {} failed", "assistant completed: a pity"}) {
					t.Errorf("items %q", got)
				}
			}, withModel(m), withPolicy(d))
		})
	}
}

// TestDecisionStandsInTheIntent: who allowed an effect is durable before it.
func TestDecisionStandsInTheIntent(t *testing.T) {
	m := script(calls("launch", `{}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		for _, e := range n.events(id) {
			if strings.HasSuffix(e.Kind, ".called") && !strings.Contains(string(e.Data), `"decision":{"allow":true,"by":"test","reason":"fine"}`) {
				t.Errorf("event %s: %s", e.Kind, e.Data)
			}
		}
	}, withModel(m), withPolicy(decider{}))
}

// TestEveryOperationPassesTheGate: one that is denied tells nothing and changes nothing.
func TestEveryOperationPassesTheGate(t *testing.T) {
	ctx := context.Background()
	name := "sim-2"
	operations := []struct {
		effect policy.Effect
		name   string
		do     func(n *node, id stead.SessionID) error
	}{
		{policy.SessionRead, "get", func(n *node, id stead.SessionID) error { _, err := n.Get(ctx, me, id); return err }},
		{policy.SessionRead, "list", func(n *node, _ stead.SessionID) error { _, err := n.List(ctx, me, session.ListQuery{}); return err }},
		{policy.SessionRead, "items", func(n *node, id stead.SessionID) error {
			_, err := n.Items(ctx, me, id, session.ItemQuery{})
			return err
		}},
		{policy.SessionRead, "turns", func(n *node, id stead.SessionID) error {
			_, err := n.Turns(ctx, me, id, session.PageQuery{})
			return err
		}},
		{policy.SessionRead, "traces", func(n *node, id stead.SessionID) error {
			_, err := n.Traces(ctx, me, id, session.PageQuery{})
			return err
		}},
		{policy.SessionRead, "stream", func(n *node, id stead.SessionID) error {
			return n.Stream(ctx, me, id, &stead.Cursor{}, nil, func(session.StreamEvent) error { return errors.New("shown") })
		}},
		{policy.SessionRead, "export", func(n *node, id stead.SessionID) error { return n.Export(ctx, me, id, &strings.Builder{}) }},
		{policy.SessionRead, "approvals", func(n *node, _ stead.SessionID) error {
			_, err := n.Approvals(ctx, me, session.PageQuery{})
			return err
		}},
		{policy.SessionWrite, "send", func(n *node, id stead.SessionID) error {
			return n.Send(ctx, me, id, session.SendRequest{Inputs: []session.Input{says("more")}})
		}},
		{policy.SessionWrite, "update", func(n *node, id stead.SessionID) error {
			_, err := n.Update(ctx, me, id, session.Updated{Model: &name})
			return err
		}},
		{policy.SessionWrite, "pause", func(n *node, id stead.SessionID) error { _, err := n.Pause(ctx, me, id); return err }},
		{policy.SessionWrite, "resume", func(n *node, id stead.SessionID) error { _, err := n.Resume(ctx, me, id); return err }},
		{policy.SessionWrite, "fork", func(n *node, id stead.SessionID) error {
			_, err := n.Fork(ctx, me, id, session.ForkRequest{})
			return err
		}},
		{policy.ApprovalGive, "approve", func(n *node, id stead.SessionID) error {
			return n.Send(ctx, me, id, session.SendRequest{Inputs: []session.Input{decides("req_x_1_0", session.DecisionApprove)}})
		}},
		{policy.SessionDelete, "delete", func(n *node, id stead.SessionID) error { return n.Delete(ctx, me, id) }},
		{policy.SessionCreate, "import", func(n *node, _ stead.SessionID) error {
			_, err := n.Import(ctx, me, strings.NewReader("{}"))
			return err
		}},
		{policy.AgentWrite, "create agent", func(n *node, _ stead.SessionID) error {
			_, err := n.CreateAgent(ctx, me, agent.Defaults(), "", "")
			return err
		}},
		{policy.AgentRead, "get agent", func(n *node, _ stead.SessionID) error { _, err := n.GetAgent(ctx, me, "agent_x", 0); return err }},
		{policy.AgentRead, "list agents", func(n *node, _ stead.SessionID) error {
			_, err := n.ListAgents(ctx, me, session.PageQuery{})
			return err
		}},
		{policy.AgentWrite, "delete agent", func(n *node, _ stead.SessionID) error { return n.DeleteAgent(ctx, me, "agent_x") }},
	}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			gate := &changing{decider: decider{effect: "nothing"}}
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				n.idle(id)
				before := n.kinds(id)
				gate.decider = decider{effect: op.effect}
				isKind(t, op.do(n, id), stead.KindForbidden)
				if got := n.kinds(id); !slices.Equal(got, before) {
					t.Errorf("events %q after %q", got, before)
				}
			}, withPolicy(gate))
		})
	}
}

// changing is a decider that is replaced between calls.
type changing struct{ decider }

func (c *changing) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	return c.decider.Decide(ctx, req)
}

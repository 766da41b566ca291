package runner_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// author lets nobody change agents but a principal.
func author(may stead.Principal) *gate {
	return &gate{no: func(r policy.Request) bool { return r.Effect == policy.AgentWrite && r.Principal.ID != may.ID }}
}

// An agent is known by its id to policies, tokens and memories. Who may not change it gets another one with other instructions or
// tools, which the limits of the first one still bind.
func TestWhoMayNotChangeAnAgentRunsAnother(t *testing.T) {
	ctx := context.Background()
	rules := author(me)
	other := stead.Principal{Project: me.Project, Kind: stead.PrincipalUser, ID: "ada"}
	n := newNode(t)
	n.Kill()
	n.cfg.Models = oneModel{m: script(reply("ok"), reply("ok"))}
	n.cfg.Policy = rules
	n.start("n1")
	saved, err := n.CreateAgent(ctx, me, agent.Spec{Model: "sim", Tools: []agent.Tool{mcpServer()}}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	said := "something else"
	for _, tt := range []struct {
		name   string
		by     stead.Principal
		change func(*agent.Spec)
		apart  bool
	}{
		{"as it is", other, nil, false},
		{"another model, longer", other, func(s *agent.Spec) { s.Model, s.MaxSteps, s.Metadata = "sim", 7, map[string]string{"a": "b"} }, false},
		{"the same tools", other, func(s *agent.Spec) { s.Tools = []agent.Tool{mcpServer()} }, false},
		{"other instructions", other, func(s *agent.Spec) { s.Instructions = &said }, true},
		{"no approvals", other, func(s *agent.Spec) { s.Tools = []agent.Tool{mcpServer(), function("f")} }, true},
		{"a schema that instructs", other, func(s *agent.Spec) { s.Text.Format.Schema = []byte(`{}`) }, true},
		{"by who may change it", me, func(s *agent.Spec) { s.Instructions = &said }, false},
	} {
		req := session.CreateRequest{AgentID: saved.ID}
		if tt.change != nil {
			req.Override = func(s *agent.Spec) error { tt.change(s); return nil }
		}
		made, err := n.Create(ctx, tt.by, req)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		asked := rules.of(policy.SessionCreate)
		last := asked[len(asked)-1]
		if apart := made.Agent.ID != saved.ID; apart != tt.apart || last.Agent != made.Agent.ID || apart && (last.Base != saved.ID || made.Agent.Version != 0) {
			t.Errorf("%s: agent %s, version %d; policies were asked about %s, made from %q", tt.name, made.Agent.ID, made.Agent.Version, last.Agent, last.Base)
		}
	}
}

// So it is with the tools of a session that runs, from then on and after a restart.
func TestWhoMayNotChangeAnAgentGivesItNoTools(t *testing.T) {
	ctx := context.Background()
	rules := author(me)
	other := stead.Principal{Project: me.Project, Kind: stead.PrincipalUser, ID: "ada"}
	n := newNode(t)
	n.Kill()
	n.cfg.Models = oneModel{m: script(reply("ok"), reply("ok"))}
	n.cfg.Policy = rules
	n.start("n1")
	saved, err := n.CreateAgent(ctx, me, agent.Spec{Model: "sim"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	made, err := n.Create(ctx, other, session.CreateRequest{AgentID: saved.ID})
	if err != nil {
		t.Fatal(err)
	}
	tools := []agent.Tool{function("f")}
	for _, by := range []stead.Principal{me, other, other} {
		now, err := n.Update(ctx, by, made.ID, session.Updated{Tools: &tools})
		if err != nil || (now.Agent.ID == saved.ID) != (by == me) {
			t.Fatalf("by %s: agent %s, %v", by.ID, now.Agent.ID, err)
		}
		tools = append(slices.Clone(tools), function("g"))
	}
	n.Kill()
	n.start("n2")
	after, err := n.Get(ctx, me, made.ID)
	if err != nil || after.Agent.ID == saved.ID || after.Agent.Version != 0 {
		t.Fatalf("agent %+v, %v", after.Agent, err)
	}
	if err := n.Send(ctx, other, made.ID, session.SendRequest{Inputs: []session.Input{{Message: message("go")}}}); err != nil {
		t.Fatal(err)
	}
	n.idle(made.ID)
	for _, req := range rules.of(policy.ModelCall) {
		if req.Agent != after.Agent.ID || req.Base != saved.ID {
			t.Errorf("a model call of %s, made from %q", req.Agent, req.Base)
		}
	}
	if len(rules.of(policy.ModelCall)) == 0 {
		t.Error("no model was called")
	}
}

// What an agent says of its tools counts for repeats: policies are told what the operator's server says, and of any other's nothing.
func TestAnAgentsWordIsNoClass(t *testing.T) {
	for _, tt := range []struct {
		name string
		tool agent.Tool
		want tool.Effect
	}{
		{"the server's word", mcpServer(), tool.Idempotent},
		{"the agent's", agent.Tool{Type: agent.ToolMCP, ServerLabel: "box", Effects: map[string]string{"count": "pure"}}, tool.Idempotent},
		{"an own server's", agent.Tool{Type: agent.ToolMCP, ServerLabel: "box", Transport: &agent.Transport{Type: agent.TransportHTTP, ServerURL: "https://a.example"}}, tool.Unknown},
		{"an own server's, by the agent", agent.Tool{Type: agent.ToolMCP, ServerLabel: "box", Transport: &agent.Transport{Type: agent.TransportHTTP, ServerURL: "https://a.example"}, Effects: map[string]string{"count": "pure"}}, tool.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := author(me)
			bubble(t, func(t *testing.T, n *node) {
				n.idle(n.create("go", tt.tool).ID)
				asked := rules.of(policy.ToolCall)
				if len(asked) == 0 || asked[0].Class != string(tt.want) {
					t.Errorf("policies were asked %+v", asked)
				}
			}, withModel(script(calls("count", `{}`), reply("ok"))), withPolicy(rules))
		})
	}
}

package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/replay"
	"github.com/stead-dev/stead/internal/session"
)

// journal is a session whose model asks for two calls: one is held, approved and made twice, since a
// crash came between; the other is refused.
func journal(t *testing.T) (stead.SessionKey, []stead.Event) {
	t.Helper()
	who := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}
	no := policy.Decision{By: "policy", Version: "v", Reason: "no"}
	held := no
	held.Needs = &policy.Needs{Roles: []stead.Role{"owner"}}
	call := func(id string) session.ReplyItem {
		return session.ReplyItem{Item: stead.Item{Type: stead.ItemMCPCall, CallID: id, Name: id, Arguments: []byte(`{"amount":5}`)}, Tool: &session.ToolCall{Server: "shop", Name: id, Effect: "idempotent"}}
	}
	return stead.SessionKey{Project: "default", Session: "sess_1"}, written(t,
		session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Principal: who, Metadata: map[string]string{"env": "prod"}},
		session.KindInputMessage, session.Message{By: who},
		session.KindTurnStarted, session.TurnStarted{},
		session.KindModelCalled, session.ModelCalled{Model: "m", Attempt: 1},
		session.KindModelReplied, session.ModelReplied{Call: 4, Items: []session.ReplyItem{call("refund"), call("wipe")}},
		session.KindToolHeld, session.ToolHeld{CallID: "refund", Decision: held},
		session.KindToolReturned, session.ToolReturned{CallID: "wipe", Error: "no", Decision: &no},
		session.KindInputApproval, session.ApprovalResult{CallID: "refund", Decision: session.DecisionApprove, By: who},
		session.KindToolCalled, session.ToolCalled{CallID: "refund", Attempt: 1, Decision: policy.Decision{Allow: true, Version: "v"}},
		session.KindRunnerRecovered, session.RunnerRecovered{},
		session.KindToolCalled, session.ToolCalled{CallID: "refund", Attempt: 2, Decision: policy.Decision{Allow: true, Version: "v"}},
		session.KindToolReturned, session.ToolReturned{CallID: "refund"},
	)
}

// written are events of those kinds and payloads.
func written(t *testing.T, all ...any) (events []stead.Event) {
	t.Helper()
	for i := 0; i < len(all); i += 2 {
		e, err := session.NewEvent(int64(1000+i/2), all[i].(string), all[i+1])
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = stead.Seq(i/2 + 1)
		events = append(events, e)
	}
	return events
}

type yes struct{}

func (yes) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true}, nil
}

// effects are what a journal says was asked, as short lines.
func effects(t *testing.T, key stead.SessionKey, events []stead.Event) (said replay.Recorded, lines []string) {
	t.Helper()
	said, err := replay.Effects(key, events)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range said.Asked {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", a.Seq, a.Request.Effect, a.Request.Resource, a.Then))
		if a.Request.At != int64(1000+int(a.Seq)-1) {
			t.Errorf("%s was asked at %d", lines[len(lines)-1], a.Request.At)
		}
	}
	return said, lines
}

// TestWhatWasAsked: each effect once, with what was decided, as the runner asked it.
func TestWhatWasAsked(t *testing.T) {
	key, events := journal(t)
	said, lines := effects(t, key, events)
	want := []string{
		"1 session.create agent_1 allow", "4 model.call m allow", "6 tool.call shop/refund approval", "7 tool.call shop/wipe deny",
		"8 approval.give  allow", "9 tool.call shop/refund allow",
	}
	if !slices.Equal(lines, want) {
		t.Fatalf("asked was\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if r := said.Asked[2].Request; string(r.Arguments) != `{"amount":5}` || !r.Acting || r.Class != "idempotent" || !r.Labels.Has("env", "prod") {
		t.Errorf("the call was asked as %+v", r)
	}
	changed, err := replay.Changes(t.Context(), yes{}, said.Asked, false)
	if err != nil || len(changed) != 2 || changed[0].Then != policy.Approval || changed[1].Then != policy.Denied {
		t.Errorf("changes %+v, %v", changed, err)
	}
	if len(said.Gaps) != 0 {
		t.Errorf("not asked: %+v", said.Gaps)
	}
}

// asks wants an approval of every call of a tool.
type asks struct{ policy.Needs }

func (a asks) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	if req.Effect != policy.ToolCall {
		return policy.Decision{Allow: true}, nil
	}
	return policy.Decision{Needs: &a.Needs}, nil
}

// TestWhatWasApprovedPasses: where the same approvals are enough, and not where more are wanted.
func TestWhatWasApprovedPasses(t *testing.T) {
	key, events := journal(t)
	said, _ := effects(t, key, events)
	for name, c := range map[string]struct {
		needs policy.Needs
		want  string
	}{
		"as it was": {policy.Needs{Roles: []stead.Role{"owner"}}, "[7 deny approval]"},
		"more":      {policy.Needs{Roles: []stead.Role{"owner"}, Count: 2}, "[7 deny approval 9 allow approval]"},
		"others'":   {policy.Needs{Roles: []stead.Role{"owner"}, Separate: true}, "[7 deny approval 9 allow approval]"},
	} {
		changed, err := replay.Changes(t.Context(), asks{c.needs}, said.Asked, false)
		var got []string
		for _, x := range changed {
			got = append(got, fmt.Sprintf("%d %s %s", x.Seq, x.Then, x.Now))
		}
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// What was refused then, by a kill switch say, is told as passing for its approvals, and not as asked about.
	for i := range said.Asked {
		said.Asked[i].Then = policy.Denied
	}
	changed, err := replay.Changes(t.Context(), asks{policy.Needs{Roles: []stead.Role{"owner"}}}, said.Asked, false)
	i := slices.IndexFunc(changed, func(c replay.Change) bool { return c.Seq == 9 })
	if err != nil || i < 0 || changed[i].Now != policy.Allowed || !strings.Contains(changed[i].Reason, "what was approved then is enough") {
		t.Errorf("%+v, %v", changed, err)
	}
}

// TestRedactedCalls: a call whose arguments were redacted is named as not asked about, and others of its reply are asked about.
func TestRedactedCalls(t *testing.T) {
	for name, instead := range map[string]string{"long": `{"redacted":"      "}`, "short": `{}`} {
		key, events := journal(t)
		events[4].Data = bytes.Replace(events[4].Data, []byte(`{"amount":5}`), []byte(instead), 1)
		gone, err := session.NewEvent(2000, session.KindItemRedacted, session.ItemRedacted{Prefix: "mcp", Seq: 4, Events: []session.RedactedEvent{{Seq: 5}}})
		if err != nil {
			t.Fatal(err)
		}
		gone.Seq = stead.Seq(len(events) + 1)
		said, lines := effects(t, key, append(events, gone))
		if got := fmt.Sprint(lines); strings.Contains(got, "shop/refund") || !strings.Contains(got, "tool.call shop/wipe deny") {
			t.Errorf("%s: asked: %s", name, got)
		}
		if len(said.Gaps) != 1 || said.Gaps[0].Effect != policy.ToolCall {
			t.Errorf("%s: not asked: %+v", name, said.Gaps)
		}
	}
}

// TestStoresOfRedactedCalls: which of several stores a redacted call was about is not known, so that nobody is asked about others.
func TestStoresOfRedactedCalls(t *testing.T) {
	key := stead.SessionKey{Project: "default", Session: "sess_1"}
	who := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}
	search := session.ReplyItem{
		Item: stead.Item{Type: stead.ItemMCPCall, CallID: "a", Name: "memory_search", Arguments: []byte(`{"memory_store_id":"memstore_1"}`)},
		Tool: &session.ToolCall{Server: "memory", Name: "memory_search"},
	}
	events := written(t,
		session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1", Spec: agent.Spec{Tools: []agent.Tool{
			{Type: agent.ToolMemory, ServerLabel: "memory", MemoryStores: []agent.MemoryStore{{ID: "memstore_1"}, {ID: "memstore_2"}}},
		}}}, Principal: who},
		session.KindInputMessage, session.Message{By: who},
		session.KindTurnStarted, session.TurnStarted{},
		session.KindModelCalled, session.ModelCalled{Model: "m", Attempt: 1},
		session.KindModelReplied, session.ModelReplied{Call: 4, Items: []session.ReplyItem{search}},
		session.KindToolCalled, session.ToolCalled{CallID: "a", Attempt: 1, Decision: policy.Decision{Allow: true}},
		session.KindItemRedacted, session.ItemRedacted{Prefix: "mcp", Seq: 4, Events: []session.RedactedEvent{{Seq: 5}}},
	)
	replied := events[4].Data
	for arguments, asked := range map[string]bool{`{"memory_store_id":"memstore_1"}`: true, `{"redacted":"        "}`: false} {
		events[4].Data = bytes.Replace(replied, search.Arguments, []byte(arguments), 1)
		said, lines := effects(t, key, events)
		if got := fmt.Sprint(lines); strings.Contains(got, "memstore_2") || strings.Contains(got, "memory.read memstore_1") != asked {
			t.Errorf("%s: asked: %s", arguments, got)
		}
		if named := slices.ContainsFunc(said.Gaps, func(g replay.Gap) bool { return g.Effect == policy.MemoryRead }); named == asked {
			t.Errorf("%s: not asked: %+v", arguments, said.Gaps)
		}
	}
}

// TestFilesThatWaited: what ended the environment, so that its files wait, was asked about as storing them; what was approved passes.
func TestFilesThatWaited(t *testing.T) {
	key := stead.SessionKey{Project: "default", Session: "sess_0123456789abcdef0123456789abcdef"}
	env, eve := session.EnvironmentID(key.Session), stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "eve", Role: "owner"}
	ask := policy.Decision{Version: "v", Needs: &policy.Needs{Roles: []stead.Role{"owner"}}}
	yes := policy.Decision{Allow: true, Version: "v"}
	checkpoint := environment.Checkpoint{Digest: "d"}
	events := written(t,
		session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Setup: &environment.Setup{Type: session.EnvironmentHosted}},
		session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Decision: yes},
		session.KindEnvironmentConnected, session.EnvironmentConnected{Call: 2, Node: "n"},
		session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionSuspend, Apart: true, Decision: ask},
		session.KindEnvironmentSuspended, session.EnvironmentSuspended{Call: 4, Upto: 4, Apart: true, Checkpoint: checkpoint},
		session.KindEffectHeld, session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.EnvironmentSave, Of: env}, Shown: []byte("{}"), Decision: ask},
		session.KindInputEffect, session.EffectResult{Asked: 6, Decision: session.DecisionApprove, By: eve},
		session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionSave, Keep: true, Decision: yes},
		session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: 8, Upto: 4, Checkpoint: checkpoint, Kept: 5},
	)
	said, lines := effects(t, key, events)
	want := []string{"2 environment.open " + env + " allow", "4 environment.save " + env + " approval", "6 environment.save " + env + " approval", "7 approval.give  allow", "8 environment.save " + env + " allow"}
	if !slices.Equal(lines, want) {
		t.Errorf("asked was %q", lines)
	}
	if changed, err := replay.Changes(t.Context(), saving{*ask.Needs}, said.Asked, false); err != nil || len(changed) != 0 {
		t.Errorf("the policy that was in force changes %+v, %v", changed, err)
	}
}

// saving wants an approval of what is stored.
type saving struct{ policy.Needs }

func (a saving) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	if req.Effect != policy.EnvironmentSave {
		return policy.Decision{Allow: true}, nil
	}
	return policy.Decision{Needs: &a.Needs}, nil
}

// TestOlderJournals: functions that nobody was asked about were asked for, and what names nobody is asked about for nobody.
func TestOlderJournals(t *testing.T) {
	key := stead.SessionKey{Project: "default", Session: "sess_1"}
	who := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}
	events := written(t,
		session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Principal: who},
		session.KindInputMessage, session.Message{},
		session.KindTurnStarted, session.TurnStarted{},
		session.KindModelCalled, session.ModelCalled{Model: "m", Attempt: 1},
		session.KindModelReplied, session.ModelReplied{Call: 4, Items: []session.ReplyItem{
			{Item: stead.Item{Type: stead.ItemFunctionCall, CallID: "a", Name: "pay", Arguments: []byte(`{"n":1}`)}, Tool: &session.ToolCall{}},
			{Item: stead.Item{Type: stead.ItemFunctionCall, CallID: "b", Name: "none", Arguments: []byte(`{}`)}, Tool: &session.ToolCall{Reject: "there is no tool none"}},
		}},
	)
	if _, lines := effects(t, key, events); !slices.Equal(lines, []string{"1 session.create agent_1 allow", "4 model.call m allow", "5 tool.call function/pay allow"}) {
		t.Errorf("asked was %q", lines)
	}
}

// TestConnectionsAndGaps: connections out of an environment are asked about as far as policies were, and what stands in no journal is named once.
func TestConnectionsAndGaps(t *testing.T) {
	key := stead.SessionKey{Project: "default", Session: "sess_1"}
	who := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}
	call := func(id string) session.ReplyItem {
		return session.ReplyItem{Item: stead.Item{Type: stead.ItemMCPCall, CallID: id, Name: "refund", Arguments: []byte(`{}`)}, Tool: &session.ToolCall{Server: "shop", Name: "refund"}}
	}
	events := written(t,
		session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1", Spec: agent.Spec{Tools: []agent.Tool{{Type: agent.ToolMCP, ServerLabel: "shop"}}}}, Principal: who, VaultIDs: []string{"vault_1"},
			Setup: &environment.Setup{Config: []byte(`{"environment_template_id":"tmpl_1","files":[{"file_id":"file_1"},{"path":"/workspace/a"}],"skills":[{"skill_id":"skill_1"}]}`)}},
		session.KindInputMessage, session.Message{By: who},
		session.KindTurnStarted, session.TurnStarted{},
		session.KindModelCalled, session.ModelCalled{Model: "m", Attempt: 1},
		session.KindModelReplied, session.ModelReplied{Call: 4, Items: []session.ReplyItem{call("a"), call("b")}},
		session.KindToolCalled, session.ToolCalled{CallID: "a", Attempt: 1, Decision: policy.Decision{Allow: true}},
		session.KindToolCalled, session.ToolCalled{CallID: "b", Attempt: 1, Decision: policy.Decision{Allow: true}},
		"egress.decided", egress.Record{Kind: egress.KindRequest, Host: "a.example", Port: 80, Allowed: true, Method: "POST", Path: "/x"},
		"egress.decided", egress.Record{Kind: egress.KindTunnel, Host: "b.example", Port: 443, Rule: egress.RulePolicy, Method: "CONNECT"},
		"egress.decided", egress.Record{Kind: egress.KindTunnel, Host: "c.example", Port: 443, Rule: "network.blocked"},
		session.KindSessionPaused, session.Paused{By: who},
	)
	said, lines := effects(t, key, events)
	want := []string{
		"1 session.create agent_1 allow", "1 template.read tmpl_1 allow", "1 file.read file_1 allow", "1 skill.read skill_1 allow", "4 model.call m allow",
		"6 tool.call shop/refund allow", "7 tool.call shop/refund allow", "8 network.connect a.example allow", "9 network.connect b.example deny", "11 session.write  allow",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("asked was\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if len(said.Gaps) != 1 || said.Gaps[0].Effect != policy.CredentialUse {
		t.Errorf("not asked: %+v", said.Gaps)
	}
	for _, a := range said.Asked {
		c := a.Request.Connection
		switch a.Request.Resource {
		case "a.example":
			if c == nil || *c != (policy.Connection{Port: 80, Kind: "request", Method: "POST", Path: "/x"}) || a.Request.Destination != "a.example:80" || !a.Request.Acting {
				t.Errorf("asked %+v, %+v", a.Request, c)
			}
		case "b.example":
			if c == nil || *c != (policy.Connection{Port: 443, Kind: "tunnel"}) {
				t.Errorf("asked %+v", c)
			}
		}
	}
}

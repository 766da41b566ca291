package replay_test

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
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
	var events []stead.Event
	for i, x := range []struct {
		kind    string
		payload any
	}{
		{session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Principal: who, Metadata: map[string]string{"env": "prod"}}},
		{session.KindInputMessage, session.Message{By: who}},
		{session.KindTurnStarted, session.TurnStarted{}},
		{session.KindModelCalled, session.ModelCalled{Model: "m", Attempt: 1}},
		{session.KindModelReplied, session.ModelReplied{Call: 4, Items: []session.ReplyItem{call("refund"), call("wipe")}}},
		{session.KindToolHeld, session.ToolHeld{CallID: "refund", Decision: held}},
		{session.KindToolReturned, session.ToolReturned{CallID: "wipe", Error: "no", Decision: &no}},
		{session.KindInputApproval, session.ApprovalResult{CallID: "refund", Decision: session.DecisionApprove, By: who}},
		{session.KindToolCalled, session.ToolCalled{CallID: "refund", Attempt: 1, Decision: policy.Decision{Allow: true, Version: "v"}}},
		{session.KindRunnerRecovered, session.RunnerRecovered{}},
		{session.KindToolCalled, session.ToolCalled{CallID: "refund", Attempt: 2, Decision: policy.Decision{Allow: true, Version: "v"}}},
		{session.KindToolReturned, session.ToolReturned{CallID: "refund"}},
	} {
		e, err := session.NewEvent(int64(1000+i), x.kind, x.payload)
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = stead.Seq(i + 1)
		events = append(events, e)
	}
	return stead.SessionKey{Project: "default", Session: "sess_1"}, events
}

type yes struct{}

func (yes) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true}, nil
}

// TestWhatWasAsked: each effect once, with what was decided, as the runner asked it.
func TestWhatWasAsked(t *testing.T) {
	key, events := journal(t)
	asked, err := replay.Effects(key, events)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		seq      stead.Seq
		resource string
		then     policy.Outcome
	}{{1, "agent_1", policy.Allowed}, {4, "m", policy.Allowed}, {6, "shop/refund", policy.Approval}, {7, "shop/wipe", policy.Denied}}
	if len(asked) != len(want) {
		t.Fatalf("%d effects, want %d: %+v", len(asked), len(want), asked)
	}
	for i, w := range want {
		a := asked[i]
		if a.Seq != w.seq || a.Request.Resource != w.resource || a.Then != w.then || a.Request.At != int64(1000+int(w.seq)-1) || !a.Request.Labels.Has("env", "prod") {
			t.Errorf("effect %d: %+v, want %+v", i, a, w)
		}
	}
	if r := asked[2].Request; string(r.Arguments) != `{"amount":5}` || !r.Acting || r.Class != "idempotent" {
		t.Errorf("the call was asked as %+v", r)
	}
	changed, err := replay.Changes(t.Context(), yes{}, asked, false)
	if err != nil || len(changed) != 2 || changed[0].Then != policy.Approval || changed[1].Then != policy.Denied {
		t.Errorf("changes %+v, %v", changed, err)
	}
}

package runner_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// holder is a decider that wants approvals of tool calls.
type holder struct{ needs policy.Needs }

func (h *holder) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	d := policy.Decision{Allow: true, By: "test", Version: "v1"}
	if req.Effect == policy.ToolCall {
		needs := h.needs
		d.Allow, d.Needs, d.Policies, d.Reason = false, &needs, []string{"p"}, "policy p asks for approval: it flies"
	}
	return d, nil
}

func as(id string, role stead.Role) stead.Principal {
	return stead.Principal{Project: me.Project, Kind: stead.PrincipalUser, ID: id, Role: role}
}

// approve answers the session's one open request.
func (n *node) approve(id stead.SessionID, by stead.Principal, decision string) error {
	n.t.Helper()
	s, err := n.Get(context.Background(), me, id)
	if err != nil || len(s.RequiredActions) != 1 {
		n.t.Fatalf("%d actions are required, %v", len(s.RequiredActions), err)
	}
	return n.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{decides(s.RequiredActions[0].RequestID, decision)}})
}

// TestCallThatPoliciesHold: it waits like any other approval, for those whose word counts.
func TestCallThatPoliciesHold(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2, Separate: true}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		s := n.until(id, status(session.StatusRequiresAction))
		if len(n.tools.log()) != 0 || n.count(id, session.KindToolCalled) != 0 {
			t.Fatal("it was called before anybody approved")
		}
		if says := s.RequiredActions[0].Request.Message; !strings.Contains(says, "it flies") || !strings.Contains(says, "2 approval(s) by approver") {
			t.Errorf("the question is %q", says)
		}
		isKind(t, n.approve(id, as("dev", "developer"), session.DecisionApprove), stead.KindForbidden)
		isKind(t, n.approve(id, me, session.DecisionApprove), stead.KindForbidden) // the session is its own
		if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		isKind(t, n.approve(id, as("eve", "approver"), session.DecisionApprove), stead.KindConflict)
		if len(n.tools.log()) != 0 {
			t.Fatal("one approval of two was enough")
		}
		if err := n.approve(id, as("bob", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if len(n.tools.log()) != 1 || n.count(id, session.KindToolHeld) != 1 || n.count(id, session.KindToolCalled) != 1 {
			t.Errorf("%d calls; events %q", len(n.tools.log()), n.kinds(id))
		}
	}, withModel(script(calls("launch", `{}`), reply("done"))), withPolicy(h))
}

// TestHeldCallThatIsDenied: a no of anybody who may answer is enough.
func TestHeldCallThatIsDenied(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"owner"}}}
	m := script(calls("launch", `{}`), reply("a pity"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.until(id, status(session.StatusRequiresAction))
		if err := n.approve(id, as("eve", "approver"), session.DecisionDeny); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if len(n.tools.log()) != 0 || !strings.Contains(seen(m.last())[2], "not approved") {
			t.Errorf("%d calls, the model was told %q", len(n.tools.log()), seen(m.last())[2])
		}
	}, withModel(m), withPolicy(h))
}

// TestHeldCallExpires: nobody answers, nothing is held in memory, and the model is told.
func TestHeldCallExpires(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: time.Hour.Milliseconds()}}
	m := script(calls("launch", `{}`), reply("a pity"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.until(id, status(session.StatusRequiresAction))
		begun := time.Now()
		n.idle(id)
		if waited := time.Since(begun); waited < time.Hour-time.Minute || waited > time.Hour+time.Minute {
			t.Errorf("it was refused after %s", waited)
		}
		if len(n.tools.log()) != 0 || !strings.Contains(seen(m.last())[2], "nobody gave it in time") {
			t.Errorf("%d calls, the model was told %q", len(n.tools.log()), seen(m.last())[2])
		}
	}, withModel(m), withPolicy(h))
}

// TestHeldCallOutlivesItsNode: after a crash the same question stands, and what was approved stays so.
func TestHeldCallOutlivesItsNode(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2}}
	n := newNode(t)
	n.Kill()
	n.cfg.Policy = h
	n.start("node-2")
	id := n.create(`Call launch with {"n":1}`, mcpServer()).ID
	first := n.until(id, status(session.StatusRequiresAction)).RequiredActions
	if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
		t.Fatal(err)
	}
	n.Kill()
	n.start("node-3")
	second := n.until(id, status(session.StatusRequiresAction)).RequiredActions
	if len(second) != 1 || second[0].RequestID != first[0].RequestID {
		t.Fatalf("it asks %+v after %+v", second, first)
	}
	if err := n.approve(id, as("bob", "approver"), session.DecisionApprove); err != nil {
		t.Fatal(err)
	}
	n.until(id, status(session.StatusIdle))
	if n.count(id, session.KindToolHeld) != 1 || len(n.tools.log()) != 1 {
		t.Errorf("%d questions, %d calls", n.count(id, session.KindToolHeld), len(n.tools.log()))
	}
}

// TestPoliciesAreToldOfTheSession: labels, spend and class reach the decider, and what was decided of
// the attempt before.
func TestPoliciesAreToldOfTheSession(t *testing.T) {
	var mu sync.Mutex
	var got []policy.Request
	ask := authorizerFunc(func(req policy.Request) policy.Decision {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, req)
		return policy.Decision{Allow: true, By: "test", Version: "v1"}
	})
	bubble(t, func(t *testing.T, n *node) {
		limit := int64(700)
		s, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(mcpServer()), Input: message("go"), Metadata: map[string]string{"env": "prod"}, SpendLimitCents: &limit})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(s.ID)
		mu.Lock()
		defer mu.Unlock()
		at := slices.IndexFunc(got, func(r policy.Request) bool { return r.Effect == policy.ToolCall })
		if at < 0 {
			t.Fatal("it was not asked about the tool")
		}
		r := got[at]
		if !r.Acting || r.Agent == "" || !r.Labels.Has("env", "prod") || r.Spend == nil || r.Spend.Limit != limit*session.MicroCentsPerCent || r.Resource != "box/launch" || r.Before != nil {
			t.Errorf("asked %+v", r)
		}
		if c := got[slices.IndexFunc(got, func(r policy.Request) bool { return r.Effect == policy.SessionCreate })]; c.Acting || !c.Labels.Has("env", "prod") {
			t.Errorf("asked about the session %+v", c)
		}
	}, withModel(script(calls("launch", `{}`), reply("ok"))), withPolicy(ask))
}

type authorizerFunc func(policy.Request) policy.Decision

func (f authorizerFunc) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	return f(req), nil
}

package runner_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

// TestListByStatusSeesAcknowledgedInput: the status that lists filter by is the one that the
// session shows, from the moment that the input is acknowledged, though nobody has taken it up.
func TestListByStatusSeesAcknowledgedInput(t *testing.T) {
	asks := mcpServer()
	asks.RequireApproval = &agent.Approval{Mode: "always"}
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		waits := n.create("Call launch with {}", asks)
		w := n.until(waits.ID, status(session.StatusRequiresAction))
		rests := n.create("hello")
		n.idle(rests.ID)
		n.Kill() // from here on nobody moves a session, and input is taken all the same
		n.send(rests.ID, says("again"))
		n.send(waits.ID, decides(w.RequiredActions[0].RequestID, session.DecisionApprove))
		for want, count := range map[string]int{
			session.StatusInProgress: 2, session.StatusIdle: 0, session.StatusRequiresAction: 0, session.StatusFailed: 0,
		} {
			page, err := n.List(ctx, me, session.ListQuery{Filter: session.Filter{Status: want}})
			if err != nil || len(page.Data) != count {
				t.Errorf("%d sessions are %s, want %d, %v", len(page.Data), want, count, err)
			}
		}
		n.send(rests.ID, cancels)
		n.start("node-2")
		n.idle(rests.ID)
		n.idle(waits.ID)
		if page, err := n.List(ctx, me, session.ListQuery{Filter: session.Filter{Status: session.StatusIdle}}); err != nil || len(page.Data) != 2 {
			t.Errorf("%d sessions are idle, %v", len(page.Data), err)
		}
	})
}

func TestListsArePaged(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		var want []stead.SessionID
		for i := range 11 {
			s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(), Metadata: map[string]string{"odd": fmt.Sprint(i%2 == 1)}})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, s.ID)
		}
		for _, desc := range []bool{false, true} {
			for _, limit := range []int{1, 4, 11, 100} {
				var got []stead.SessionID
				q := session.ListQuery{PageQuery: session.PageQuery{Limit: limit, Desc: desc}}
				for more := true; more; {
					page, err := n.List(ctx, me, q)
					if err != nil || len(page.Data) == 0 {
						t.Fatalf("page of %d, %v", len(page.Data), err)
					}
					for _, s := range page.Data {
						got = append(got, s.ID)
					}
					q.After, more = string(got[len(got)-1]), page.HasMore
				}
				if desc {
					slices.Reverse(got)
				}
				if !slices.Equal(got, want) {
					t.Errorf("pages of %d, desc %t: %q", limit, desc, got)
				}
			}
		}
		odd, err := n.List(ctx, me, session.ListQuery{Filter: session.Filter{Metadata: map[string]string{"odd": "true"}}})
		if err != nil || len(odd.Data) != 5 {
			t.Errorf("%d sessions by metadata, %v", len(odd.Data), err)
		}
	})
}

// TestSavedAgent: a session pins the version that it was made with.
func TestSavedAgent(t *testing.T) {
	m := script(reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		spec := agent.Defaults()
		one, two := "one", "two"
		spec.Model, spec.Instructions = "sim", &one
		a, err := n.CreateAgent(ctx, me, spec, "k", "d")
		if err != nil || a.Version != 1 {
			t.Fatalf("agent %+v, %v", a, err)
		}
		if again, err := n.CreateAgent(ctx, me, spec, "k", "d"); err != nil || again.ID != a.ID {
			t.Errorf("the same request made agent %s after %s, %v", again.ID, a.ID, err)
		}
		_, err = n.CreateAgent(ctx, me, spec, "k", "e")
		isKind(t, err, stead.KindConflict)
		old, err := n.Create(ctx, me, session.CreateRequest{AgentID: a.ID, Input: message("go")})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(old.ID)
		if b, err := n.UpdateAgent(ctx, me, a.ID, func(s *agent.Spec) error { s.Instructions = &two; return nil }); err != nil || b.Version != 2 {
			t.Fatalf("agent %+v, %v", b, err)
		}
		fresh, err := n.Create(ctx, me, session.CreateRequest{AgentID: a.ID, Input: message("go")})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(fresh.ID)
		if err := n.DeleteAgent(ctx, me, a.ID); err != nil {
			t.Fatal(err)
		}
		n.send(old.ID, says("again"))
		s := n.idle(old.ID)
		var instructions []string
		for _, r := range m.asked() {
			instructions = append(instructions, r.Instructions)
		}
		if !slices.Equal(instructions, []string{"one", "two", "one"}) || s.Agent.Version != 1 || fresh.Agent.Version != 2 {
			t.Errorf("instructions %q, versions %d and %d", instructions, s.Agent.Version, fresh.Agent.Version)
		}
		_, err = n.Create(ctx, me, session.CreateRequest{AgentID: a.ID})
		isKind(t, err, stead.KindNotFound)
		_, err = n.Create(ctx, me, session.CreateRequest{})
		isKind(t, err, stead.KindInvalid)
		_, err = n.Create(ctx, me, session.CreateRequest{Override: func(s *agent.Spec) error { s.Model = "gpt"; return nil }})
		isKind(t, err, stead.KindInvalid)
	}, withModel(m))
}

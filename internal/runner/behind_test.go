package runner_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// TestACopyOfACopyKnowsWhoIsBehindIt: whom each session on the way served, and who copied it, also where they said nothing there.
func TestACopyOfACopyKnowsWhoIsBehindIt(t *testing.T) {
	ctx, bob, eve := context.Background(), as("bob", "owner"), as("eve", "owner")
	saw := &seers{}
	bubble(t, func(t *testing.T, n *node) {
		id := idleSession(n)
		for _, by := range []stead.Principal{bob, eve} {
			s, err := n.Fork(ctx, by, id, session.ForkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			id = s.ID
		}
		if err := n.Send(ctx, eve, id, session.SendRequest{Inputs: []session.Input{{Message: message("hello")}}}); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		for _, who := range []stead.Principal{me, bob, eve} {
			if !slices.ContainsFunc(saw.behind, func(p stead.Principal) bool { return p.Kind == who.Kind && p.ID == who.ID }) {
				t.Errorf("%s is not behind the copy of a copy: %v", who.ID, saw.behind)
			}
		}
	}, withPolicy(saw))
}

// seers remembers who stood behind the last model call.
type seers struct{ behind []stead.Principal }

func (s *seers) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	if req.Effect == policy.ModelCall {
		s.behind = slices.Clone(req.Behind)
	}
	return policy.Decision{Allow: true, By: "test"}, nil
}

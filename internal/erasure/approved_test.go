package erasure_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// wants is policies: how many owners must approve a deletion; 0: it is forbidden.
type wants struct{ owners int }

func (w *wants) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	if req.Effect != policy.SessionDelete || w.owners == 0 {
		return policy.Decision{Allow: req.Effect != policy.SessionDelete, Reason: "forbidden by now"}, nil
	}
	return policy.Decision{Needs: &policy.Needs{Roles: []stead.Role{"owner"}, Count: w.owners}}, nil
}

// gated is a world that asks before it deletes.
type gated struct {
	*world
	gate policy.Authorizer
}

func (g gated) Erase(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error) {
	if _, err := policy.Check(ctx, g.gate, policy.Request{Principal: p, Session: stead.SessionKey{Project: p.Project, Session: id}, Effect: policy.SessionDelete}); err != nil {
		return session.Erased{}, err
	}
	return g.world.Erase(ctx, p, id)
}

func (g gated) Holdings(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Holdings, error) {
	if _, err := policy.Check(ctx, g.gate, policy.Request{Principal: p, Session: stead.SessionKey{Project: p.Project, Session: id}, Effect: policy.SessionDelete}); err != nil {
		return session.Holdings{}, err
	}
	return g.world.Holdings(ctx, p, id)
}

// TestAnApprovedDeletionGoesOn: a node dies in the middle of a deletion that was approved. Another one ends it by the same approval,
// unless it became forbidden meanwhile, or takes more than that by now.
func TestAnApprovedDeletionGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		then int // owners
		gone bool
	}{"the same": {1, true}, "forbidden": {0, false}, "more": {2, false}} {
		w, want := newWorld(), &wants{1}
		clock := func() time.Time { return w.now }
		desk := approval.NewDesk(approval.Config{Documents: documenttest.NewMemory(), Now: clock, Log: slog.New(slog.DiscardHandler),
			Record: func(context.Context, audit.Record) error { return nil }})
		gate := approval.NewAuthorizer(want, desk)
		config := w.config(t, gated{w, gate})
		config.Policy = gate
		s := erasure.New(config)
		request := func() context.Context {
			act := &approval.Act{Method: "DELETE", Path: "/v1/agents/sessions/s1", Request: "r"}
			act.SetBody(nil)
			return approval.WithAct(t.Context(), act)
		}
		if _, err := s.Session(request(), ada, "s1"); stead.KindOf(err) != stead.KindForbidden {
			t.Fatal(err)
		}
		inbox := approval.NewService(desk, want, want)
		boss := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "boss", Role: "owner"}
		open, _, err := inbox.List(t.Context(), boss, "", false, 10)
		if err != nil || len(open) != 1 {
			t.Fatal(open, err)
		}
		if err := inbox.Answer(t.Context(), boss, open[0].ID, approval.Answer{Decision: approval.Approve}); err != nil {
			t.Fatal(err)
		}
		w.dieAt, w.before = w.calls+3, true // it was counted, and is not deleted yet
		if _, err := s.Session(request(), ada, "s1"); err == nil {
			t.Fatal("it did not die")
		}
		w.revive()
		want.owners = c.then
		w.now = w.now.Add(time.Hour)
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Error(name, err)
		}
		if _, there := w.sessions["s1"]; there == c.gone {
			t.Errorf("%s: the session is there: %v", name, there)
		}
		list, _, err := s.List(t.Context(), ada, "", false, 10)
		if err != nil || len(list) == 1 != c.gone {
			shown, _ := json.Marshal(list)
			t.Errorf("%s: %s, %v", name, shown, err)
		}
	}
}

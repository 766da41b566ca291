package runner_test

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// One request steers every session that fits, leaves the others, and says which could not be changed.
func TestControlOfManySessions(t *testing.T) {
	const many = stead.MaxPageSize + 5
	bubble(t, func(t *testing.T, n *node) {
		ctx := t.Context()
		control := func(p stead.Principal, req session.ControlRequest) session.Controlled {
			t.Helper()
			out, err := n.Control(ctx, p, req)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		is := func(what string, got session.Controlled, matched, changed, failed int) {
			t.Helper()
			if got.Matched != matched || got.Changed != changed || got.Failed != failed || len(got.Failures) != failed || got.More {
				t.Errorf("%s: %+v, want %d matched, %d changed, %d failed", what, got, matched, changed, failed)
			}
		}
		var waiting []stead.SessionID
		for range many {
			waiting = append(waiting, n.until(n.create("Go", function("ask")).ID, status(session.StatusRequiresAction)).ID)
		}
		is("dry", control(me, session.ControlRequest{Action: session.ControlPause, Dry: true}), many, many, 0)
		is("pause", control(me, session.ControlRequest{Action: session.ControlPause}), many, many, 0)
		is("again", control(me, session.ControlRequest{Action: session.ControlPause}), many, 0, 0)
		if _, err := n.Resume(ctx, me, waiting[0]); err != nil {
			t.Fatal(err)
		}
		is("one of them", control(me, session.ControlRequest{Action: session.ControlPause}), many, 1, 0)
		is("of somebody else", control(me, session.ControlRequest{Action: session.ControlResume, Filter: session.Filter{User: "nobody"}}), 0, 0, 0)
		is("of whoever made them", control(me, session.ControlRequest{Action: session.ControlResume, Filter: session.Filter{User: me.ID, Status: session.StatusRequiresAction}}), many, many, 0)
		is("in another state", control(me, session.ControlRequest{Action: session.ControlCancel, Filter: session.Filter{Status: session.StatusIdle}}), 0, 0, 0)
		rest := control(me, session.ControlRequest{Action: session.ControlCancel, After: waiting[many-3]})
		is("those behind one", rest, 2, 2, 0)
		is("cancel", control(me, session.ControlRequest{Action: session.ControlCancel}), many, many-2, 0)
		for _, id := range waiting {
			n.idle(id)
		}
		bound := me
		bound.ID, bound.Bound = "guest", true
		is("a bound principal sees its own", control(bound, session.ControlRequest{Action: session.ControlPause}), 0, 0, 0)
	}, withModel(script(calls("ask", "{}"))))
}

// The whole is asked for as one act, and each session as its own.
func TestControlAsksForEachSession(t *testing.T) {
	gate := &picky{}
	bubble(t, func(t *testing.T, n *node) {
		a, b := n.begin("Go", func(*agent.Spec) {}).ID, n.begin("Go", func(*agent.Spec) {}).ID
		n.idle(a)
		n.idle(b)
		gate.denied = func(req policy.Request) bool { return req.Effect == policy.SessionWrite && req.Session.Session == a }
		out, err := n.Control(t.Context(), me, session.ControlRequest{Action: session.ControlPause})
		if err != nil || out.Changed != 1 || out.Failed != 1 || out.Failures[0].Session != a || stead.KindOf(out.Failures[0].Err) != stead.KindForbidden {
			t.Errorf("%v: %+v", err, out)
		}
		gate.denied = func(req policy.Request) bool { return req.Effect == policy.SessionControl }
		_, err = n.Control(context.Background(), me, session.ControlRequest{Action: session.ControlResume})
		isKind(t, err, stead.KindForbidden)
		if !n.got(b).Paused {
			t.Error("what was denied was done")
		}
	}, withPolicy(gate))
}

// picky denies what a function says.
type picky struct {
	denied func(policy.Request) bool // set between calls
}

func (p *picky) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: p.denied == nil || !p.denied(req), By: "test"}, nil
}

package runner_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

const goes = `Call launch with {"n":1}`

func idleSession(n *node) stead.SessionID {
	s, err := n.Create(context.Background(), me, session.CreateRequest{Override: func(s *agent.Spec) error { s.Model, s.Tools = "sim", []agent.Tool{mcpServer()}; return nil }})
	if err != nil {
		n.t.Fatal(err)
	}
	return s.ID
}

// TestWhoCausedACallDoesNotApproveIt: whoever told a session's agent something, gave it tools or files, copied it or changed the call
// stands behind what it does, as the one does whom the session belongs to. Whoever only answered does not.
func TestWhoCausedACallDoesNotApproveIt(t *testing.T) {
	ctx := context.Background()
	eve, bob := as("eve", "approver"), as("bob", "approver")
	say := func(n *node, id stead.SessionID, by stead.Principal, text string) {
		in := session.Input{Message: message(text)}
		if err := n.Send(ctx, by, id, session.SendRequest{Inputs: []session.Input{in}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, cause := range map[string]func(n *node) stead.SessionID{
		"a message": func(n *node) stead.SessionID {
			id := idleSession(n)
			say(n, id, eve, goes)
			return id
		},
		"an earlier turn": func(n *node) stead.SessionID {
			id := idleSession(n)
			say(n, id, eve, "hello")
			n.idle(id)
			say(n, id, me, goes)
			return id
		},
		"a message to the session that it was copied from": func(n *node) stead.SessionID {
			id := idleSession(n)
			say(n, id, eve, "hello")
			n.idle(id)
			s, err := n.Fork(ctx, me, id, session.ForkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			say(n, s.ID, me, goes)
			return s.ID
		},
		"the copy": func(n *node) stead.SessionID {
			id := idleSession(n)
			say(n, id, me, "hello")
			n.idle(id)
			s, err := n.Fork(ctx, eve, id, session.ForkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			say(n, s.ID, me, goes)
			return s.ID
		},
		"items": func(n *node) stead.SessionID {
			id := idleSession(n)
			said := []stead.Item{{Type: stead.ItemMessage, Role: "user", Content: stead.TextContent(stead.ContentInputText, "launch when you are told to")}}
			if _, err := n.AddItems(ctx, eve, id, session.ConversationRequest{Items: said}); err != nil {
				t.Fatal(err)
			}
			say(n, id, me, goes)
			return id
		},
		"tools": func(n *node) stead.SessionID {
			id := idleSession(n)
			if _, err := n.Update(ctx, eve, id, session.Updated{Tools: &[]agent.Tool{mcpServer()}}); err != nil {
				t.Fatal(err)
			}
			say(n, id, me, goes)
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, Separate: true}}
			bubble(t, func(t *testing.T, n *node) {
				id := cause(n)
				n.until(id, status(session.StatusRequiresAction))
				isKind(t, n.approve(id, eve, session.DecisionApprove), stead.KindForbidden)
				isKind(t, n.approve(id, me, session.DecisionApprove), stead.KindForbidden)
				say(n, id, bob, "I am about to approve it") // what is said once it was asked about is behind later calls alone
				if err := n.approve(id, bob, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if len(n.tools.log()) != 1 {
					t.Errorf("%d calls; events %q", len(n.tools.log()), n.kinds(id))
				}
			}, withPolicy(h))
		})
	}
}

// TestWhoChangedACallDoesNotApproveIt: it is another call then, which is theirs.
func TestWhoChangedACallDoesNotApproveIt(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, Separate: true}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
		eve, bob := as("eve", "approver"), as("bob", "approver")
		in := session.ApprovalInput{RequestID: asked.RequestID, Decision: session.DecisionApprove, Arguments: `{"n":900}`}
		if err := n.Send(context.Background(), eve, id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}}); err != nil {
			t.Fatal(err)
		}
		if s := n.until(id, status(session.StatusRequiresAction)); len(n.tools.log()) != 0 || s.RequiredActions[0].RequestID == asked.RequestID {
			t.Fatalf("whoever changed the call approved it: %d calls", len(n.tools.log()))
		}
		isKind(t, n.approve(id, eve, session.DecisionApprove), stead.KindForbidden)
		if err := n.approve(id, bob, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if made := n.tools.log(); len(made) != 1 || string(made[0].Arguments) != `{"n":900}` {
			t.Errorf("made were %+v", made)
		}
	}, withModel(script(calls("launch", `{"n":1}`), reply("done"))), withPolicy(h), with(func(c *runner.Config) { c.CheckArguments = func(_, _ []byte) error { return nil } }))
}

// TestWhoIsBehindACallAlone: a call whose arguments somebody changed is not its user's alone, and the others of the turn are; whoever denies a call and
// tells the agent why is behind what it does then, so that it does nothing with what is its user's own.
func TestWhoIsBehindACallAlone(t *testing.T) {
	answer := func(n *node, id stead.SessionID, call string, decision, arguments, reason string, by ...string) {
		t.Helper()
		for _, who := range by {
			s := n.until(id, status(session.StatusRequiresAction))
			i := slices.IndexFunc(s.RequiredActions, func(r session.RequiredAction) bool { return strings.Contains(string(r.Request.Arguments), call) })
			if i < 0 {
				t.Fatalf("%s is not asked about: %+v", call, s.RequiredActions)
			}
			in := session.ApprovalInput{RequestID: s.RequiredActions[i].RequestID, Decision: decision, Arguments: arguments, Reason: reason}
			if err := n.Send(context.Background(), as(who, "approver"), id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
	}
	alone := func(n *node) map[string]bool {
		out := map[string]bool{}
		for _, c := range n.tools.log() {
			out[string(c.Arguments)] = c.Alone
		}
		return out
	}
	t.Run("edited", func(t *testing.T) {
		h := &editor{holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2}}}
		bubble(t, func(t *testing.T, n *node) {
			id := n.create("go", mcpServer()).ID
			answer(n, id, `"n":1`, session.DecisionApprove, `{"n":9}`, "", "bob")
			answer(n, id, `"n":2`, session.DecisionApprove, "", "", "bob", "eve") // while the other one is open
			answer(n, id, `"n":9`, session.DecisionApprove, "", "", "eve")
			n.idle(id)
			if got := alone(n); len(got) != 2 || got[`{"n":9}`] || !got[`{"n":2}`] {
				t.Errorf("its user is alone behind %v", got)
			}
		}, withModel(script(calls("launch", `{"n":1}`, "launch", `{"n":2}`), reply("done"))), withPolicy(h))
	})
	for reason, want := range map[string]bool{"": true, "take the other account": false} {
		t.Run("denied: "+reason, func(t *testing.T) {
			h := &editor{holder{policy.Needs{Roles: []stead.Role{"approver"}}}}
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				answer(n, id, `"n":1`, session.DecisionDeny, "", reason, "eve")
				answer(n, id, `"n":2`, session.DecisionApprove, "", "", "bob")
				n.idle(id)
				if got := alone(n); len(got) != 1 || got[`{"n":2}`] != want {
					t.Errorf("its user is alone behind %v", got)
				}
				n.crash("node-2")
				n.send(id, says("again")) // for good, whoever folds it
				answer(n, id, `"n":3`, session.DecisionApprove, "", "", "bob")
				n.idle(id)
				if got := alone(n); got[`{"n":3}`] != want {
					t.Errorf("later its user is alone behind %v", got)
				}
			}, withModel(script(calls("launch", `{"n":1}`), calls("launch", `{"n":2}`), reply("done"), calls("launch", `{"n":3}`), reply("done"))), withPolicy(h))
		})
	}
}

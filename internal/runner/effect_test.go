package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// asker is a decider that wants approvals of an effect, as long as it is told to.
type asker struct {
	mu     sync.Mutex
	effect policy.Effect
	needs  *policy.Needs // nil: it is allowed
	deny   bool          // it is not, whoever approves
	asked  []policy.Request
}

func asks4(effect policy.Effect, needs policy.Needs) *asker {
	if needs.Roles == nil {
		needs.Roles = []stead.Role{"approver"}
	}
	return &asker{effect: effect, needs: &needs}
}

func (a *asker) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *asker) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := policy.Decision{Allow: true, By: "test", Version: "v1"}
	if req.Effect != a.effect || !req.Acting {
		return d, nil
	}
	a.asked = append(a.asked, req)
	switch {
	case a.deny:
		d.Allow, d.Reason = false, "policy p forbids it"
	case a.needs != nil:
		needs := *a.needs
		d.Allow, d.Needs, d.Policies, d.Reason = false, &needs, []string{"p"}, "policy p asks for approval: it thinks"
		if s := policy.StepOf(ctx, req); s != nil { // as package approval does
			d = s.Settle(req, d)
		}
	}
	return d, nil
}

var (
	eve = as("eve", "approver")
	bob = as("bob", "approver")
)

// held waits until the session asks about an effect, and nothing of it is done; it returns the question.
func (n *node) held(id stead.SessionID, effect policy.Effect) session.RequiredAction {
	n.t.Helper()
	s := n.until(id, status(session.StatusRequiresAction))
	inbox, err := n.Approvals(context.Background(), me, session.PageQuery{})
	if err != nil || len(s.RequiredActions) != 1 || len(inbox.Data) != 1 {
		n.t.Fatalf("%d actions, %d in the inbox, %v\n%s", len(s.RequiredActions), len(inbox.Data), err, n.journal(id))
	}
	a := s.RequiredActions[0]
	if in := inbox.Data[0]; a.Type != session.ActionEffectApproval || *a.Request.Name != string(effect) || in.ID != a.RequestID || in.Effect != effect || in.CreatedAt == 0 || len(a.Request.Digest) != 64 {
		n.t.Fatalf("it asks %+v, the inbox has %+v", a, in)
	}
	return a
}

// decide answers a question, by its digest.
func (n *node) decide(id stead.SessionID, by stead.Principal, a session.RequiredAction, decision string) error {
	n.t.Helper()
	in := decides(a.RequestID, decision)
	in.Approval.Digest = a.Request.Digest
	return n.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{in}})
}

// released waits until nobody holds the session.
func (n *node) released(id stead.SessionID) {
	n.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		h, err := n.store.Head(context.Background(), n.key(id))
		if err == nil && h.Holder == "" {
			return
		}
		if time.Now().After(end) {
			n.t.Fatalf("while it waits it is held by %q: %v", h.Holder, err)
		}
	}
}

// TestModelCallWaits: nothing of it is done before enough have approved it, it passes once, and the next one asks anew.
func TestModelCallWaits(t *testing.T) {
	m := script(reply("one"), reply("two"))
	p := asks4(policy.ModelCall, policy.Needs{Count: 2, Separate: true})
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		a := n.held(id, policy.ModelCall)
		n.released(id)
		var shown struct {
			Model  string
			Routes []struct{ Provider, Model string }
			Input  struct{ Items, Upto int }
		}
		if err := json.Unmarshal(a.Request.Arguments, &shown); err != nil || shown.Model != "sim" || len(shown.Routes) != 1 || shown.Input.Items != 1 || shown.Input.Upto != 2 {
			t.Errorf("shown is %s, %v", a.Request.Arguments, err)
		}
		if a.TurnID == "" || !strings.Contains(a.Request.Message, "Approve model.call of sim?") || !strings.Contains(a.Request.Why, "2 approval(s) by approver") {
			t.Errorf("it asks %+v", a.Request)
		}
		isKind(t, n.decide(id, me, a, session.DecisionApprove), stead.KindForbidden) // the session is its own
		isKind(t, n.decide(id, as("dev", "developer"), a, session.DecisionApprove), stead.KindForbidden)
		if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		isKind(t, n.decide(id, eve, a, session.DecisionApprove), stead.KindConflict)
		wrong := a
		other := *a.Request
		other.Digest = strings.Repeat("0", 64)
		wrong.Request = &other
		isKind(t, n.decide(id, bob, wrong, session.DecisionApprove), stead.KindConflict)
		edit := decides(a.RequestID, session.DecisionApprove)
		edit.Approval.Arguments = `{}`
		isKind(t, n.Send(t.Context(), bob, id, session.SendRequest{Inputs: []session.Input{edit}}), stead.KindInvalid)
		if len(m.asked()) != 0 {
			t.Fatal("the model was called before enough had approved")
		}
		if err := n.decide(id, bob, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		isKind(t, n.decide(id, bob, a, session.DecisionApprove), stead.KindInvalid)
		called := payloads[session.ModelCalled](t, n, id, session.KindModelCalled)
		if len(m.asked()) != 1 || len(called) != 1 || called[0].Decision.Approval != a.RequestID || n.count(id, session.KindEffectHeld) != 1 {
			t.Errorf("%d calls, %+v", len(m.asked()), called)
		}
		n.send(id, says("again"))
		if next := n.held(id, policy.ModelCall); next.RequestID == a.RequestID || next.Request.Digest == a.Request.Digest || len(m.asked()) != 1 {
			t.Error("one approval was enough for two calls")
		}
	}, withModel(m), withPolicy(p))
}

// TestModelCallThatIsNotApproved: a no ends the turn with a clear error, and so does the end of its time, unless policies say otherwise.
func TestModelCallThatIsNotApproved(t *testing.T) {
	for name, c := range map[string]struct {
		needs policy.Needs
		do    func(n *node, id stead.SessionID, a session.RequiredAction)
		ends  string
		says  string
	}{
		"denied": {policy.Needs{}, func(n *node, id stead.SessionID, a session.RequiredAction) {
			in := decides(a.RequestID, session.DecisionDeny)
			in.Approval.Reason = "too dear"
			if err := n.Send(context.Background(), eve, id, session.SendRequest{Inputs: []session.Input{in}}); err != nil {
				n.t.Fatal(err)
			}
		}, session.TurnFail, "it was not approved. Reason: too dear"},
		"cancelled by an answer": {policy.Needs{}, func(n *node, id stead.SessionID, a session.RequiredAction) {
			if err := n.decide(id, eve, a, session.DecisionCancel); err != nil {
				n.t.Fatal(err)
			}
		}, session.TurnCancel, ""},
		"the turn cancelled": {policy.Needs{}, func(n *node, id stead.SessionID, _ session.RequiredAction) { n.send(id, cancels) }, session.TurnCancel, ""},
		"over":               {policy.Needs{ExpiresMS: 60_000}, func(*node, stead.SessionID, session.RequiredAction) {}, session.TurnFail, "nobody gave it in time"},
		"over, its node dead": {policy.Needs{ExpiresMS: 60_000}, func(n *node, _ stead.SessionID, _ session.RequiredAction) {
			n.Kill()
			time.Sleep(2 * time.Minute)
			n.store.Crash()
			n.start("node-2")
		}, session.TurnFail, "nobody gave it in time"},
		"over and allowed": {policy.Needs{ExpiresMS: 60_000, Default: policy.DefaultAllow}, func(*node, stead.SessionID, session.RequiredAction) {}, session.TurnComplete, ""},
		"over and allowed, its node dead": {policy.Needs{ExpiresMS: 60_000, Default: policy.DefaultAllow}, func(n *node, _ stead.SessionID, _ session.RequiredAction) {
			n.Kill()
			time.Sleep(2 * time.Minute)
			n.store.Crash()
			n.start("node-2")
		}, session.TurnComplete, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(reply("one"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				a := n.held(id, policy.ModelCall)
				c.do(n, id, a)
				n.idle(id)
				turn := n.onlyTurn(id)
				if turn.Status != c.ends || (turn.Error != nil) != (c.says != "") || turn.Error != nil && !strings.Contains(turn.Error.Message, c.says) {
					t.Errorf("the turn is %s, %+v", turn.Status, turn.Error)
				}
				if want := map[bool]int{true: 1}[c.ends == session.TurnComplete]; len(m.asked()) != want {
					t.Errorf("%d calls of the model", len(m.asked()))
				}
				isKind(t, n.decide(id, eve, a, session.DecisionApprove), stead.KindInvalid)
			}, withModel(m), withPolicy(asks4(policy.ModelCall, c.needs)))
		})
	}
}

// TestModelCallThatBecameAnother: an approval is of what was shown. What the model would get besides, or another model, is asked about anew,
// before and after the answer; so is what policies want more of by now.
func TestModelCallThatBecameAnother(t *testing.T) {
	m := script(reply("one"))
	p := asks4(policy.ModelCall, policy.Needs{})
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		a := n.held(id, policy.ModelCall)
		n.send(id, says("and that too"))
		var b session.RequiredAction
		n.until(id, func(s session.Session) bool {
			if len(s.RequiredActions) == 1 {
				b = s.RequiredActions[0]
			}
			return b.RequestID != a.RequestID
		})
		isKind(t, n.decide(id, eve, a, session.DecisionApprove), stead.KindInvalid)
		p.set(func() { p.needs.Count = 2 }) // policies want more meanwhile: what was given counts
		if err := n.decide(id, eve, b, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		var c session.RequiredAction
		n.until(id, func(s session.Session) bool {
			if len(s.RequiredActions) == 1 {
				c = s.RequiredActions[0]
			}
			return c.RequestID != b.RequestID && c.RequestID != ""
		})
		if !strings.Contains(c.Request.Why, "1 given") || len(m.asked()) != 0 {
			t.Errorf("it says %q", c.Request.Why)
		}
		isKind(t, n.decide(id, eve, c, session.DecisionApprove), stead.KindConflict)
		if err := n.decide(id, bob, c, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if got := seen(m.last()); !slices.Equal(got, []string{"user: go", "user: and that too"}) {
			t.Errorf("the model saw %q", got)
		}
		p.set(func() { p.needs.Count = 1 })
		n.send(id, says("once more"))
		d := n.held(id, policy.ModelCall)
		p.set(func() { p.deny = true }) // what became forbidden stays undone
		if err := n.decide(id, eve, d, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if turns := n.turns(id); len(m.asked()) != 1 || turns[0].Status == turns[1].Status {
			t.Errorf("%d calls, %+v", len(m.asked()), turns)
		}
	}, withModel(m), withPolicy(p))
}

// TestModelCallWaitsAtEveryCrash: whatever append is lost, and wherever the node dies, it is asked once, answered once, and called once
// where the crash cuts no call off.
func TestModelCallWaitsAtEveryCrash(t *testing.T) {
	for appends := range 7 {
		for name, harm := range map[string]func(n *node){
			"dies":          func(n *node) { n.Kill() },
			"before":        func(n *node) { n.store.FailBefore(3) },
			"after":         func(n *node) { n.store.FailAfter(3) },
			"after, killed": func(n *node) { n.store.FailAfter(1); n.Kill() },
		} {
			t.Run(name, func(t *testing.T) {
				m := script(reply("one"))
				bubble(t, func(t *testing.T, n *node) {
					died := make(chan struct{})
					s := &failing{Full: n.store, at: int64(appends), burst: func() {
						if strings.Contains(name, "after, killed") || name == "dies" {
							go func() { harm(n); close(died) }()
							return
						}
						harm(n)
					}}
					n.Kill()
					n.cfg.Store = s
					n.start("node-2")
					n.second("node-3")
					id := n.create("go").ID
					a := n.held(id, policy.ModelCall)
					if err := n.decide(id, eve, a, session.DecisionApprove); err != nil && stead.KindOf(err) != stead.KindUnavailable {
						t.Fatal(err)
					} else if err != nil { // whether it was taken is not known: it is given once more
						_ = n.decide(id, eve, a, session.DecisionApprove)
					}
					n.idle(id)
					if n.count(id, session.KindEffectHeld) != 1 || n.count(id, session.KindInputEffect) != 1 || n.count(id, session.KindModelReplied) != 1 || n.onlyTurn(id).Status != session.TurnComplete {
						t.Errorf("events %q", n.kinds(id))
					}
				}, withModel(m), withPolicy(asks4(policy.ModelCall, policy.Needs{})))
			})
		}
	}
}

// TestModelCallThatIsTriedAgain: an approval is of one call, with the tries that it takes.
func TestModelCallThatIsTriedAgain(t *testing.T) {
	m := script(hangs, reply("one"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		if err := n.decide(id, eve, n.held(id, policy.ModelCall), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		for len(m.asked()) == 0 {
			time.Sleep(time.Millisecond)
		}
		n.crash("node-2")
		n.idle(id)
		if n.count(id, session.KindEffectHeld) != 1 || len(m.asked()) != 2 {
			t.Errorf("%d calls, events %q", len(m.asked()), n.kinds(id))
		}
	}, withModel(m), withPolicy(asks4(policy.ModelCall, policy.Needs{})))
}

// TestAnswersAtTwoNodes: hundreds answer at two nodes at once; of those that it takes, each counts once, and no other.
func TestAnswersAtTwoNodes(t *testing.T) {
	m := script(reply("one"))
	n := newNode(t, withModel(m), withPolicy(asks4(policy.ModelCall, policy.Needs{Count: 2})))
	other := n.second("node-2")
	id := n.create("go").ID
	a := n.held(id, policy.ModelCall)
	var all sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for i := range 100 {
		node, by := []*node{n, other}[i%2], as([]string{"eve", "bob", "zoe"}[i%3], "approver")
		all.Go(func() {
			in := decides(a.RequestID, session.DecisionApprove)
			for {
				err := node.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{in}})
				if stead.KindOf(err) == stead.KindUnavailable {
					continue
				}
				if err == nil {
					mu.Lock()
					taken++
					mu.Unlock()
				}
				return
			}
		})
	}
	all.Wait()
	n.idle(id)
	if taken != 2 || n.count(id, session.KindInputEffect) != 2 || len(m.asked()) != 1 {
		t.Errorf("%d answers were taken, %d calls\n%q", taken, len(m.asked()), n.kinds(id))
	}
}

// TestSummaryWaits: a summary is a call of the model, too; the turn waits with it.
func TestSummaryWaits(t *testing.T) {
	m := script(reply("ok"))
	p := asks4(policy.ModelCall, policy.Needs{})
	needs := p.needs
	p.needs = nil
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = false }).ID
		n.idle(id)
		n.talk(id, 2, 4)
		p.set(func() { p.needs = needs })
		n.send(id, says(long(5)))
		a := n.held(id, policy.ModelCall)
		if !strings.Contains(string(a.Request.Arguments), `"purpose":"compact"`) || len(m.summaries) != 0 {
			t.Fatalf("%d summaries, it asks %s", len(m.summaries), a.Request.Arguments)
		}
		if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		b := n.until(id, func(s session.Session) bool {
			return s.Status == session.StatusRequiresAction && s.RequiredActions[0].RequestID != a.RequestID
		}).RequiredActions[0]
		if strings.Contains(string(b.Request.Arguments), `"purpose"`) || len(m.summaries) != 1 {
			t.Fatalf("%d summaries, it asks %s", len(m.summaries), b.Request.Arguments)
		}
		if err := n.decide(id, eve, b, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if got := seen(m.last()); got[0] != summarized {
			t.Errorf("the model saw %q", got)
		}
	}, withModel(m, small), withPolicy(p))
}

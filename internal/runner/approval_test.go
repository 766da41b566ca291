package runner_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// TestAnAnswerCoversWhatWasShown: the digest of the question and of the call is shown, an answer to another one is a
// conflict that changes nothing, and the journal says what was answered.
func TestAnAnswerCoversWhatWasShown(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}}}
	bubble(t, func(t *testing.T, n *node) {
		id, other := n.create(`Call launch with {"n":1}`, mcpServer()).ID, n.create(`Call launch with {"n":1}`, mcpServer()).ID
		asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
		another := n.until(other, status(session.StatusRequiresAction)).RequiredActions[0]
		if len(asked.Request.Digest) != 64 || asked.Request.Digest == another.Request.Digest {
			t.Fatalf("two questions have the digests %q and %q", asked.Request.Digest, another.Request.Digest)
		}
		answer := func(digest string) error {
			in := session.ApprovalInput{RequestID: asked.RequestID, Decision: session.DecisionApprove, Digest: digest, Reason: "it is Friday"}
			return n.Send(context.Background(), as("eve", "approver"), id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}})
		}
		err := answer(another.Request.Digest)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindConflict || e.Code != runner.CodeDigest || !strings.Contains(e.Message, asked.Request.Digest) {
			t.Errorf("another's digest: %v", err)
		}
		if n.count(id, session.KindInputApproval) != 0 || len(n.tools.log()) != 0 {
			t.Fatal("an answer to something else was taken")
		}
		both := make([]session.Input, 2) // two answers at once are none: both would be on record as given
		for i, d := range []string{session.DecisionDeny, session.DecisionApprove} {
			both[i].Approval = &session.ApprovalInput{RequestID: asked.RequestID, Decision: d}
		}
		err = n.Send(context.Background(), as("eve", "approver"), id, session.SendRequest{Inputs: both})
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindInvalid || e.Param != "events[1].request_id" || n.count(id, session.KindInputApproval) != 0 {
			t.Errorf("two answers: %v", err)
		}
		if err := answer(asked.Request.Digest); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if j := n.journal(id); len(n.tools.log()) != 1 || !strings.Contains(j, `"digest":"`+asked.Request.Digest) || !strings.Contains(j, "it is Friday") || !strings.Contains(j, `"eve"`) {
			t.Errorf("%d calls, the journal:\n%s", len(n.tools.log()), j)
		}
	}, withPolicy(h))
}

// TestWhatNobodyAnswersIsMade: only where policies say so, once, and not if they have changed their mind.
func TestWhatNobodyAnswersIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		late  string // Default of the policies when the time is over
		calls int
	}{"stated": {policy.DefaultAllow, 1}, "changed": {"", 0}} {
		t.Run(name, func(t *testing.T) {
			h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: time.Hour.Milliseconds(), Default: policy.DefaultAllow}}
			m := script(calls("launch", `{}`), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0].Request
				if asked.OnExpiry != "allow" || asked.ExpiresAt == 0 || !strings.Contains(asked.Why, "made without one") {
					t.Errorf("the question says %+v", asked)
				}
				synctest.Wait()
				h.needs.Default = tc.late
				n.idle(id)
				if len(n.tools.log()) != tc.calls || n.count(id, session.KindToolLapsed) != 1 || n.count(id, session.KindToolCalled) != tc.calls {
					t.Errorf("%d calls; events %q", len(n.tools.log()), n.kinds(id))
				}
			}, withModel(m), withPolicy(h))
		})
	}
}

// TestExpiryDuringACrash: the time is over while no node is there. The next one does what was stated, once; the
// answer that comes too late changes nothing.
func TestExpiryDuringACrash(t *testing.T) {
	for stated, made := range map[string]int{"": 0, policy.DefaultAllow: 1} {
		t.Run("default "+stated, func(t *testing.T) {
			n := newNode(t)
			n.Kill()
			const short = 3 * time.Second // in which a busy machine gets as far as the question
			n.cfg.Policy = &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: short.Milliseconds(), Default: stated}}
			n.start("node-2")
			id := n.create(`Call launch with {"n":1}`, mcpServer()).ID
			asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0].RequestID
			n.Kill()
			time.Sleep(short)
			n.start("node-3")
			err := n.Send(context.Background(), as("eve", "approver"), id, session.SendRequest{Inputs: []session.Input{decides(asked, session.DecisionDeny)}})
			if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindInvalid {
				t.Errorf("the late answer: %v", err)
			}
			n.idle(id)
			if len(n.tools.log()) != made || n.count(id, session.KindToolReturned) != 1 || n.count(id, session.KindInputApproval) != 0 {
				t.Errorf("%d calls; events %q", len(n.tools.log()), n.kinds(id))
			}
		})
	}
}

// slowly lets answers wait between what they have seen and the store, so that all have seen the same.
type slowly struct{ journal.Full }

func (s slowly) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	if in.Events[0].Kind == session.KindInputApproval {
		time.Sleep(5 * time.Millisecond)
	}
	return s.Full.Send(ctx, key, in)
}

// TestStormOfAnswers: hundreds answer one question at once, through two nodes. So many count as are needed, or one no;
// everybody else is told that it is answered.
func TestStormOfAnswers(t *testing.T) {
	const storm, needed = 200, 3
	n := newNode(t)
	n.Kill()
	n.cfg.Policy = &holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: needed}}
	n.cfg.Store = slowly{n.store}
	n.start("node-2")
	two := n.second("node-3")
	for name, decide := range map[string]func(i int) string{
		"all approve": func(int) string { return session.DecisionApprove },
		"one denies": func(i int) string {
			if i == storm/2 {
				return session.DecisionDeny
			}
			return session.DecisionApprove
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(n.tools.log())
			id := n.create(`Call launch with {"n":1}`, mcpServer()).ID
			asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0].RequestID
			var mu sync.Mutex
			taken := map[string]int{}
			var all sync.WaitGroup
			for i := range storm {
				all.Go(func() {
					door := []*node{n, two}[i%2]
					who := as("approver-"+string(rune('a'+i%20)), "approver") // each of them more than once
					decision := decide(i)
					for {
						err := door.Send(context.Background(), who, id, session.SendRequest{Inputs: []session.Input{decides(asked, decision)}})
						if stead.KindOf(err) == stead.KindUnavailable {
							continue // too busy: said so, nothing stored
						}
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							taken[decision]++
						} else if k := stead.KindOf(err); k != stead.KindInvalid && k != stead.KindConflict {
							t.Errorf("an answer failed with %v", err)
						}
						return
					}
				})
			}
			all.Wait()
			n.idle(id)
			made := len(n.tools.log()) - before
			yes, no := taken[session.DecisionApprove], taken[session.DecisionDeny]
			if n.count(id, session.KindInputApproval) != yes+no {
				t.Errorf("%d answers were taken, the journal has %d", yes+no, n.count(id, session.KindInputApproval))
			}
			granted := no == 0 && yes == needed && made == 1
			denied := no == 1 && yes < needed && made == 0
			if !granted && !denied {
				t.Errorf("%d yes, %d no, %d calls", yes, no, made)
			}
		})
	}
}

// editor holds every call for two approvers, and refuses those that mention what is forbidden.
type editor struct{ holder }

func (e *editor) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	if strings.Contains(string(req.Arguments), "forbidden") {
		return policy.Decision{By: "test", Version: "v1", Reason: "policy p forbids it"}, nil
	}
	return e.holder.Decide(ctx, req)
}

// TestArgumentsAreEdited: the call is made with what was approved last, by as many as it takes, who were shown just that;
// what does not fit the tool is refused, and so is what policies forbid.
func TestArgumentsAreEdited(t *testing.T) {
	fits := func(_, arguments []byte) error {
		if strings.Contains(string(arguments), "misfit") {
			return errors.New("n must be a number")
		}
		return nil
	}
	for name, tc := range map[string]struct {
		edited string
		calls  int
		told   string
	}{
		"allowed":   {`{"n": 5}`, 1, `changed its arguments: it is about the call with {"n":5}`},
		"forbidden": {`{"n":"forbidden"}`, 0, "policy p forbids it (Whoever approved"},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(calls("launch", `{"n":1}`), reply("done"))
			h := &editor{holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2}}}
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				asked := func() session.RequiredAction {
					return n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
				}
				edit := func(who string, r session.RequiredAction, decision, arguments string) error {
					in := session.ApprovalInput{RequestID: r.RequestID, Decision: decision, Digest: r.Request.Digest, Arguments: arguments, Reason: "too much"}
					return n.Send(context.Background(), as(who, "approver"), id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}})
				}
				first := asked()
				if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				isKind(t, edit("bob", first, session.DecisionApprove, `[1]`), stead.KindInvalid)
				isKind(t, edit("bob", first, session.DecisionApprove, `{"n":"misfit"}`), stead.KindInvalid)
				isKind(t, edit("bob", first, session.DecisionDeny, tc.edited), stead.KindInvalid)
				in := session.ApprovalInput{RequestID: first.RequestID, Decision: session.DecisionApprove, Arguments: tc.edited}
				isKind(t, n.Send(context.Background(), as("dev", "developer"), id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}}), stead.KindForbidden)
				if err := edit("bob", first, session.DecisionApprove, tc.edited); err != nil {
					t.Fatal(err)
				}
				second := asked()
				if second.RequestID == first.RequestID || second.Request.Digest == first.Request.Digest || string(second.Request.Arguments) != strings.ReplaceAll(tc.edited, " ", "") {
					t.Fatalf("after the edit it asks %+v %s", second, second.Request.Arguments)
				}
				isKind(t, edit("eve", first, session.DecisionApprove, ""), stead.KindInvalid) // it was about other arguments
				if len(n.tools.log()) != 0 {
					t.Fatal("an approval of the old arguments counted for the new ones")
				}
				if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				made := n.tools.log()
				if len(made) != tc.calls || len(made) > 0 && string(made[0].Arguments) != `{"n":5}` {
					t.Errorf("made were %+v", made)
				}
				if got := strings.Join(seen(m.last()), "\n"); !strings.Contains(got, tc.told) {
					t.Errorf("the model was told %q", got)
				}
				if j := n.journal(id); !strings.Contains(j, `{"n":1}`) || n.count(id, session.KindInputEdit) != 1 {
					t.Errorf("the journal lacks what was asked for, or the edit:\n%s", j)
				}
			}, withModel(m), withPolicy(h), with(func(c *runner.Config) { c.CheckArguments = fits }))
		})
	}
}

// TestApprovalIsDelegated: to somebody by name or a role, by whoever could approve, and never to whom it would not count from.
func TestApprovalIsDelegated(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver", "owner"}, Count: 2, Separate: true}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		asked := func() session.RequiredAction {
			return n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
		}
		request := asked().RequestID
		hand := func(by stead.Principal, to session.Delegate) error {
			in := session.ApprovalInput{RequestID: request, Decision: session.DecisionDelegate, To: &to}
			return n.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}})
		}
		user := func(id string) session.Delegate { return session.Delegate{Kind: stead.PrincipalUser, ID: id} }
		eve, bob, kim := as("eve", "approver"), as("bob", "approver"), as("kim", "owner")
		isKind(t, hand(as("dev", "developer"), user("bob")), stead.KindForbidden)
		isKind(t, hand(eve, session.Delegate{Role: "developer"}), stead.KindForbidden)
		isKind(t, hand(eve, user(me.ID)), stead.KindForbidden) // the session is its own
		isKind(t, n.Send(context.Background(), eve, id, session.SendRequest{Inputs: []session.Input{decides(request, session.DecisionDelegate)}}), stead.KindInvalid)
		for _, err := range []error{hand(eve, user("bob")), hand(bob, session.Delegate{Role: "owner"})} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if why := asked().Request.Why; !strings.Contains(why, "handed to the role owner") {
			t.Errorf("the question says %q", why)
		}
		isKind(t, hand(eve, user("eve")), stead.KindForbidden) // bob has it handed on
		isKind(t, n.approve(id, eve, session.DecisionApprove), stead.KindForbidden)
		isKind(t, n.approve(id, bob, session.DecisionApprove), stead.KindForbidden)
		if err := n.approve(id, kim, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		if err := hand(eve, user("dev")); err != nil { // whoever that is: the name gives no right
			t.Fatal(err)
		}
		isKind(t, n.approve(id, as("dev", "developer"), session.DecisionApprove), stead.KindForbidden)
		if err := hand(eve, user("bob")); err != nil { // taken back, and handed on
			t.Fatal(err)
		}
		if err := n.approve(id, bob, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if len(n.tools.log()) != 1 || n.count(id, session.KindInputDelegate) != 4 {
			t.Errorf("%d calls; events %q", len(n.tools.log()), n.kinds(id))
		}
	}, withModel(script(calls("launch", `{}`), reply("done"))), withPolicy(h))
}

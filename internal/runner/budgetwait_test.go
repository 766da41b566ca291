package runner_test

import (
	"context"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// waiting is a budget of two calls whose turns wait.
func waiting(scope usage.Scope, period usage.Period) usage.Budget {
	return usage.Budget{ID: "config_test", Name: "test", Scope: scope, Period: period, Limit: usage.Amount{Calls: 2}, OnLimit: usage.LimitWaits}
}

// useUp makes sessions that use the two calls, and one more, which waits.
func useUp(n *node) session.Session {
	n.t.Helper()
	for range 2 {
		n.idle(n.begin("Go", func(*agent.Spec) {}).ID)
	}
	return n.until(n.begin("Go", func(*agent.Spec) {}).ID, status(session.StatusRequiresAction))
}

// asked is the one question of the session, which must be in the inbox as well.
func asked(n *node, s session.Session) string {
	n.t.Helper()
	inbox, err := n.Approvals(context.Background(), me, session.PageQuery{})
	if err != nil || len(inbox.Data) != 1 || len(s.RequiredActions) != 1 {
		n.t.Fatalf("%d questions, of the session %d: %v", len(inbox.Data), len(s.RequiredActions), err)
	}
	a := s.RequiredActions[0]
	if a.Type != session.ActionBudgetLimit || a.BudgetID != "config_test" || a.RequestID != inbox.Data[0].ID || inbox.Data[0].CreatedAt == 0 {
		n.t.Fatalf("it asks %+v, the inbox has %+v", a, inbox.Data[0])
	}
	return a.RequestID
}

// got is the session as it is now.
func (n *node) got(id stead.SessionID) session.Session {
	n.t.Helper()
	s, err := n.Get(context.Background(), me, id)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func approves(request string, extra *session.Spend) session.Input {
	return session.Input{Approval: &session.ApprovalInput{RequestID: request, Decision: session.DecisionApprove, Extra: extra}}
}

// A turn that waits is held by nobody, looks again ever more rarely, and survives its node for days.
func TestATurnWaitsForABudget(t *testing.T) {
	var p *purse
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		s := useUp(n)
		time.Sleep(24 * time.Hour)
		n.crash("node-2")
		time.Sleep(2*24*time.Hour + 7*time.Minute) // between two looks
		s = n.until(s.ID, status(session.StatusRequiresAction))
		h, err := n.store.Head(t.Context(), n.key(s.ID))
		if err != nil || h.Holder != "" {
			t.Errorf("while it waits it is held by %q: %v", h.Holder, err)
		}
		if got := n.count(s.ID, session.KindBudgetReached); got < 10 || got > 200 {
			t.Errorf("in three days it looked %d times", got)
		}
		n.send(s.ID, approves(asked(n, s), nil))
		n.idle(s.ID)
		if turn := n.onlyTurn(s.ID); turn.Status != session.TurnComplete || len(m.asked()) != 3 {
			t.Errorf("the turn ended as %s after %d calls in all", turn.Status, len(m.asked()))
		}
		if c := p.counter(t); c.Spent.Calls != 3 || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v", c)
		}
	}, withModel(m), withBudgets(&p, waiting(usage.ScopeProject, usage.PeriodTotal)))
}

// Approved, one turn goes on: by one answer of the model, or by so much more. Another still waits.
func TestApprovedOverABudget(t *testing.T) {
	var p *purse
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		s := useUp(n)
		first := asked(n, s)
		n.send(s.ID, approves(first, nil))
		n.idle(s.ID)
		isKind(t, n.Send(t.Context(), me, s.ID, session.SendRequest{Inputs: []session.Input{approves(first, nil)}}), stead.KindInvalid)
		n.send(s.ID, says("More")) // another turn: what was allowed is used up
		s = n.until(s.ID, status(session.StatusRequiresAction))
		n.send(s.ID, approves(asked(n, s), &session.Spend{Calls: 1}))
		n.idle(s.ID)
		other := n.until(n.begin("Go", func(*agent.Spec) {}).ID, status(session.StatusRequiresAction))
		asked(n, other)
		if c := p.counter(t); c.Spent.Calls != 4 || len(m.asked()) != 4 {
			t.Errorf("the counter is %+v after %d calls", c, len(m.asked()))
		}
	}, withModel(m), withBudgets(&p, waiting(usage.ScopeProject, usage.PeriodTotal)))
}

// Denied, the turn fails in the Agents API's words; a cancel ends it as any other.
func TestDeniedOverABudget(t *testing.T) {
	for scope, code := range map[usage.Scope]string{usage.ScopeProject: model.CodeUsageLimit, usage.ScopeUser: model.CodeUsageLimit} {
		var p *purse
		bubble(t, func(t *testing.T, n *node) {
			s := useUp(n)
			n.send(s.ID, decides(asked(n, s), session.DecisionDeny))
			n.idle(s.ID)
			if turn := n.onlyTurn(s.ID); turn.Status != session.TurnFail || turn.Error.Code != code {
				t.Errorf("denied, the turn is %s: %+v", turn.Status, turn.Error)
			}
			s = n.until(n.begin("Go", func(*agent.Spec) {}).ID, status(session.StatusRequiresAction))
			n.send(s.ID, cancels)
			n.idle(s.ID)
			if turn := n.onlyTurn(s.ID); turn.Status != session.TurnCancel {
				t.Errorf("cancelled, the turn is %s", turn.Status)
			}
		}, withModel(script(reply("Done."))), withBudgets(&p, waiting(scope, usage.PeriodTotal)))
	}
}

// A budget that is raised frees the turns of all nodes at once, as many as there is room for; the others
// go on waiting with the same question.
func TestARaisedBudgetFreesTheWaiting(t *testing.T) {
	const more = 3
	var p *purse
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		n.second("node-2")
		made, err := p.service.Create(t.Context(), me, usage.Budget{Scope: usage.ScopeProject, Period: usage.PeriodTotal, Limit: usage.Amount{Calls: 1}, OnLimit: usage.LimitWaits}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		n.idle(n.begin("Go", func(*agent.Spec) {}).ID)
		questions := map[stead.SessionID]string{}
		for range more + 1 {
			s := n.until(n.begin("Go", func(*agent.Spec) {}).ID, status(session.StatusRequiresAction))
			questions[s.ID] = s.RequiredActions[0].RequestID
		}
		_, err = p.service.Update(t.Context(), me, made.ID, func(b *usage.Budget) error { b.Limit.Calls += more; return nil })
		if err == nil {
			err = n.BudgetChanged(t.Context(), me.Project, made.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		left := 0
		for id, question := range questions {
			s := n.got(id)
			if s.Status == session.StatusRequiresAction {
				left++
				if s.RequiredActions[0].RequestID != question {
					t.Errorf("the question is %s, and was %s", s.RequiredActions[0].RequestID, question)
				}
			}
		}
		if got := len(m.asked()); left != 1 || got != 1+more {
			t.Errorf("%d wait after %d calls, want 1 and %d", left, got, 1+more)
		}
		if err := p.service.Delete(t.Context(), me, made.ID); err != nil {
			t.Fatal(err)
		}
		for id := range questions { // whose node died before it could say so: they look by themselves
			n.idle(id)
		}
	}, withModel(m), withBudgets(&p))
}

// A new period frees the waiting at its beginning.
func TestANewPeriodFreesTheWaiting(t *testing.T) {
	var p *purse
	bubble(t, func(t *testing.T, n *node) {
		now := time.Now().UTC()
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(midnight.Add(-10 * time.Minute)))
		s := useUp(n)
		time.Sleep(time.Until(midnight.Add(-time.Second)))
		if got := n.got(s.ID).Status; got != session.StatusRequiresAction {
			t.Fatalf("before midnight it is %s", got)
		}
		time.Sleep(10 * time.Second)
		if turn := n.onlyTurn(s.ID); turn.Status != session.TurnComplete {
			t.Errorf("after midnight the turn is %s", turn.Status)
		}
	}, withModel(script(reply("Done."))), withBudgets(&p, waiting(usage.ScopeProject, usage.PeriodDay)))
}

// A response has nobody to wait for a decision: it fails.
func TestAResponseDoesNotWaitForABudget(t *testing.T) {
	var p *purse
	bubble(t, func(t *testing.T, n *node) {
		useUp(n)
		r := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "go")})))
		if r := r.Turn; r.Status != session.TurnFail || r.Error == nil || r.Error.Code != model.CodeUsageLimit {
			t.Errorf("the response is %s: %+v", r.Status, r.Error)
		}
	}, withModel(script(reply("Done."))), withBudgets(&p, waiting(usage.ScopeProject, usage.PeriodTotal)))
}

package runner_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/budget"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

// purse is a node's budgets over a ledger in memory, which loses settlements if it is told to.
type purse struct {
	*journaltest.Memory
	*ledger
	service *budget.Service
}

// ledger is the name that purse has it under, beside the journal.
type ledger = usagetest.Memory

// withBudgets gives a node budgets.
func withBudgets(out **purse, fixed ...usage.Budget) func(*node) {
	return func(n *node) {
		p := &purse{Memory: n.store, ledger: usagetest.NewMemory()}
		p.service = budget.New(budget.Config{Store: p, Documents: documenttest.NewMemory(), Policy: policy.AllowLocal{}, Fixed: fixed, Now: time.Now})
		n.cfg.Budgets = p.service
		*out = p
	}
}

func fixedBudget(scope usage.Scope, limit usage.Amount) usage.Budget {
	return usage.Budget{ID: "config_test", Scope: scope, Period: usage.PeriodTotal, Limit: limit}
}

// counter is the state of the project's counter; it must agree with the records.
func (p *purse) counter(t *testing.T) usage.Counter {
	t.Helper()
	synctest.Wait() // an outcome is durable a moment before its hold is settled
	const name = "config_test//total"
	have, err := p.Counters(t.Context(), me.Project, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := p.UsageRows(t.Context(), me.Project, journal.UsageQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var sum usage.Amount
	for _, row := range rows {
		r, err := usage.FromRow(me.Project, row)
		if err != nil {
			t.Fatal(err)
		}
		sum = sum.Plus(usage.AmountOf(&r))
	}
	if c := have[name]; c.Held == (usage.Amount{}) && c.Spent != sum {
		t.Errorf("the counter says %+v, the records %+v", c.Spent, sum)
	}
	return have[name]
}

// Many sessions on two nodes share a budget: of calls exactly as many are made as it has, and the
// turns that are refused say so in the Agents API's words.
func TestTwoNodesNeverOvershootABudget(t *testing.T) {
	const sessions, limit = 30, 7
	var p *purse
	m := script(after(time.Second, reply("Done.")))
	bubble(t, func(t *testing.T, n *node) {
		n.second("node-2")
		ids := make([]stead.SessionID, sessions)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() { ids[i] = n.begin("Go", func(*agent.Spec) {}).ID })
		}
		wg.Wait()
		refused := 0
		for _, id := range ids {
			n.idle(id)
			if turn := n.onlyTurn(id); turn.Status == session.TurnFail {
				refused++
				if turn.Error.Code != model.CodeUsageLimit {
					t.Errorf("a refused turn failed with %s", turn.Error.Code)
				}
			}
		}
		if got := len(m.asked()); got != limit || refused != sessions-limit {
			t.Errorf("%d calls were made and %d turns refused, want %d and %d", got, refused, limit, sessions-limit)
		}
		if c := p.counter(t); c.Spent.Calls != limit || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v", c)
		}
	}, withModel(m), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Calls: limit})))
}

// A budget of tokens is used up, and overshot by less than one call's reservation, though the calls
// that run at once together hold much more than is left.
func TestABudgetOfTokensIsOvershotByOneReservationAtMost(t *testing.T) {
	const limit = 20_000
	var p *purse
	m := script(after(time.Second, func(_ context.Context, req model.Request, yield func(model.Delta, error) bool) {
		out := int64(req.MaxOutputTokens)
		yield(model.Delta{Kind: model.ItemDone, Item: messageItem("x")}, nil)
		yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 1, OutputTokens: out}, Finish: model.FinishStop}, nil)
	}))
	bubble(t, func(t *testing.T, n *node) {
		for range 12 {
			n.begin("Go", func(*agent.Spec) {})
		}
		time.Sleep(time.Hour)
		c := p.counter(t)
		reservation := int64(8192 + 100) // the output that is asked for, and what was said
		if c.Spent.Tokens < limit || c.Spent.Tokens > limit+reservation || c.Held != (usage.Amount{}) {
			t.Errorf("of %d tokens %d were used, and %d are held", limit, c.Spent.Tokens, c.Held.Tokens)
		}
	}, withModel(m), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Tokens: limit})))
}

// Each session has a budget of its own, and its turn fails with the code that says so.
func TestASessionsBudget(t *testing.T) {
	var p *purse
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		first := n.begin("Go", func(*agent.Spec) {})
		n.idle(first.ID)
		for range 2 {
			n.send(first.ID, says("More"))
			n.idle(first.ID)
		}
		other := n.begin("Go", func(*agent.Spec) {})
		n.idle(other.ID)
		turns := n.turns(first.ID)
		last := turns[2]
		if last.Status != session.TurnFail || last.Error.Code != "session_budget_exceeded" || turns[1].Status != session.TurnComplete {
			t.Errorf("the turns ended as %s and %s (%+v)", turns[1].Status, last.Status, last.Error)
		}
		if turn := n.onlyTurn(other.ID); turn.Status != session.TurnComplete {
			t.Errorf("another session's turn is %s", turn.Status)
		}
	}, withModel(m), withBudgets(&p, fixedBudget(usage.ScopeSession, usage.Amount{Calls: 2})))
}

// A crash in the middle of a call gives back what it held: nobody knows that it used anything.
func TestACrashGivesBackWhatACallHeld(t *testing.T) {
	var p *purse
	m := script(hangs, reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(*agent.Spec) {})
		time.Sleep(time.Second)
		if c := p.counter(t); c.Held.Calls != 1 {
			t.Fatalf("while the call runs the counter is %+v", c)
		}
		n.crash("node-2")
		n.idle(s.ID)
		if c := p.counter(t); c.Spent.Calls != 1 || c.Held != (usage.Amount{}) {
			t.Errorf("after the crash the counter is %+v", c)
		}
	}, withModel(m), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Calls: 2})))
}

// forgetful loses settlements, as a crash between an append and its settlement does.
type forgetful struct {
	runner.Budgets
	lost *int
}

func (f forgetful) Settle(context.Context, stead.ProjectID, []usage.Settlement) error {
	*f.lost++
	return nil
}

// What a crash between an outcome and its settlement left held is settled by the sweep, by the
// record that is durable with the outcome; also when the session is gone.
func TestTheSweepSettlesByTheRecords(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		var p *purse
		lost := 0
		bubble(t, func(t *testing.T, n *node) {
			s := n.begin("Go", func(*agent.Spec) {})
			n.idle(s.ID)
			if deleted {
				if err := n.Delete(t.Context(), me, s.ID); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := p.service.Sweep(t.Context()); err != nil || n != 0 {
				t.Errorf("a fresh hold was swept: %d, %v", n, err)
			}
			time.Sleep(2 * time.Minute)
			if c := p.counter(t); c.Held.Calls != 1 || lost == 0 {
				t.Fatalf("before the sweep the counter is %+v", c)
			}
			if n, err := p.service.Sweep(t.Context()); err != nil || n != 1 {
				t.Errorf("%d holds were swept: %v", n, err)
			}
			if c := p.counter(t); c.Spent.Calls != 1 || c.Held != (usage.Amount{}) {
				t.Errorf("after the sweep the counter is %+v", c)
			}
		}, withModel(script(reply("Done."))), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Calls: 100})),
			func(n *node) { n.cfg.Budgets = forgetful{n.cfg.Budgets, &lost} })
	}
}

// A budget that is made later counts what was used before it.
func TestABudgetCountsWhatWasUsedBefore(t *testing.T) {
	var p *purse
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(*agent.Spec) {})
		n.idle(s.ID)
		made, err := p.service.Create(t.Context(), me, usage.Budget{Scope: usage.ScopeUser, Of: me.ID, Period: usage.PeriodMonth, Limit: usage.Amount{Calls: 2}}, "", "")
		if err != nil || made.Used == nil || made.Used.Spent.Calls != 1 {
			t.Fatalf("made %+v: %v", made, err)
		}
		for range 2 {
			n.send(s.ID, says("More"))
			n.idle(s.ID)
		}
		if got := len(m.asked()); got != 2 {
			t.Errorf("%d calls were made, want 2", got)
		}
		if _, err := p.service.Update(t.Context(), me, made.ID, func(b *usage.Budget) error { b.Limit.Calls = 3; return nil }); err != nil {
			t.Fatal(err)
		}
		n.send(s.ID, says("More"))
		n.idle(s.ID)
		if got := len(m.asked()); got != 3 {
			t.Errorf("after it was raised %d calls were made, want 3", got)
		}
	}, withModel(m), withBudgets(&p))
}

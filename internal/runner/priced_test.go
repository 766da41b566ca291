package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/usage"
)

// priced is a price book of tools and environments.
func priced(tools []usage.ToolPrice, rates usage.Rates) func(*node) {
	return with(func(c *runner.Config) {
		c.Prices = usage.NewBook([]usage.Edition{{Version: "v1", Tools: tools, Rates: rates}})
	})
}

func costs(limit int64, on usage.OnLimit) usage.Budget {
	b := fixedBudget(usage.ScopeProject, usage.Amount{Cost: limit})
	b.OnLimit = on
	return b
}

// recorded are the records of a kind, and what they cost together.
func (n *node) recorded(kind usage.Kind) (found []usage.Record, cost int64) {
	n.t.Helper()
	synctest.Wait()
	rows, err := n.store.UsageRows(n.t.Context(), me.Project, journal.UsageQuery{})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, row := range rows {
		r, err := usage.FromRow(me.Project, row)
		if err != nil {
			n.t.Fatal(err)
		}
		if r.Kind == kind {
			found, cost = append(found, r), cost+r.Cost
		}
	}
	return found, cost
}

// A priced tool is called while the budget of money has room, at what its record says; the turn that has none
// fails in the Agents API's words, and none of its calls is made.
func TestAToolsPriceCountsAgainstABudget(t *testing.T) {
	var p *purse
	tools := newFakeTools()
	m := script(calls("read", `{}`), reply("one"), calls("read", `{}`, "read", `{"n":2}`), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(s *agent.Spec) { s.Tools = []agent.Tool{mcpServer()} })
		n.idle(s.ID)
		n.send(s.ID, says("More"))
		n.idle(s.ID)
		turns := n.turns(s.ID)
		if last := turns[1]; turns[0].Status != session.TurnComplete || last.Status != session.TurnFail || last.Error.Code != model.CodeUsageLimit {
			t.Errorf("the turns ended as %s and %s: %+v", turns[0].Status, last.Status, last.Error)
		}
		records, cost := n.recorded(usage.ToolCall)
		if made := tools.log(); len(made) != 1 || len(records) != 1 || cost != 700 || records[0].Prices != "v1" {
			t.Errorf("%d calls, %d records that cost %d: %+v", len(made), len(records), cost, records)
		}
		if c := p.counter(t); c.Spent.Cost != 700 || c.Held != (usage.Amount{}) || c.Spent.Calls != 3 {
			t.Errorf("the counter is %+v", c)
		}
	}, withModel(m), withTools(tools), priced([]usage.ToolPrice{{Name: "box/*", Call: 700}}, usage.Rates{}), withBudgets(&p, costs(1400, usage.LimitFails)))
}

// With wait, the call waits for a decision, and is made once it is approved: the session is held by nobody.
func TestAPricedToolWaits(t *testing.T) {
	var p *purse
	tools := newFakeTools()
	m := script(calls("read", `{}`, "read", `{"n":2}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(s *agent.Spec) { s.Tools = []agent.Tool{mcpServer()} })
		s = n.until(s.ID, status(session.StatusRequiresAction))
		time.Sleep(24*time.Hour + 7*time.Minute) // between two looks, which are half an hour apart
		if h, err := n.store.Head(t.Context(), n.key(s.ID)); err != nil || h.Holder != "" || len(tools.log()) != 1 {
			t.Errorf("while it waits it is held by %q, after %d calls: %v", h.Holder, len(tools.log()), err)
		}
		n.send(s.ID, approves(asked(n, n.got(s.ID)), nil))
		n.idle(s.ID)
		if turn := n.onlyTurn(s.ID); turn.Status != session.TurnComplete || len(tools.log()) != 2 {
			t.Errorf("the turn is %s after %d calls: %+v", turn.Status, len(tools.log()), turn.Error)
		}
		if c := p.counter(t); c.Spent.Cost != 1400 || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v", c)
		}
	}, withModel(m), withTools(tools), priced([]usage.ToolPrice{{Name: "box/read", Call: 700}}, usage.Rates{}), withBudgets(&p, costs(700, usage.LimitWaits)))
}

// runs is a command that takes a time.
func runs(d time.Duration) func(context.Context, tool.Call, *computer) (tool.Result, error) {
	return func(ctx context.Context, _ tool.Call, _ *computer) (tool.Result, error) {
		if !lasts(ctx, d) {
			return tool.Result{}, ctx.Err()
		}
		return outputs("ran")
	}
}

// hourly is what an environment costs in these tests: a micro-cent a second.
var hourly = usage.Rates{Hour: 3600}

// A resident environment is paid for in slices, each held before it begins and settled by its records. When the
// budget has no room for the next one it is suspended, with its files, and the turn fails.
func TestAnEnvironmentEndsWithItsBudget(t *testing.T) {
	const limit = 15 * 60 // seconds
	var p *purse
	h := newComputers(nil)
	h.run = runs(time.Hour)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		n.recorded(usage.Environment)
		turn := n.onlyTurn(id)
		if turn.Status != session.TurnFail || turn.Error.Code != model.CodeUsageLimit || !strings.Contains(turn.Error.Message, "environment") {
			t.Errorf("the turn is %s: %+v", turn.Status, turn.Error)
		}
		time.Sleep(time.Minute)
		if h.resident(n.key(id)) != nil || n.count(id, session.KindEnvironmentSuspended) != 1 {
			t.Errorf("it is not suspended: %q", n.course(id))
		}
		records, cost := n.recorded(usage.Environment)
		if cost < limit || cost > limit+5*60 {
			t.Errorf("of %d it has cost %d: %+v", limit, cost, records)
		}
		if c := p.counter(t); c.Spent.Cost != cost || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v, the records cost %d", c, cost)
		}
	}, withModel(m), withComputers(h), priced(nil, hourly), withBudgets(&p, costs(limit, usage.LimitFails)))
}

// A set-up costs what the same time of a residence does: it is held while it runs, and on record when it has ended, also
// where no turn waits for it.
func TestASetUpIsPaidFor(t *testing.T) {
	var p *purse
	h := newComputers(nil)
	h.took["prepare"] = 200 * time.Second
	h.setUp = &environment.SetUp{Millis: 200_000, Usage: environment.Usage{CPU: time.Second, Commands: 3}}
	bubble(t, func(t *testing.T, n *node) {
		plan := hosted()
		plan.Works = true
		s, err := n.Create(t.Context(), me, session.CreateRequest{Override: specOf(), Environment: plan})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if c := p.counter(t); c.Held.Cost != 5*60 {
			t.Errorf("while it runs the counter is %+v", c)
		}
		time.Sleep(200 * time.Second)
		records, cost := n.recorded(usage.Environment)
		if len(records) != 1 || cost != 200 || records[0].Commands != 3 {
			t.Errorf("it has cost %d: %+v", cost, records)
		}
		if c := p.counter(t); c.Spent.Cost != cost || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v, the records cost %d", c, cost)
		}
		if e, err := n.Environment(t.Context(), me, session.EnvironmentID(s.ID)); err != nil || e.Usage.CPU != time.Second {
			t.Errorf("the environment has used %+v, %v", e.Usage, err)
		}
	}, withComputers(h), priced(nil, hourly), withBudgets(&p, costs(15*60, usage.LimitFails)))
}

// What an environment holds of a budget leaves no room for its own session's command. The refusal says so, and does not
// call a budget used up of which nothing is used.
func TestARefusalNamesTheEnvironmentThatHolds(t *testing.T) {
	var p *purse
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		turn := n.onlyTurn(id)
		const want = "has no room: $0.00 of $0.0000002 is used and $0.000003 held, all of it by the session's environment."
		if turn.Status != session.TurnFail || !strings.Contains(turn.Error.Message, want) {
			t.Errorf("the turn is %s: %+v, want one that says %q", turn.Status, turn.Error, want)
		}
	}, withModel(m), withComputers(h), priced([]usage.ToolPrice{{Name: "run", Call: 1}}, hourly), withBudgets(&p, costs(20, usage.LimitFails)))
}

// With wait the turn waits, and goes on in the same workspace once somebody has decided.
func TestAnEnvironmentWaitsForItsBudget(t *testing.T) {
	const limit = 10 * 60
	var p *purse
	h := newComputers(nil)
	h.run = runs(12 * time.Minute)
	m := script(calls("run", echoHi), calls("look", `{}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.until(id, status(session.StatusRequiresAction))
		time.Sleep(24*time.Hour + 7*time.Minute) // between two looks, which are half an hour apart
		if head, err := n.store.Head(t.Context(), n.key(id)); err != nil || head.Holder != "" || h.resident(n.key(id)) != nil {
			t.Errorf("while it waits it is held by %q, resident %v: %v", head.Holder, h.resident(n.key(id)) != nil, err)
		}
		if got := n.count(id, session.KindBudgetReached); got > 70 {
			t.Errorf("in a day it looked %d times", got)
		}
		s := n.got(id)
		n.send(id, approves(asked(n, s), &session.Spend{Cost: 100_000}))
		n.idle(id)
		if turn := n.onlyTurn(id); turn.Status != session.TurnComplete || !slices.ContainsFunc(seen(m.last()), func(s string) bool { return strings.Contains(s, "echo hi") }) {
			t.Errorf("the turn is %s: %+v; the model saw %q", turn.Status, turn.Error, seen(m.last()))
		}
		time.Sleep(2 * stead.EnvironmentIdle)
		_, cost := n.recorded(usage.Environment)
		if c := p.counter(t); c.Spent.Cost != cost || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v, the records cost %d", c, cost)
		}
	}, withModel(m), withComputers(h), priced(nil, hourly), withBudgets(&p, costs(limit, usage.LimitWaits)))
}

// A crash in the middle of a slice loses nothing that is on record, and holds nothing for ever.
func TestACrashedEnvironmentIsSettledByItsRecords(t *testing.T) {
	var p *purse
	h := newComputers(nil)
	h.run = runs(time.Hour)
	m := script(calls("run", echoHi), reply("again"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		time.Sleep(7 * time.Minute)
		if c := p.counter(t); c.Held.Cost != 300 {
			t.Errorf("in its second slice the counter is %+v", c)
		}
		n.crash("node-2")
		n.until(id, status(session.StatusRequiresAction)) // what became of the command
		_, cost := n.recorded(usage.Environment)
		if c := p.counter(t); c.Spent.Cost != cost || cost < 300 || c.Held != (usage.Amount{}) {
			t.Errorf("the counter is %+v, the records cost %d", c, cost)
		}
	}, withModel(m), withComputers(h), priced(nil, hourly), withBudgets(&p, costs(1_000_000, usage.LimitFails)))
}

// A call that was never sent costs nothing and is no call, whether its server has the tool no longer or can't
// be reached; what was held for it is given back.
func TestAToolThatIsNotCalledCostsNothing(t *testing.T) {
	for name, err := range map[string]error{"gone": nil, "out of reach": errors.New("no route to host")} {
		t.Run(name, func(t *testing.T) {
			var p *purse
			tools := &emptied{Source: newFakeTools(), err: err}
			bubble(t, func(t *testing.T, n *node) {
				s := n.begin("Go", func(s *agent.Spec) {
					box := mcpServer()
					box.RequireApproval = &agent.Approval{Mode: agent.ApprovalAlways}
					s.Tools = []agent.Tool{box}
				})
				s = n.until(s.ID, status(session.StatusRequiresAction))
				tools.empty.Store(true)
				n.send(s.ID, decides(s.RequiredActions[0].RequestID, session.DecisionApprove))
				n.idle(s.ID)
				records, cost := n.recorded(usage.ToolCall)
				if n.count(s.ID, session.KindToolCalled) == 0 || len(records) != 0 || cost != 0 {
					t.Errorf("%d records that cost %d: %+v", len(records), cost, records)
				}
				if c := p.counter(t); c.Spent.Cost != 0 || c.Held != (usage.Amount{}) {
					t.Errorf("the counter is %+v", c)
				}
			}, withModel(script(calls("launch", `{}`), reply("so be it"))), withTools(tools), priced([]usage.ToolPrice{{Name: "box/*", Call: 700}}, usage.Rates{}), withBudgets(&p, costs(1400, usage.LimitFails)))
		})
	}
}

// emptied is a source whose server has no tools from a moment on, or fails with err.
type emptied struct {
	tool.Source
	empty atomic.Bool
	err   error
}

func (e *emptied) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	if e.empty.Load() {
		return nil, e.err
	}
	return e.Source.Tools(ctx, s)
}

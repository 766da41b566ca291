package runner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Code that hangs up: at every moment of its call, many at once, with crashes between.

// slowStore takes its time to store events, so that code can hang up before, while and after.
type slowStore struct {
	journal.Full
	takes time.Duration
}

func (s slowStore) Append(ctx context.Context, l journal.Lease, b journal.Batch) error {
	time.Sleep(s.takes)
	return s.Full.Append(ctx, l, b)
}

func withSlowStore(takes time.Duration) func(*node) {
	return with(func(c *runner.Config) { c.Store = slowStore{c.Store, takes} })
}

// hangUps makes many calls at once, each of which hangs up after its own time: the first before anybody can
// have heard of it, the last when it has long been journaled.
func hangUps(ctx context.Context, b *computer, many int, names ...string) {
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Duration(i)*37*time.Microsecond)
			defer cancel()
			_, _ = b.Tools.Call(short, names[i%len(names)], fmt.Appendf(nil, `{"n":%d}`, i))
		})
	}
	all.Wait()
}

// open lists the calls of code that have begun and not ended, by the session's journal.
func (n *node) open(id stead.SessionID) []string {
	n.t.Helper()
	v := session.NewView(n.key(id))
	for _, e := range n.events(id) {
		if err := v.Apply(e); err != nil {
			n.t.Fatal(err)
		}
	}
	if v.Turn == nil {
		return nil
	}
	var out []string
	for _, c := range v.Turn.Calls {
		if c.Code && c.State != session.CallDone {
			out = append(out, c.CallID+" "+string(c.State))
		}
	}
	return out
}

func TestCodeThatHangsUpLeavesNothingOpen(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			hangUps(ctx, b, 400, "ask", "read", "launch")
			return "over"
		})
		begun := time.Now()
		id := n.compute("go", enabled(), function("ask"), mcpServer())
		n.idle(id)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the turn was over after %s", took)
		}
		asked, gaveUp := n.count(id, session.KindToolRequested), 0
		for _, r := range payloads[session.ToolReturned](t, n, id, session.KindToolReturned) {
			if r.Error == session.ToldCodeGone {
				gaveUp++
			}
		}
		if asked == 0 || asked == 400 || gaveUp == 0 {
			t.Errorf("%d calls of 400 came into the journal and %d were given up: this proves little", asked, gaveUp)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withSlowStore(3*time.Millisecond))
}

// TestNoToolIsCalledForCodeThatHungUp: hanging up and the beginning of a call may race, but who had gone
// before gets no tool called.
func TestNoToolIsCalledForCodeThatHungUp(t *testing.T) {
	h := newComputers(nil)
	gone, late := map[string]bool{}, 0
	var mu sync.Mutex
	launch := does{"launch", tool.Unknown, func(_ context.Context, c tool.Call) (tool.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if gone[string(c.Arguments)] {
			late++
		}
		return outputs("launched")
	}}
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					args := fmt.Sprintf(`{"n":%d}`, i)
					short, cancel := context.WithTimeout(ctx, time.Duration(i)*53*time.Microsecond)
					defer cancel()
					if _, err := b.Tools.Call(short, "launch", []byte(args)); err != nil {
						mu.Lock()
						gone[args] = true
						mu.Unlock()
					}
				})
			}
			all.Wait()
			return "over"
		})
		id := n.compute("go", enabled(), mcpServer())
		n.idle(id)
		returned := payloads[session.ToolReturned](t, n, id, session.KindToolReturned)
		unsent := slices.IndexFunc(returned, func(r session.ToolReturned) bool { return r.Error == session.ToldCodeGone && r.NotSent })
		if late > 0 || unsent < 0 {
			t.Errorf("%d calls were made for nobody; one whose intent stood was not made: %v", late, unsent >= 0)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withTools(having(launch)), withSlowStore(3*time.Millisecond))
}

// TestApprovalForCodeThatHungUp: the question goes with who asked it.
func TestApprovalForCodeThatHungUp(t *testing.T) {
	h := newComputers(nil)
	served := mcpServer()
	served.RequireApproval = &agent.Approval{Mode: "always"}
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := b.Tools.Call(short, "launch", []byte(`{}`))
			return fmt.Sprint(errors.Is(err, context.DeadlineExceeded))
		})
		id := n.compute("go", enabled(), served)
		n.until(id, status(session.StatusRequiresAction))
		n.idle(id)
		if len(n.tools.log()) != 0 {
			t.Error("it was called")
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// TestGivingUpOutlivesAStoreThatIsAway: however long nothing can be journaled, it is when that is over.
func TestGivingUpOutlivesAStoreThatIsAway(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			short, cancel := context.WithCancel(ctx)
			go func() {
				time.Sleep(time.Second)
				n.store.FailBefore(1 << 20)
				cancel()
				time.Sleep(5 * time.Minute)
				n.store.FailBefore(0)
			}()
			_, err := b.Tools.Call(short, "ask", []byte(`{}`))
			return fmt.Sprint(err != nil)
		})
		id := n.compute("go", enabled(), function("ask"))
		n.idle(id)
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// TestCrashBetweenHangUps: the next holder gives up what no code waits for any more, at whatever moment the
// process was killed. The command's own outcome is lost, and only that is asked for.
func TestCrashBetweenHangUps(t *testing.T) {
	for _, at := range []time.Duration{1, 4, 8, 11, 14} {
		h := newComputers(nil)
		bubble(t, func(t *testing.T, n *node) {
			racing := make(chan struct{})
			inside(h, func(ctx context.Context, b *computer) string {
				close(racing)
				hangUps(ctx, b, 400, "ask", "read")
				return "over"
			})
			id := n.compute("go", enabled(), function("ask"), mcpServer())
			<-racing
			time.Sleep(at * time.Millisecond)
			n.crash("node-2")
			h.end(n.key(id))
			synctest.Wait()
			s := n.until(id, func(s session.Session) bool {
				return s.Status == session.StatusRequiresAction && len(n.open(id)) == 0
			})
			for _, a := range s.RequiredActions {
				if strings.HasPrefix(a.CallID, "code_") {
					t.Errorf("killed after %d ms: %+v is asked for", at, a)
				}
			}
		}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withSlowStore(3*time.Millisecond))
	}
}

// TestCrashAmongCallsOfCode: a crash cuts off the command and what its code had called. Each is asked about by itself, and each
// answer is about the call that its question shows.
func TestCrashAmongCallsOfCode(t *testing.T) {
	h := newComputers(nil)
	launch := does{"launch", tool.Unknown, func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}}
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() { _, _ = b.Tools.Call(ctx, "launch", fmt.Appendf(nil, `{"refund":%d}`, i)) })
			}
			all.Wait()
			return "over"
		})
		id := n.compute("go", enabled(), mcpServer())
		synctest.Wait()
		n.crash("node-2")
		h.end(n.key(id))
		synctest.Wait()
		s := n.until(id, status(session.StatusRequiresAction))
		if len(s.RequiredActions) != 4 {
			t.Fatalf("%d questions, want 4: %+v", len(s.RequiredActions), s.RequiredActions)
		}
		page, err := n.Approvals(context.Background(), me, session.PageQuery{Limit: 2})
		if err != nil || len(page.Data) != 2 {
			t.Fatal(page, err)
		}
		rest, err := n.Approvals(context.Background(), me, session.PageQuery{Limit: 9, After: page.Data[1].ID})
		if listed := append(page.Data, rest.Data...); err != nil || len(listed) != 4 {
			t.Errorf("%d are listed in two pages, want 4 (%v)", len(listed), err)
		}
		for _, a := range slices.Backward(s.RequiredActions) {
			in := session.OutcomeInput{RequestID: a.RequestID, Decision: session.DecisionGiveUp}
			n.send(id, session.Input{Outcome: &in})
			answered := payloads[session.OutcomeResult](t, n, id, session.KindInputOutcome)
			if got := answered[len(answered)-1].CallID; got != a.CallID {
				t.Errorf("the answer to %s (%s) was taken for %s", a.CallID, a.RequestID, got)
			}
		}
		n.idle(id)
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withTools(having(launch)))
}

// TestNoModelNamesACallOfCode: answers name a call by its id, so that a model which knows how calls of code are named does not give
// one of its own that name.
func TestNoModelNamesACallOfCode(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("ask")).ID
		s := n.until(id, status(session.StatusRequiresAction))
		if got := s.RequiredActions[0].CallID; strings.HasPrefix(got, "code_") {
			t.Errorf("the model's call has the id %s", got)
		}
		n.send(id, answers(s.RequiredActions[0], "done"))
		n.idle(id)
	}, withModel(script(gives(model.FinishToolCalls, &stead.Item{Type: stead.ItemFunctionCall, CallID: "code_99999999999999999999", Name: "ask", Arguments: []byte(`{}`)}), reply("done"))))
}

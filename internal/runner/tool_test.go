package runner_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// naps sleeps as many seconds as its argument's only digit, then says which it was; it counts how
// many run at once.
type naps struct{ now, most atomic.Int64 }

func (s *naps) run(ctx context.Context, c tool.Call) (tool.Result, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	seconds := int(c.Arguments[len(`{"s":`)] - '0')
	if !lasts(ctx, time.Duration(seconds)*time.Second) {
		return tool.Result{}, ctx.Err()
	}
	return outputs(fmt.Sprintf("slept %d", seconds))
}

func TestParallelCallsRunAtOnceAndComeBackInOrder(t *testing.T) {
	s := &naps{}
	m := script(calls("nap", `{"s":3}`, "nap", `{"s":1}`, "nap", `{"s":2}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		begun := time.Now()
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("the turn took %s: the longest call takes 3s", took)
		}
		want := []string{
			"user: go", `call nap {"s":3}`, `call nap {"s":1}`, `call nap {"s":2}`,
			"output slept 3", "output slept 1", "output slept 2",
		}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q\nwant          %q", got, want)
		}
	}, withModel(m), withTools(having(does{"nap", tool.Pure, s.run})))
}

func TestParallelCallsAreBounded(t *testing.T) {
	s := &naps{}
	var asked []string
	for range stead.MaxParallelTools + 4 {
		asked = append(asked, "nap", `{"s":1}`)
	}
	m := script(calls(asked...), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		begun := time.Now()
		n.idle(n.create("go", mcpServer()).ID)
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("the turn took %s, want 2s: two rounds", took)
		}
		if most := s.most.Load(); most != stead.MaxParallelTools {
			t.Errorf("%d calls at once, want %d", most, stead.MaxParallelTools)
		}
		paired(t, m.asked())
	}, withModel(m), withTools(having(does{"nap", tool.Pure, s.run})))
}

// TestMissingOutcome: what the model or a person is told, by class of effect, when a tool breaks.
func TestMissingOutcome(t *testing.T) {
	panics := func(context.Context, tool.Call) (tool.Result, error) { panic("boom") }
	stalls := func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}
	unsent := func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{}, &tool.NotSentError{Err: errors.New("secret-host refused")}
	}
	for _, tc := range []struct {
		name   string
		effect tool.Effect
		run    func(context.Context, tool.Call) (tool.Result, error)
		calls  int
		status string
		told   string // "" when a person is asked
	}{
		{"panic of a pure tool", tool.Pure, panics, stead.MaxToolAttempts, session.StatusIdle, "could not be reached"},
		{"panic of an unknown tool", tool.Unknown, panics, 1, session.StatusRequiresAction, ""},
		{"panic of an idempotent tool", tool.Idempotent, panics, stead.MaxToolAttempts, session.StatusRequiresAction, ""},
		{"timeout of a pure tool", tool.Pure, stalls, stead.MaxToolAttempts, session.StatusIdle, "did not answer within 5m0s"},
		{"timeout of an unknown tool", tool.Unknown, stalls, 1, session.StatusRequiresAction, ""},
		{"an unknown tool that was not reached", tool.Unknown, unsent, stead.MaxToolAttempts, session.StatusIdle, "could not be reached"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var made atomic.Int64
			m := script(calls("t", `{}`), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				n.until(id, status(tc.status))
				if got := int(made.Load()); got != tc.calls {
					t.Errorf("%d calls, want %d\n%s", got, tc.calls, n.journal(id))
				}
				if tc.told == "" {
					if len(m.asked()) != 1 {
						t.Error("the model went on")
					}
					return
				}
				told := seen(m.last())[2]
				if !strings.Contains(told, tc.told) || strings.Contains(told, "secret-host") {
					t.Errorf("the model was told %q", told)
				}
			}, withModel(m), withTools(having(does{"t", tc.effect, func(ctx context.Context, c tool.Call) (tool.Result, error) {
				made.Add(1)
				return tc.run(ctx, c)
			}})))
		})
	}
}

func TestCallThatWasNotSentIsMadeAgain(t *testing.T) {
	var keys []string
	m := script(calls("t", `{}`), reply("done"))
	run := func(_ context.Context, c tool.Call) (tool.Result, error) {
		keys = append(keys, c.Key)
		if len(keys) < stead.MaxToolAttempts {
			return tool.Result{}, &tool.NotSentError{Err: errors.New("refused")}
		}
		return outputs("reached")
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if len(keys) != stead.MaxToolAttempts || keys[0] != keys[2] {
			t.Errorf("keys %q: one call, tried %d times", keys, stead.MaxToolAttempts)
		}
		if got := seen(m.last()); got[2] != "output reached" {
			t.Errorf("the model saw %q", got)
		}
	}, withModel(m), withTools(having(does{"t", tool.Unknown, run})))
}

func TestToolThatFailsTellsTheModel(t *testing.T) {
	m := script(calls("t", `{}`), reply("done"))
	run := func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, "no such city")}, nil
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if got := seen(m.last()); got[2] != "output no such city" {
			t.Errorf("the model saw %q", got)
		}
		if got := n.items(id); got[1] != "mcp t {} failed" {
			t.Errorf("items %q", got)
		}
	}, withModel(m), withTools(having(does{"t", tool.Pure, run})))
}

func TestRequiredServerThatIsAway(t *testing.T) {
	for _, tc := range []struct {
		name     string
		err      error
		attempts int
		says     string
	}{
		{"away", stead.Errorf(stead.KindUnavailable, "10.1.2.3 refused"), stead.MaxModelAttempts, "The required tool server box could not be used."},
		{"not configured", stead.Invalid("server_label", "there is no server box"), 1, "there is no server box"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := script(reply("never"))
			bubble(t, func(t *testing.T, n *node) {
				s := server("box")
				s.Required = true
				id := n.create("go", s).ID
				n.idle(id)
				turn := n.onlyTurn(id)
				if turn.Status != session.TurnFail || turn.Error.Message != tc.says {
					t.Errorf("turn %s %+v", turn.Status, turn.Error)
				}
				if got := n.count(id, session.KindModelCalled); got != tc.attempts {
					t.Errorf("%d attempts, want %d", got, tc.attempts)
				}
				if len(m.asked()) > 0 {
					t.Error("the model was called without a required server")
				}
			}, withModel(m), withTools(box{"box": {err: tc.err}}))
		})
	}
}

func TestRequiredServerThatComesBack(t *testing.T) {
	m := script(reply("hello"))
	b := &guardedBox{b: box{"box": {err: stead.Errorf(stead.KindUnavailable, "away")}}}
	bubble(t, func(t *testing.T, n *node) {
		time.AfterFunc(time.Second, func() { b.set("box", &shelf{}) })
		s := server("box")
		s.Required = true
		id := n.create("go", s).ID
		n.idle(id)
		if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
			t.Errorf("turn %s %+v", turn.Status, turn.Error)
		}
	}, withModel(m), withTools(b))
}

func TestOptionalServerThatIsAwayIsLeftOut(t *testing.T) {
	m := script(reply("hello"))
	there := does{"there", tool.Pure, nil}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", server("down"), server("up"), function("look")).ID
		n.idle(id)
		if got := offered(m, 0); !slices.Equal(got, []string{"look", "there"}) {
			t.Errorf("tools on offer %q", got)
		}
	}, withModel(m), withTools(box{"down": {err: stead.Errorf(stead.KindUnavailable, "away")}, "up": {tools: []tool.Tool{there}}}))
}

// offered are the names of the tools in the n-th request.
func offered(m *scripted, n int) []string {
	var names []string
	for _, t := range m.asked()[n].Tools {
		names = append(names, t.Name)
	}
	return names
}

// TestToolNames: every tool is offered under a name that model APIs accept, no two under one, and
// a call by that name reaches that very tool.
func TestToolNames(t *testing.T) {
	named := []string{"read", "a.b", "a/b", "a b", "grüße", strings.Repeat("x", 100), strings.Repeat("x", 101)}
	var reached []string
	var b = box{}
	for _, label := range []string{"one", "two"} {
		b[label] = &shelf{}
		for _, name := range named {
			b[label].tools = append(b[label].tools, does{name, tool.Pure, func(context.Context, tool.Call) (tool.Result, error) {
				reached = append(reached, label+" "+name)
				return outputs("ok")
			}})
		}
	}
	m := script(reply("hello"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", server("one"), server("two"), function("read")).ID
		n.idle(id)
		names := offered(m, 0)
		if len(names) != 2*len(named)+1 {
			t.Fatalf("%d tools on offer: %q", len(names), names)
		}
		valid := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
		known := map[string]bool{}
		for _, name := range names {
			if !valid.MatchString(name) || known[name] {
				t.Errorf("name %q is not valid or taken twice", name)
			}
			known[name] = true
		}
		for _, name := range names[1:] { // the first is the application's function, under its own name
			m.answers = append(m.answers, calls(name, `{}`), reply("ok"))
			n.send(id, says("and "+name))
			n.idle(id)
		}
		var want []string
		for _, label := range []string{"one", "two"} {
			for _, name := range named {
				want = append(want, label+" "+name)
			}
		}
		if names[0] != "read" || !slices.Equal(reached, want) {
			t.Errorf("reached %q\nwant    %q", reached, want)
		}
	}, withModel(m), withTools(b))
}

func TestToolsAndModelChangeInMidSession(t *testing.T) {
	m := script(reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("look")).ID
		n.idle(id)
		name, tools := "sim-2", []agent.Tool{function("listen")}
		s, err := n.Update(context.Background(), me, id, session.Updated{Model: &name, Tools: &tools})
		if err != nil || s.Agent.Model != name {
			t.Fatalf("session %+v, %v", s.Agent, err)
		}
		n.send(id, says("again"))
		n.idle(id)
		if a, b := m.asked()[0].Model, m.asked()[1].Model; a != "sim" || b != "sim-2" {
			t.Errorf("models %s, %s", a, b)
		}
		if a, b := offered(m, 0), offered(m, 1); a[0] != "look" || b[0] != "listen" || len(b) != 1 {
			t.Errorf("tools %q, %q", a, b)
		}
		unknown := "gpt"
		_, err = n.Update(context.Background(), me, id, session.Updated{Model: &unknown})
		isKind(t, err, stead.KindInvalid)
	}, withModel(m))
}

func TestServerThatAnUpdateRemovedIsSaidToBeGone(t *testing.T) {
	m := script(calls("read", `{}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		asks := mcpServer()
		asks.RequireApproval = &agent.Approval{Mode: "always"}
		id := n.create("go", asks).ID
		s := n.until(id, status(session.StatusRequiresAction))
		if _, err := n.Update(context.Background(), me, id, session.Updated{Tools: &[]agent.Tool{}}); err != nil {
			t.Fatal(err)
		}
		n.send(id, decides(s.RequiredActions[0].RequestID, session.DecisionApprove))
		n.idle(id)
		if got := seen(m.last()); !strings.Contains(got[2], "has no tool read any more") {
			t.Errorf("the model saw %q", got)
		}
		if len(n.tools.log()) > 0 {
			t.Error("the tool was called")
		}
	}, withModel(m))
}

func TestArgumentsThatDoNotFitAreRefusedBeforeTheCall(t *testing.T) {
	m := script(calls("read", `{"n":"x"}`), reply("ok"))
	check := func(_, arguments []byte) error {
		if strings.Contains(string(arguments), `"x"`) {
			return errors.New("n must be a number")
		}
		return nil
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if got := seen(m.last()); !strings.Contains(got[2], "n must be a number") {
			t.Errorf("the model saw %q", got)
		}
		if len(n.tools.log()) > 0 {
			t.Error("the tool was called")
		}
	}, withModel(m), with(func(c *runner.Config) { c.CheckArguments = check }))
}

// TestTwoCallsWithOneIDInOneReply: each is made and answered for itself.
func TestTwoCallsWithOneIDInOneReply(t *testing.T) {
	twice := gives(model.FinishToolCalls,
		&stead.Item{Type: stead.ItemFunctionCall, CallID: "c", Name: "read", Arguments: []byte(`{"n":1}`)},
		&stead.Item{Type: stead.ItemFunctionCall, CallID: "c", Name: "read", Arguments: []byte(`{"n":2}`)})
	m := script(twice, twice, reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if len(n.tools.log()) != 4 {
			t.Errorf("%d calls", len(n.tools.log()))
		}
		paired(t, m.asked())
		if got := seen(m.last()); len(got) != 9 || got[8] != `output done {"n":2}` {
			t.Errorf("the model saw %q", got)
		}
	}, withModel(m))
}

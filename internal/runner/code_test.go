package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// What code in an environment asks of its session: facts that must be durable, and calls of tools.

func enabled() agent.Tool {
	yes := true
	return agent.Tool{Type: agent.ToolProgrammatic, Enabled: &yes}
}

// inside makes the one command of a session run a function, as code in the environment would.
func inside(h *computers, code func(ctx context.Context, b *computer) string) {
	h.run = func(ctx context.Context, _ tool.Call, b *computer) (tool.Result, error) {
		return outputs(code(ctx, b))
	}
}

// told is what a call brought, as code sees it.
func told(r tool.Result, err error) string {
	switch {
	case err != nil:
		return "error " + string(stead.KindOf(err))
	case r.IsError:
		return "failed " + inline(r.Content)
	}
	return inline(r.Content)
}

func TestNoteIsDurableWhenItReturns(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		var took time.Duration
		var there int
		inside(h, func(ctx context.Context, b *computer) string {
			n.store.FailBefore(4)
			begun := time.Now()
			err := b.Note(ctx, "egress.decided", map[string]string{"host": "example.org"})
			took, there = time.Since(begun), n.count(b.key.Session, "egress.decided")
			return told(tool.Result{}, err)
		})
		id := n.compute("go")
		n.idle(id)
		if there != 1 || took == 0 {
			t.Errorf("after %s the note returned, and the journal had %d of it", took, there)
		}
		if got := n.course(id); slices.Index(got, "tool.called") > slices.Index(n.kinds(id), "egress.decided") {
			t.Errorf("course %q", n.kinds(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestNoteWithoutALeaseFails(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		var err error
		returned := make(chan struct{})
		inside(h, func(_ context.Context, b *computer) string {
			defer close(returned)
			n.store.Steal(b.key)
			err = b.Note(context.Background(), "egress.decided", map[string]string{})
			return "ok"
		})
		id := n.compute("go")
		<-returned
		isKind(t, err, stead.KindUnavailable)
		n.until(id, status(session.StatusRequiresAction)) // the command's outcome is lost
		if got := n.count(id, "egress.decided"); got != 0 {
			t.Errorf("%d notes of a lost lease are in the journal", got)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestNoteGivesUpWithItsContext(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			n.store.FailBefore(1 << 20)
			defer n.store.FailBefore(0)
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return told(tool.Result{}, b.Note(short, "egress.decided", map[string]string{}))
		})
		id := n.compute("go")
		n.idle(id)
		if out := payloads[session.ToolReturned](t, n, id, session.KindToolReturned); inline(out[0].Output) != "error unavailable" {
			t.Errorf("the note returned %+v", out)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestNotesOfManyAreAllThere(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		const many = 1000
		inside(h, func(ctx context.Context, b *computer) string {
			errs := make(chan error, many)
			for i := range many {
				go func() { errs <- b.Note(ctx, "egress.decided", map[string]int{"n": i}) }()
			}
			var all error
			for range many {
				all = errors.Join(all, <-errs)
			}
			return told(tool.Result{}, all)
		})
		id := n.compute("go")
		n.idle(id)
		if got := n.count(id, "egress.decided"); got != many {
			t.Errorf("%d notes of %d", got, many)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestOutputIsJournaledInOrderBeforeTheOutcome(t *testing.T) {
	h := newComputers(nil)
	h.run = func(ctx context.Context, c tool.Call, _ *computer) (tool.Result, error) {
		for range 50 {
			c.Output("é") // two bytes, that no piece may part
			c.Output("\xc3")
			c.Output("\xa9")
			if !lasts(ctx, 10*time.Millisecond) {
				return tool.Result{}, ctx.Err()
			}
		}
		c.Output("last")
		return outputs("all")
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		var text string
		pieces := payloads[session.ToolStreamed](t, n, id, session.KindToolStreamed)
		for _, p := range pieces {
			text += p.Text
		}
		if text != strings.Repeat("éé", 50)+"last" {
			t.Errorf("streamed %q", text)
		}
		if len(pieces) < 2 || len(pieces) > 4 {
			t.Errorf("%d pieces of half a second", len(pieces))
		}
		got := n.course(id)
		if last := slices.Index(got, "tool.returned"); got[last-1] != "tool.streamed" || slices.Contains(got[last:], "tool.streamed") {
			t.Errorf("course %q", got)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestOutputThatIsShownIsBounded(t *testing.T) {
	h := newComputers(nil)
	h.run = func(_ context.Context, c tool.Call, _ *computer) (tool.Result, error) {
		for range 1000 {
			c.Output(strings.Repeat("€", 100))
		}
		return outputs("all")
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		var text string
		for _, p := range payloads[session.ToolStreamed](t, n, id, session.KindToolStreamed) {
			text += p.Text
		}
		const most, end = 64 << 10, "\n[more output comes with the command's end]\n"
		shown, cut := strings.CutSuffix(text, end)
		if !cut || len(shown) > most || len(shown) < most-3 || strings.Trim(shown, "€") != "" {
			t.Errorf("%d bytes are shown, cut: %v, beside characters: %q", len(shown), cut, strings.Trim(shown, "€"))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestCodeCallsAFunctionOfTheApplication(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		var names []string
		inside(h, func(ctx context.Context, b *computer) string {
			specs, err := b.Tools.List(ctx)
			if err != nil {
				return err.Error()
			}
			for _, s := range specs {
				names = append(names, s.Name)
			}
			return "I got " + told(b.Tools.Call(ctx, "ask", []byte(`{"q":1}`)))
		})
		id := n.compute("go", enabled(), function("ask"), mcpServer())
		s := n.until(id, status(session.StatusRequiresAction))
		if a := s.RequiredActions[0]; a.Type != session.ActionFunctionCall || a.Name != "ask" || string(a.Arguments) != `{"q":1}` {
			t.Fatalf("required %+v", a)
		}
		n.send(id, answers(s.RequiredActions[0], "42"))
		n.idle(id)
		if got := seen(m.last()); !slices.Equal(got, []string{"user: go", "call run " + echoHi, "output I got 42"}) {
			t.Errorf("the model saw %q", got)
		}
		if !slices.Equal(names, []string{"ask", "read", "count", "launch"}) {
			t.Errorf("the tools are %q", names)
		}
		if n.count(id, session.KindToolRequested) != 1 {
			t.Errorf("course %q", n.kinds(id))
		}
	}, withModel(m), withComputers(h))
}

// Whose code it is nobody knows: a stranger's file may be running before the model was shown anything.
func TestCodeIsOfStrangers(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			return told(b.Tools.Call(ctx, "ask", []byte(`{}`))) + " " + told(b.Tools.Call(ctx, "launch", []byte(`{"n":2}`)))
		})
		id := n.compute("go", enabled(), function("ask"), mcpServer())
		for _, tool := range []string{"ask", "launch"} {
			s := n.until(id, status(session.StatusRequiresAction))
			if a := s.RequiredActions[0]; a.Type != session.ActionMCPApproval || !strings.Contains(a.Request.Message, tool) || !slices.Equal(a.Request.Call.Untrusted, []string{session.SourceEnvironment}) {
				t.Errorf("%s waits for %+v", tool, a)
			}
			if err := n.approve(id, as("eve", "approver"), session.DecisionDeny); err != nil {
				t.Fatal(err)
			}
		}
		n.idle(id)
		if got := len(n.tools.log()); got != 0 {
			t.Errorf("%d calls were made", got)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withPolicy(shipped(t)))
}

func TestCodeCallsToolsOfServers(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			var all []string
			for _, c := range [][2]string{{"read", `{"n":1}`}, {"launch", `{"n":2}`}, {"nothing", `{}`}, {"run", echoHi}, {"read", `[`}} {
				all = append(all, told(b.Tools.Call(ctx, c[0], []byte(c[1]))))
			}
			return strings.Join(all, "\n")
		})
		id := n.compute("go", enabled(), mcpServer())
		n.idle(id)
		returned := payloads[session.ToolReturned](t, n, id, session.KindToolReturned)
		got := strings.Split(inline(returned[len(returned)-1].Output), "\n")
		if len(got) != 5 || got[0] != `done {"n":1}` || got[1] != `done {"n":2}` || !strings.Contains(got[2], "there is no tool") ||
			!strings.Contains(got[3], "there is no tool") || !strings.HasPrefix(got[4], "failed ") {
			t.Errorf("code got %q", got)
		}
		if called := n.count(id, session.KindToolCalled); called != 3 || len(n.tools.log()) != 2 {
			t.Errorf("%d intents, %d calls", called, len(n.tools.log()))
		}
		if key := n.tools.log()[0].Key; key == "" || key == n.tools.log()[1].Key {
			t.Errorf("keys %q", key)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// TestCodeWithoutATurn: what a background process asks for between turns has nobody's rights.
func TestCodeWithoutATurn(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go", enabled(), mcpServer())
		n.idle(id)
		b := h.resident(n.key(id))
		if got := told(b.Tools.Call(context.Background(), "read", []byte(`{}`))); got != "failed No turn is running: tools can only be called while the agent works." {
			t.Errorf("code got %q", got)
		}
		if n.count(id, session.KindToolRequested) != 0 {
			t.Errorf("course %q", n.kinds(id))
		}
		time.Sleep(2 * stead.EnvironmentIdle) // it is suspended, and the session released
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if got := told(b.Tools.Call(ctx, "read", []byte(`{}`))); got != "error unavailable" {
			t.Errorf("code of a residence that is over got %q", got)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

func TestCodeThatGoesAwayGivesItsCallUp(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := b.Tools.Call(short, "ask", []byte(`{}`))
			if !errors.Is(err, context.DeadlineExceeded) {
				return "it was not told"
			}
			return "gave up"
		})
		id := n.compute("go", enabled(), function("ask"))
		n.idle(id)
		returned := payloads[session.ToolReturned](t, n, id, session.KindToolReturned)
		if len(returned) != 2 || returned[0].Error != session.ToldCodeGone || inline(returned[1].Output) != "gave up" {
			t.Errorf("returned %+v", returned)
		}
	}, withModel(m), withComputers(h))
}

func TestCodeIsNotServedUnlessTheAgentSaysSo(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go", mcpServer())
		n.idle(id)
		if h.resident(n.key(id)).Tools != nil {
			t.Error("code may call tools, and the agent never said so")
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

// TestCancelEndsWhatCodeWaitsFor: and nothing of it is called behind the end of the turn.
func TestCancelEndsWhatCodeWaitsFor(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		got := make(chan string, 1)
		inside(h, func(_ context.Context, b *computer) string {
			got <- told(b.Tools.Call(context.Background(), "ask", []byte(`{}`)))
			return "over"
		})
		id := n.compute("go", enabled(), function("ask"))
		n.until(id, status(session.StatusRequiresAction))
		n.send(id, cancels)
		n.idle(id)
		synctest.Wait()
		select {
		case text := <-got:
			if !strings.HasPrefix(text, "failed ") {
				t.Errorf("code got %q", text)
			}
		default:
			t.Error("code waits for a call of a turn that is over")
		}
		if head, err := n.store.Head(context.Background(), n.key(id)); err != nil || head.Tail == 0 {
			t.Errorf("head %+v, %v", head, err)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}

package runner_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

var overloaded = &model.Error{Code: model.CodeOverloaded, Message: "Too many requests.", Retry: true}

func repeated(n int, a answer) []answer { return slices.Repeat([]answer{a}, n) }

// TestBackoff: the delay doubles; chance takes off at most half of it.
func TestBackoff(t *testing.T) {
	for _, chance := range []float64{0, 0.5, 0.999} {
		m := script(append(repeated(stead.MaxModelAttempts-1, fails(overloaded)), reply("at last"))...)
		bubble(t, func(t *testing.T, n *node) {
			id := n.create("go").ID
			n.idle(id)
			gaps := m.gaps()
			if len(gaps) != stead.MaxModelAttempts-1 {
				t.Fatalf("%d retries", len(gaps))
			}
			for i, gap := range gaps {
				most := min(stead.RetryBaseDelay<<i, stead.RetryMaxDelay)
				want := most/2 + time.Duration(chance*float64(most/2))
				if d := gap - want; d < -time.Millisecond || d > 5*time.Millisecond {
					t.Errorf("chance %.1f: retry %d came after %s, want %s", chance, i+1, gap, want)
				}
			}
			if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
				t.Errorf("turn %s %+v", turn.Status, turn.Error)
			}
		}, withModel(m), with(func(c *runner.Config) { c.Random = func() float64 { return chance } }))
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	asks := *overloaded
	asks.RetryAfter = 90 * time.Second
	m := script(fails(&asks), reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		n.idle(n.create("go").ID)
		if gap := m.gaps()[0]; gap < asks.RetryAfter || gap > asks.RetryAfter+5*time.Millisecond {
			t.Errorf("the retry came after %s", gap)
		}
	}, withModel(m))
}

// TestWaitingIsARow: nobody holds a session that waits for its retry, and any node can do it.
func TestWaitingIsARow(t *testing.T) {
	asks := *overloaded
	asks.RetryAfter = time.Minute
	m := script(fails(&asks), reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		synctest.Wait()
		head, err := n.store.Head(context.Background(), n.key(id))
		if err != nil || head.Holder != "" || n.Holding() != 0 || len(m.asked()) != 1 {
			t.Fatalf("while waiting: holder %q, %d held, %d calls, %v", head.Holder, n.Holding(), len(m.asked()), err)
		}
		n.Kill()
		time.Sleep(30 * time.Second)
		n.start("node-2")
		n.idle(id)
		if gap := m.gaps()[0]; gap < time.Minute || gap > time.Minute+5*time.Millisecond {
			t.Errorf("the other node's retry came after %s", gap)
		}
	}, withModel(m))
}

func TestModelAttemptsAreBounded(t *testing.T) {
	m := script(fails(overloaded))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		turn := n.onlyTurn(id)
		if len(m.asked()) != stead.MaxModelAttempts || turn.Status != session.TurnFail || turn.Error.Code != model.CodeOverloaded || turn.Error.Message != overloaded.Message {
			t.Errorf("after %d calls turn %s %+v", len(m.asked()), turn.Status, turn.Error)
		}
	}, withModel(m))
}

func TestErrorThatNoRetryHelps(t *testing.T) {
	m := script(fails(&model.Error{Code: model.CodeAuthentication, Message: "The key is wrong."}))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		turn := n.onlyTurn(id)
		if len(m.asked()) != 1 || turn.Status != session.TurnFail || turn.Error.Code != model.CodeAuthentication {
			t.Errorf("after %d calls turn %s %+v", len(m.asked()), turn.Status, turn.Error)
		}
	}, withModel(m))
}

func TestSilentProviderIsCutOff(t *testing.T) {
	silent := func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		if yield(model.Delta{Kind: model.TextDelta, Text: "I think"}, nil) {
			hangs(ctx, req, yield)
		}
	}
	broken := func(ctx context.Context, _ model.Request, _ func(model.Delta, error) bool) { <-ctx.Done() }
	for name, a := range map[string]answer{"from the start": hangs, "in mid-sentence": silent, "without an error": broken} {
		t.Run(name, func(t *testing.T) {
			m := script(a)
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				n.idle(id)
				turn := n.onlyTurn(id)
				if turn.Status != session.TurnFail || turn.Error.Code != model.CodeTimeout || len(m.asked()) != stead.MaxModelAttempts {
					t.Errorf("after %d calls turn %s %+v", len(m.asked()), turn.Status, turn.Error)
				}
				if gap := m.gaps()[0]; gap < stead.ModelIdleTimeout || gap > stead.ModelIdleTimeout+stead.RetryBaseDelay+5*time.Millisecond {
					t.Errorf("cut off and tried again after %s", gap)
				}
			}, withModel(m))
		})
	}
}

func TestSlowProviderIsNotCutOff(t *testing.T) {
	m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		for range 5 {
			if !lasts(ctx, stead.ModelIdleTimeout-time.Second) || !yield(model.Delta{Kind: model.TextDelta, Text: "word "}, nil) {
				return
			}
		}
		gives(model.FinishStop, messageItem("word word word word word "))(ctx, req, yield)
	})
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		if got := n.items(id); len(got) != 2 || len(m.asked()) != 1 {
			t.Errorf("items %q", got)
		}
	}, withModel(m))
}

// TestStreamThatEndsEarly: what was shown is kept as incomplete, what was not leaves no trace.
func TestStreamThatEndsEarly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		shown time.Duration
		items []string
	}{
		{"shown", time.Second, []string{"user completed: go", "assistant incomplete: Hel", "assistant completed: Hello"}},
		{"not shown", 0, []string{"user completed: go", "assistant completed: Hello"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := script(func(ctx context.Context, _ model.Request, yield func(model.Delta, error) bool) {
				if yield(model.Delta{Kind: model.TextDelta, Text: "Hel"}, nil) {
					lasts(ctx, tc.shown)
				}
			}, reply("Hello"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				n.idle(id)
				if got := n.items(id); !slices.Equal(got, tc.items) {
					t.Errorf("items %q\nwant  %q", got, tc.items)
				}
				if got := seen(m.last()); !slices.Equal(got, []string{"user: go"}) {
					t.Errorf("the retry saw %q", got)
				}
			}, withModel(m))
		})
	}
}

// TestFinalTextThatContradictsTheStream: what was shown stands.
func TestFinalTextThatContradictsTheStream(t *testing.T) {
	for final, want := range map[string]string{
		"Goodbye": "Hello wor", "Hello world": "Hello world", "Hell": "Hello wor", "": "Hello wor",
	} {
		m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
			for _, text := range []string{"Hello", " wor"} {
				if !yield(model.Delta{Kind: model.TextDelta, Text: text}, nil) || !lasts(ctx, time.Second) {
					return
				}
			}
			gives(model.FinishStop, messageItem(final))(ctx, req, yield)
		}, reply("ok"))
		bubble(t, func(t *testing.T, n *node) {
			id := n.create("go").ID
			n.idle(id)
			if got := n.items(id)[1]; got != "assistant completed: "+want {
				t.Errorf("final %q: item %q", final, got)
			}
			n.send(id, says("again"))
			n.idle(id)
			if got := seen(m.last())[1]; got != "assistant: "+want {
				t.Errorf("final %q: the model sees %q", final, got)
			}
		}, withModel(m))
	}
}

package runner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

func TestShutdownWithTimeWaitsForTheAnswer(t *testing.T) {
	m := script(after(5*time.Second, calls("read", `{}`)), reply("on the next node"))
	bubble(t, func(t *testing.T, n *node) {
		begun := time.Now()
		id := n.create("go", mcpServer()).ID
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("the shutdown took %s", took)
		}
		if len(n.tools.log()) != 0 || n.count(id, session.KindModelReplied) != 1 || n.count(id, session.KindRunnerRecovered) != 0 {
			t.Errorf("the node began something new: %q", n.kinds(id))
		}
		if head, err := n.store.Head(context.Background(), n.key(id)); err != nil || head.Holder != "" {
			t.Errorf("the session is held by %q, %v", head.Holder, err)
		}
		n.start("node-2")
		n.idle(id)
		if len(n.tools.log()) != 1 || n.onlyTurn(id).Status != session.TurnComplete {
			t.Errorf("on the next node: %q", n.kinds(id))
		}
		if time.Since(begun) != 5*time.Second {
			t.Error("the next node did not go on at once")
		}
	}, withModel(m))
}

func TestShutdownWithoutTimeCutsOff(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Write 100 words every 50ms").ID
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		begun := time.Now()
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the shutdown took %s", took)
		}
		got := n.items(id)
		if len(got) != 2 || !strings.HasPrefix(got[1], "assistant incomplete: word1 word2 ") || n.count(id, session.KindRunnerRecovered) != 1 {
			t.Errorf("items %q of %q", got, n.kinds(id))
		}
		n.start("node-2")
		n.idle(id)
		got = n.items(id)
		if len(got) != 3 || !strings.HasPrefix(got[2], "assistant completed: word1 ") || !strings.HasSuffix(got[2], "word100") {
			t.Errorf("items %q", got)
		}
	})
}

func TestShutdownWaitsForTheWholeAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Write 20 words every 100ms").ID
		time.Sleep(time.Second)
		if err := n.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := n.items(id); len(got) != 2 || !strings.HasPrefix(got[1], "assistant completed: ") || n.onlyTurn(id).Status != session.TurnComplete {
			t.Errorf("items %q", got)
		}
	})
}

// TestDeadNode: its sessions go on elsewhere once its time is over, and not before.
func TestDeadNode(t *testing.T) {
	var calls atomic.Int64
	nap := does{"nap", tool.Idempotent, func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		n := calls.Add(1)
		if n == 1 {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}
		return outputs(fmt.Sprintf("try %d", n))
	}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Call nap with {}", mcpServer()).ID
		synctest.Wait()
		other := n.second("node-2")
		time.Sleep(time.Minute) // both live: nobody takes anything from anybody
		if got := calls.Load(); got != 1 {
			t.Fatalf("%d calls while the holder lives", got)
		}
		died := time.Now()
		n.Kill()
		other.idle(id)
		took := time.Since(died)
		if took > stead.LeaseTTL+100*time.Millisecond || took < stead.LeaseTTL-stead.HeartbeatInterval-100*time.Millisecond {
			t.Errorf("taken over after %s", took)
		}
		if got := n.items(id); got[len(got)-1] != "assistant completed: nap: try 2" {
			t.Errorf("items %q", got)
		}
	}, withTools(having(nap)))
}

// TestStolenLease: the outcome of an actor that lost its session is not written.
func TestStolenLease(t *testing.T) {
	var tries atomic.Int64
	var release chan struct{} // of the bubble
	nap := does{"nap", tool.Idempotent, func(context.Context, tool.Call) (tool.Result, error) {
		n := tries.Add(1)
		if n == 1 {
			<-release // deaf to its context, as a tool may be
		}
		return outputs(fmt.Sprintf("try %d", n))
	}}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		n := newNode(t, withTools(having(nap)))
		n.patience = time.Hour
		n.second("node-2")
		id := n.create("Call nap with {}", mcpServer()).ID
		synctest.Wait()
		if !n.store.Steal(n.key(id)) {
			t.Fatal("nobody holds the session")
		}
		n.idle(id)
		close(release)
		time.Sleep(time.Minute)
		if n.count(id, session.KindToolReturned) != 1 || n.count(id, session.KindRunnerRecovered) != 1 {
			t.Errorf("events %q", n.kinds(id))
		}
		if got := n.items(id); got[len(got)-1] != "assistant completed: nap: try 2" {
			t.Errorf("items %q", got)
		}
	})
}

// TestStoreIsAway: bursts of failures, with and without the write, anywhere in a turn, lose nothing
// and repeat nothing.
func TestStoreIsAway(t *testing.T) {
	const script = "Call read with {\"n\":1}\nCall launch with {\"n\":2}\nThen call count with {\"n\":3}\nThink hard\nStream slowly every 40ms"
	var want []string
	bubble(t, func(t *testing.T, n *node) {
		id := n.create(script, mcpServer()).ID
		n.idle(id)
		want = n.items(id)
	})
	for _, burst := range []struct {
		name string
		do   func(n *node)
	}{
		{"before storing", func(n *node) { n.store.FailBefore(4) }},
		{"after storing", func(n *node) { n.store.FailAfter(4) }},
		{"both", func(n *node) { n.store.FailBefore(2); n.store.FailAfter(3) }},
	} {
		for appends := range 12 {
			t.Run(fmt.Sprintf("%s, %d appends in", burst.name, appends), func(t *testing.T) {
				bubble(t, func(t *testing.T, n *node) {
					s := &failing{Full: n.store, at: int64(appends), burst: func() { burst.do(n) }}
					n.Kill()
					n.cfg.Store = s
					n.start("node-2")
					n.unharmed(n.create(script, mcpServer()).ID, want)
				})
			})
		}
	}
}

// failing asks for a burst of failures before its n-th append.
type failing struct {
	journal.Full
	at    int64
	seen  atomic.Int64
	burst func()
}

func (f *failing) Append(ctx context.Context, l journal.Lease, b journal.Batch) error {
	if f.seen.Add(1) == f.at+1 {
		f.burst()
	}
	return f.Full.Append(ctx, l, b)
}

func TestStoreThatFailsByChance(t *testing.T) {
	const script = "Call read with {\"n\":1}\nCall launch with {\"n\":2}\nThen call count with {\"n\":3}\nThink hard\nStream slowly every 40ms"
	var want []string
	bubble(t, func(t *testing.T, n *node) {
		id := n.create(script, mcpServer()).ID
		n.idle(id)
		want = n.items(id)
	})
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("", mcpServer()).ID
				n.idle(id)
				n.store.Chance(seed, 0.3, 0.3)
				first := n.items(id)
				in := session.SendRequest{Inputs: []session.Input{says(script)}, Key: "k", Digest: "d"}
				for stead.KindOf(n.Send(context.Background(), me, id, in)) == stead.KindUnavailable {
					time.Sleep(time.Second)
				}
				n.unharmed(id, append(first, want...))
			})
		})
	}
}

// unharmed waits for the turn's end: the items are as wanted, and each tool was called once.
func (n *node) unharmed(id stead.SessionID, want []string) {
	n.t.Helper()
	n.until(id, func(s session.Session) bool {
		turns := n.turns(id)
		return s.Status == session.StatusIdle && len(n.items(id)) >= len(want) && turns[len(turns)-1].CompletedAt != nil
	})
	if got := n.items(id); !slices.Equal(got, want) {
		n.t.Errorf("items %q\nwant  %q\n%q", got, want, n.kinds(id))
	}
	if got := n.tools.log(); len(got) != 3 {
		n.t.Errorf("%d tool calls, want 3: %q", len(got), n.kinds(id))
	}
}

package journaltest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
)

func TestMemory(t *testing.T) {
	Suite(t, func(*testing.T) journal.Full { return NewMemory(time.Now) })
}

func TestMemoryReopen(t *testing.T) {
	ReopenSuite(t, Opener{
		Open: func(*testing.T) journal.Full { return NewMemory(time.Now) },
		Reopen: func(_ *testing.T, old journal.Full) journal.Full {
			old.(*Memory).Crash()
			return old
		},
	})
}

func TestMemoryAgents(t *testing.T) {
	AgentSuite(t, func(*testing.T) agent.Store { return NewMemory(time.Now) })
}

// fixtureAt is a memory store whose clock stands still until it is moved.
func fixtureAt(t *testing.T) (*fixture, *Memory, *time.Time) {
	now := time.UnixMilli(1_700_000_000_000)
	m := NewMemory(func() time.Time { return now })
	return newFixture(t, m), m, &now
}

func TestMemoryFaults(t *testing.T) {
	f, m, _ := fixtureAt(t)
	f.create(session(1), 1)
	in := journal.Input{Events: events("sent", 1), If: -1, Key: "k", Digest: "d"}
	m.FailBefore(1)
	_, err := f.s.Send(f.ctx, session(1), in)
	f.fails(stead.KindUnavailable, err)
	f.tail(session(1), 1)
	m.FailAfter(1)
	_, err = f.s.Send(f.ctx, session(1), in)
	f.fails(stead.KindUnavailable, err)
	f.tail(session(1), 2)
	r, err := f.s.Send(f.ctx, session(1), in)
	f.ok(err)
	if !r.Replayed || r.First != 2 {
		t.Fatalf("receipt %+v", r)
	}
	f.beat(nodeA, alive)
	lease := f.acquireOne(nodeA, session(1))
	m.FailAfter(1)
	f.fails(stead.KindUnavailable, f.s.Append(f.ctx, lease, batch(2, "done", 1)))
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, batch(2, "done", 1)))
	f.ok(f.s.Append(f.ctx, lease, batch(3, "done", 1)))
}

func TestMemoryChanceIsSeeded(t *testing.T) {
	run := func(seed uint64) string {
		f, m, _ := fixtureAt(t)
		f.create(session(1), 1)
		m.Chance(seed, 0.2, 0.2)
		out := ""
		for range 100 {
			_, err := f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", 1), If: -1})
			out += fmt.Sprint(err == nil, f.head(session(1)).Tail, " ")
		}
		return out
	}
	if first, again := run(1), run(1); first != again {
		t.Fatal("one seed gave two runs")
	}
	if run(1) == run(2) {
		t.Fatal("two seeds gave one run")
	}
}

func TestMemoryStealAndCrash(t *testing.T) {
	f, m, _ := fixtureAt(t)
	lease := f.held(session(1), 1)
	if !m.Steal(session(1)) || m.Steal(session(1)) || m.Steal(session(2)) {
		t.Fatal("Steal takes what is held, once")
	}
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(1, "stale", 1)))
	again := f.acquireOne(nodeA, session(1))
	f.ok(f.s.Append(f.ctx, again, batch(1, "done", 1)))
	m.Crash()
	f.fails(stead.KindFenced, f.s.Append(f.ctx, again, batch(2, "stale", 1)))
	f.noneDue(nodeA) // it has not beaten since
	f.beat(nodeA, alive)
	f.acquireOne(nodeA, session(1))
	f.tail(session(1), 2)
}

func TestMemoryTime(t *testing.T) {
	f, _, now := fixtureAt(t)
	f.create(session(1), 1)
	f.beat(nodeA, stead.LeaseTTL)
	f.beat(nodeB, alive)
	f.acquireOne(nodeA, session(1))
	_, next, err := f.s.Acquire(f.ctx, nodeB, 1)
	f.ok(err)
	if !next.Equal(now.Add(stead.LeaseTTL)) {
		t.Fatalf("next = %s, want the end of node A's time", next)
	}
	*now = next
	f.acquireOne(nodeB, session(1))
}

func TestMemoryWaitInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		ctx := context.Background()
		if _, err := m.Send(ctx, session(1), journal.Input{Create: creation(), If: -1}); err != nil {
			t.Fatal(err)
		}
		done := make(chan stead.Seq)
		go func() {
			tail, err := m.Wait(ctx, session(1), 0)
			if err != nil {
				t.Error(err)
			}
			done <- tail
		}()
		synctest.Wait() // the waiter is blocked for good until the send
		if _, err := m.Send(ctx, session(1), journal.Input{Events: events("sent", 1), If: -1}); err != nil {
			t.Fatal(err)
		}
		if tail := <-done; tail != 1 {
			t.Fatalf("tail %d, want 1", tail)
		}
	})
}

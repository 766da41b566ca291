package journaltest

import (
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func leaseTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"nothing due, nothing next":    leaseNothing,
		"at most limit":                leaseLimit,
		"longest due first":            leaseOrder,
		"next is the earliest wake":    leaseNext,
		"no double grant":              leaseNoDouble,
		"epochs only grow":             leaseEpochs,
		"due in every project":         leaseProjects,
		"who lives":                    leaseLives,
		"created without input: idle":  leaseEmptyCreation,
		"a signal per new work":        leaseSignals,
		"input to a held one: no work": leaseHeldInput,
	}
}

func leaseNothing(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	leases, next, err := f.s.Acquire(f.ctx, nodeA, 10)
	f.ok(err)
	if len(leases) != 0 || !next.IsZero() {
		t.Fatalf("Acquire = %+v, %s; want nothing", leases, next)
	}
}

func leaseLimit(t *testing.T, f *fixture) {
	const n = 7
	for i := range n {
		f.create(session(i), 1)
	}
	f.beat(nodeA, alive)
	seen := map[stead.SessionKey]bool{}
	for _, want := range []int{3, 3, 1, 0} {
		leases := f.acquire(nodeA, 3)
		if len(leases) != want {
			t.Fatalf("%d leases, want %d", len(leases), want)
		}
		for _, l := range leases {
			if seen[l.Key] {
				t.Fatalf("%s leased twice", l.Key)
			}
			seen[l.Key] = true
		}
	}
}

// leaseOrder makes sessions due in an order that is not that of their ids.
func leaseOrder(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	base := time.Now().Add(-time.Hour)
	order := []int{3, 1, 4, 0, 2}
	for i := range order {
		f.create(session(i), 1)
	}
	leases := map[stead.SessionKey]journal.Lease{}
	for _, l := range f.acquire(nodeA, len(order)) {
		leases[l.Key] = l
	}
	for at, i := range order {
		f.release(leases[session(i)], 1, base.Add(time.Duration(at)*time.Minute))
	}
	for _, i := range order {
		got := f.acquire(nodeA, 1)
		if len(got) != 1 || got[0].Key != session(i) {
			t.Fatalf("Acquire = %+v, want %s", got, session(i))
		}
	}
}

func leaseNext(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	for i := range 3 {
		f.create(session(i), 1)
	}
	soon := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	for i, l := range f.acquire(nodeA, 3) {
		f.release(l, 1, soon.Add(time.Duration(i)*time.Hour))
	}
	leases, next, err := f.s.Acquire(f.ctx, nodeA, 10)
	f.ok(err)
	if len(leases) != 0 || !next.Equal(soon) {
		t.Fatalf("Acquire = %+v, next %s; want none, %s", leases, next, soon)
	}
}

func leaseNoDouble(t *testing.T, f *fixture) {
	const sessions, nodes = 200, 8
	for i := range sessions {
		f.create(session(i), 1)
	}
	var mu sync.Mutex
	seen := map[stead.SessionKey]stead.NodeID{}
	var wg sync.WaitGroup
	for i := range nodes {
		node := stead.NodeID(rune('a' + i))
		f.beat(node, alive)
		wg.Go(func() {
			for {
				leases, _, err := f.s.Acquire(f.ctx, node, 7)
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				if len(leases) == 0 {
					return
				}
				mu.Lock()
				for _, l := range leases {
					if other, twice := seen[l.Key]; twice {
						t.Errorf("%s granted to %s and %s", l.Key, other, node)
					}
					seen[l.Key] = node
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != sessions {
		t.Fatalf("%d sessions granted, want %d", len(seen), sessions)
	}
}

func leaseEpochs(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 1)
	f.beat(nodeA, alive)
	f.beat(nodeB, alive)
	var last stead.Epoch
	for round := range 10 {
		node := []stead.NodeID{nodeA, nodeB}[round%2]
		lease := f.acquireOne(node, key)
		if lease.Epoch <= last {
			t.Fatalf("epoch %d after %d", lease.Epoch, last)
		}
		last = lease.Epoch
		if h := f.head(key); h.Epoch != last || h.Holder != node {
			t.Fatalf("head %+v, lease %+v", h, lease)
		}
		f.release(lease, lease.Tail, time.Time{})
		f.send(key, 1)
	}
}

// leaseLives: a node lives by its heartbeat, until it is released.
func leaseLives(t *testing.T, f *fixture) {
	lives := func(when string, want bool) {
		t.Helper()
		if got, err := f.s.Lives(f.ctx, nodeA); err != nil || got != want {
			t.Errorf("%s: %t, %v", when, got, err)
		}
	}
	lives("before its first heartbeat", false)
	f.beat(nodeA, alive)
	lives("behind it", true)
	f.beat(nodeA, 0)
	lives("released", false)
}

func leaseProjects(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	want := map[stead.SessionKey]bool{}
	for _, p := range []stead.ProjectID{"p1", "p2", "p3"} {
		key := stead.SessionKey{Project: p, Session: session(1).Session}
		f.create(key, 1)
		want[key] = true
	}
	for _, l := range f.acquire(nodeA, 10) {
		delete(want, l.Key)
	}
	if len(want) != 0 {
		t.Fatalf("not leased: %v", want)
	}
}

func leaseEmptyCreation(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	f.create(session(1), 0)
	f.noneDue(nodeA)
}

func leaseSignals(t *testing.T, f *fixture) {
	f.beat(nodeA, alive)
	f.drainWork()
	for i := range 5 {
		f.create(session(i), 1)
		f.worked()
		f.acquireOne(nodeA, session(i))
	}
}

func leaseHeldInput(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	f.send(key, 1)
	f.noneDue(nodeA)
	f.beat(nodeA, 0)
	f.beat(nodeB, alive)
	if l := f.acquireOne(nodeB, key); l.Tail != 3 {
		t.Fatalf("lease %+v, want tail 3", l)
	}
}

func nodeTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"that never beat holds nothing":    nodeNeverBeat,
		"that falls silent loses all":      nodeSilent,
		"that beats keeps its leases":      nodeBeats,
		"released: due at once":            nodeReleased,
		"released: signal":                 nodeReleasedSignal,
		"with nothing can be released":     nodeReleasedIdle,
		"released before its first append": nodeReleasedFresh,
		"dead with many sessions":          nodeDeadMany,
	}
}

func nodeNeverBeat(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	f.noneDue("node-silent")
	f.beat(nodeA, alive)
	f.acquireOne(nodeA, session(1))
}

func nodeSilent(t *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 1)
	f.beat(nodeA, brief)
	var old journal.Lease
	for _, l := range f.acquire(nodeA, 1) {
		old = l
	}
	if old.Key == key { // unless the machine was slower than the heartbeat
		if err := f.s.Append(f.ctx, old, batch(1, "done", 1)); err != nil {
			f.fails(stead.KindFenced, err)
		}
	}
	f.beat(nodeB, alive)
	stolen := f.pollOne(nodeB, key)
	if stolen.Epoch <= old.Epoch {
		t.Fatalf("epoch %d after %d", stolen.Epoch, old.Epoch)
	}
	f.fails(stead.KindFenced, f.s.Append(f.ctx, old, batch(stolen.Tail, "stale", 1)))
	f.ok(f.s.Append(f.ctx, stolen, batch(stolen.Tail, "fresh", 1)))
}

func nodeBeats(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.beat(nodeB, alive)
	end := time.Now().Add(2 * brief)
	f.eventually("two heartbeats' time is over", func() bool {
		f.beat(nodeA, alive)
		f.noneDue(nodeB)
		return time.Now().After(end)
	})
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 1)))
}

func nodeReleased(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	f.beat(nodeB, alive)
	f.noneDue(nodeB)
	f.beat(nodeA, -1)
	if l := f.acquireOne(nodeB, session(1)); l.Epoch <= lease.Epoch || l.Tail != 2 {
		t.Fatalf("lease %+v after %+v", l, lease)
	}
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(2, "stale", 1)))
}

func nodeReleasedSignal(t *testing.T, f *fixture) {
	f.held(session(1), 1)
	f.drainWork()
	f.beat(nodeA, 0)
	f.worked()
}

func nodeReleasedIdle(t *testing.T, f *fixture) {
	f.beat("node-unknown", 0)
	f.beat(nodeA, alive)
	f.beat(nodeA, 0)
	f.create(session(1), 1)
	f.noneDue(nodeA) // it holds nothing until it beats again
	f.beat(nodeA, alive)
	f.acquireOne(nodeA, session(1))
}

func nodeReleasedFresh(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.beat(nodeA, 0)
	f.beat(nodeB, alive)
	if l := f.acquireOne(nodeB, session(1)); l.Epoch <= lease.Epoch {
		t.Fatalf("lease %+v after %+v", l, lease)
	}
	f.noneDue(nodeB)
}

func nodeDeadMany(t *testing.T, f *fixture) {
	const n = 30
	f.beat(nodeA, alive)
	f.beat(nodeB, alive)
	for i := range n {
		f.create(session(i), 1)
	}
	for i, l := range f.acquire(nodeA, n) {
		if i%2 == 0 { // some have appended, some not
			f.ok(f.s.Append(f.ctx, l, batch(1, "done", 1)))
		}
	}
	f.beat(nodeA, 0)
	total := 0
	for {
		got := len(f.acquire(nodeB, 7))
		if got == 0 {
			break
		}
		total += got
	}
	if total != n {
		t.Fatalf("%d sessions taken over, want %d", total, n)
	}
}

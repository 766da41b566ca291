// Package journaltest holds what every implementation of package journal must pass, with a memory
// store that is deterministic and can be made to fail.
//
// Shape: Suite (a store while it is open), ReopenSuite (what outlives it), AgentSuite (package
// agent's store); Memory. Each test of Suite opens a store of its own and names the sentence of the
// contract that it holds.
//
// Time: the suites use the real clock and wait on what they expect, with a deadline and no sleeps.
package journaltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// deadline is how long a test waits for what must happen.
	deadline = 20 * time.Second
	// pollEvery paces looking for what no signal announces: the death of a silent node.
	pollEvery = 10 * time.Millisecond
	// alive is the heartbeat of nodes that must not die during a test.
	alive = time.Hour
	// brief is the heartbeat of nodes that must die during a test.
	brief = 150 * time.Millisecond

	project stead.ProjectID = "proj"
	nodeA   stead.NodeID    = "node-a"
	nodeB   stead.NodeID    = "node-b"
)

// Suite checks a store against the contract. open returns a new, empty one; the suite closes it.
func Suite(t *testing.T, open func(t *testing.T) journal.Full) {
	groups := []struct {
		name  string
		tests map[string]func(*testing.T, *fixture)
	}{
		{"Send", sendTests()},
		{"Append", appendTests()},
		{"Read", readTests()},
		{"Wait", waitTests()},
		{"Lease", leaseTests()},
		{"Node", nodeTests()},
		{"Directory", directoryTests()},
		{"Delete", deleteTests()},
		{"Snapshot", snapshotTests()},
		{"Rewrite", rewriteTests()},
		{"Limit", limitTests()},
		{"Concurrency", concurrencyTests()},
		{"Usage", usageTests()},
		{"Close", closeTests()},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, newFixture(t, open(t))) })
			}
		})
	}
}

// fixture is a store with what tests do to it.
type fixture struct {
	t   *testing.T
	s   journal.Full
	ctx context.Context
}

func newFixture(t *testing.T, s journal.Full) *fixture {
	ctx, cancel := context.WithTimeout(context.Background(), 3*deadline)
	t.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &fixture{t, s, ctx}
}

// session returns a key; numbers sort as their ids do.
func session(n int) stead.SessionKey {
	return stead.SessionKey{Project: project, Session: stead.SessionID(fmt.Sprintf("sess_%032x", n))}
}

// events makes n events that can be told apart.
func events(kind string, n int) []stead.Event {
	out := make([]stead.Event, n)
	for i := range out {
		data, _ := json.Marshal(map[string]any{"i": i, "k": kind})
		out[i] = stead.Event{At: int64(1_700_000_000_000 + i), Kind: kind, Data: data}
	}
	return out
}

// numbered gives events the Seqs that an Append after that tail needs.
func numbered(after stead.Seq, evs []stead.Event) []stead.Event {
	for i := range evs {
		evs[i].Seq = after + stead.Seq(i) + 1
	}
	return evs
}

func batch(after stead.Seq, kind string, n int) journal.Batch {
	return journal.Batch{After: after, Events: numbered(after, events(kind, n))}
}

func creation() *journal.Creation {
	return &journal.Creation{Agent: "agent_1", CreatedAt: 1_700_000_000_000}
}

// create makes a session with n events of input.
func (f *fixture) create(key stead.SessionKey, n int) {
	f.t.Helper()
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("created", n), If: -1})
	f.ok(err)
}

// quiet makes a session that is not due.
func (f *fixture) quiet(key stead.SessionKey, n int) {
	f.t.Helper()
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("created", n), If: -1, Quiet: true})
	f.ok(err)
}

func (f *fixture) send(key stead.SessionKey, n int) journal.Receipt {
	f.t.Helper()
	r, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", n), If: -1})
	f.ok(err)
	return r
}

func (f *fixture) beat(node stead.NodeID, ttl time.Duration) {
	f.t.Helper()
	f.ok(f.s.Heartbeat(f.ctx, node, ttl))
}

func (f *fixture) acquire(node stead.NodeID, limit int) []journal.Lease {
	f.t.Helper()
	leases, _, err := f.s.Acquire(f.ctx, node, limit)
	f.ok(err)
	return leases
}

// acquireOne leases exactly the session that must be the only due one.
func (f *fixture) acquireOne(node stead.NodeID, key stead.SessionKey) journal.Lease {
	f.t.Helper()
	leases := f.acquire(node, 10)
	if len(leases) != 1 || leases[0].Key != key || leases[0].Node != node || leases[0].Epoch < 1 {
		f.t.Fatalf("Acquire = %+v, want one lease on %s for %s", leases, key, node)
	}
	return leases[0]
}

// pollOne acquires until the session comes.
func (f *fixture) pollOne(node stead.NodeID, key stead.SessionKey) journal.Lease {
	f.t.Helper()
	var lease journal.Lease
	f.eventually("session "+key.String()+" is due", func() bool {
		for _, l := range f.acquire(node, 10) {
			if l.Key != key {
				f.t.Fatalf("Acquire gave %s, which is not due", l.Key)
			}
			lease = l
		}
		return lease.Key == key
	})
	return lease
}

// held makes a session with n events that node A holds.
func (f *fixture) held(key stead.SessionKey, n int) journal.Lease {
	f.t.Helper()
	f.create(key, n)
	f.beat(nodeA, alive)
	return f.acquireOne(nodeA, key)
}

func (f *fixture) noneDue(node stead.NodeID) {
	f.t.Helper()
	if leases := f.acquire(node, 10); len(leases) != 0 {
		f.t.Fatalf("Acquire = %+v, want nothing", leases)
	}
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end.C:
			f.t.Fatalf("waited %s in vain: %s", deadline, what)
		case <-tick.C:
		}
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("unexpected error (%s): %v", stead.KindOf(err), err)
	}
}

func (f *fixture) fails(kind stead.Kind, err error) {
	f.t.Helper()
	if stead.KindOf(err) != kind {
		f.t.Fatalf("error = %v (kind %q), want kind %q", err, stead.KindOf(err), kind)
	}
}

func (f *fixture) head(key stead.SessionKey) journal.Head {
	f.t.Helper()
	h, err := f.s.Head(f.ctx, key)
	f.ok(err)
	return h
}

func (f *fixture) read(key stead.SessionKey, opts journal.ReadOptions) []stead.Event {
	f.t.Helper()
	got, err := f.s.Read(f.ctx, key, opts)
	f.ok(err)
	return got
}

// all reads a whole session in pages and checks that its Seqs have no gap.
func (f *fixture) all(key stead.SessionKey) []stead.Event {
	f.t.Helper()
	var out []stead.Event
	for {
		page := f.read(key, journal.ReadOptions{After: stead.Seq(len(out))})
		out = append(out, page...)
		if len(page) < stead.MaxReadEvents {
			break
		}
	}
	for i, e := range out {
		if e.Seq != stead.Seq(i+1) {
			f.t.Fatalf("event %d of %s has seq %d", i+1, key, e.Seq)
		}
	}
	return out
}

// same checks that stored events are, apart from their Seq, those that were sent.
func (f *fixture) same(got, want []stead.Event) {
	f.t.Helper()
	if len(got) != len(want) {
		f.t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].At != want[i].At || got[i].Kind != want[i].Kind || got[i].Thread != want[i].Thread || !bytes.Equal(got[i].Data, want[i].Data) {
			f.t.Fatalf("event %d = %+v %s, want %+v %s", i, got[i], got[i].Data, want[i], want[i].Data)
		}
	}
}

// tail checks a session's tail, in the directory and in the log.
func (f *fixture) tail(key stead.SessionKey, want stead.Seq) {
	f.t.Helper()
	if got := f.head(key).Tail; got != want {
		f.t.Fatalf("tail of %s = %d, want %d", key, got, want)
	}
	if got := len(f.all(key)); got != int(want) {
		f.t.Fatalf("%s has %d events, want %d", key, got, want)
	}
}

// worked waits for the Work signal.
func (f *fixture) worked() {
	f.t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	select {
	case _, open := <-f.s.Work():
		if !open {
			f.t.Fatal("the Work channel is closed")
		}
	case <-end.C:
		f.t.Fatal("no Work signal")
	}
}

// drainWork takes a signal that an earlier step left.
func (f *fixture) drainWork() {
	select {
	case <-f.s.Work():
	default:
	}
}

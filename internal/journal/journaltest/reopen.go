package journaltest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Opener opens a store whose content outlives it.
type Opener struct {
	Open func(t *testing.T) journal.Full
	// Reopen ends the store as a process's end would and opens its content again.
	Reopen func(t *testing.T, old journal.Full) journal.Full
}

// ReopenSuite checks what must be there after a restart.
func ReopenSuite(t *testing.T, o Opener) {
	tests := map[string]func(*testing.T, *fixture, func()){
		"events and heads": reopenContent,
		"keys":             reopenKeys,
		"unread input":     reopenUnread,
		"held sessions":    reopenHeld,
		"wake times":       reopenWake,
		"idle stays idle":  reopenIdle,
		"epochs":           reopenEpochs,
		"deleted is gone":  reopenDeleted,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, o.Open(t))
			// A restarted process is another node; the old one is silent from here on.
			test(t, f, func() {
				f.s = o.Reopen(t, f.s)
				t.Cleanup(func() { f.s.Close() })
			})
		})
	}
}

// takeOver acquires for node B everything that node A leaves behind. A store that many processes
// share learns of A's end by its silence, which the caller made brief.
func (f *fixture) takeOver(n int) map[stead.SessionKey]journal.Lease {
	f.t.Helper()
	got := map[stead.SessionKey]journal.Lease{}
	f.beat(nodeB, alive)
	f.eventually(fmt.Sprintf("%d sessions are due", n), func() bool {
		for _, l := range f.acquire(nodeB, 10) {
			got[l.Key] = l
		}
		return len(got) >= n
	})
	return got
}

func reopenContent(t *testing.T, f *fixture, reopen func()) {
	l := journal.Listing{Status: "idle", Metadata: map[string]string{"a": "b"}, LastActive: 3}
	key := session(1)
	in := events("created", 3)
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: in, If: -1, Update: &l})
	f.ok(err)
	before := f.head(key)
	reopen()
	f.same(f.all(key), in)
	f.listing(key, l)
	if h := f.head(key); h.Agent != before.Agent || h.CreatedAt != before.CreatedAt || h.Tail != 3 {
		t.Fatalf("head %+v, was %+v", h, before)
	}
	if r := f.send(key, 1); r.First != 4 {
		t.Fatalf("receipt %+v, want first 4", r)
	}
}

func reopenKeys(t *testing.T, f *fixture, reopen func()) {
	made := journal.Input{Create: creation(), Events: events("created", 1), If: -1, Key: "k", Digest: "d"}
	sent := journal.Input{Events: events("sent", 2), If: -1, Key: "k", Digest: "d"}
	_, err := f.s.Send(f.ctx, session(1), made)
	f.ok(err)
	_, err = f.s.Send(f.ctx, session(1), sent)
	f.ok(err)
	reopen()
	r, err := f.s.Send(f.ctx, session(2), made)
	f.ok(err)
	if want := (journal.Receipt{Session: session(1).Session, First: 1, Last: 1, Replayed: true}); r != want {
		t.Fatalf("receipt %+v, want %+v", r, want)
	}
	r, err = f.s.Send(f.ctx, session(1), sent)
	f.ok(err)
	if want := (journal.Receipt{Session: session(1).Session, First: 2, Last: 3, Replayed: true}); r != want {
		t.Fatalf("receipt %+v, want %+v", r, want)
	}
	sent.Digest = "e"
	_, err = f.s.Send(f.ctx, session(1), sent)
	f.fails(stead.KindConflict, err)
}

func reopenUnread(t *testing.T, f *fixture, reopen func()) {
	f.create(session(1), 2)
	reopen()
	if l := f.takeOver(1)[session(1)]; l.Tail != 2 {
		t.Fatalf("lease %+v", l)
	}
}

func reopenHeld(t *testing.T, f *fixture, reopen func()) {
	const n = 6
	for i := range n {
		f.create(session(i), 1)
	}
	f.beat(nodeA, alive)
	for i, l := range f.acquire(nodeA, n) {
		if i%2 == 0 { // some holders have appended, some not
			f.ok(f.s.Append(f.ctx, l, batch(1, "done", 1)))
		}
		if i%3 == 0 { // and some have unread input besides
			f.send(l.Key, 1)
		}
	}
	f.beat(nodeA, brief)
	reopen()
	got := f.takeOver(n)
	for i := range n {
		if _, ok := got[session(i)]; !ok {
			t.Fatalf("session %d is stranded", i)
		}
	}
}

func reopenWake(t *testing.T, f *fixture, reopen func()) {
	wake := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	soon := time.Now().Add(brief)
	f.release(f.held(session(1), 1), 1, wake)
	f.release(f.held(session(2), 1), 1, soon)
	reopen()
	f.beat(nodeB, alive)
	f.pollOne(nodeB, session(2))
	leases, next, err := f.s.Acquire(f.ctx, nodeB, 10)
	f.ok(err)
	if len(leases) != 0 || !next.Equal(wake) {
		t.Fatalf("Acquire = %+v, next %s; want none, %s", leases, next, wake)
	}
}

func reopenIdle(t *testing.T, f *fixture, reopen func()) {
	f.quiet(session(1), 1)
	f.release(f.held(session(2), 1), 1, time.Time{})
	reopen()
	f.beat(nodeB, alive)
	f.noneDue(nodeB)
}

func reopenEpochs(t *testing.T, f *fixture, reopen func()) {
	key := session(1)
	old := f.held(key, 1)
	f.ok(f.s.Append(f.ctx, old, batch(1, "done", 1)))
	f.send(key, 1) // the newest event is nobody's under a lease
	f.beat(nodeA, brief)
	reopen()
	fresh := f.takeOver(1)[key]
	if fresh.Epoch <= old.Epoch || fresh.Tail != 3 {
		t.Fatalf("lease %+v after %+v", fresh, old)
	}
	f.fails(stead.KindFenced, f.s.Append(f.ctx, old, batch(3, "stale", 1)))
	f.release(fresh, 3, time.Time{}) // an epoch that appended nothing but its end counts, too
	reopen()
	f.send(key, 1)
	if l := f.takeOver(1)[key]; l.Epoch <= fresh.Epoch {
		t.Fatalf("lease %+v after %+v", l, fresh)
	}
}

func reopenDeleted(t *testing.T, f *fixture, reopen func()) {
	f.create(session(1), 3)
	f.ok(f.s.SaveSnapshot(f.ctx, session(1), 1, []byte("x")))
	f.ok(f.s.Delete(f.ctx, session(1)))
	reopen()
	_, err := f.s.Head(f.ctx, session(1))
	f.fails(stead.KindNotFound, err)
	f.noSnapshot(session(1))
	f.beat(nodeB, alive)
	f.noneDue(nodeB)
}

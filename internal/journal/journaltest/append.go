package journaltest

import (
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func appendTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"stores at After+1":              appendStores,
		"wrong seq is invalid":           appendSeq,
		"behind the tail is KindTail":    appendTail,
		"repeated answers KindTail":      appendRepeated,
		"other epoch is fenced":          appendEpoch,
		"other node is fenced":           appendNode,
		"without any lease is fenced":    appendNoLease,
		"stale holder is fenced":         appendStolen,
		"fenced before tail":             appendFencedFirst,
		"release gives the lease back":   appendRelease,
		"release without events":         appendReleaseEmpty,
		"refused release keeps lease":    appendReleaseRefused,
		"wake makes due at that time":    appendWake,
		"wake in the past is due now":    appendWakePast,
		"wake without release ignored":   appendWakeIgnored,
		"a release replaces the wake":    appendWakeReplaced,
		"input before the wake is due":   appendWakeInput,
		"input during work: read on":     appendInputMeanwhile,
		"update changes the listing":     appendUpdate,
		"refused changes no listing":     appendRefusedUpdate,
		"holder keeps it while it works": appendHolds,
	}
}

func appendStores(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 2)
	if lease.Tail != 2 {
		t.Fatalf("lease %+v, want tail 2", lease)
	}
	b := batch(2, "done", 3)
	f.ok(f.s.Append(f.ctx, lease, b))
	f.ok(f.s.Append(f.ctx, lease, batch(5, "more", 1)))
	got := f.all(key)
	if len(got) != 6 {
		t.Fatalf("%d events, want 6", len(got))
	}
	f.same(got[2:5], b.Events)
}

func appendSeq(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	b := batch(1, "done", 2)
	b.Events[1].Seq = 4
	f.fails(stead.KindInvalid, f.s.Append(f.ctx, lease, b))
	f.tail(session(1), 1)
}

func appendTail(t *testing.T, f *fixture) {
	lease := f.held(session(1), 2)
	for _, after := range []stead.Seq{0, 1, 3} {
		f.fails(stead.KindTail, f.s.Append(f.ctx, lease, batch(after, "done", 1)))
	}
	f.tail(session(1), 2)
}

func appendRepeated(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 2)))
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, batch(1, "done", 2)))
	f.tail(session(1), 3)
}

func appendEpoch(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	for _, d := range []stead.Epoch{-1, 1} {
		wrong := lease
		wrong.Epoch += d
		f.fails(stead.KindFenced, f.s.Append(f.ctx, wrong, batch(1, "done", 1)))
	}
	f.tail(session(1), 1)
}

func appendNode(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.beat(nodeB, alive)
	lease.Node = nodeB
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	f.tail(session(1), 1)
}

func appendNoLease(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	f.beat(nodeA, alive)
	for _, node := range []stead.NodeID{nodeA, ""} {
		for epoch := range stead.Epoch(2) {
			lease := journal.Lease{Key: session(1), Epoch: epoch, Node: node, Tail: 1}
			f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(1, "done", 1)))
		}
	}
	f.tail(session(1), 1)
}

func appendStolen(t *testing.T, f *fixture) {
	key := session(1)
	old := f.held(key, 1)
	f.ok(f.s.Append(f.ctx, old, batch(1, "done", 1)))
	f.beat(nodeA, 0)
	f.beat(nodeB, alive)
	stolen := f.acquireOne(nodeB, key)
	if stolen.Epoch <= old.Epoch || stolen.Tail != 2 {
		t.Fatalf("stolen %+v after %+v", stolen, old)
	}
	f.beat(nodeA, alive) // a node that comes back gets nothing back
	f.fails(stead.KindFenced, f.s.Append(f.ctx, old, batch(2, "stale", 1)))
	f.fails(stead.KindFenced, f.s.Append(f.ctx, old, journal.Batch{After: 2, Release: true}))
	f.ok(f.s.Append(f.ctx, stolen, batch(2, "fresh", 1)))
	f.tail(key, 3)
}

func appendFencedFirst(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	lease.Epoch++
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(7, "done", 1)))
}

func appendRelease(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	if h := f.head(key); h.Holder != nodeA || h.Epoch != lease.Epoch {
		t.Fatalf("head %+v of a held session", h)
	}
	b := batch(1, "done", 1)
	b.Release = true
	f.ok(f.s.Append(f.ctx, lease, b))
	if h := f.head(key); h.Holder != "" || h.Tail != 2 {
		t.Fatalf("head %+v of a released session", h)
	}
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(2, "late", 1)))
	f.noneDue(nodeA)
	f.send(key, 1)
	if next := f.acquireOne(nodeA, key); next.Epoch <= lease.Epoch || next.Tail != 3 {
		t.Fatalf("lease %+v after %+v", next, lease)
	}
}

func appendReleaseEmpty(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.ok(f.s.Append(f.ctx, lease, journal.Batch{After: 1, Release: true}))
	f.tail(key, 1)
	f.noneDue(nodeA)
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, batch(1, "late", 1)))
	f.send(key, 1)
	if next := f.acquireOne(nodeA, key); next.Epoch <= lease.Epoch {
		t.Fatalf("epoch %d after %d", next.Epoch, lease.Epoch)
	}
}

func appendReleaseRefused(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.send(key, 1)
	b := batch(1, "done", 1)
	b.Release = true
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, b))
	f.ok(f.s.Append(f.ctx, lease, batch(2, "done", 1)))
}

func (f *fixture) release(lease journal.Lease, after stead.Seq, wake time.Time) {
	f.t.Helper()
	b := journal.Batch{After: after, Release: true}
	if !wake.IsZero() {
		b.Wake = wake.UnixMilli()
	}
	f.ok(f.s.Append(f.ctx, lease, b))
}

func appendWake(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	wake := time.Now().Add(2 * brief)
	f.release(lease, 1, wake)
	if next := f.pollOne(nodeA, key); next.Epoch <= lease.Epoch {
		t.Fatalf("epoch %d after %d", next.Epoch, lease.Epoch)
	}
	if early := time.Until(wake); early > time.Millisecond {
		t.Fatalf("the session was due %s early", early)
	}
}

func appendWakePast(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.drainWork()
	f.release(lease, 1, time.Now().Add(-time.Hour))
	f.worked()
	f.acquireOne(nodeA, key)
}

func appendWakeIgnored(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := batch(1, "done", 1)
	b.Wake = time.Now().Add(-time.Hour).UnixMilli()
	f.ok(f.s.Append(f.ctx, lease, b))
	f.beat(nodeB, alive)
	f.noneDue(nodeB)
	f.release(lease, 2, time.Time{})
	f.noneDue(nodeB)
}

func appendWakeReplaced(t *testing.T, f *fixture) {
	key := session(1)
	f.release(f.held(key, 1), 1, time.Now().Add(brief))
	f.send(key, 1)
	f.release(f.acquireOne(nodeA, key), 2, time.Time{})
	_, next, err := f.s.Acquire(f.ctx, nodeA, 1)
	f.ok(err)
	if !next.IsZero() {
		t.Fatalf("next = %s, but no wake time is left", next)
	}
}

func appendWakeInput(t *testing.T, f *fixture) {
	key := session(1)
	f.release(f.held(key, 1), 1, time.Now().Add(time.Hour))
	f.noneDue(nodeA)
	f.send(key, 1)
	f.acquireOne(nodeA, key)
}

func appendInputMeanwhile(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.send(key, 1)
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	if got := f.read(key, journal.ReadOptions{After: 1}); len(got) != 1 || got[0].Kind != "sent" {
		t.Fatalf("read %+v, want the input", got)
	}
	b := batch(2, "done", 1)
	b.Release = true
	f.ok(f.s.Append(f.ctx, lease, b))
	f.noneDue(nodeA) // the holder has consumed it
}

func appendUpdate(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	l := journal.Listing{Status: "active", Metadata: map[string]string{"x": "y"}, LastActive: 9}
	b := batch(1, "done", 1)
	b.Update = &l
	f.ok(f.s.Append(f.ctx, lease, b))
	f.listing(key, l)
	f.ok(f.s.Append(f.ctx, lease, batch(2, "done", 1)))
	f.listing(key, l)
	l.Status = "idle"
	f.ok(f.s.Append(f.ctx, lease, journal.Batch{After: 3, Release: true, Update: &l}))
	f.listing(key, l)
}

func appendRefusedUpdate(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := batch(5, "done", 1)
	b.Update = &journal.Listing{Status: "wrong"}
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, b))
	b = batch(1, "done", 1)
	b.Update = &journal.Listing{Status: "wrong"}
	lease.Epoch++
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, b))
	f.listing(key, journal.Listing{})
}

func appendHolds(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.beat(nodeB, alive)
	f.noneDue(nodeB)
	f.noneDue(nodeA)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", 1)))
	f.noneDue(nodeB)
	f.send(key, 1)
	f.noneDue(nodeB)
	f.noneDue(nodeA)
}

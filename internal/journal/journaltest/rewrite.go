package journaltest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func rewriteTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"data alone changes":       rewriteData,
		"of any event, in any row": rewriteFar,
		"all or none":              rewriteAllOrNone,
		"safe to repeat":           rewriteAgain,
		"the snapshot goes":        rewriteSnapshot,
		"of nobody":                rewriteNobody,
		"the tail and leases stay": rewriteLease,
		"another session's stays":  rewriteApart,
		"while others append":      rewriteBusy,
		"too large":                rewriteTooLarge,
	}
}

func (f *fixture) journal(key stead.SessionKey) []stead.Event {
	f.t.Helper()
	var out []stead.Event
	for {
		var after stead.Seq
		if len(out) > 0 {
			after = out[len(out)-1].Seq
		}
		some, err := f.s.Read(f.ctx, key, journal.ReadOptions{After: after})
		f.ok(err)
		if out = append(out, some...); len(some) < stead.MaxReadEvents {
			return out
		}
	}
}

func changeOf(e stead.Event, to string) journal.Change {
	return journal.Change{Seq: e.Seq, Old: e.Data, New: []byte(to)}
}

// rewritten checks the journal against what it was, with changes.
func (f *fixture) rewritten(key stead.SessionKey, before []stead.Event, to map[stead.Seq]string) {
	f.t.Helper()
	after := f.journal(key)
	if len(after) != len(before) {
		f.t.Fatalf("%d events, want %d", len(after), len(before))
	}
	for i, e := range after {
		want := before[i]
		if text, ok := to[want.Seq]; ok {
			want.Data = []byte(text)
		}
		if e.Seq != want.Seq || e.At != want.At || e.Kind != want.Kind || e.Thread != want.Thread || !bytes.Equal(e.Data, want.Data) {
			f.t.Fatalf("event %+v (%s), want %+v (%s)", e, e.Data, want, want.Data)
		}
	}
}

func rewriteData(_ *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 5)
	before := f.journal(key)
	f.ok(f.s.Rewrite(f.ctx, key, []journal.Change{changeOf(before[3], `"much longer than it was before, by far"`), changeOf(before[1], `1`)}))
	f.rewritten(key, before, map[stead.Seq]string{4: `"much longer than it was before, by far"`, 2: `1`})
}

// rewriteFar: events in one large row, in rows of their own, and in what was just sent.
func rewriteFar(_ *testing.T, f *fixture) {
	key := session(1)
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("import", 1300), If: -1})
	f.ok(err)
	for range 40 {
		_, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1})
		f.ok(err)
	}
	before := f.journal(key)
	var changes []journal.Change
	to := map[stead.Seq]string{}
	for _, seq := range []stead.Seq{1, 512, 513, 700, 1300, 1301, 1320, 1340} {
		to[seq] = fmt.Sprint(seq)
		changes = append(changes, changeOf(before[seq-1], to[seq]))
	}
	f.ok(f.s.Rewrite(f.ctx, key, changes))
	f.rewritten(key, before, to)
}

func rewriteAllOrNone(_ *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 5)
	before := f.journal(key)
	stale := journal.Change{Seq: 4, Old: []byte(`"something else"`), New: []byte(`4`)}
	f.fails(stead.KindConflict, f.s.Rewrite(f.ctx, key, []journal.Change{changeOf(before[1], `2`), stale}))
	missing := journal.Change{Seq: 6, Old: before[0].Data, New: []byte(`6`)}
	f.fails(stead.KindConflict, f.s.Rewrite(f.ctx, key, []journal.Change{changeOf(before[1], `2`), missing}))
	f.rewritten(key, before, nil)
}

func rewriteAgain(_ *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 3)
	before := f.journal(key)
	changes := []journal.Change{changeOf(before[1], `2`)}
	f.ok(f.s.Rewrite(f.ctx, key, changes))
	f.ok(f.s.Rewrite(f.ctx, key, changes))
	f.rewritten(key, before, map[stead.Seq]string{2: `2`})
}

func rewriteSnapshot(_ *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 5)
	f.ok(f.s.SaveSnapshot(f.ctx, key, 4, []byte("four")))
	f.snapshot(key, 4, "four")
	f.ok(f.s.Rewrite(f.ctx, key, nil))
	f.snapshot(key, 0, "")
	f.ok(f.s.SaveSnapshot(f.ctx, key, 5, []byte("five"))) // of a node that has not heard of it
	f.snapshot(key, 0, "")
	f.ok(f.s.SaveSnapshot(f.ctx, key, 6, []byte("six")))
	f.snapshot(key, 6, "six")
}

func rewriteNobody(_ *testing.T, f *fixture) {
	f.fails(stead.KindNotFound, f.s.Rewrite(f.ctx, session(1), nil))
	f.create(session(1), 1)
	other := stead.SessionKey{Project: "other", Session: session(1).Session}
	f.fails(stead.KindNotFound, f.s.Rewrite(f.ctx, other, []journal.Change{changeOf(f.journal(session(1))[0], `1`)}))
}

func rewriteLease(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 2)
	before := f.journal(key)
	f.ok(f.s.Rewrite(f.ctx, key, []journal.Change{changeOf(before[0], `1`)}))
	f.ok(f.s.Append(f.ctx, lease, batch(lease.Tail, "done", 1)))
	if h := f.head(key); h.Tail != lease.Tail+1 || h.Holder != lease.Node {
		f.t.Fatalf("head %+v", h)
	}
}

func rewriteApart(_ *testing.T, f *fixture) {
	f.create(session(1), 3)
	f.create(session(2), 3)
	before := f.journal(session(2))
	f.ok(f.s.Rewrite(f.ctx, session(1), []journal.Change{changeOf(f.journal(session(1))[1], `2`)}))
	f.rewritten(session(2), before, nil)
}

// rewriteBusy: what is sent meanwhile is there, whole and in order.
func rewriteBusy(_ *testing.T, f *fixture) {
	const sends = 50
	key := session(1)
	f.create(key, 4)
	before := f.journal(key)
	var sending sync.WaitGroup
	sending.Go(func() {
		for range sends {
			if _, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1}); err != nil {
				f.t.Errorf("Send: %v", err)
			}
		}
	})
	for i := range 4 {
		f.ok(f.s.Rewrite(f.ctx, key, []journal.Change{changeOf(before[i], fmt.Sprint(i))}))
	}
	sending.Wait()
	after := f.journal(key)
	if len(after) != 4+sends {
		f.t.Fatalf("%d events", len(after))
	}
	for i, e := range after {
		if e.Seq != stead.Seq(i+1) || i < 4 && string(e.Data) != fmt.Sprint(i) || i >= 4 && e.Kind != "sent" {
			f.t.Fatalf("event %d: %+v", i, e)
		}
	}
}

func rewriteTooLarge(_ *testing.T, f *fixture) {
	key := session(1)
	f.create(key, 1)
	before := f.journal(key)
	large := journal.Change{Seq: 1, Old: before[0].Data, New: make([]byte, stead.MaxEventBytes+1)}
	f.fails(stead.KindTooLarge, f.s.Rewrite(f.ctx, key, []journal.Change{large}))
	f.rewritten(key, before, nil)
}

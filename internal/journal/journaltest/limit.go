package journaltest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func limitTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"events of a send":    limitSend,
		"events of an append": limitAppend,
		"bytes of an event":   limitBytes,
		"events of an import": limitImport,
	}
}

func limitSend(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", stead.MaxBatchEvents+1), If: -1})
	f.fails(stead.KindTooLarge, err)
	f.tail(session(1), 1)
	f.send(session(1), stead.MaxBatchEvents)
	f.tail(session(1), stead.MaxBatchEvents+1)
}

func limitAppend(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	f.fails(stead.KindTooLarge, f.s.Append(f.ctx, lease, batch(1, "done", stead.MaxBatchEvents+1)))
	f.tail(session(1), 1)
	f.ok(f.s.Append(f.ctx, lease, batch(1, "done", stead.MaxBatchEvents)))
	f.tail(session(1), stead.MaxBatchEvents+1)
}

// large makes an event whose data has that many bytes.
func large(size int) stead.Event {
	data := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("y"), size-8)...), `"}`...)
	return stead.Event{At: 1, Kind: "large", Data: data}
}

func limitBytes(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	over := []stead.Event{large(stead.MaxEventBytes + 1)}
	_, err := f.s.Send(f.ctx, session(1), journal.Input{Events: over, If: -1})
	f.fails(stead.KindTooLarge, err)
	f.fails(stead.KindTooLarge, f.s.Append(f.ctx, lease, journal.Batch{After: 1, Events: numbered(1, over)}))
	f.tail(session(1), 1)
	most := []stead.Event{large(stead.MaxEventBytes), large(stead.MaxEventBytes)}
	f.ok(f.s.Append(f.ctx, lease, journal.Batch{After: 1, Events: numbered(1, most)}))
	f.same(f.all(session(1))[1:], most)
}

func limitImport(t *testing.T, f *fixture) {
	in := journal.Input{Create: creation(), Events: events("import", stead.MaxImportEvents+1), If: -1, Quiet: true}
	_, err := f.s.Send(f.ctx, session(1), in)
	f.fails(stead.KindTooLarge, err)
	_, err = f.s.Head(f.ctx, session(1))
	f.fails(stead.KindNotFound, err)
	in.Events = in.Events[:stead.MaxImportEvents]
	r, err := f.s.Send(f.ctx, session(1), in)
	f.ok(err)
	if r.First != 1 || r.Last != stead.MaxImportEvents {
		t.Fatalf("receipt %+v", r)
	}
	f.same(f.all(session(1)), in.Events)
	got := f.read(session(1), journal.ReadOptions{After: stead.MaxImportEvents - 3})
	f.same(got, in.Events[stead.MaxImportEvents-3:])
}

func concurrencyTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"senders to few sessions, no gaps": concurrentSends,
		"holder against senders":           concurrentHolder,
		"one key, one send":                concurrentKey,
		"one creation wins":                concurrentCreate,
		"who leaves early is not lied to":  concurrentCancel,
	}
}

func concurrentSends(t *testing.T, f *fixture) {
	const sessions, writers, rounds = 8, 64, 10
	for i := range sessions {
		f.create(session(i), 1)
	}
	var mu sync.Mutex
	first := map[string]bool{} // "session/seq" that a receipt named
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range rounds {
				key := session((w + n) % sessions)
				r, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1+n%3), If: -1})
				if err != nil {
					t.Errorf("Send: %v", err)
					return
				}
				mu.Lock()
				for seq := r.First; seq <= r.Last; seq++ {
					id := fmt.Sprint(r.Session, "/", seq)
					if first[id] {
						t.Errorf("two receipts for %s", id)
					}
					first[id] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	total := 0
	for i := range sessions {
		total += len(f.all(session(i))) - 1 // all checks for gaps
	}
	if total != len(first) {
		t.Fatalf("%d events stored, receipts for %d", total, len(first))
	}
}

// concurrentHolder lets a holder append while input arrives: each append that is acknowledged stands
// exactly where its Seq says, each refusal is KindTail.
func concurrentHolder(t *testing.T, f *fixture) {
	const senders, inputs, appends = 8, 20, 60
	key := session(1)
	lease := f.held(key, 1)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range inputs {
				if _, err := f.s.Send(f.ctx, key, journal.Input{Events: events("sent", 1), If: -1}); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		})
	}
	tail := stead.Seq(1)
	var mine []stead.Seq
	for len(mine) < appends {
		err := f.s.Append(f.ctx, lease, batch(tail, "mine", 1))
		if err == nil {
			tail++
			mine = append(mine, tail)
			continue
		}
		f.fails(stead.KindTail, err)
		tail += stead.Seq(len(f.read(key, journal.ReadOptions{After: tail})))
	}
	wg.Wait()
	got := f.all(key)
	if len(got) != 1+senders*inputs+appends {
		t.Fatalf("%d events, want %d", len(got), 1+senders*inputs+appends)
	}
	for _, seq := range mine {
		if got[seq-1].Kind != "mine" {
			t.Fatalf("event %d is %s", seq, got[seq-1].Kind)
		}
	}
}

func concurrentKey(t *testing.T, f *fixture) {
	const callers = 32
	f.create(session(1), 1)
	receipts := make([]journal.Receipt, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			var err error
			receipts[i], err = f.s.Send(f.ctx, session(1), journal.Input{Events: events("sent", 2), If: -1, Key: "k", Digest: "d"})
			if err != nil {
				t.Errorf("Send: %v", err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, r := range receipts {
		if r.First != 2 || r.Last != 3 {
			t.Errorf("receipt %+v", r)
		}
		if !r.Replayed {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d of %d calls stored something", fresh, callers)
	}
	f.tail(session(1), 3)
}

func concurrentCreate(t *testing.T, f *fixture) {
	const callers = 16
	var mu sync.Mutex
	made := 0
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			_, err := f.s.Send(f.ctx, session(1), journal.Input{Create: creation(), Events: events("created", 1), If: -1})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if stead.KindOf(err) != stead.KindConflict {
				t.Errorf("Send: %v", err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d creations succeeded", made)
	}
	f.tail(session(1), 1)
}

// concurrentCancel ends calls at any moment: one that reports success all the same has stored its
// event, one that fails may have, and no event is there twice.
func concurrentCancel(t *testing.T, f *fixture) {
	const callers, rounds = 16, 40
	key := session(1)
	f.create(key, 1)
	var mu sync.Mutex
	acked := map[stead.Seq]string{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := range rounds {
				ctx, cancel := context.WithCancel(f.ctx)
				kind := fmt.Sprintf("sent.%d.%d", c, n)
				go cancel()
				r, err := f.s.Send(ctx, key, journal.Input{Events: events(kind, 1), If: -1})
				cancel()
				if err != nil && stead.KindOf(err) != stead.KindUnavailable {
					t.Errorf("Send: %v", err)
				}
				if err == nil {
					mu.Lock()
					acked[r.First] = kind
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	f.send(key, 1) // what was under way without anybody waiting comes before this
	got := f.all(key)
	seen := map[string]bool{}
	for _, e := range got {
		if seen[e.Kind] {
			t.Errorf("%s is stored twice", e.Kind)
		}
		seen[e.Kind] = true
	}
	for seq, kind := range acked {
		if int(seq) > len(got) || got[seq-1].Kind != kind {
			t.Errorf("%s was acknowledged as event %d and is not there", kind, seq)
		}
	}
}

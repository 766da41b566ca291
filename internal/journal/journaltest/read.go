package journaltest

import (
	"context"
	"errors"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func readTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"pages up":                 readUp,
		"pages down":               readDown,
		"at most MaxReadEvents":    readMax,
		"beyond the tail is empty": readBeyond,
		"of nobody is not found":   readNotFound,
	}
}

// mixed makes a session of 23 events whose appends are of many sizes, so that pages cut through them.
func (f *fixture) mixed(key stead.SessionKey) {
	f.t.Helper()
	lease := f.held(key, 3)
	f.ok(f.s.Append(f.ctx, lease, batch(3, "a", 1)))
	f.ok(f.s.Append(f.ctx, lease, batch(4, "b", 7)))
	f.send(key, 2)
	f.ok(f.s.Append(f.ctx, lease, batch(13, "c", 10)))
}

const mixedEvents = 23

func readUp(t *testing.T, f *fixture) {
	key := session(1)
	f.mixed(key)
	f.tail(key, mixedEvents)
	for limit := 1; limit <= mixedEvents+1; limit++ {
		for after := range stead.Seq(mixedEvents + 2) {
			got := f.read(key, journal.ReadOptions{After: after, Limit: limit})
			if want := min(limit, max(mixedEvents-int(after), 0)); len(got) != want {
				t.Fatalf("after %d, limit %d: %d events, want %d", after, limit, len(got), want)
			}
			for i, e := range got {
				if e.Seq != after+stead.Seq(i)+1 {
					t.Fatalf("after %d, limit %d: event %d has seq %d", after, limit, i, e.Seq)
				}
			}
		}
	}
}

func readDown(t *testing.T, f *fixture) {
	key := session(1)
	f.mixed(key)
	for limit := 1; limit <= mixedEvents+1; limit++ {
		for below := range stead.Seq(mixedEvents + 3) {
			top := min(int(below)-1, mixedEvents)
			if below == 0 {
				top = mixedEvents
			}
			got := f.read(key, journal.ReadOptions{After: below, Limit: limit, Desc: true})
			if want := min(limit, top); len(got) != want {
				t.Fatalf("below %d, limit %d: %d events, want %d", below, limit, len(got), want)
			}
			for i, e := range got {
				if e.Seq != stead.Seq(top-i) {
					t.Fatalf("below %d, limit %d: event %d has seq %d", below, limit, i, e.Seq)
				}
			}
		}
	}
}

func readMax(t *testing.T, f *fixture) {
	key := session(1)
	const n = stead.MaxReadEvents + 100
	_, err := f.s.Send(f.ctx, key, journal.Input{Create: creation(), Events: events("import", n), If: -1})
	f.ok(err)
	for _, limit := range []int{0, stead.MaxReadEvents, n} {
		if got := len(f.read(key, journal.ReadOptions{Limit: limit})); got != stead.MaxReadEvents {
			t.Fatalf("limit %d: %d events, want %d", limit, got, stead.MaxReadEvents)
		}
	}
	f.tail(key, n)
}

func readBeyond(t *testing.T, f *fixture) {
	f.create(session(1), 2)
	if got := f.read(session(1), journal.ReadOptions{After: 2}); len(got) != 0 {
		t.Fatalf("read %+v beyond the tail", got)
	}
}

func readNotFound(t *testing.T, f *fixture) {
	_, err := f.s.Read(f.ctx, session(1), journal.ReadOptions{})
	f.fails(stead.KindNotFound, err)
}

func waitTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"returns at once when behind":     waitBehind,
		"wakes on Send":                   waitSend,
		"wakes on Append":                 waitAppend,
		"many waiters, many sessions":     waitMany,
		"ends with its context":           waitContext,
		"of nobody is not found":          waitNotFound,
		"of a deleted session: not found": waitDeleted,
	}
}

type waited struct {
	tail stead.Seq
	err  error
}

// wait waits in the background and calls ready when it is under way, as far as that can be told.
func (f *fixture) wait(ctx context.Context, key stead.SessionKey, after stead.Seq) <-chan waited {
	out := make(chan waited, 1)
	go func() {
		tail, err := f.s.Wait(ctx, key, after)
		out <- waited{tail, err}
	}()
	return out
}

func waitBehind(t *testing.T, f *fixture) {
	f.create(session(1), 3)
	for after := range stead.Seq(3) {
		tail, err := f.s.Wait(f.ctx, session(1), after)
		f.ok(err)
		if tail != 3 {
			t.Fatalf("tail %d, want 3", tail)
		}
	}
}

func waitSend(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	f.create(session(2), 1)
	got := f.wait(f.ctx, session(1), 1)
	f.send(session(2), 1) // of no interest
	f.send(session(1), 2)
	if w := <-got; w.err != nil || w.tail != 3 {
		t.Fatalf("Wait = %d, %v; want 3", w.tail, w.err)
	}
}

func waitAppend(t *testing.T, f *fixture) {
	lease := f.held(session(1), 1)
	got := f.wait(f.ctx, session(1), 2) // beyond the next append
	f.ok(f.s.Append(f.ctx, lease, batch(1, "a", 1)))
	f.ok(f.s.Append(f.ctx, lease, batch(2, "b", 1)))
	if w := <-got; w.err != nil || w.tail != 3 {
		t.Fatalf("Wait = %d, %v; want 3", w.tail, w.err)
	}
}

func waitMany(t *testing.T, f *fixture) {
	const sessions, waiters, rounds = 4, 8, 10
	var all []<-chan waited
	for i := range sessions {
		f.create(session(i), 1)
		for range waiters {
			done := make(chan waited, 1)
			all = append(all, done)
			go func() {
				var w waited
				for w.tail = 1; w.tail < rounds+1 && w.err == nil; {
					w.tail, w.err = f.s.Wait(f.ctx, session(i), w.tail)
				}
				done <- w
			}()
		}
	}
	for range rounds {
		for i := range sessions {
			f.send(session(i), 1)
		}
	}
	for _, done := range all {
		if w := <-done; w.err != nil || w.tail != rounds+1 {
			t.Fatalf("Wait = %d, %v; want %d", w.tail, w.err, rounds+1)
		}
	}
}

func waitContext(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	ctx, cancel := context.WithCancel(f.ctx)
	got := f.wait(ctx, session(1), 1)
	cancel()
	if w := <-got; !errors.Is(w.err, context.Canceled) {
		t.Fatalf("Wait = %d, %v; want the context's error", w.tail, w.err)
	}
}

func waitNotFound(t *testing.T, f *fixture) {
	_, err := f.s.Wait(f.ctx, session(1), 0)
	f.fails(stead.KindNotFound, err)
}

func waitDeleted(t *testing.T, f *fixture) {
	f.create(session(1), 1)
	got := f.wait(f.ctx, session(1), 1)
	f.ok(f.s.Delete(f.ctx, session(1)))
	w := <-got
	f.fails(stead.KindNotFound, w.err)
}

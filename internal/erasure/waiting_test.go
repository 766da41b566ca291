package erasure_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/erasure"
)

// many are sessions that somebody deletes one by one.
func many(w *world, n int) (ids []stead.SessionID) {
	w.purges, w.sessions, w.blobs = true, map[stead.SessionID]stead.SessionID{"mine": ""}, map[stead.SessionID]bool{}
	for i := range n {
		ids = append(ids, stead.SessionID(fmt.Sprintf("s%05d", i)))
		w.sessions[ids[i]] = ""
	}
	return ids
}

// stands says whether a session is there, and how many purges there were.
func (w *world) stands(id stead.SessionID) (there bool, purged int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.there(id) == nil, w.purged
}

// slow is a service whose purges take a time of the world's clock.
func (w *world) slow(t *testing.T, takes time.Duration) *erasure.Service {
	c := w.config(t, w)
	c.Purges = erasure.NewPurges(w, func(ctx context.Context) (string, error) {
		w.later(takes)
		return w.purge(ctx)
	}, c.Now, c.Log)
	return erasure.New(c)
}

// TestWhatWaitsForAPurgeHoldsUpNothing: an erasure begins at once, however many deletions wait for their certificates, and one purge is enough
// for all of them; also where purges fail.
func TestWhatWaitsForAPurgeHoldsUpNothing(t *testing.T) {
	for name, why := range map[string]error{"purges": nil, "purges that fail": stead.Errorf(stead.KindUnavailable, "somebody reads")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			ids := many(w, 500)
			w.why = why
			s := w.slow(t, 10*time.Minute)
			for _, id := range ids {
				if _, err := s.Session(t.Context(), ada, id); err != nil {
					t.Fatal(err)
				}
			}
			w.later(time.Second)
			if err := round(t, s); stead.KindOf(err) != stead.KindOf(why) {
				t.Fatal(err)
			}
			if got := waiting(t, s); why == nil && got != 0 || why != nil && got != len(ids) {
				t.Errorf("%d erasures wait behind %d purges", got, w.purged)
			}
			for _, id := range many(w, 500) { // more, while no purge may be made
				if _, err := s.Session(t.Context(), ada, id); err != nil {
					t.Fatal(err)
				}
			}
			w.later(6 * time.Minute) // by then a node looks whether any of them was forgotten
			if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfSession, ID: "mine"}}); err != nil {
				t.Fatal(err)
			}
			for n := 1; n > 0; { // as long as there is something to do, at once
				var err error
				if n, err = s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if w.there("mine") == nil {
				t.Error("an erasure waits for others")
			}
			w.later(34 * time.Minute) // four times as long as the last one took
			if err := round(t, s); stead.KindOf(err) != stead.KindOf(why) {
				t.Fatal(err)
			}
			if got := waiting(t, s); why == nil && (got != 0 || w.purged != 2) {
				t.Errorf("%d erasures wait behind %d purges", got, w.purged)
			}
			w.later(2 * time.Hour)
			if err := round(t, s); stead.KindOf(err) != stead.KindOf(why) || waiting(t, s) != 0 {
				t.Errorf("after two hours %d wait: %v", waiting(t, s), err)
			}
		})
	}
}

// TestAPurgeIsForWhatWasEmptiedBefore: an erasure that is asked for while one runs begins at once, and is certified behind the next one.
func TestAPurgeIsForWhatWasEmptiedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		begun, goOn := make(chan struct{}, 9), make(chan struct{})
		c := w.config(t, w)
		c.Now = time.Now
		c.Purges = erasure.NewPurges(w, func(ctx context.Context) (string, error) {
			begun <- struct{}{}
			<-goOn
			return w.purge(ctx)
		}, time.Now, slog.New(slog.DiscardHandler))
		s := erasure.New(c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		status := func(id string) string {
			e, err := s.Get(t.Context(), ada, id)
			if err != nil {
				t.Fatal(err)
			}
			return e.Status
		}
		first, err := s.Session(t.Context(), ada, "s1")
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		second, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfSession, ID: "s2"}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second) // longer than a turn is held
		if there, _ := w.stands("s2"); there || status(first.ID) != erasure.Running {
			t.Errorf("while a purge runs, the session is there: %t, and what it is for is %s", there, status(first.ID))
		}
		goOn <- struct{}{}
		synctest.Wait()
		if a, b := status(first.ID), status(second.ID); a != erasure.Completed || b != erasure.Running {
			t.Errorf("behind the first purge: %s, and what came meanwhile is %s", a, b)
		}
		<-begun
		goOn <- struct{}{}
		synctest.Wait()
		if b := status(second.ID); b != erasure.Completed {
			t.Errorf("behind the second purge: %s", b)
		}
		time.Sleep(time.Hour)
		if _, purged := w.stands("s2"); purged != 2 {
			t.Errorf("%d purges, with nothing owed", purged)
		}
		cancel()
		<-ended
	})
}

// TestOnePurgeSettlesAllThatIsOwed, and while they fail they are tried ever more seldom, and nothing piles up.
func TestOnePurgeSettlesAllThatIsOwed(t *testing.T) {
	w := newWorld()
	w.purges, w.why = true, stead.Errorf(stead.KindUnavailable, "a replication slot")
	tries := 0
	c := w.config(t, w)
	c.Purges = erasure.NewPurges(w, func(ctx context.Context) (string, error) {
		tries++
		w.later(time.Minute)
		return w.purge(ctx)
	}, c.Now, c.Log)
	s, began := erasure.New(c), w.now
	deleted, err := s.Session(t.Context(), ada, "s1")
	if err != nil {
		t.Fatal(err)
	}
	for left := time.Duration(0); c.Now().Sub(began) < 6*time.Hour; w.later(2 * time.Second) {
		if err := c.Purges.Deleting(t.Context(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		_ = s.Purge(t.Context())
		if e, err := s.Get(t.Context(), ada, deleted.ID); err != nil {
			t.Fatal(err)
		} else if left == 0 && e.Status == erasure.Completed {
			if left = c.Now().Sub(began); left > time.Hour+2*time.Minute {
				t.Errorf("that bytes are left was said after %s", left)
			}
		}
	}
	if tries < 8 || tries > 14 { // four minutes, for a minute each; then 8, 16, 32, 60, 60 …
		t.Errorf("it was tried %d times in six hours", tries)
	}
	if e, err := s.Get(t.Context(), ada, deleted.ID); err != nil || e.So.Bytes == nil || e.So.Bytes.Database != erasure.BytesLeft {
		t.Errorf("%+v: %v", e.So.Bytes, err)
	}
	other := erasure.New(c) // as a node that begins anew: the turn is the database's
	w.why = nil
	for range 2 * 3600 / 5 {
		if err := round(t, other); err != nil {
			t.Fatal(err)
		}
		w.later(5 * time.Second)
	}
	if w.purged != 1 {
		t.Errorf("%d purges for what was owed", w.purged)
	}
}

// TestOneNodePurges: another does not beside it, nor right behind it; and one does that dies.
func TestOneNodePurges(t *testing.T) {
	w := newWorld()
	w.purges = true
	two, key := w.service(t)
	var inside error
	c := w.config(t, w)
	dies := true
	c.Purges = erasure.NewPurges(w, func(ctx context.Context) (string, error) {
		if inside = round(t, two); dies {
			return "", errDied
		}
		return w.purge(ctx)
	}, c.Now, c.Log)
	one := erasure.New(c)
	e, err := one.Session(t.Context(), ada, "s1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c2 := c
	c2.Purges = erasure.NewPurges(frozen{w, cancel}, func(context.Context) (string, error) { cancel(); return "", errDied }, c.Now, c.Log)
	if err := erasure.New(c2).Purge(ctx); err == nil { // it says nothing any more
		t.Fatal("it died and says that it purged")
	}
	if err := round(t, one); err != nil || w.purged != 0 {
		t.Fatalf("%d purges while another node has its turn: %v", w.purged, err)
	}
	w.later(time.Minute)
	dies = false
	if err := round(t, one); err != nil || inside != nil || w.purged != 1 {
		t.Fatalf("%d purges: %v, %v", w.purged, err, inside)
	}
	if e, err = two.Get(t.Context(), ada, e.ID); err != nil {
		t.Fatal(err)
	}
	if cert, err := erasure.Open(e.Certificate, []audit.Verifier{key}); err != nil || cert.Bytes.Database != "truncated" {
		t.Errorf("%+v: %v", cert, err)
	}
}

// frozen is a store that answers a node nothing any more once it was killed.
type frozen struct {
	document.Store
	killed context.CancelFunc
}

func (f frozen) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	return d, errDied
}

// TestErasuresFromBeforeAreCertified: those that were emptied by a version that kept no marks of them.
func TestErasuresFromBeforeAreCertified(t *testing.T) {
	w := newWorld()
	w.purges = true
	s, _ := w.service(t)
	e, err := s.Session(t.Context(), ada, "s1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteDocument(t.Context(), document.Key{Project: ada.Project, Kind: "purge erasure", ID: e.ID}, 0); err != nil {
		t.Fatal(err)
	}
	if err := round(t, s); err != nil || waiting(t, s) != 1 {
		t.Fatal("it is certified without its mark", err)
	}
	w.later(6 * time.Minute)
	if err := round(t, s); err != nil || waiting(t, s) != 0 || w.purged != 1 {
		t.Errorf("%d wait, %d purges: %v", waiting(t, s), w.purged, err)
	}
}

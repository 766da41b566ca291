package erasure_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/erasure"
)

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// TestADeletionIsCertifiedOnceItsBytesAreGone: it is answered before that, and several are one purge, on whichever node.
func TestADeletionIsCertifiedOnceItsBytesAreGone(t *testing.T) {
	w := newWorld()
	w.purges = true
	s, _ := w.service(t)
	for _, id := range []stead.SessionID{"s2", "s1", "s4"} {
		if e, err := s.Session(t.Context(), ada, id); err != nil || e.Status != erasure.Running || e.Certificate != "" {
			t.Fatalf("%+v: %v", e, err)
		}
	}
	other, key := w.service(t) // the node died
	if n, err := other.Sweep(t.Context()); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	all, _, err := other.List(t.Context(), ada, "", false, 10)
	if err != nil || len(all) != 3 || w.bytes || w.purged != 1 {
		t.Fatalf("%d erasures, %d purges, bytes are left: %t, %v", len(all), w.purged, w.bytes, err)
	}
	for _, e := range all {
		if c, err := erasure.Open(e.Certificate, []audit.Verifier{key}); err != nil || c.Bytes == nil || c.Bytes.Database != "truncated" {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := other.Session(t.Context(), ada, "s3"); err != nil { // so soon there is no other purge
		t.Fatal(err)
	}
	if _, err := other.Sweep(t.Context()); err != nil || w.purged != 1 {
		t.Errorf("%d purges at once: %v", w.purged, err)
	}
	w.later(time.Second)
	if n, err := other.Sweep(t.Context()); n != 1 || err != nil || w.purged != 2 || w.bytes {
		t.Errorf("%d erasures, %d purges: %v", n, w.purged, err)
	}
}

// TestACertificateSaysThatBytesAreLeft: not at once; meanwhile the erasure says why it waits.
func TestACertificateSaysThatBytesAreLeft(t *testing.T) {
	w := newWorld()
	w.purges, w.why = true, stead.Errorf(stead.KindUnavailable, "somebody reads")
	s, key := w.service(t)
	if _, err := s.Session(t.Context(), ada, "s1"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := s.Sweep(t.Context())
		if e := only(t, s); err == nil || e.Status != erasure.Running || e.Problem != "somebody reads" {
			t.Fatalf("%+v: %v", e, err)
		}
		w.later(time.Minute)
	}
	w.later(time.Hour)
	_, _ = s.Sweep(t.Context())
	e := only(t, s)
	c, err := erasure.Open(e.Certificate, []audit.Verifier{key})
	if err != nil || e.Status != erasure.Completed || c.Bytes == nil || c.Bytes.Database != erasure.BytesLeft || c.Bytes.Problem != "somebody reads" {
		t.Errorf("%+v: %+v: %v", e, c, err)
	}
}

// TestForgettingOwesAPurge: one for many, once all that it announced is done, also when the node dies.
func TestForgettingOwesAPurge(t *testing.T) {
	w := newWorld()
	w.purges = true
	p := erasure.NewPurges(w, w.purge, func() time.Time { return w.now }, slog.New(slog.DiscardHandler))
	for range 20 {
		if err := p.Deleting(t.Context(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		w.later(100 * time.Millisecond)
	}
	s, _ := w.service(t) // another node
	sweep := func(want int) {
		t.Helper()
		if _, err := s.Sweep(t.Context()); err != nil || w.purged != want {
			t.Errorf("%d purges, want %d: %v", w.purged, want, err)
		}
	}
	sweep(0)
	w.why = stead.Errorf(stead.KindUnavailable, "somebody reads")
	w.later(30 * time.Second)
	if _, err := s.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "reads") {
		t.Error(err)
	}
	w.why = nil
	w.later(time.Minute)
	sweep(1)
	w.later(time.Minute)
	sweep(1)                                                                                                     // nothing is owed
	if err := p.Deleting(t.Context(), func() error { w.later(time.Minute); sweep(2); return nil }); err != nil { // one that takes long
		t.Fatal(err)
	}
	w.later(time.Minute)
	sweep(3)
}

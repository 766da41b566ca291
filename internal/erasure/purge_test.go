package erasure_test

import (
	"cmp"
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

// round is what a node does again and again.
func round(t *testing.T, s *erasure.Service) error {
	_, err := s.Sweep(t.Context())
	return cmp.Or(err, s.Purge(t.Context()))
}

// waiting are the erasures that are not completed.
func waiting(t *testing.T, s *erasure.Service) (n int) {
	t.Helper()
	for after := ""; ; {
		all, more, err := s.List(t.Context(), ada, after, false, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if after = e.ID; e.Status == erasure.Running {
				n++
			}
		}
		if !more {
			return n
		}
	}
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
	if err := round(t, other); err != nil {
		t.Fatal(err)
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
	if err := round(t, other); err != nil || w.purged != 1 {
		t.Errorf("%d purges at once: %v", w.purged, err)
	}
	w.later(time.Second)
	if err := round(t, other); err != nil || w.purged != 2 || w.bytes || waiting(t, other) != 0 {
		t.Errorf("%d purges, %d wait: %v", w.purged, waiting(t, other), err)
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
		err := round(t, s)
		if e := only(t, s); err == nil || e.Status != erasure.Running || e.Problem != "somebody reads" {
			t.Fatalf("%+v: %v", e, err)
		}
		w.later(2 * time.Minute)
	}
	w.later(time.Hour)
	_ = round(t, s)
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
		if err := round(t, s); err != nil || w.purged != want {
			t.Errorf("%d purges, want %d: %v", w.purged, want, err)
		}
	}
	sweep(0)
	w.why = stead.Errorf(stead.KindUnavailable, "somebody reads")
	w.later(30 * time.Second)
	if err := round(t, s); err == nil || !strings.Contains(err.Error(), "reads") {
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

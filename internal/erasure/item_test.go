package erasure_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/erasure"
)

// sessionNamed is an id of the real form.
func sessionNamed(digit string) stead.SessionID {
	return stead.SessionID(stead.SessionPrefix + strings.Repeat(digit, 32))
}

func itemOf(id stead.SessionID) string { return stead.DerivedID("msg", id, 7, 0) }

// copies is a session with an item, a copy of it, a copy of that, and a copy of what came before the item.
func copies() *world {
	w := newWorld()
	one, two, three, four := sessionNamed("1"), sessionNamed("2"), sessionNamed("3"), sessionNamed("4")
	w.sessions = map[stead.SessionID]stead.SessionID{one: "", two: one, three: two, four: one}
	w.says = map[string]bool{itemOf(one): true, itemOf(two): true, itemOf(three): true}
	return w
}

// TestARedactionSurvivesADeathAtEveryStep: in the session and in its copies, to a certificate that has each of them once.
func TestARedactionSurvivesADeathAtEveryStep(t *testing.T) {
	req := erasure.Request{Subject: erasure.Subject{Kind: erasure.OfItem, ID: itemOf(sessionNamed("1"))}, Forks: true}
	calls := 1
	for at := 1; at <= calls; at++ {
		for _, before := range []bool{false, true} {
			w := copies()
			s, key := w.service(t)
			if _, err := s.Begin(t.Context(), ada, req); err != nil {
				t.Fatal(err)
			}
			w.calls, w.dieAt, w.before = 0, at, before
			for range 8 { // each copy is looked at once more when its texts are old enough
				_, _ = s.Sweep(t.Context())
				calls = max(calls, w.calls)
				if e := only(t, s); e.Status == erasure.Completed {
					w.redacted(t, e, key)
				}
				w.revive()
				s, _ = w.service(t)
			}
			if e := only(t, s); e.Status != erasure.Completed {
				t.Fatalf("death at %d, before %t: it is %s: %s", at, before, e.Status, e.Problem)
			}
		}
	}
	if calls < 10 {
		t.Fatalf("only %d calls were made", calls)
	}
}

func (w *world) redacted(t *testing.T, e erasure.Erasure, key audit.Verifier) {
	t.Helper()
	for item, says := range w.says {
		if says {
			t.Errorf("a certificate, and %s says what it said", item)
		}
	}
	c, err := erasure.Open(e.Certificate, []audit.Verifier{key})
	if err != nil {
		t.Fatal(err)
	}
	if c.Erased.Items != 3 || c.Erased.Events != 3 || c.Erased.Blobs != 3 || c.Erased.Sessions != 0 || len(c.Items) != 3 || len(c.Items[0].Unnamed) != 0 {
		t.Errorf("the certificate says %+v", c)
	}
	if len(w.sessions) != 4 {
		t.Errorf("%d sessions are left", len(w.sessions))
	}
}

// TestACertificateListsWhatItCounts: what was redacted can't be taken out of it by who has the key and not the rest.
func TestACertificateListsWhatItCounts(t *testing.T) {
	w := copies()
	s, key := w.service(t)
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfItem, ID: itemOf(sessionNamed("1"))}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, _ = s.Sweep(t.Context())
		w.revive()
	}
	c, err := erasure.Open(only(t, s).Certificate, []audit.Verifier{key})
	if err != nil || c.Erased.Items != 1 || c.Forks || c.Items[0].Item != itemOf(sessionNamed("1")) || w.says[itemOf(sessionNamed("1"))] || !w.says[itemOf(sessionNamed("2"))] {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestWhatCantBeRedactedIsNotBegun: the caller is told, and nothing is left.
func TestWhatCantBeRedactedIsNotBegun(t *testing.T) {
	w := copies()
	s, _ := w.service(t)
	for _, item := range []string{"x", itemOf(sessionNamed("4")), itemOf(sessionNamed("9"))} {
		_, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfItem, ID: item}})
		if stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("%s: %v", item, err)
		}
	}
	if all, _, err := s.List(t.Context(), ada, "", false, 10); err != nil || len(all) != 0 {
		t.Errorf("%d erasures are left, %v", len(all), err)
	}
}

// TestABusyCopyHoldsUpNoOther: a copy that is in use for days is redacted last, and there is no certificate before.
func TestABusyCopyHoldsUpNoOther(t *testing.T) {
	w := copies()
	s, key := w.service(t)
	w.busy[sessionNamed("2")] = true
	w.sessions[sessionNamed("5")] = sessionNamed("1")
	w.says[itemOf(sessionNamed("5"))] = true
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfItem, ID: itemOf(sessionNamed("1"))}, Forks: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = s.Sweep(t.Context())
		w.revive()
	}
	if w.says[itemOf(sessionNamed("5"))] || !w.says[itemOf(sessionNamed("2"))] || only(t, s).Status != erasure.Running {
		t.Fatalf("says %v, it is %s", w.says, only(t, s).Status)
	}
	delete(w.busy, sessionNamed("2"))
	for range 4 {
		_, _ = s.Sweep(t.Context())
		w.revive()
	}
	c, err := erasure.Open(only(t, s).Certificate, []audit.Verifier{key})
	if err != nil || c.Erased.Items != 4 || w.says[itemOf(sessionNamed("2"))] {
		t.Fatalf("%+v, %v: %s", c.Erased, err, only(t, s).Problem)
	}
}

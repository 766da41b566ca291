package erasure_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/erasure"
)

// TestAnErasureWaitsForSessionsThatAreInUse: it says so, has no certificate meanwhile, and goes on by itself. A deletion is answered, though.
func TestAnErasureWaitsForSessionsThatAreInUse(t *testing.T) {
	for name, req := range map[string]erasure.Request{
		"a memory":            {Subject: erasure.Subject{Kind: erasure.OfMemory, ID: "m/a"}, Answers: true},
		"a session, at once":  {Subject: erasure.Subject{Kind: erasure.OfSession, ID: "s2"}},
		"a session, by Begin": {Subject: erasure.Subject{Kind: erasure.OfSession, ID: "s2"}, Key: "k"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.purges, w.inUse, w.entries = true, true, w.entries[:1]
				s, key := w.service(t)
				var err error
				if name == "a session, at once" {
					_, err = s.Session(t.Context(), ada, "s2")
				} else {
					_, err = s.Begin(t.Context(), ada, req)
				}
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if err := round(t, s); err != nil {
						t.Fatal(err)
					}
					if e := only(t, s); e.Status != erasure.Running || !strings.Contains(e.Problem, "1 that are in use") {
						t.Fatalf("it is %s: %s", e.Status, e.Problem)
					}
					w.now = w.now.Add(15 * time.Second)
				}
				w.inUse = false
				if err := round(t, s); err != nil {
					t.Fatal(err)
				}
				e := only(t, s)
				if e.Status != erasure.Completed || e.Problem != "" {
					t.Fatalf("it is %s: %s", e.Status, e.Problem)
				}
				if req.Answers {
					w.complete(t, "in use", e, key, req, []string{"m/a"})
				}
			})
		})
	}
}

// TestALongStepStaysItsNodes: while what sessions were shown is taken out of them, for however long, no other node begins with it. Where the node was
// frozen for so long that another one has it, it is cut off.
func TestALongStepStaysItsNodes(t *testing.T) {
	for name, frozen := range map[string]bool{"at work": false, "frozen": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.entries = w.entries[:1]
				s, _ := w.service(t)
				w.node = "node_2"
				other, _ := w.service(t)
				w.under = func(ctx context.Context) {
					w.under = nil
					if frozen {
						w.passes(6 * time.Minute)
					}
					for range 12 {
						if n, err := other.Sweep(t.Context()); err != nil || n > 0 && !frozen {
							t.Errorf("another node goes on with %d, %v", n, err)
						}
						w.passes(time.Minute)
						select {
						case <-time.After(time.Minute):
						case <-ctx.Done():
						}
					}
					if frozen != (ctx.Err() != nil) {
						t.Errorf("in the end it is cut off: %v", ctx.Err())
					}
				}
				if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfMemory, ID: "m/a"}}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Sweep(t.Context()); (stead.KindOf(err) == stead.KindConflict) != frozen {
					t.Errorf("it ends with %v", err)
				}
				if e := only(t, s); e.Status != erasure.Completed {
					t.Errorf("it is %s: %s", e.Status, e.Problem)
				}
			})
		})
	}
}

// TestAnErasureIsHeldByPolicies: what policies keep in sessions is no work under way: the erasure says that it is held, and why, looks again after an hour and not before,
// and goes on when they let it.
func TestAnErasureIsHeldByPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.purges, w.kept, w.entries = true, true, w.entries[:1]
		s, key := w.service(t)
		req := erasure.Request{Subject: erasure.Subject{Kind: erasure.OfMemory, ID: "m/a"}}
		if _, err := s.Begin(t.Context(), ada, req); err != nil {
			t.Fatal(err)
		}
		want := func(when, state, problem string) erasure.Erasure {
			t.Helper()
			if err := round(t, s); err != nil {
				t.Fatal(err)
			}
			e := only(t, s)
			if e.State() != state || !strings.Contains(e.Problem, problem) || problem == "" && e.Problem != "" {
				t.Errorf("%s: it is %s: %s", when, e.State(), e.Problem)
			}
			return e
		}
		want("kept", erasure.Held, "1 that are kept by a policy (session.delete")
		w.kept = false
		w.now = w.now.Add(59 * time.Minute)
		want("within the hour", erasure.Held, "kept by a policy")
		w.now = w.now.Add(2 * time.Minute)
		w.inUse = true
		want("in use", erasure.Running, "1 that are in use")
		w.inUse = false
		w.now = w.now.Add(time.Hour)
		w.complete(t, "let go", want("let go", erasure.Completed, ""), key, req, []string{"m/a"})
	})
}

// TestWhoMayHaveAnswersErased: those who may delete sessions of others, and not of an item.
func TestWhoMayHaveAnswersErased(t *testing.T) {
	s, _ := newWorld().service(t)
	bound := ada
	bound.Bound = true
	for kind, req := range map[stead.Kind]erasure.Request{
		stead.KindInvalid:   {Subject: erasure.Subject{Kind: erasure.OfItem, ID: "i"}, Answers: true},
		stead.KindForbidden: {Subject: erasure.Subject{Kind: erasure.OfUser, ID: "ada"}, Answers: true},
	} {
		if _, err := s.Begin(t.Context(), bound, req); stead.KindOf(err) != kind {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

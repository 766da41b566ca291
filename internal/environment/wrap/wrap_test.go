package wrap_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
	"github.com/stead-dev/stead/internal/sqlite"
)

func keys(t *testing.T, b byte, older ...byte) *seal.Keys {
	t.Helper()
	var more [][]byte
	for _, o := range older {
		more = append(more, bytes.Repeat([]byte{o}, seal.KeyBytes))
	}
	k, err := seal.New(bytes.Repeat([]byte{b}, seal.KeyBytes), more...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type yes struct{}

func (yes) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true}, nil
}

// town is a database, its blobs, and what sessions' journals say.
type town struct {
	t         *testing.T
	documents document.Store
	raw       blob.Store
	blobs     blob.Store
	heads     *wrap.Heads
	now       time.Time
	sessions  map[stead.SessionKey]wrap.Session
}

func each(t *testing.T, test func(*testing.T, *town)) {
	for name, open := range map[string]func(*testing.T) (document.Store, error){
		"sqlite": func(t *testing.T) (document.Store, error) {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), sqlite.Options{})
			if err == nil {
				t.Cleanup(func() { _ = s.Close() })
			}
			return s, err
		},
		"postgres": func(t *testing.T) (document.Store, error) {
			s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
			if err == nil {
				t.Cleanup(func() { _ = s.Close() })
			}
			return s, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			dir, err := blob.OpenDir(filepath.Join(t.TempDir(), "blobs"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = dir.Close() })
			w := &town{t: t, documents: documents, raw: dir, now: time.Now(), sessions: map[stead.SessionKey]wrap.Session{}}
			w.heads = wrap.New(documents, func() time.Time { return w.now })
			w.blobs = w.heads.Blobs(dir)
			test(t, w)
		})
	}
}

func key(id string) stead.SessionKey {
	return stead.SessionKey{Project: "one", Session: stead.SessionID("sess_" + id)}
}

// make seals something for a session, up to a step of its making: 1 the blob, 2 what opens it, 3 the event. old: as servers from before did.
func (w *town) make(id string, k *seal.Keys, steps int, old bool) stead.SessionKey {
	w.t.Helper()
	at := key(id)
	sealed := k.Seal(wrap.Label(at.Project, at.Session), []byte("secret of "+id))
	rest, keep := w.heads.Part(at, sealed)
	if old {
		rest, keep = sealed, func(context.Context) error { return nil }
	}
	digest, err := w.blobs.Put(w.t.Context(), at, rest)
	if err == nil && steps > 1 {
		err = keep(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if steps > 2 {
		w.sessions[at] = wrap.Session{Sealed: &stead.Text{Digest: digest}, Owner: at.Session}
	}
	return at
}

// find is what a journal says.
func (w *town) find(_ context.Context, at stead.SessionKey) (wrap.Session, error) {
	s, ok := w.sessions[at]
	if !ok {
		return s, stead.NotFound("session", string(at.Session))
	}
	return s, nil
}

func (w *town) adopt() {
	w.t.Helper()
	if err := w.heads.Adopt(w.t.Context(), w.raw, w.find); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) rekey(k *seal.Keys) reseal.Report {
	w.t.Helper()
	s := reseal.New(reseal.Config{Documents: w.documents, Keys: k, Policy: yes{}, Places: []reseal.Place{wrap.Sealed()}})
	got, err := s.Rekey(w.t.Context(), stead.Principal{Project: "home"}, reseal.Request{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func (w *town) look(k *seal.Keys) reseal.Counts {
	w.t.Helper()
	got, err := reseal.Look(w.t.Context(), w.documents, []reseal.Place{wrap.Sealed()}, k)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.Counts
}

// opens returns what a session's environment is told.
func (w *town) opens(k *seal.Keys, at stead.SessionKey) (string, error) {
	w.t.Helper()
	s := w.sessions[at]
	stored, err := w.raw.Get(w.t.Context(), at, s.Sealed.Digest)
	if err == nil {
		stored, err = w.heads.Whole(w.t.Context(), at, stored)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	plain, err := k.Open(wrap.Label(at.Project, s.Owner), stored)
	return string(plain), err
}

// fork copies a session by a store of blobs.
func (w *town) fork(from stead.SessionKey, id string, by blob.Store) stead.SessionKey {
	w.t.Helper()
	to, s := key(id), w.sessions[from]
	if err := by.Copy(w.t.Context(), from, to, []string{s.Sealed.Digest}); err != nil {
		w.t.Fatal(err)
	}
	w.sessions[to] = s
	return to
}

// What is sealed for sessions is sealed anew, of those from before and their copies too, and opens without the key that sealed it; blobs stay as they
// are, and no blob of today opens with that key alone.
func TestEnvironmentsAreSealedAnew(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		first, both, second := keys(t, 1), keys(t, 2, 1), keys(t, 2)
		fresh, old := w.make("new", first, 3, false), w.make("old", first, 3, true)
		copies := []stead.SessionKey{w.fork(fresh, "copy_of_new", w.blobs), w.fork(old, "copy_of_old", w.blobs), w.fork(fresh, "copied_by_an_old_node", w.raw)}
		lost := w.make("lost", keys(t, 9), 3, true)
		w.adopt()
		w.adopt() // it may be run again
		all := append([]stead.SessionKey{fresh, old}, copies...)
		if got := w.look(second); got.Environments != 6 || got.Unreadable != 6 {
			t.Errorf("without the key that is needed: %+v", got)
		}
		if got := w.rekey(both); got.Environments != 6 || got.Resealed != 5 || got.Unreadable != 1 {
			t.Errorf("%+v", got)
		}
		for _, at := range all {
			want := "secret of " + string(w.sessions[at].Owner[len("sess_"):])
			if got, err := w.opens(second, at); err != nil || got != want {
				t.Errorf("%s by the new key: %q, %v", at.Session, got, err)
			}
			if got, err := w.opens(first, at); err == nil {
				t.Errorf("%s by the old key alone: %q", at.Session, got)
			}
		}
		if got, err := w.opens(both, lost); err == nil {
			t.Errorf("what no key opens says %q", got)
		}
		late := w.fork(old, "copied_later", w.blobs)
		if got, err := w.opens(second, late); err != nil || got != "secret of old" {
			t.Errorf("a copy that is made then: %q, %v", got, err)
		}
		stored, err := w.raw.Get(t.Context(), fresh, w.sessions[fresh].Sealed.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := both.Open(wrap.Label("one", fresh.Session), stored); err == nil {
			t.Errorf("its blob alone says %q", plain)
		}
		if err := w.blobs.DeleteAll(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if got, err := w.opens(second, copies[1]); err != nil || got != "secret of old" {
			t.Errorf("a copy whose origin is deleted: %q, %v", got, err)
		}
		if got := w.look(both); got.Environments != 6 {
			t.Errorf("what was deleted is counted: %+v", got)
		}
	})
}

// Wherever the making of a session, or its deletion, is cut off, nothing of it stays in the end, and what is being made is left alone.
func TestWhatIsCutOffLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		k := keys(t, 1)
		for steps, id := range map[int]string{1: "blob", 2: "head"} {
			w.make(id, k, steps, false)
		}
		stray := w.make("only_a_head", k, 2, false)
		if err := w.raw.DeleteAll(t.Context(), stray); err != nil { // an old node deleted it
			t.Fatal(err)
		}
		kept := w.make("kept", k, 3, false)
		adopted := w.make("old", k, 3, true)
		deleted := false
		err := w.heads.Adopt(t.Context(), w.raw, func(ctx context.Context, at stead.SessionKey) (wrap.Session, error) {
			s, err := w.find(ctx, at)
			if at == adopted && !deleted { // right behind this look it is deleted
				deleted = true
				delete(w.sessions, at)
			}
			return s, err
		})
		if got := w.look(k); err != nil || got.Environments != 3 {
			t.Errorf("those that may be being made stay, and who was deleted meanwhile has none: %+v, %v", got, err)
		}
		for _, id := range []string{"blob", "head"} {
			if _, err := w.blobs.Prune(t.Context(), key(id), w.now.Add(-wrap.StrayAge)); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.look(k); got.Environments != 3 {
			t.Errorf("young ones are gone: %+v", got)
		}
		w.now = w.now.Add(wrap.StrayAge + time.Minute)
		if _, err := w.blobs.Prune(t.Context(), key("head"), w.now); err != nil {
			t.Fatal(err)
		}
		if got := w.look(k); got.Environments != 2 {
			t.Errorf("after the sweep of blobs: %+v", got)
		}
		w.adopt()
		if got := w.look(k); got.Environments != 1 {
			t.Errorf("after the look at all: %+v", got)
		}
		if got, err := w.opens(k, kept); err != nil || got != "secret of kept" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

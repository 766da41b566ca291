package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/session"
)

// keeps is a store that deletes nothing: a node died before it took an erasure back.
type keeps struct{ document.Store }

func (keeps) DeleteDocument(context.Context, document.Key, int64) error { return errors.New("died") }

// TestARefusedDeletionIsNotMadeLater: what was refused since a turn is in progress is not found and carried out by a sweep.
func TestARefusedDeletionIsNotMadeLater(t *testing.T) {
	w := newWorld()
	w.busy["s1"] = true
	s, _ := w.service(t)
	whole := w.Store
	w.Store = keeps{whole}
	if _, err := s.Session(t.Context(), ada, "s1"); stead.KindOf(err) != stead.KindConflict {
		t.Fatal(err)
	}
	w.Store = whole
	w.now = w.now.Add(time.Hour)
	if n, err := s.Sweep(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, there := w.sessions["s1"]; !there || !w.busy["s1"] {
		t.Error("a refused deletion was carried out, or its turn cancelled")
	}
	if list, _, err := s.List(t.Context(), ada, "", false, 10); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// used is a world whose sessions were used at a time.
type used struct {
	*world
	at int64 // seconds
}

func (u used) Get(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Session, error) {
	s, err := u.world.Get(ctx, p, id)
	s.LastActiveAt = u.at
	return s, err
}

// TestWhatIsUsedAgainStays: a session that rested when it was looked for is looked at once more before it goes.
func TestWhatIsUsedAgainStays(t *testing.T) {
	w := newWorld()
	s := erasure.New(w.config(t, used{w, w.now.Unix()}))
	if _, err := s.SessionBefore(t.Context(), ada, "s1", w.now.UnixMilli()); stead.KindOf(err) != stead.KindConflict {
		t.Errorf("used just now: %v", err)
	}
	if _, err := s.SessionBefore(t.Context(), ada, "s1", w.now.UnixMilli()+2000); err != nil {
		t.Errorf("used before: %v", err)
	}
}

// TestWhatIsMadeMeanwhileGoesToo: a session that a user makes while memories and files are looked for.
func TestWhatIsMadeMeanwhileGoesToo(t *testing.T) {
	w := newWorld()
	c, once := w.config(t, w), true
	c.Memories = func(context.Context, stead.Principal, string) (int, error) {
		if once {
			once, w.sessions["s9"], w.blobs["s9"] = false, "", true
		}
		return 0, nil
	}
	s := erasure.New(c)
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfUser, ID: "ada"}}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := only(t, s); e.Status != erasure.Completed || len(w.sessions) != 0 {
		t.Errorf("%s with %v left", e.Status, w.sessions)
	}
}

// TestCopiesOfMoreThanACertificateLists: all of them go, and copies of the last.
func TestCopiesOfMoreThanACertificateLists(t *testing.T) {
	w := newWorld()
	w.sessions = map[stead.SessionID]stead.SessionID{"s0000": ""}
	for i := range erasure.MaxListed + 5 {
		w.sessions[stead.SessionID(fmt.Sprintf("s%04d", i+1))] = "s0000"
	}
	w.sessions["t1"] = stead.SessionID(fmt.Sprintf("s%04d", erasure.MaxListed+4))
	s := erasure.New(w.config(t, w))
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfSession, ID: "s0000"}, Forks: true}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := only(t, s); e.Status != erasure.Completed || len(w.sessions) != 0 || e.So.Erased.Sessions != erasure.MaxListed+7 {
		t.Errorf("%s with %d left, %d erased", e.Status, len(w.sessions), e.So.Erased.Sessions)
	}
}

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
	c.Memories = func(context.Context, stead.Principal, string, []string, erasure.Counting) error {
		if once {
			once, w.sessions["s9"], w.blobs["s9"] = false, "", true
		}
		return nil
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

// TestErasuresOfTheLiving: what a node works on that lives nobody takes from it; of one that is dead it goes on at once, by one of those who see it.
func TestErasuresOfTheLiving(t *testing.T) {
	w := newWorld()
	s, _ := w.service(t)
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfUser, ID: "ada"}}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	w.calls, w.dieAt = 0, 5
	if _, err := s.Sweep(t.Context()); err == nil {
		t.Fatal("nobody died")
	}
	w.dead, w.dieAt, w.node = false, 0, "node_2"
	w.now = w.now.Add(time.Second)
	other, _ := w.service(t)
	if n, err := other.Sweep(t.Context()); n != 0 || err != nil || only(t, s).Status != erasure.Running {
		t.Errorf("of a node that lives %d are taken, %v", n, err)
	}
	w.killed, w.node = "node_1", "node_3"
	third, _ := w.service(t)
	a, err := other.Sweep(t.Context())
	b, failed := third.Sweep(t.Context())
	if a+b != 1 || err != nil || failed != nil || only(t, s).Status != erasure.Completed {
		t.Errorf("of a node that is dead %d and %d are taken: %v, %v", a, b, err, failed)
	}
}

// TestAUserOfMoreSessionsThanACertificateLists: what others asked and said about each of them goes, and the erasure stays small.
func TestAUserOfMoreSessionsThanACertificateLists(t *testing.T) {
	w := newWorld()
	w.sessions, w.asked, w.texts = map[stead.SessionID]stead.SessionID{}, [][2]string{{"", "eve"}}, [][2]string{{"", "eve"}}
	for i := range 2*erasure.MaxListed + 200 {
		id := fmt.Sprintf("s%04d", i)
		w.sessions[stead.SessionID(id)] = ""
		if i%600 == 0 {
			w.asked = append(w.asked, [2]string{id, "eve"})
		}
	}
	c := w.config(t, w)
	ask := c.Questions
	c.Questions = func(ctx context.Context, p stead.ProjectID, of func(stead.SessionID, string) bool) error {
		for _, q := range w.asked { // somebody answers in that moment
			if q[0] != "" && of(stead.SessionID(q[0]), q[1]) {
				w.texts = append(w.texts, [2]string{q[0], "eve"})
			}
		}
		return ask(ctx, p, of)
	}
	s := erasure.New(c)
	if _, err := s.Begin(t.Context(), ada, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfUser, ID: "ada"}}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := only(t, s)
	if e.Status != erasure.Completed || len(w.sessions) != 0 || e.So.Erased.Sessions != 2*erasure.MaxListed+200 {
		t.Errorf("%s with %d left, %d erased", e.Status, len(w.sessions), e.So.Erased.Sessions)
	}
	if len(w.asked) != 1 || len(w.texts) != 1 {
		t.Errorf("what was asked and said about them is left: %q, %q", w.asked, w.texts)
	}
	if len(e.Gone) >= erasure.MaxListed {
		t.Errorf("the erasure has %d sessions beside its list", len(e.Gone))
	}
}

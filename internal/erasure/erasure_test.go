package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

var ada = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada"}

// world is what is to be erased, in memory, and dies at one of the calls that are made to it: everything fails from then
// on, until it is revived.
type world struct {
	document.Store
	mu       sync.Mutex
	ticks    sync.Mutex // of now
	now      time.Time
	sessions map[stead.SessionID]stead.SessionID // and what each is a copy of
	blobs    map[stead.SessionID]bool
	memories int
	// node is that of the services that are made; killed is dead by now.
	node, killed stead.NodeID
	entries      []string              // memories of a scope
	shown        bool                  // a session was shown some of it, and still has it
	inUse        bool                  // that session is
	under        func(context.Context) // is done before what it was shown is taken out; nil: nothing
	kept         bool                  // by a policy
	makers       int                   // sources that name the user as their maker
	files        []file.File
	texts        [][2]string // what was written into audit records: the session and the person that each is about
	asked        [][2]string // questions: the session that each is about, and who asks
	records      []audit.Record
	busy         map[stead.SessionID]bool
	says         map[string]bool // items, and whether they say something still
	calls        int
	dieAt        int  // the call that is made and never answered; 0: none
	before       bool // that call is not made either
	dead         bool
	purges       bool // the database is purged
	bytes        bool // of what was deleted some are in its files
	purged       int
	why          error // it can't be
}

// purge takes the bytes of what was deleted out of the files.
func (w *world) purge(context.Context) (how string, err error) {
	err = w.step(func() error {
		if w.why != nil {
			return w.why
		}
		w.bytes, w.purged, how = false, w.purged+1, "truncated"
		return nil
	})
	return how, err
}

var errDied = errors.New("the node died")

func (w *world) clock() time.Time {
	w.ticks.Lock()
	defer w.ticks.Unlock()
	return w.now
}

// passes lets time pass, also beside what is under way.
func (w *world) passes(d time.Duration) {
	w.ticks.Lock()
	defer w.ticks.Unlock()
	w.now = w.now.Add(d)
}

// step makes a call, unless the node is dead.
func (w *world) step(do func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls++; w.calls == w.dieAt {
		w.dead = true
		if !w.before {
			_ = do()
		}
	}
	if w.dead {
		return errDied
	}
	return do()
}

func newWorld() *world {
	return &world{
		Store: documenttest.NewMemory(), now: time.UnixMilli(1_000_000),
		sessions: map[stead.SessionID]stead.SessionID{"s1": "", "s2": "", "s3": "s1", "s4": "s3"}, blobs: map[stead.SessionID]bool{"s1": true, "s2": true, "s3": true, "s4": true},
		texts: [][2]string{{"s1", "eve"}, {"s2", "eve"}, {"s3", "ada"}, {"s3", "eve"}, {"", "ada"}, {"", "eve"}},
		asked: [][2]string{{"s1", "eve"}, {"s2", "eve"}, {"s3", "eve"}, {"", "ada"}, {"", "eve"}},
		node:  "node_1", shown: true, memories: 3, entries: []string{"m/a", "m/b", "m/c"}, makers: 2, files: []file.File{{ID: "file_1", Bytes: 10}}, busy: map[stead.SessionID]bool{},
	}
}

func (w *world) CreateDocument(ctx context.Context, d document.Document, key, digest string) (out document.Document, err error) {
	err = w.step(func() (err error) { out, err = w.Store.CreateDocument(ctx, d, key, digest); return err })
	return out, err
}

func (w *world) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	return w.step(func() error { return w.Store.DeleteDocument(ctx, k, version) })
}

func (w *world) UpdateDocument(ctx context.Context, d document.Document) (out document.Document, err error) {
	err = w.step(func() (err error) { out, err = w.Store.UpdateDocument(ctx, d); return err })
	return out, err
}

func (w *world) List(_ context.Context, _ stead.Principal, q session.ListQuery) (page session.Page[session.Session], err error) {
	err = w.step(func() error {
		for id, of := range w.sessions {
			s := session.Session{ID: id}
			if of != "" {
				s.ForkedFrom = &session.Origin{Session: of, How: session.OriginFork}
			}
			page.Data = append(page.Data, s)
		}
		slices.SortFunc(page.Data, func(a, b session.Session) int { return strings.Compare(string(a.ID), string(b.ID)) })
		return nil
	})
	return page, err
}

func (w *world) there(id stead.SessionID) error {
	if _, ok := w.sessions[id]; !ok {
		return stead.NotFound("session", string(id))
	}
	return nil
}

func (w *world) Get(_ context.Context, _ stead.Principal, id stead.SessionID) (s session.Session, err error) {
	return s, w.step(func() error {
		s = session.Session{ID: id, Status: session.StatusIdle}
		if w.busy[id] {
			s.Status = session.StatusInProgress
		}
		return w.there(id)
	})
}

func (w *world) Send(_ context.Context, _ stead.Principal, id stead.SessionID, req session.SendRequest) error {
	return w.step(func() error { w.busy[id] = w.busy[id] && !req.Inputs[0].Cancel; return w.there(id) })
}

func (w *world) Holdings(_ context.Context, _ stead.Principal, id stead.SessionID) (h session.Holdings, err error) {
	err = w.step(func() error {
		h = session.Holdings{Session: id, Events: 7, Bytes: 70, Journal: "j" + string(id), Blobs: 2}
		return w.there(id)
	})
	return h, err
}

func (w *world) Erase(_ context.Context, _ stead.Principal, id stead.SessionID) (session.Erased, error) {
	return session.Erased{}, w.step(func() error {
		if w.busy[id] {
			return stead.Errorf(stead.KindConflict, "session %s has a turn in progress", id)
		}
		err := w.there(id)
		delete(w.sessions, id)
		w.bytes = true
		return err
	})
}

func (w *world) Scour(_ context.Context, _ stead.Principal, id stead.SessionID) (session.Erased, error) {
	return session.Erased{}, w.step(func() error {
		if w.there(id) == nil {
			return stead.Errorf(stead.KindConflict, "session %s is there", id)
		}
		delete(w.blobs, id)
		return nil
	})
}

// Redacting: an item is there, and says something, in the sessions of says.
func (w *world) Redacting(_ context.Context, _ stead.Principal, id stead.SessionID, item string) (plan session.Redaction, err error) {
	err = w.step(func() error {
		if _, ok := w.says[item]; !ok {
			return stead.NotFound("item", item)
		}
		if w.busy[id] {
			w.now = w.now.Add(erasure.WaitForTurn + time.Second)
			return stead.Errorf(stead.KindConflict, "session %s has a turn in progress", id)
		}
		plan = session.Redaction{Session: id, Item: item, Events: []session.RedactedEvent{{Seq: 2, Bytes: 20, SHA256: "a"}}, Blobs: 1, Unnamed: []string{"d"}}
		return w.there(id)
	})
	return plan, err
}

// Redact leaves a text that is too young at first.
func (w *world) Redact(_ context.Context, _ stead.Principal, plan session.Redaction) (done session.Redaction, gone session.Erased, err error) {
	err = w.step(func() error {
		if done = plan; w.says[plan.Item] {
			w.says[plan.Item], gone.Removed = false, 1
			return nil
		}
		done.Unnamed = nil
		return w.there(plan.Session)
	})
	if err != nil {
		done = plan
	}
	return done, gone, err
}

// forget forgets two memories a step, of each of which one more was made.
func (w *world) forget(begun []string, b erasure.Book) error {
	for {
		if len(begun) == 0 {
			if begun = slices.Clone(w.entries[:min(2, len(w.entries))]); len(begun) == 0 {
				return nil
			}
			if err := b.Means(begun); err != nil {
				return err
			}
		}
		for _, id := range begun {
			err := w.step(func() error {
				w.entries, w.bytes = slices.DeleteFunc(w.entries, func(one string) bool { return one == id }), true
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := b.Made(len(begun)); err != nil {
			return err
		}
		if err := b.Went(begun); err != nil {
			return err
		}
		begun = nil
	}
}

func (w *world) service(t *testing.T) (*erasure.Service, audit.Verifier) {
	t.Helper()
	c := w.config(t, w)
	return erasure.New(c), c.Signer.Verifier()
}

func (w *world) config(t *testing.T, sessions erasure.Sessions) erasure.Config {
	t.Helper()
	signer, err := audit.NewSigner(bytes.Repeat([]byte{7}, audit.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	c := erasure.Config{
		Node: w.node, Lives: func(_ context.Context, node stead.NodeID) (bool, error) { return node != w.killed, nil },
		Sessions: sessions, Documents: w, Policy: policy.AllowLocal{}, Signer: signer, Now: w.clock, Log: slog.New(slog.DiscardHandler),
		Record: func(_ context.Context, r audit.Record) error {
			return w.step(func() error { w.records = append(w.records, r); return nil })
		},
		Memories: func(_ context.Context, _ stead.Principal, _ string, begun []string, c erasure.Counting) error {
			n := max(w.memories, len(begun))
			if len(begun) == 0 {
				if err := c.Makes(make([]string, n)); err != nil {
					return err
				}
			}
			if err := w.step(func() error { w.memories, w.bytes = 0, true; return nil }); err != nil {
				return err
			}
			return c.Made(n)
		},
		Because: func(ctx context.Context, _ string) context.Context { return ctx },
		Unshow: func(ctx context.Context, ask erasure.Unshowing) (out erasure.Unshown, err error) {
			if w.under != nil {
				if w.under(ctx); ctx.Err() != nil {
					return out, ctx.Err()
				}
			}
			err = w.step(func() error {
				if w.kept {
					out.Left = map[string]int{erasure.Kept: 1}
					return nil
				}
				if w.inUse {
					out.Left = map[string]int{"in use": 1}
					return nil
				}
				w.bytes, w.shown = w.bytes || w.shown, false
				out.Items = []session.Redaction{{Session: "s9", Item: "i1"}, {Session: "s9", Item: "i2"}}
				return nil
			})
			return out, err
		},
		Erasable: func(context.Context, stead.Principal, string) error { return nil },
		Entries: func(_ context.Context, _ stead.Principal, _ string, begun, _ []string, b erasure.Book) error {
			return w.forget(begun, b)
		},
		Questions: func(_ context.Context, _ stead.ProjectID, of func(stead.SessionID, string) bool) error {
			return w.step(func() error {
				w.asked = slices.DeleteFunc(w.asked, func(q [2]string) bool { return of(stead.SessionID(q[0]), q[1]) })
				return nil
			})
		},
		Texts: func(_ context.Context, _ stead.ProjectID, of audit.TextQuery) (n int, err error) {
			err = w.step(func() error {
				had := len(w.texts)
				w.texts = slices.DeleteFunc(w.texts, func(x [2]string) bool {
					return of.Session != "" && x[0] == string(of.Session) || of.Person != "" && x[1] == of.Person
				})
				n = had - len(w.texts)
				w.bytes = w.bytes || n > 0
				return nil
			})
			return n, err
		},
		Sources: func(context.Context, stead.ProjectID, string) (n int, err error) {
			err = w.step(func() error { n, w.makers = w.makers, 0; return nil })
			return n, err
		},
		Files: func(context.Context, stead.Principal, string) (gone []file.File, err error) {
			err = w.step(func() error { gone, w.files = w.files, nil; return nil })
			return gone, err
		},
	}
	if w.purges {
		c.Purges = erasure.NewPurges(w, w.purge, c.Now, c.Log)
	}
	return c
}

// revive makes the world answer again, much later.
func (w *world) revive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.dieAt, w.now = false, 0, w.now.Add(time.Hour)
}

func only(t *testing.T, s *erasure.Service) erasure.Erasure {
	t.Helper()
	all, more, err := s.List(t.Context(), ada, "", false, 10)
	if err != nil || more || len(all) != 1 {
		t.Fatalf("%d erasures, want 1: %v", len(all), err)
	}
	return all[0]
}

// TestAnErasureSurvivesADeathAtEveryStep: wherever the node dies, before a call or before its answer, another one brings
// the erasure to its end; and there is no certificate before nothing is left.
func TestAnErasureSurvivesADeathAtEveryStep(t *testing.T) {
	requests := map[string]erasure.Request{
		"a user":                   {Subject: erasure.Subject{Kind: erasure.OfUser, ID: "ada"}},
		"a memory":                 {Subject: erasure.Subject{Kind: erasure.OfMemory, ID: "m/a"}},
		"a scope":                  {Subject: erasure.Subject{Kind: erasure.OfScope, ID: "team:blue"}},
		"a session with its forks": {Subject: erasure.Subject{Kind: erasure.OfSession, ID: "s1"}, Forks: true},
	}
	for name, req := range requests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // turns that end take no time
				for at, calls := 0, 0; at <= calls; at++ { // 0: nobody dies, to know how many calls there are
					for _, before := range []bool{false, true} {
						calls = max(calls, dieOnce(t, req, at, before))
					}
				}
			})
		})
	}
}

// dieOnce makes an erasure in a world that dies at a call of it (0: at none), and says how many calls there were until then.
func dieOnce(t *testing.T, req erasure.Request, at int, before bool) (calls int) {
	t.Helper()
	w := newWorld()
	w.busy["s3"], w.purges = true, true
	if req.Subject.Kind == erasure.OfMemory {
		w.entries = w.entries[:1]
	}
	entries := slices.Clone(w.entries)
	s, key := w.service(t)
	if _, err := s.Begin(t.Context(), ada, req); err != nil {
		t.Fatal(err)
	}
	w.calls, w.dieAt, w.before = 0, at, before
	first := round(t, s)
	calls = w.calls
	if e := only(t, s); first != nil && e.Status == erasure.Completed && w.left(req) {
		t.Fatalf("death at %d: a certificate while something is left", at)
	}
	w.revive()
	if w.node = "node_2"; !before { // it is seen that the node is dead, and nobody waits
		w.now, w.killed = w.now.Add(time.Minute-time.Hour), "node_1" // but for the purge that it was at: half a minute
	}
	other, _ := w.service(t)
	if err := round(t, other); err != nil {
		t.Fatalf("death at %d: %v", at, err)
	}
	w.complete(t, fmt.Sprintf("death at %d, before %t", at, before), only(t, other), key, req, entries)
	return calls
}

func (w *world) left(req erasure.Request) bool {
	if w.shown {
		return true
	}
	switch req.Subject.Kind {
	case erasure.OfMemory, erasure.OfScope:
		return len(w.entries) > 0
	case erasure.OfSession:
		return len(w.sessions) > 1 || len(w.blobs) > 1 || !slices.Equal(w.texts, [][2]string{{"s2", "eve"}, {"", "ada"}, {"", "eve"}}) || !slices.Equal(w.asked, [][2]string{{"s2", "eve"}, {"", "ada"}, {"", "eve"}})
	}
	return len(w.sessions)+len(w.blobs)+w.memories+w.makers+len(w.files) > 0 || !slices.Equal(w.asked, [][2]string{{"", "eve"}}) || !slices.Equal(w.texts, [][2]string{{"", "eve"}})
}

func (w *world) complete(t *testing.T, when string, e erasure.Erasure, key audit.Verifier, req erasure.Request, entries []string) {
	t.Helper()
	if e.Status != erasure.Completed || w.left(req) {
		t.Fatalf("%s: it is %s, and %d sessions, %d blobs are left", when, e.Status, len(w.sessions), len(w.blobs))
	}
	c, err := erasure.Open(e.Certificate, []audit.Verifier{key})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	want := int64(4)
	switch req.Subject.Kind {
	case erasure.OfMemory, erasure.OfScope:
		if want = 0; !slices.Equal(c.Entries, entries) || c.Erased.Entries != int64(len(entries)) || c.Erased.Memories < c.Erased.Entries {
			t.Errorf("%s: of %q the certificate lists %q, and counts %+v", when, entries, c.Entries, c.Erased)
		}
	case erasure.OfSession:
		want = 3 // s2 is no copy
	}
	if most := int64(map[string]int{erasure.OfSession: 3, erasure.OfUser: 5}[req.Subject.Kind]); c.Erased.Texts > most || w.dieAt == 0 && strings.HasPrefix(when, "death at 0,") && c.Erased.Texts != most {
		t.Errorf("%s: %d reasons are counted, want %d", when, c.Erased.Texts, most)
	}
	if len(c.Shown) != 2 || c.Erased.ShownItems != 2 || c.Erased.ShownSessions != 1 || c.Answers != req.Answers {
		t.Errorf("%s: of what was shown the certificate says %+v", when, c)
	}
	if w.bytes || c.Bytes == nil || c.Bytes.Database != "truncated" {
		t.Errorf("%s: of the bytes the certificate says %+v, and some are left: %t", when, c.Bytes, w.bytes)
	}
	if c.Erased.Sessions != want || c.Erased.Events != 7*want || c.ID != e.ID || c.CompletedAt < c.RequestedAt {
		t.Errorf("%s: the certificate says %+v", when, c)
	}
	last := w.records[len(w.records)-1]
	if last.Action != audit.ActErase || last.Resource != e.ID || !strings.Contains(last.Detail, e.SHA256) {
		t.Errorf("%s: the audit log says %+v", when, last)
	}
}

func TestASessionIsErasedAtOnceOrNotAtAll(t *testing.T) {
	w := newWorld()
	s, key := w.service(t)
	w.busy["s2"] = true
	if _, err := s.Session(t.Context(), ada, "s2"); stead.KindOf(err) != stead.KindConflict {
		t.Fatalf("a session with a turn: %v", err)
	}
	if all, _, err := s.List(t.Context(), ada, "", false, 10); err != nil || len(all) != 0 {
		t.Errorf("a refused deletion leaves %d erasures: %v", len(all), err)
	}
	e, err := s.Session(t.Context(), ada, "s1")
	if err != nil || e.Status != erasure.Completed || w.there("s1") == nil || w.there("s3") != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	c, err := erasure.Open(e.Certificate, []audit.Verifier{key})
	if err != nil || c.Forks || c.Erased.Sessions != 1 || c.Sessions[0].Journal != "js1" {
		t.Errorf("%+v: %v", c, err)
	}
	if _, err := s.Session(t.Context(), ada, "s1"); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("a second time: %v", err)
	}
}

// TestAChangedCertificateIsNone: not one byte of it can be another.
func TestAChangedCertificateIsNone(t *testing.T) {
	w := newWorld()
	s, key := w.service(t)
	e, err := s.Session(t.Context(), ada, "s1")
	if err != nil {
		t.Fatal(err)
	}
	body, _, _ := strings.Cut(e.Certificate, "\n\n")
	for i := range len(body) {
		b := []byte(e.Certificate)
		b[i] ^= 1
		if _, err := erasure.Open(string(b), []audit.Verifier{key}); err == nil {
			t.Fatalf("with byte %d changed it is believed", i)
		}
	}
	other, err := audit.NewSigner(make([]byte, audit.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := erasure.Open(e.Certificate, []audit.Verifier{other.Verifier()}); err == nil {
		t.Error("it is believed by another key")
	}
	if _, err := audit.Open(e.Certificate, []audit.Verifier{key}); err == nil {
		t.Error("it is taken for a checkpoint of the audit log")
	}
}

func TestOnlyOnesOwnIsErased(t *testing.T) {
	w := newWorld()
	s, _ := w.service(t)
	bound := ada
	bound.Bound = true
	ask := func(p stead.Principal, user string) error {
		_, err := s.Begin(t.Context(), p, erasure.Request{Subject: erasure.Subject{Kind: erasure.OfUser, ID: user}})
		return err
	}
	if err := ask(bound, "bob"); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("another user: %v", err)
	}
	if err := ask(bound, "ada"); err != nil {
		t.Errorf("oneself: %v", err)
	}
}

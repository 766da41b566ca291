package runner_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// Blobs of sessions that never were, because the process was killed before their events were stored.

// owners lists whose blobs there are.
func (n *node) owners() map[stead.SessionID]bool {
	n.t.Helper()
	out := map[stead.SessionID]bool{}
	if err := n.cfg.Blobs.Sessions(context.Background(), func(k stead.SessionKey) error { out[k.Session] = true; return nil }); err != nil {
		n.t.Fatal(err)
	}
	return out
}

// stuck is a request that stores its blobs and then never comes to its end: as far as the disk knows, one
// that a kill cut off.
type stuck struct {
	blob.Store
	after  int // puts and copies
	stored chan struct{}
}

func (s *stuck) stop(err error) error {
	if s.after--; s.after == 0 {
		close(s.stored)
		select {}
	}
	return err
}

func (s *stuck) Put(ctx context.Context, key stead.SessionKey, data []byte) (string, error) {
	digest, err := s.Store.Put(ctx, key, data)
	return digest, s.stop(err)
}

func (s *stuck) Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error {
	return s.stop(s.Store.Copy(ctx, from, to, digests))
}

// TestStraysAreRemoved: of an import, a fork and a creation that were killed, at the start of a node.
func TestStraysAreRemoved(t *testing.T) {
	dir, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	n := newNode(t, with(func(c *runner.Config) { c.Blobs = dir }))
	ctx := context.Background()
	id := n.conversation()
	var export bytes.Buffer
	if err := n.Export(ctx, me, id, &export); err != nil {
		t.Fatal(err)
	}
	asset := stead.SessionKey{Project: me.Project, Session: "file_1"}
	if _, err := dir.Put(ctx, asset, []byte("a file's")); err != nil {
		t.Fatal(err)
	}
	for what, ask := range map[string]func(*runner.Runner){
		"import": func(r *runner.Runner) { _, _ = r.Import(ctx, me, bytes.NewReader(export.Bytes())) },
		"fork":   func(r *runner.Runner) { _, _ = r.Fork(ctx, me, id, session.ForkRequest{}) },
		"creation": func(r *runner.Runner) {
			_, _ = r.Create(ctx, me, session.CreateRequest{Override: specOf(), Input: message(filled("large "))})
		},
	} {
		cfg := n.cfg
		blobs := &stuck{dir, 1, make(chan struct{})}
		cfg.Blobs = blobs
		go ask(runner.New(cfg))
		<-blobs.stored
		if got := n.owners(); len(got) != 3 {
			t.Fatalf("%s: blobs of %v", what, got)
		}
		n.cfg.Now = func() time.Time { return time.Now().Add(runner.StrayAge + time.Minute) }
		n.crash("node-old")
		for end := time.Now().Add(20 * time.Second); len(n.owners()) != 2 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if got := n.owners(); len(got) != 2 || !got[id] || !got[asset.Session] {
			t.Errorf("%s: blobs of %v", what, got)
		}
		n.cfg.Now = time.Now
	}
}

// TestStraysAreLookedForNowAndThen: also by a node that runs for long, and not before they are old.
func TestStraysAreLookedForNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.conversation()
		stray := n.key("sess_never")
		if _, err := n.cfg.Blobs.Put(context.Background(), stray, []byte("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(runner.StrayAge - time.Hour)
		if !n.owners()[stray.Session] {
			t.Error("it was removed before its time")
		}
		time.Sleep(time.Hour + runner.StraysEvery)
		synctest.Wait()
		if got := n.owners(); got[stray.Session] || !got[id] {
			t.Errorf("blobs of %v", got)
		}
	})
}

// idAt is a session's id that was made at a moment.
func idAt(at time.Time, i int) stead.SessionID {
	return stead.SessionID(fmt.Sprintf("%s%012x7000%016x", stead.SessionPrefix, at.UnixMilli(), 0x8000000000000000|uint64(i)))
}

// remembers is a database that knows sessions of which the test has made no more than the ids.
type remembers struct {
	*journaltest.Memory
	ids map[stead.SessionID]bool
}

func (r remembers) Head(ctx context.Context, key stead.SessionKey) (journal.Head, error) {
	if r.ids[key.Session] {
		return journal.Head{}, nil
	}
	return r.Memory.Head(ctx, key)
}

// TestStraysOfAnotherDatabase: who starts a server with the wrong database, or with an older copy, loses nothing that
// the right one knows, also after sessions were made with it; what kills left among the sessions of the right one is
// removed.
func TestStraysOfAnotherDatabase(t *testing.T) {
	const many = 1000
	for what, test := range map[string]struct {
		strays func(i int) bool // of the sessions that were made hour after hour, up to a week ago
		week   int              // so many strays were made in the week since
		later  int              // and then so many sessions that are known
		stay   bool
	}{
		"another one's":                       {strays: func(int) bool { return true }, stay: true},
		"an older copy":                       {week: 900, stay: true},
		"an older copy that was used":         {week: 900, later: 30, stay: true},
		"an older copy of few sessions less":  {week: runner.MaxStrays + 1, later: 30, stay: true},
		"killed now and then":                 {strays: func(i int) bool { return i%20 == 3 }},
		"killed more often than is believed":  {strays: func(i int) bool { return i%10 == 3 }, stay: true},
		"killed with several in the making":   {strays: func(i int) bool { return i > 20 && i <= 20+runner.MaxStrays }},
		"killed with several, and none since": {week: runner.MaxStrays},
	} {
		t.Run(what, func(t *testing.T) {
			strays := 0
			add := func(n *node, known map[stead.SessionID]bool, at time.Time, i int, stray bool) {
				id := idAt(at, i)
				if known[id] = !stray; stray {
					strays++
				}
				if _, err := n.cfg.Blobs.Put(context.Background(), n.key(id), []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			bubble(t, func(t *testing.T, n *node) {
				time.Sleep(runner.StrayAge + runner.StraysEvery)
				synctest.Wait()
				want := many + test.week + test.later
				if !test.stay {
					want -= strays
				}
				if got := len(n.owners()); got != want {
					t.Errorf("blobs of %d are left, want %d", got, want)
				}
			}, func(n *node) {
				known := map[stead.SessionID]bool{}
				week := time.Now().Add(-7 * 24 * time.Hour)
				for i := range many {
					add(n, known, week.Add(time.Duration(i-many)*time.Hour), i, test.strays != nil && test.strays(i))
				}
				for i := range test.week {
					add(n, known, week.Add(time.Duration(i)*time.Minute), i, true)
				}
				for i := range test.later {
					add(n, known, time.Now().Add(-25*time.Hour), i, false)
				}
				n.cfg.Store = remembers{n.store, known}
			})
		})
	}
}

// TestSessionsInTheMakingAreNoStrays: many of them at once do not keep an old one.
func TestSessionsInTheMakingAreNoStrays(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		put := func(id stead.SessionID) {
			if _, err := n.cfg.Blobs.Put(context.Background(), n.key(id), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		old := idAt(time.Now(), 0)
		put(old)
		time.Sleep(runner.StrayAge + time.Hour)
		const many = 5 * runner.MaxStrays
		for i := range many {
			put(idAt(time.Now(), i))
		}
		time.Sleep(runner.StraysEvery)
		synctest.Wait()
		if got := n.owners(); got[old] || len(got) != many {
			t.Errorf("blobs of %d are left, of the old one: %v", len(got), got[old])
		}
	})
}

// TestImportThatTakesTooLong ends before its blobs could be taken for strays.
func TestImportThatTakesTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		var export bytes.Buffer
		if err := n.Export(context.Background(), me, n.conversation(), &export); err != nil {
			t.Fatal(err)
		}
		before := len(n.owners())
		lines := strings.SplitAfter(export.String(), "\n")
		r, w := io.Pipe()
		go func() {
			for _, line := range lines {
				time.Sleep(runner.MaxImportTime / time.Duration(len(lines)-2))
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
			w.Close()
		}()
		_, err := n.Import(context.Background(), me, r)
		isKind(t, err, stead.KindUnavailable)
		r.Close()
		if got := len(n.owners()); got != before {
			t.Errorf("blobs of %d, before it of %d", got, before)
		}
	})
}

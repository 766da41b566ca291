package vectorstore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// The environment of a process that is a node (TestNode): where its data is, which store it works on, and its clock.
const (
	databaseVariable = "STEAD_TEST_DATABASE" // a path, or a PostgreSQL URL
	blobsVariable    = "STEAD_TEST_BLOBS"
	storeVariable    = "STEAD_TEST_STORE"
	aheadVariable    = "STEAD_TEST_AHEAD"
)

// openRig is a rig over data that other processes have too. It does no work yet.
func openRig(t *testing.T, at, blobs string) *rig {
	t.Helper()
	r := &rig{T: t, ahead: &atomic.Int64{}, me: stead.LocalPrincipal(), stop: func() {}}
	if strings.Contains(at, "://") {
		s, err := postgres.Open(t.Context(), at, postgres.Options{})
		r.must(err)
		t.Cleanup(func() { s.Close() })
		r.db = s
	} else {
		s, err := sqlite.Open(t.Context(), at, sqlite.Options{})
		r.must(err)
		t.Cleanup(func() { s.Close() })
		r.db = s
	}
	dir, err := blob.OpenDir(blobs)
	r.must(err)
	r.blobs = dir
	t.Cleanup(func() { dir.Close() })
	t.Cleanup(func() { r.stop() })
	return r
}

// TestNode is the process of a node, and nothing where none was started: a file called deadly kills it.
func TestNode(t *testing.T) {
	at := os.Getenv(databaseVariable)
	if at == "" {
		t.Skip("is run by TestAFileThatKillsItsReaders")
	}
	r := openRig(t, at, os.Getenv(blobsVariable))
	ahead, err := time.ParseDuration(os.Getenv(aheadVariable))
	r.must(err)
	r.ahead.Store(int64(ahead))
	r.read = func(_ context.Context, name string, data []byte) (passage.Document, error) {
		if name == "deadly.txt" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return passage.Read(name, data)
	}
	r.restart()
	r.settled(os.Getenv(storeVariable))
}

// TestAFileThatKillsItsReaders: node after node dies over it, with nothing that could say so, and after some of them it has
// failed. The other files of its store have not.
func TestAFileThatKillsItsReaders(t *testing.T) {
	for name, at := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "stead.db") },
		"postgres": func(t *testing.T) string { return pgtest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at, blobs := at(t), t.TempDir()
			var store, deadly string
			t.Run("upload", func(t *testing.T) {
				r := openRig(t, at, blobs)
				r.restart()
				r.stop()
				deadly = r.upload("deadly.txt", "nobody reads this")
				store = r.store(r.upload("a.txt", "The train leaves at noon."), deadly, r.upload("b.txt", "The train is late."))
			})
			deaths := 0
			var ahead time.Duration
			for ; deaths < 5; deaths++ {
				ahead += 15 * time.Second // the lease of the one before is over
				node := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNode$")
				node.Env = append(os.Environ(), databaseVariable+"="+at, blobsVariable+"="+blobs, storeVariable+"="+store, aheadVariable+"="+ahead.String())
				out, err := node.CombinedOutput()
				if err == nil {
					break
				}
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("a node ended with %v: %s", err, out)
				}
			}
			if deaths != 3 {
				t.Errorf("%d nodes died over one file, want 3", deaths)
			}
			r := openRig(t, at, blobs)
			r.ahead.Store(int64(ahead))
			reads := 0
			r.read = func(_ context.Context, name string, data []byte) (passage.Document, error) {
				reads++
				return passage.Read(name, data)
			}
			r.restart()
			s, err := r.GetStore(r.Context(), r.me, store)
			if err != nil || s.Files != (vectorstore.Counts{Completed: 2, Failed: 1}) {
				t.Fatalf("counts %+v, %v", s.Files, err)
			}
			f, err := r.GetFile(r.Context(), r.me, store, deadly)
			if err != nil || f.Failure == nil || f.Failure.Code != "server_error" || !strings.Contains(f.Failure.Message, "the server ended while it read it") {
				t.Errorf("the file: %+v, %v", f, err)
			}
			if _, _, err := r.Content(r.Context(), r.me, store, deadly); stead.KindOf(err) != stead.KindInvalid || reads != 0 {
				t.Errorf("its content: %v, after it was read %d times", err, reads)
			}
			// Whoever attaches it again wants it to be tried again.
			_, err = r.Attach(r.Context(), r.me, store, vectorstore.Attachment{File: deadly})
			r.must(err)
			if s := r.settled(store); s.Files.Completed != 3 {
				t.Errorf("counts %+v after it was attached again", s.Files)
			}
		})
	}
}

// TestAFileHasItsTime: a reader that heeds its context, and one that does not.
func TestAFileHasItsTime(t *testing.T) {
	both(t, func(r *rig) {
		r.stop()
		forever := make(chan struct{})
		defer close(forever)
		r.hurry = func(s *vectorstore.Service) { s.Hurry(10*time.Second, time.Second, 300*time.Millisecond) }
		r.read = func(ctx context.Context, name string, data []byte) (passage.Document, error) {
			switch name {
			case "slow.txt":
				<-ctx.Done()
				return passage.Document{}, ctx.Err()
			case "deaf.txt":
				<-forever
			case "mad.txt":
				panic("nobody foresaw this")
			}
			return passage.Read(name, data)
		}
		r.restart()
		store := r.store(r.upload("slow.txt", "a"), r.upload("deaf.txt", "b"), r.upload("mad.txt", "c"), r.upload("good.txt", "d"))
		if s := r.settled(store); s.Files != (vectorstore.Counts{Completed: 1, Failed: 3}) {
			r.Fatalf("counts %+v", s.Files)
		}
		files, _, err := r.ListFiles(r.Context(), r.me, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 9}})
		r.must(err)
		for _, f := range files {
			want := map[string]string{"slow.txt": "longer than 1s", "deaf.txt": "longer than 1s", "mad.txt": "could not be processed", "good.txt": ""}[f.Filename]
			if f.Attempts != 0 || (f.Failure == nil) != (want == "") || f.Failure != nil && !strings.Contains(f.Failure.Message, want) {
				r.Errorf("%s: %d attempts, %+v", f.Filename, f.Attempts, f.Failure)
			}
		}
	})
}

// TestALongFileIsReadByOneWorker: its lease is renewed while it is read, so that no other worker or node takes it as well.
func TestALongFileIsReadByOneWorker(t *testing.T) {
	both(t, func(r *rig) {
		r.stop()
		const lease = 1500 * time.Millisecond // a busy machine renews it a second late
		var reading, reads, most atomic.Int64
		looked := make(chan struct{})
		r.read = func(_ context.Context, name string, data []byte) (passage.Document, error) {
			reads.Add(1)
			most.Store(max(most.Load(), reading.Add(1)))
			defer reading.Add(-1)
			<-looked
			return passage.Read(name, data)
		}
		r.hurry = func(s *vectorstore.Service) { s.Hurry(lease, time.Minute, time.Minute) }
		r.restart()
		other := &rig{T: r.T, db: r.db, blobs: r.blobs, ahead: r.ahead, me: r.me, read: r.read, hurry: r.hurry}
		other.restart()
		defer other.stop()
		store := r.store(r.upload("long.txt", "It goes on and on."))
		for reading.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		for range 4 { // both nodes look for what is due
			time.Sleep(lease * 2 / 5)
			for _, node := range []*rig{r, other} {
				r.must(node.Nudge(r.Context(), r.me.Project, store))
			}
		}
		close(looked)
		r.settled(store)
		if n := reads.Load(); n != 1 || most.Load() != 1 {
			r.Errorf("the file was read %d times, by %d at once", n, most.Load())
		}
	})
}

// TestAnAttemptThatEndsCountsNot: a node that stops, and what is away for now.
func TestAnAttemptThatEndsCountsNot(t *testing.T) {
	both(t, func(r *rig) {
		r.stop()
		var away atomic.Bool
		away.Store(true)
		begun := make(chan struct{}, 100)
		r.read = func(ctx context.Context, name string, data []byte) (passage.Document, error) {
			begun <- struct{}{}
			if !away.Load() {
				return passage.Read(name, data)
			}
			if name == "stopped.txt" {
				<-ctx.Done()
				return passage.Document{}, ctx.Err()
			}
			return passage.Document{}, stead.Errorf(stead.KindUnavailable, "what reads it is away")
		}
		r.restart()
		stopped, waits := r.store(), r.store(r.upload("waits.txt", "word"))
		for range 5 {
			<-begun
			r.stop()
			r.ahead.Add(int64(15 * time.Second))
			r.restart()
		}
		_, err := r.Attach(r.Context(), r.me, stopped, vectorstore.Attachment{File: r.upload("stopped.txt", "word")})
		r.must(err)
		for range 5 {
			<-begun
			r.stop()
			r.ahead.Add(int64(15 * time.Second))
			r.restart()
		}
		r.stop()
		away.Store(false)
		r.ahead.Add(int64(15 * time.Second))
		r.restart()
		for _, store := range []string{stopped, waits} {
			if s := r.settled(store); s.Files.Completed != 1 {
				r.Errorf("counts %+v", s.Files)
			}
		}
		// What is away for a day has failed.
		r.stop()
		away.Store(true)
		r.ahead.Add(int64(15 * time.Second))
		r.restart()
		store := r.store(r.upload("lost.txt", "word"))
		<-begun
		r.ahead.Add(int64(25 * time.Hour))
		if s := r.settled(store); s.Files.Failed != 1 {
			r.Errorf("counts %+v", s.Files)
		}
	})
}

// TestALongHeadingIsNoRecord: a title that is longer than a record may be is stored all the same.
func TestALongHeadingIsNoRecord(t *testing.T) {
	both(t, func(r *rig) {
		store := r.store(r.upload("a.md", "# "+strings.Repeat("titles ", 50_000)+"\n\nThe train leaves at noon.\n"))
		if s := r.settled(store); s.Files.Completed != 1 {
			r.Errorf("counts %+v", s.Files)
		}
		if got := r.finds(store, "train", any1()); got != "a.md" {
			r.Errorf("found %q", got)
		}
	})
}

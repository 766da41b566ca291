package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/memory/memorytest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(helperEnv); path != "" {
		os.Exit(helper(path))
	}
	if path := os.Getenv(auditVariable); path != "" {
		os.Exit(actForever(path))
	}
	if path := os.Getenv(ownVariable); path != "" {
		os.Exit(own(path))
	}
	os.Exit(m.Run())
}

func open(t testing.TB, path string, opts Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openNew(t testing.TB) *Store {
	return open(t, filepath.Join(t.TempDir(), "stead.db"), Options{})
}

func TestSuite(t *testing.T) {
	journaltest.Suite(t, func(t *testing.T) journal.Full { return openNew(t) })
}

func TestMemorySuite(t *testing.T) {
	memorytest.Suite(t, func(t *testing.T) memorytest.Store { return openNew(t) })
}

// TestSuiteExtents runs the suite with log rows going into extents at once, not by the thousand.
func TestSuiteExtents(t *testing.T) {
	journaltest.Suite(t, func(t *testing.T) journal.Full {
		return open(t, filepath.Join(t.TempDir(), "stead.db"), Options{recentRows: 3})
	})
}

func TestReopenSuite(t *testing.T) {
	for _, recent := range []int{0, 1} {
		opts := Options{recentRows: recent}
		t.Run(fmt.Sprint(recent), func(t *testing.T) {
			journaltest.ReopenSuite(t, journaltest.Opener{
				Open: func(t *testing.T) journal.Full {
					return open(t, filepath.Join(t.TempDir(), "stead.db"), opts)
				},
				Reopen: func(t *testing.T, old journal.Full) journal.Full {
					path := old.(*Store).path
					if err := old.Close(); err != nil {
						t.Fatal(err)
					}
					return open(t, path, opts)
				},
			})
		})
	}
}

func TestAgentSuite(t *testing.T) {
	journaltest.AgentSuite(t, func(t *testing.T) agent.Store { return openNew(t) })
}

func TestDocumentSuite(t *testing.T) {
	documenttest.Suite(t, func(t *testing.T) document.Store { return openNew(t) })
}

func key(n int) stead.SessionKey {
	return stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprintf("sess_%032x", n))}
}

func createInput() journal.Input {
	return journal.Input{Create: &journal.Creation{Agent: "a"}, Events: []stead.Event{{Kind: "session.created", Data: []byte(`{}`)}}, If: -1}
}

// lease makes a session and leases it.
func lease(t testing.TB, s *Store, k stead.SessionKey) journal.Lease {
	t.Helper()
	if err := s.Heartbeat(context.Background(), "n", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(context.Background(), k, createInput()); err != nil {
		t.Fatal(err)
	}
	leases, _, err := s.Acquire(context.Background(), "n", 1)
	if err != nil || len(leases) != 1 || leases[0].Key != k {
		t.Fatalf("Acquire = %v, %v", leases, err)
	}
	return leases[0]
}

func one(after stead.Seq, data string) journal.Batch {
	return journal.Batch{After: after, Events: []stead.Event{{Seq: after + 1, At: 1, Kind: "x", Data: []byte(data)}}}
}

func TestLockNamesTheOwner(t *testing.T) {
	s := openNew(t)
	_, err := Open(t.Context(), s.path, Options{})
	if stead.KindOf(err) != stead.KindConflict || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Fatalf("second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, s.path, Options{})
}

func TestOddPath(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a b?c#d%20é.db"), Options{})
	lease(t, s, key(1))
	if _, err := os.Stat(s.path); err != nil {
		t.Fatal(err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	s := openNew(t)
	lease(t, s, key(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	setVersion := func(v int) {
		if _, err := db.Exec(fmt.Sprintf("PRAGMA user_version = %d", v)); err != nil {
			t.Fatal(err)
		}
	}
	var current int
	if err := db.QueryRow("PRAGMA user_version").Scan(&current); err != nil || current < 1 {
		t.Fatalf("user_version %d, %v", current, err)
	}
	setVersion(current + 1)
	_, err = Open(t.Context(), s.path, Options{})
	if stead.KindOf(err) != stead.KindConflict || !strings.Contains(err.Error(), fmt.Sprintf("schema version %d", current+1)) {
		t.Fatalf("Open of a newer database: %v", err)
	}
	setVersion(current)
	s = open(t, s.path, Options{}) // the refusal changed nothing and kept no lock
	if h, err := s.Head(t.Context(), key(1)); err != nil || h.Tail != 1 {
		t.Fatalf("head %+v, %v", h, err)
	}
}

func TestMigrationIsAllOrNothing(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "m.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	steps := []string{"CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"}
	if err := migrateTo(t.Context(), conn, steps); err == nil {
		t.Fatal("a broken migration succeeded")
	}
	var n int
	if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d tables left behind, %v", n, err)
	}
	if err := migrateTo(t.Context(), conn, steps[:1]); err != nil {
		t.Fatal(err)
	}
	steps[1] = "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)"
	for range 2 { // the second time there is nothing to do
		if err := migrateTo(t.Context(), conn, steps); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRowContext(t.Context(), "SELECT count(y) FROM a").Scan(&n); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, err)
	}
}

func TestMigrationsAreNumbered(t *testing.T) {
	if _, err := schemaSteps(fstest.MapFS{"schema/0001_a.sql": {}, "schema/0003_c.sql": {}}); err == nil {
		t.Fatal("a missing migration went unnoticed")
	}
}

// TestDeleteLeavesNothing looks into the tables themselves, with and without extents.
func TestDeleteLeavesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "stead.db"), Options{recentRows: 5})
	ctx := t.Context()
	in := createInput()
	in.Key, in.Digest = "k", "d"
	if _, err := s.Send(ctx, key(1), in); err != nil {
		t.Fatal(err)
	}
	for i := range 23 {
		in := journal.Input{Events: in.Events, If: -1, Key: fmt.Sprint(i), Digest: "d"}
		if _, err := s.Send(ctx, key(1), in); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveSnapshot(ctx, key(1), 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, key(1)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"session", "log", "extent", "receipt", "snapshot"} {
		var n int
		if err := s.readers.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows left in %s, %v", n, table, err)
		}
	}
	if len(s.recent) != 0 || len(s.heads) != 0 {
		t.Errorf("%d runs and %d heads left in memory", len(s.recent), len(s.heads))
	}
}

// TestReadersDuringMoves reads and lists while log rows move from memory into extents.
func TestReadersDuringMoves(t *testing.T) {
	const sessions, appends = 8, 150
	s := open(t, filepath.Join(t.TempDir(), "stead.db"), Options{recentRows: 7})
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range sessions {
		l := lease(t, s, key(i))
		wg.Go(func() {
			for n := range stead.Seq(appends) {
				if err := s.Append(ctx, l, one(n+1, `{}`)); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				got, err := s.Read(ctx, l.Key, journal.ReadOptions{})
				if err != nil || len(got) != int(n)+2 || got[n+1].Seq != n+2 {
					t.Errorf("read %d events after append %d, %v", len(got), n, err)
					return
				}
				if h, err := s.Head(ctx, l.Key); err != nil || h.Tail != n+2 {
					t.Errorf("head %+v after append %d, %v", h, n, err)
					return
				}
				down, err := s.Read(ctx, l.Key, journal.ReadOptions{Desc: true, Limit: 3})
				if err != nil || down[0].Seq != n+2 {
					t.Errorf("read down %+v after append %d, %v", down, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestDueUsesItsIndex holds that idle sessions are never scanned.
func TestDueUsesItsIndex(t *testing.T) {
	s := openNew(t)
	for _, q := range []string{
		`SELECT project, session, due_at FROM session WHERE due_at > 0 AND due_at <= 5 ORDER BY due_at`,
		`SELECT due_at FROM session WHERE due_at > 5 ORDER BY due_at LIMIT 1`,
		`UPDATE session SET due_at = -due_at WHERE due_at < 0`,
	} {
		var id, parent, unused int
		var plan string
		db, err := sql.Open("sqlite", s.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow("EXPLAIN QUERY PLAN "+q).Scan(&id, &parent, &unused, &plan); err != nil || !strings.Contains(plan, "session_due") {
			t.Errorf("%s: plan %q, %v", q, plan, err)
		}
		db.Close()
	}
}

// TestHeadsAreBounded holds that sessions nobody works on leave memory.
func TestHeadsAreBounded(t *testing.T) {
	s := openNew(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 2*maxHeads + 1 {
		s.heads[key(i)] = &head{}
	}
	s.trimHeads()
	if len(s.heads) > maxHeads {
		t.Fatalf("%d heads in memory, the limit is %d", len(s.heads), maxHeads)
	}
}

// TestEndedRequestIsNotAcknowledged pins the case that a request ends while its write waits: the
// committer skips it, and says so, because the caller may hear of both at once.
func TestEndedRequestIsNotAcknowledged(t *testing.T) {
	s := openNew(t)
	lease(t, s, key(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &op{ctx: ctx, done: make(chan struct{}), write: func(g *group) error {
		_, err := g.send(key(1), journal.Input{Events: []stead.Event{{Kind: "x"}}, If: -1})
		return err
	}}
	if err := s.box.put(o); err != nil {
		t.Fatal(err)
	}
	<-o.done
	if stead.KindOf(o.err) != stead.KindUnavailable {
		t.Fatalf("the skipped write was answered with %v", o.err)
	}
	if h, err := s.Head(t.Context(), key(1)); err != nil || h.Tail != 1 {
		t.Fatalf("head %+v, %v", h, err)
	}
}

// TestCloseMovesEverything makes sure that the database is one file after Close: nothing stays
// behind in a WAL, and no connection stays open.
func TestCloseMovesEverything(t *testing.T) {
	s := openNew(t)
	if _, err := s.Send(context.Background(), key(1), createInput()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(s.path + suffix); !os.IsNotExist(err) {
			t.Errorf("%s after Close: %v", suffix, err)
		}
	}
}

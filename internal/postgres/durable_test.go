package postgres_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestRefusesLoss opens databases that acknowledge what they can lose.
func TestRefusesLoss(t *testing.T) {
	server := pgtest.New(t)
	url := server.Database(t)
	name := strings.TrimPrefix(url[:strings.IndexByte(url, '?')], "postgres:///")
	refused := func(what string) {
		t.Helper()
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err == nil {
			s.Close()
		}
		wantKind(t, stead.KindConflict, err)
		if !strings.Contains(err.Error(), what) {
			t.Errorf("error %q does not name %s", err, what)
		}
		open(t, url, postgres.Options{AllowLoss: true})
	}
	open(t, url, postgres.Options{})
	server.Exec(t, "ALTER DATABASE "+name+" SET synchronous_commit = off")
	refused("synchronous_commit is off")
	server.Exec(t, "ALTER DATABASE "+name+" RESET synchronous_commit")
	server.Exec(t, "ALTER SYSTEM SET fsync = off")
	server.Restart(t)
	refused("fsync is off")
}

// TestFlushedBeforeReturn compares, after every append, how far the log was flushed with how far it
// was written. The control shows that the comparison can tell: without synchronous_commit, and with
// a log writer that hardly runs, an append returns before its flush.
func TestFlushedBeforeReturn(t *testing.T) {
	server := pgtest.New(t)
	for _, setting := range []string{"wal_writer_delay = '10s'", "bgwriter_delay = '10s'", "autovacuum = off"} {
		server.Exec(t, "ALTER SYSTEM SET "+setting)
	}
	server.Restart(t)
	url := server.Database(t)
	// Announcements commit without a flush, so here there are none.
	if n := unflushed(t, url, postgres.Options{PollOnly: true}); n > flushNoise {
		t.Errorf("%d of %d appends returned before their flush", n, flushRounds)
	}
	url = server.Database(t)
	if n := unflushed(t, url+"&synchronous_commit=off", postgres.Options{PollOnly: true, AllowLoss: true}); n < flushRounds/2 {
		t.Errorf("the control saw only %d of %d appends return before their flush: this test shows nothing", n, flushRounds)
	}
}

const (
	flushRounds = 30
	// flushNoise is how often a record that the server writes on its own may fall into the comparison.
	flushNoise = 1
)

// unflushed counts appends after whose return the log holds something unflushed that they wrote.
func unflushed(t *testing.T, url string, opts postgres.Options) int {
	t.Helper()
	s := open(t, url, opts)
	create(t, s, session(1))
	lease := acquire(t, s, nodeA, 1)[0]
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	count := 0
	for after := lease.Tail; after < lease.Tail+flushRounds; after++ {
		if err := s.Append(t.Context(), lease, done(after)); err != nil {
			t.Fatal(err)
		}
		var behind bool
		err := conn.QueryRow(t.Context(), `SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()`).Scan(&behind)
		if err != nil {
			t.Fatal(err)
		}
		if behind {
			count++
		}
	}
	return count
}

// TestKilledServer kills the database under load, again and again. What was acknowledged is there
// afterwards, calls fail with KindUnavailable meanwhile, and the same stores work again.
func TestKilledServer(t *testing.T) {
	server := pgtest.New(t)
	s := open(t, server.Database(t), postgres.Options{})
	const sessions, kills = 16, 3
	for i := range sessions {
		create(t, s, session(i))
	}
	waited := make(chan stead.Seq, 1)
	go func() { // goes on through all of it
		tail, err := s.Wait(t.Context(), session(0), 1_000_000)
		if err == nil {
			waited <- tail
		}
		close(waited)
	}()
	acked := make([]atomic.Int64, sessions) // the highest Seq that a receipt named
	for range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var total atomic.Int64
		for i := range sessions {
			wg.Go(func() { sendUntilDown(t, ctx, s, session(i), &acked[i], &total) })
		}
		eventually(t, "writes are acknowledged", func() bool { return total.Load() > 200 })
		server.Kill(t)
		wg.Wait()
		stop()
		downFailsFast(t, s)
		server.Start(t)
		eventually(t, "the store works again", func() bool {
			_, err := s.Head(t.Context(), session(0))
			return err == nil
		})
		for i := range sessions {
			h, err := s.Head(t.Context(), session(i))
			if err != nil {
				t.Fatal(err)
			}
			if h.Tail < stead.Seq(acked[i].Load()) {
				t.Fatalf("session %d: event %d was acknowledged, the tail is %d", i, acked[i].Load(), h.Tail)
			}
			events, err := s.Read(t.Context(), session(i), journal.ReadOptions{})
			if err != nil || stead.Seq(len(events)) != h.Tail {
				t.Fatalf("session %d: %d events below tail %d, %v", i, len(events), h.Tail, err)
			}
		}
	}
	// The listener is back, too: the waiter of the deleted session ends.
	if err := s.Delete(t.Context(), session(0)); err != nil {
		t.Fatal(err)
	}
	select {
	case tail, ok := <-waited:
		if ok {
			t.Fatalf("Wait = %d", tail)
		}
	case <-time.After(deadline):
		t.Fatal("Wait hangs")
	}
}

func sendUntilDown(t *testing.T, ctx context.Context, s *postgres.Store, key stead.SessionKey, acked, total *atomic.Int64) {
	for {
		r, err := s.Send(ctx, key, journal.Input{Events: []stead.Event{{Kind: "sent", Data: []byte(`{"n":1}`)}}, If: -1})
		if err != nil {
			if stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("Send: %v", err)
			}
			return
		}
		acked.Store(int64(r.Last))
		total.Add(1)
	}
}

// downFailsFast checks every sort of call against a server that is not there.
func downFailsFast(t *testing.T, s *postgres.Store) {
	t.Helper()
	key, ctx := session(1), t.Context()
	calls := map[string]func() error{
		"Send": func() error {
			_, err := s.Send(ctx, key, journal.Input{Events: []stead.Event{{Kind: "sent"}}, If: -1})
			return err
		},
		"Append": func() error {
			return s.Append(ctx, journal.Lease{Key: key, Epoch: 1, Node: nodeA}, done(1))
		},
		"Read":      func() error { _, err := s.Read(ctx, key, journal.ReadOptions{}); return err },
		"Wait":      func() error { _, err := s.Wait(ctx, key, 0); return err },
		"Head":      func() error { _, err := s.Head(ctx, key); return err },
		"Heads":     func() error { _, err := s.Heads(ctx, "proj", journal.Query{}); return err },
		"Acquire":   func() error { _, _, err := s.Acquire(ctx, nodeA, 1); return err },
		"Heartbeat": func() error { return s.Heartbeat(ctx, nodeA, alive) },
		"Delete":    func() error { return s.Delete(ctx, key) },
		"Snapshot":  func() error { return s.SaveSnapshot(ctx, key, 1, nil) },
		"GetAgent":  func() error { _, err := s.GetAgent(ctx, "proj", "agent_1", 0); return err },
	}
	const bound = 10 * time.Second // connections are refused at once; the rest is a busy machine
	for name, call := range calls {
		start := time.Now()
		if err := call(); stead.KindOf(err) != stead.KindUnavailable {
			t.Errorf("%s of a database that is away: %v", name, err)
		}
		if took := time.Since(start); took > bound {
			t.Errorf("%s of a database that is away took %s", name, took)
		}
	}
	if _, err := postgres.Open(ctx, "postgres://127.0.0.1:1/none", postgres.Options{}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("Open of a database that is away: %v", err)
	}
}

// TestCallerGivesUp: a session that another transaction keeps locked holds its caller no longer
// than the caller wants, and holds up the other sessions of its batch for lockTimeout at most.
func TestCallerGivesUp(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, postgres.Options{})
	key := session(1)
	create(t, s, key)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM heads WHERE session_id = $1 FOR UPDATE`, string(key.Session)); err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	for i := range 20 {
		others.Go(func() { create(t, s, session(2+i)) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	in := journal.Input{Events: []stead.Event{{Kind: "sent"}}, If: 1, Key: "k", Digest: "d"}
	_, err = s.Send(ctx, key, in)
	wantKind(t, stead.KindUnavailable, err)
	others.Wait() // the lock is still held
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Send(t.Context(), key, in) // the same key: stored once, whoever stored it
	if err != nil || r.First != 2 || r.Last != 2 {
		t.Fatalf("receipt %+v, %v", r, err)
	}
}

package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestZombie lets a node fall silent while it believes in its lease.
func TestZombie(t *testing.T) {
	url := pgtest.URL(t)
	a, b := open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	key := session(1)
	create(t, a, key)
	old := acquire(t, a, nodeA, 1)[0]
	if err := a.Append(t.Context(), old, done(1)); err != nil {
		t.Fatal(err)
	}
	if got := acquire(t, b, nodeB, 1); len(got) != 0 {
		t.Fatalf("stolen from a living node: %+v", got)
	}
	if err := a.Heartbeat(t.Context(), nodeA, 50*time.Millisecond); err != nil { // its last one
		t.Fatal(err)
	}
	var stolen []journal.Lease
	eventually(t, "the session is due", func() bool {
		stolen = acquire(t, b, nodeB, 1)
		return len(stolen) == 1
	})
	if stolen[0].Epoch <= old.Epoch || stolen[0].Tail != 2 {
		t.Fatalf("stolen %+v after %+v", stolen[0], old)
	}
	wantKind(t, stead.KindFenced, a.Append(t.Context(), old, done(2)))
	if err := a.Heartbeat(t.Context(), nodeA, alive); err != nil { // too late
		t.Fatal(err)
	}
	wantKind(t, stead.KindFenced, a.Append(t.Context(), old, done(2)))
	if err := b.Append(t.Context(), stolen[0], done(2)); err != nil {
		t.Fatal(err)
	}
}

// TestAcquireNext names the time at which another node's sessions would fall free.
func TestAcquireNext(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, postgres.Options{})
	create(t, s, session(1))
	acquire(t, s, nodeA, 1)
	if err := s.Heartbeat(t.Context(), nodeA, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Heartbeat(t.Context(), nodeB, alive); err != nil {
		t.Fatal(err)
	}
	_, next, err := s.Acquire(t.Context(), nodeB, 1)
	if left := time.Until(next); err != nil || left < 50*time.Second || left > time.Minute {
		t.Fatalf("next is in %s, %v; want a minute", left, err)
	}
}

// TestOtherNode checks that a node hears of what another one does: by notification, without a
// listener, and after it lost its listener.
func TestOtherNode(t *testing.T) {
	for name, opts := range map[string]postgres.Options{"listening": {}, "polling": {PollOnly: true}} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.URL(t)
			hearsOther(t, open(t, url, postgres.Options{}), open(t, url, opts))
		})
	}
	t.Run("cut off", func(t *testing.T) {
		url := pgtest.URL(t)
		speaker, hearer := open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
		cutConnections(t, url)
		hearsOther(t, speaker, hearer)
	})
}

func hearsOther(t *testing.T, speaker, hearer *postgres.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	const rounds = 5
	for i := range rounds {
		key := session(i)
		eventually(t, "the database answers", func() bool {
			_, err := speaker.Send(ctx, key, journal.Input{Create: &journal.Creation{Agent: "agent_1"}, If: -1})
			return err == nil || stead.KindOf(err) == stead.KindConflict
		})
		woken := make(chan stead.Seq, 1)
		go func() {
			tail, err := hearer.Wait(ctx, key, 0)
			if err != nil {
				t.Errorf("Wait: %v", err)
			}
			woken <- tail
		}()
		send(t, speaker, key)
		if tail := <-woken; tail != 1 {
			t.Fatalf("woken at %d, want 1", tail)
		}
		got := []journal.Lease{}
		for len(got) == 0 { // earlier signals may be waiting
			select {
			case <-hearer.Work():
				got = acquire(t, hearer, nodeB, 10)
			case <-ctx.Done():
				t.Fatal("no signal of work")
			}
		}
		if err := hearer.Append(ctx, got[0], journal.Batch{After: got[0].Tail, Release: true}); err != nil {
			t.Fatal(err)
		}
	}
	gone := make(chan error, 1)
	go func() {
		_, err := hearer.Wait(ctx, session(0), 1)
		gone <- err
	}()
	if err := speaker.Delete(ctx, session(0)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, stead.KindNotFound, <-gone)
}

// cutConnections ends every connection of the database.
func cutConnections(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoDeadlocks lets two nodes write the same sessions in batches: one appends as the holder of
// all, one sends.
func TestNoDeadlocks(t *testing.T) {
	url := pgtest.URL(t)
	a, b := open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	const sessions, rounds = 40, 25
	for i := range sessions {
		create(t, a, session(i))
	}
	leases := acquire(t, a, nodeA, sessions)
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() { appendRounds(t, a, leases[i], rounds) })
		wg.Go(func() {
			for range rounds {
				send(t, b, session((i*17)%sessions))
			}
		})
	}
	wg.Wait()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var events, deadlocks int
	err = conn.QueryRow(t.Context(), `SELECT (SELECT sum(last - first + 1) FROM log), deadlocks FROM pg_stat_database
		WHERE datname = current_database()`).Scan(&events, &deadlocks)
	if want := sessions * (1 + 2*rounds); err != nil || events != want || deadlocks != 0 {
		t.Fatalf("%d events, %d deadlocks, %v; want %d events, no deadlocks", events, deadlocks, err, want)
	}
}

// appendRounds appends so many events as a holder does: what it has not seen it reads first.
func appendRounds(t *testing.T, s *postgres.Store, lease journal.Lease, rounds int) {
	tail := lease.Tail
	for n := 0; n < rounds; {
		err := s.Append(t.Context(), lease, done(tail))
		switch stead.KindOf(err) {
		case "":
			n++
			tail++
		case stead.KindTail:
			seen, err := s.Read(t.Context(), lease.Key, journal.ReadOptions{After: tail})
			if err != nil {
				t.Error(err)
				return
			}
			tail += stead.Seq(len(seen))
		default:
			t.Error(err)
			return
		}
	}
}

package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestPurge: versions of rows that were deleted are in no table any more, which the database's own look at its pages says; not while somebody
// has an older snapshot, and not for a role that may not.
func TestPurge(t *testing.T) {
	ctx := t.Context()
	server := pgtest.New(t)
	server.Exec(t, "ALTER SYSTEM SET autovacuum = off")
	server.Restart(t)
	url := server.Database(t)
	s := openTest(t, url)
	watch, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(ctx)
	if _, err := watch.Exec(ctx, `CREATE EXTENSION pageinspect`); err != nil {
		t.Fatal(err)
	}
	// versions counts those of a table that are stored, seen or not.
	versions := func(table string) (n int) {
		t.Helper()
		if err := watch.QueryRow(ctx, `SELECT count(*) FROM generate_series(0, pg_relation_size($1::text::regclass) / 8192 - 1) AS page,
			LATERAL heap_page_items(get_raw_page($1::text, page::int)) WHERE t_data IS NOT NULL`, table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	key := stead.SessionKey{Project: "p", Session: "sess_1"}
	place := memory.Place{Project: "p", Store: "s"}
	if _, err := s.Send(ctx, key, journal.Input{Create: &journal.Creation{Agent: "a", CreatedAt: 1}, Key: "KRYPTON", Digest: "d", Events: []stead.Event{{Seq: 1, Kind: "x", Data: []byte(`"KRYPTON"`)}}}); err != nil {
		t.Fatal(err)
	}
	for i, data := range [][]byte{[]byte(`"KRYPTON"`), []byte(`"XENON"`), nil} {
		c := memory.Change{Record: memory.Record{Place: place, ID: "mem_1", CreatedAt: 1, UpdatedAt: 1, Data: data}, Expected: int64(i)}
		if _, err := s.WriteMemories(ctx, place, []memory.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
	old, err := watch.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`); err != nil {
		t.Fatal(err)
	}
	if n := versions("log"); n != 1 {
		t.Fatal(n, "versions of one row")
	}
	if err := s.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Purge(ctx); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "older") {
		t.Errorf("beside an old snapshot: %v", err)
	}
	// One that ends while a purge is under way has kept nothing: whether there is one is looked at before the tables are cleaned.
	lock, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close(ctx)
	for _, text := range []string{`BEGIN`, `LOCK TABLE schema_version IN SHARE MODE`} {
		if _, err := lock.Exec(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	purged := make(chan error, 1)
	go func() {
		_, err := s.Purge(ctx)
		purged <- err
	}()
	for waiting := 0; waiting == 0; time.Sleep(5 * time.Millisecond) {
		if err := lock.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err, left := <-purged, versions("log"); err != nil || left != 0 {
		t.Errorf("beside a snapshot that ends: %v, and %d versions stand in the table", err, left)
	}
	for range 2 {
		if how, err := s.Purge(ctx); how != journal.Vacuumed || err != nil {
			t.Fatal(how, err)
		}
	}
	for table, want := range map[string]int{"log": 0, "session_keys": 0, "creation_keys": 0, "sessions": 0, "memory_versions": 0, "memories": 1} { // one that says it was forgotten
		if n := versions(table); n != want {
			t.Errorf("%s stores %d versions", table, n)
		}
	}
	server.Exec(t, `CREATE ROLE guest LOGIN PASSWORD 'guest' ROLE CURRENT_USER`)
	_, _ = watch.Exec(ctx, `GRANT ALL ON ALL TABLES IN SCHEMA public TO guest`)
	guest, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	other := openTest(t, strings.Replace(url, "user="+guest.User, "user=guest", 1))
	if _, err := other.Purge(ctx); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "VACUUM") {
		t.Errorf("by a role that may not: %v", err)
	}
}

// TestABusyDatabaseIsPurged: there is a transaction at any time, and none that takes long.
func TestABusyDatabaseIsPurged(t *testing.T) {
	ctx := t.Context()
	s := openTest(t, pgtest.URL(t))
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 8 {
		place := memory.Place{Project: "p", Store: fmt.Sprint("s", w)}
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c := memory.Change{Record: memory.Record{Place: place, ID: fmt.Sprint("mem_", i), CreatedAt: 1, UpdatedAt: 1, Data: []byte(`"XENON"`)}}
				if _, err := s.WriteMemories(ctx, place, []memory.Change{c}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 8 {
		if how, err := s.Purge(ctx); how != journal.Vacuumed || err != nil {
			t.Error(how, err)
		}
	}
	close(stop)
	writing.Wait()
}

// TestEveryTableIsPurgedOrSaysNothing: a table that is new has people's words in it, or is named here.
func TestEveryTableIsPurgedOrSaysNothing(t *testing.T) {
	ctx, url := context.Background(), pgtest.URL(t)
	openTest(t, url)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	silent := []string{
		"nodes", "heads", "schema_version", "usage_rows", "usage_names", "budget_counters", "budget_holds", "memory_heads", "memory_vector_heads",
		"audit_logs", "audit_records", "audit_notes", "audit_inbox",
	}
	for _, name := range tables {
		if slices.Contains(contents, name) == slices.Contains(silent, name) {
			t.Errorf("table %s is neither purged nor silent, or both", name)
		}
	}
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

func openTest(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func testKey(n int) stead.SessionKey {
	return stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprintf("sess_%032x", n))}
}

func creation(n int, key string) *op {
	o, err := sendOp(testKey(n), journal.Input{
		Create: &journal.Creation{Agent: "agent_1"}, Events: []stead.Event{{Kind: "created"}}, If: -1, Key: key, Digest: "d",
		Update: &journal.Listing{Status: "idle"},
	})
	if err != nil {
		panic(err)
	}
	return o
}

// TestGroup puts operations that pass and operations that fail, each for its own reason, into one
// transaction, by statement and by copy.
func TestGroup(t *testing.T) {
	for name, bytes := range map[string]int{"statement": 1, "copy": copyBytes / 8} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, pgtest.URL(t))
			groupOf(t, s, bytes)
		})
	}
}

func groupOf(t *testing.T, s *Store, bytes int) {
	const size = 3
	first := []*op{creation(1, ""), creation(2, "k2"), creation(3, ""), creation(4, "")}
	s.committer.run(first)
	for i, o := range first {
		if o.err != nil {
			t.Fatalf("creation %d: %v", i, o.err)
		}
	}
	if err := s.Heartbeat(t.Context(), "node", time.Hour); err != nil {
		t.Fatal(err)
	}
	leases, _, err := s.Acquire(t.Context(), "node", 2)
	if err != nil || len(leases) != 2 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	events := func() []stead.Event {
		list := make([]stead.Event, size)
		for i := range list {
			list[i] = stead.Event{Kind: "e", Data: []byte(`{"x":"` + strings.Repeat("x", bytes) + `"}`)}
		}
		return list
	}
	send := func(n int, tail stead.Seq) *op {
		o, err := sendOp(testKey(n), journal.Input{Events: events(), If: tail})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	appendTo := func(l journal.Lease, after stead.Seq) *op {
		return &op{key: l.Key, expect: after, epoch: l.Epoch, node: l.Node, events: events(), done: make(chan struct{})}
	}
	stale := leases[1]
	stale.Epoch--
	cases := []struct {
		op   *op
		want stead.Kind
	}{
		{appendTo(leases[0], 1), ""},
		{appendTo(stale, 1), stead.KindFenced},
		{send(3, 1), ""},
		{send(4, 7), stead.KindTail},
		{send(99, -1), stead.KindNotFound},
		{creation(1, ""), stead.KindConflict},
		{creation(5, "k2"), ""}, // replayed
		{creation(6, "k6"), ""},
	}
	ops := make([]*op, len(cases))
	for i, c := range cases {
		ops[i] = c.op
	}
	s.committer.run(ops)
	for i, c := range cases {
		<-c.op.done
		if got := stead.KindOf(c.op.err); got != c.want {
			t.Errorf("operation %d: %v is %q, want %q", i, c.op.err, got, c.want)
		}
	}
	if r := cases[6].op.receipt; !r.Replayed || r.Session != testKey(2).Session {
		t.Errorf("the replayed creation got %+v", r)
	}
	for n, want := range map[int]stead.Seq{1: 1, 2: 1, 3: 1 + size, 4: 1, 6: 1} {
		if testKey(n) == leases[0].Key {
			want += size
		}
		h, err := s.Head(t.Context(), testKey(n))
		if err != nil || h.Tail != want {
			t.Errorf("session %d: tail %d, %v; want %d", n, h.Tail, err, want)
		}
		list, err := s.Read(t.Context(), testKey(n), journal.ReadOptions{})
		if err != nil || stead.Seq(len(list)) != want {
			t.Errorf("session %d: %d events, %v; want %d", n, len(list), err, want)
		}
	}
}

// TestSpoiledGroup: an operation that the database refuses outright fails alone.
func TestSpoiledGroup(t *testing.T) {
	s := openTest(t, pgtest.URL(t))
	good, bad := creation(1, ""), creation(2, "")
	bad.update = &journal.Listing{Status: "not\x00text"} // past our own checks
	s.committer.run([]*op{good, bad})
	if good.err != nil {
		t.Errorf("the good one: %v", good.err)
	}
	if stead.KindOf(bad.err) != stead.KindInvalid {
		t.Errorf("the bad one: %v", bad.err)
	}
}

// TestUnheardLease grants again what a lost answer had granted, with an epoch of its own.
func TestUnheardLease(t *testing.T) {
	s := openTest(t, pgtest.URL(t))
	o := creation(1, "")
	s.committer.run([]*op{o})
	if err := s.Heartbeat(t.Context(), "node", time.Hour); err != nil {
		t.Fatal(err)
	}
	lost, _, err := s.Acquire(t.Context(), "node", 1)
	if err != nil || len(lost) != 1 {
		t.Fatalf("%d leases, %v", len(lost), err)
	}
	again, _, err := s.Acquire(t.Context(), "node", 1)
	if err != nil || len(again) != 0 {
		t.Fatalf("a held session was granted: %+v, %v", again, err)
	}
	var grant int64
	if err := s.pool.QueryRow(t.Context(), `SELECT granted_by FROM heads`).Scan(&grant); err != nil {
		t.Fatal(err)
	}
	s.unheard.add("other", grant)
	if again, _, err = s.Acquire(t.Context(), "node", 1); err != nil || len(again) != 0 {
		t.Fatalf("granted for another node's loss: %+v, %v", again, err)
	}
	s.unheard.add("node", grant)
	again, _, err = s.Acquire(t.Context(), "node", 1)
	if err != nil || len(again) != 1 || again[0].Epoch <= lost[0].Epoch {
		t.Fatalf("granted again: %+v after %+v, %v", again, lost, err)
	}
	if again, _, err = s.Acquire(t.Context(), "node", 1); err != nil || len(again) != 0 {
		t.Fatalf("granted a third time: %+v, %v", again, err)
	}
}

// TestAcquireSettings: the commit of an acquisition need not be flushed, those after it must be.
func TestAcquireSettings(t *testing.T) {
	s := openTest(t, pgtest.URL(t)+"&pool_max_conns=1")
	for range 3 {
		if _, _, err := s.Acquire(t.Context(), "node", 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range s.pool.AcquireAllIdle(t.Context()) {
		var commit string
		err := c.QueryRow(t.Context(), `SELECT current_setting('synchronous_commit')`).Scan(&commit)
		c.Release()
		if err != nil || commit != "on" {
			t.Errorf("synchronous_commit is %q after Acquire, %v", commit, err)
		}
	}
}

// TestPlans: every hot statement goes by indexes, whatever the tables held when it was planned.
func TestPlans(t *testing.T) {
	s := openTest(t, pgtest.URL(t))
	o := creation(1, "k")
	b := newBatch([]*op{o})
	statements := map[string]struct {
		sql  string
		args []any
	}{
		"create":  {createSQL, b.createArgs()},
		"fence":   {fenceOnlySQL, b.fenceArgs()},
		"store":   {storeSQL, append(b.fenceArgs(), b.rowArgs()...)},
		"explain": {explainSQL, []any{[]string{"p"}, []string{"s"}, [][]byte{nil}, []bool{false}}},
		"acquire": {acquireSQL, []any{"node", 10, int64(1), []int64{}}},
		"next":    {nextSQL, []any{"node"}},
		"read":    {readUpSQL, []any{"p", "s", int64(0), int64(10), int64(maxRowEvents)}},
		"down":    {readDownSQL, []any{"p", "s", int64(100), int64(10), int64(maxRowEvents)}},
		"heads":   {headsUpSQL, []any{"p", "", 10, "", "", [][]byte{}, ""}},
	}
	for name, st := range statements {
		rows, err := s.pool.Query(t.Context(), "EXPLAIN "+st.sql, st.args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := strings.Join(lines, "\n")
		for _, bad := range []string{"Seq Scan on heads", "Seq Scan on log", "Seq Scan on session", "Seq Scan on creation", "hashed SubPlan", "Hash Join", "Merge Join"} {
			if strings.Contains(plan, bad) {
				t.Errorf("%s has a %s:\n%s", name, bad, plan)
			}
		}
	}
}

func TestMigrate(t *testing.T) {
	ctx := t.Context()
	url := pgtest.URL(t)
	config, err := poolConfig(url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := openPool(ctx, config, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	steps := []string{`CREATE TABLE one (n int)`}
	load := func() ([]string, error) { return steps, nil }
	if err := migrate(ctx, pool, load); err != nil {
		t.Fatal(err)
	}
	steps = append(steps, `INSERT INTO one VALUES (1); CREATE TABLE two (n int)`, `INSERT INTO one VALUES (2)`)
	var wg sync.WaitGroup // the new version starts on many nodes
	for range 6 {
		wg.Go(func() {
			if err := migrate(ctx, pool, load); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	var rows, version int
	err = pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM one), version FROM schema_version`).Scan(&rows, &version)
	if err != nil || rows != 2 || version != 3 {
		t.Fatalf("%d rows, version %d, %v; want each step once", rows, version, err)
	}
	steps = append(steps, `CREATE TABLE three (n int); SELECT broken`)
	if err := migrate(ctx, pool, load); err == nil {
		t.Fatal("a broken step passed")
	}
	err = pool.QueryRow(ctx, `SELECT version FROM schema_version WHERE to_regclass('three') IS NULL`).Scan(&version)
	if err != nil || version != 3 {
		t.Fatalf("a broken step left something behind: version %d, %v", version, err)
	}
	steps = steps[:2] // an older program
	err = migrate(ctx, pool, load)
	if stead.KindOf(err) != stead.KindConflict || !strings.Contains(err.Error(), "schema version 3, this program knows up to 2") {
		t.Fatalf("a newer database: %v", err)
	}
}

// TestOpenTogether starts several nodes on an empty database, and one that is too old for it.
func TestOpenTogether(t *testing.T) {
	url := pgtest.URL(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), url, Options{})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `UPDATE schema_version SET version = 999`); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), url, Options{})
	if err == nil {
		s.Close()
	}
	if stead.KindOf(err) != stead.KindConflict {
		t.Fatalf("Open of a newer database: %v", err)
	}
}

func TestTranslate(t *testing.T) {
	for code, want := range map[string]stead.Kind{
		"08006": stead.KindUnavailable, "53100": stead.KindUnavailable, "53300": stead.KindUnavailable,
		"57P01": stead.KindUnavailable, "57P03": stead.KindUnavailable, "58030": stead.KindUnavailable,
		"40001": stead.KindUnavailable, "40P01": stead.KindUnavailable, "25006": stead.KindUnavailable,
		"22021": stead.KindInvalid, "28P01": stead.KindConflict, "3D000": stead.KindConflict, "42501": stead.KindConflict,
		"42601": stead.KindInternal, "23514": stead.KindInternal,
	} {
		err := translate(fmt.Errorf("driver: %w", &pgconn.PgError{Code: code, Message: "not read"}))
		if got := stead.KindOf(err); got != want {
			t.Errorf("%s is %q, want %q", code, got, want)
		}
	}
	if got := stead.KindOf(translate(io.ErrUnexpectedEOF)); got != stead.KindUnavailable {
		t.Errorf("a broken connection is %q", got)
	}
	if !errors.Is(translate(context.Canceled), context.Canceled) {
		t.Error("the cause is lost")
	}
	if err := translate(stead.NotFound("session", "s")); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("a kind is lost: %v", err)
	}
}

// TestCopyReader reads with buffers of every awkward size.
func TestCopyReader(t *testing.T) {
	events := []stead.Event{{At: 1, Kind: "a", Data: []byte(strings.Repeat("x", 3*copyChunk))}, {Kind: "b"}}
	list := []stored{{op: &op{key: testKey(1), events: events}, tail: 2}, {op: &op{key: testKey(2)}, tail: 0},
		{op: &op{key: testKey(3), events: events[1:]}, tail: 9}}
	whole, err := io.ReadAll(newCopyReader(list))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(whole), copyHeader) || !strings.HasSuffix(string(whole), "\xff\xff") || len(whole) < 3*copyChunk {
		t.Fatalf("%d bytes, not framed", len(whole))
	}
	if err := iotest.TestReader(newCopyReader(list), whole); err != nil {
		t.Fatal(err)
	}
}

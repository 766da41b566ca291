package postgres

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestReadWithinRows reads from and to every event of rows that hold several, both ways.
func TestReadWithinRows(t *testing.T) {
	s := openTest(t, pgtest.URL(t))
	o := creation(1, "")
	o.events = numbered(1, 4)
	s.committer.run([]*op{o})
	for _, n := range []int{1, maxRowEvents + 3, 2} { // the middle one is two rows
		tail := int(o.receipt.Last)
		if o.receipt.Last == 0 {
			t.Fatal(o.err)
		}
		o = &op{key: testKey(1), expect: stead.Seq(tail), epoch: anyEpoch, events: numbered(tail+1, n), done: make(chan struct{})}
		s.committer.run([]*op{o})
	}
	last := int(o.receipt.Last)
	all := numbered(1, last)
	for _, after := range []int{0, 1, 3, 4, 5, 6, 300, 516, 517, 518, 519, last - 1, last, last + 1, last + 2000} {
		for _, limit := range []int{1, 2, 7, 600, 1000} {
			want := all[min(after, last):min(after+limit, last)]
			checkRead(t, s, journal.ReadOptions{After: stead.Seq(after), Limit: limit}, want)
			below := last
			if after > 0 {
				below = min(after-1, last)
			}
			want = slices.Clone(all[max(below-limit, 0):below])
			slices.Reverse(want)
			checkRead(t, s, journal.ReadOptions{After: stead.Seq(after), Limit: limit, Desc: true}, want)
		}
	}
}

// numbered makes n events, the first of which is to get the seq.
func numbered(first, n int) []stead.Event {
	list := make([]stead.Event, n)
	for i := range list {
		seq := first + i
		list[i] = stead.Event{Seq: stead.Seq(seq), At: int64(-seq), Kind: fmt.Sprint("k", seq), Data: bytes.Repeat([]byte{0, byte(seq)}, seq%3)}
		if seq%3 == 0 {
			list[i].Data = nil
		}
	}
	return list
}

func checkRead(t *testing.T, s *Store, opts journal.ReadOptions, want []stead.Event) {
	t.Helper()
	got, err := s.Read(t.Context(), testKey(1), opts)
	if err != nil {
		t.Fatalf("%+v: %v", opts, err)
	}
	if !slices.EqualFunc(got, want, sameEvent) {
		t.Errorf("%+v: %d events %.200v, want %d %.200v", opts, len(got), got, len(want), want)
	}
}

func sameEvent(a, b stead.Event) bool {
	return a.Seq == b.Seq && a.At == b.At && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
}

// TestLogMigration turns a journal of one row an event into one of log rows.
func TestLogMigration(t *testing.T) {
	ctx := t.Context()
	url := pgtest.URL(t)
	config, err := poolConfig(url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := openPool(ctx, config, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	before := func() ([]string, error) {
		steps, err := migrations()
		return steps[:1], err
	}
	if err := migrate(ctx, pool, before); err != nil {
		t.Fatal(err)
	}
	key, want := testKey(1), numbered(1, 9)
	_, err = pool.Exec(ctx, `INSERT INTO heads (project_id, session_id, birth, tail) VALUES ($1, $2, 1, 9)`, string(key.Project), string(key.Session))
	for _, e := range want {
		if err != nil {
			t.Fatal(err)
		}
		_, err = pool.Exec(ctx, `INSERT INTO events (project_id, session_id, seq, at, kind, data) VALUES ($1, $2, $3, $4, $5, $6)`,
			string(key.Project), string(key.Session), int64(e.Seq), e.At, e.Kind, []byte(e.Data))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openTest(t, url)
	if err := s.Heartbeat(ctx, "node", time.Hour); err != nil {
		t.Fatal(err)
	}
	checkRead(t, s, journal.ReadOptions{}, want)
}

func TestDamagedRow(t *testing.T) {
	whole := appendFrames(nil, numbered(1, 3))
	ends := map[int]bool{0: true, len(whole): true}
	for n := range 3 {
		ends[rowSize(numbered(1, n))] = true
	}
	for n := range whole {
		if _, err := decodeRow(nil, 1, whole[:n]); (err == nil) != ends[n] {
			t.Errorf("a row cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

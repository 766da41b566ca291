package sqlite

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/memory"
)

const markBytes = len("MARK0000-")

// inFiles counts how often each of the marks, which are as long as each other and begin with MARK, is in the files of a directory.
func inFiles(t *testing.T, dir string, marks ...string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, m := range marks {
		found[m] = 0
	}
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := bytes.Index(b, []byte("MARK")); i >= 0; {
			m := string(b[i:min(i+markBytes, len(b))])
			if _, looked := found[m]; looked {
				found[m]++
			}
			b = b[i+1:]
			i = bytes.Index(b, []byte("MARK"))
		}
	}
	return found
}

// TestPurgeLeavesNoByte: of sessions and memories that were written, written over and deleted in any order, among others that stay, nothing is in any
// file; what stays can be read, and the database is sound. Without the purge there are thousands, and hundreds without the look at free room.
func TestPurgeLeavesNoByte(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	path := filepath.Join(dir, "stead.db")
	s, err := Open(ctx, path, Options{recentRows: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	const n, talks, batch = 600, 60, 10
	rnd := rand.New(rand.NewPCG(1, 2))
	place := memory.Place{Project: "p", Store: "s"}
	key := func(i int) stead.SessionKey {
		return stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprintf("sess_%04d", i))}
	}
	mark := func(i int) string { return fmt.Sprintf("MARK%04d-", i) }
	text := func(i int) []byte {
		size := []int{50, 200, 400, 1000, 3000, 8000}[rnd.IntN(6)]
		return []byte(`"` + strings.Repeat(mark(i), size/len(mark(i))) + `"`)
	}
	version := map[int]int64{}
	write := func(forget bool, which ...int) {
		t.Helper()
		for some := range slices.Chunk(which, batch) {
			var changes []memory.Change
			for _, i := range some {
				c := memory.Change{Record: memory.Record{Place: place, ID: fmt.Sprintf("mem_%04d", i*7919%n), CreatedAt: 1, UpdatedAt: 1}, Expected: version[i]}
				if !forget {
					c.Data, c.Key, c.Digest = text(i), fmt.Sprintf("%s%d", mark(i), rnd.Int()), "d"
				}
				changes = append(changes, c)
				version[i]++
			}
			if _, err := s.WriteMemories(ctx, place, changes); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range talks {
		if _, err := s.Send(ctx, key(i), journal.Input{Create: &journal.Creation{Agent: "a", CreatedAt: 1}, Key: "made" + mark(i), Digest: "d", Events: []stead.Event{{Seq: 1, Kind: "x", Data: text(i)}, {Seq: 2, Kind: "x", Data: text(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 * n / batch {
		write(false, rnd.Perm(n)[:batch]...)
	}
	order := slices.DeleteFunc(rnd.Perm(n), func(i int) bool { return version[i] == 0 })
	write(true, order[:n/2]...)
	var gone []string
	for _, i := range order[:n/2] {
		if gone = append(gone, mark(i)); i >= talks {
			continue
		}
		if err := s.Delete(ctx, key(i)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (sum int) {
		for _, times := range inFiles(t, dir, gone...) {
			sum += times
		}
		return sum
	}
	before := left()
	began := time.Now()
	if how, err := s.Purge(ctx); how != journal.Truncated || err != nil {
		t.Fatal(how, err)
	}
	if after := left(); after != 0 || before == 0 {
		t.Errorf("before the purge there were %d marks, and %d are left", before, after)
	}
	t.Logf("%d marks gone in %s", before, time.Since(began))
	var stays []string
	for _, i := range order[n/2:] {
		stays = append(stays, mark(i))
	}
	for m, times := range inFiles(t, dir, stays...) {
		if times == 0 {
			t.Errorf("%s went, too", m)
		}
	}
	write(false, order[n/2:]...)
	var sound string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("the database is %q: %v", sound, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, path, Options{}); err != nil {
		t.Fatal(err)
	}
}

// TestPurgeBesideAReader: it is done once the reader is, writes go on meanwhile, and who can't wait is told.
func TestPurgeBesideAReader(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, filepath.Join(dir, "stead.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const mark = "MARK0000-"
	key := stead.SessionKey{Project: "p", Session: "sess_1"}
	if _, err := s.Send(ctx, key, journal.Input{Create: &journal.Creation{Agent: "a", CreatedAt: 1}, Events: []stead.Event{{Seq: 1, Kind: "x", Data: []byte(`"` + mark + `"`)}}}); err != nil {
		t.Fatal(err)
	}
	tx, err := s.readers.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM log`).Scan(&n); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if err := s.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := s.Purge(short); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("beside a reader: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Purge(ctx)
		ended <- err
	}()
	for i := range 20 {
		if _, err := s.Send(ctx, stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprint("sess_w", i))}, journal.Input{Create: &journal.Creation{Agent: "a", CreatedAt: 1}}); err != nil {
			t.Fatalf("a write beside it: %v", err)
		}
	}
	select {
	case err := <-ended:
		t.Fatal("it is done beside a reader", err)
	default:
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if found := inFiles(t, dir, mark); found[mark] != 0 {
		t.Errorf("it is %d times in the files", found[mark])
	}
}

// TestWipe: a page is cleared of what no cell uses, and one that makes no sense is left as it is.
func TestWipe(t *testing.T) {
	page := func(sort byte, header int) []byte {
		p := bytes.Repeat([]byte{'x'}, 512)
		copy(p, []byte{sort, 0x01, 0x80, 0, 1, 0x01, 0x00, 0}) // a free block at 384, one cell, cells from 256
		copy(p[header:], []byte{0x01, 0x00})
		copy(p[384:], []byte{0, 0, 0, 16}) // of 16 bytes
		return p
	}
	for sort, header := range map[byte]int{innerIndex: innerHeader, innerTable: innerHeader, leafIndex: leafHeader, leafTable: leafHeader} {
		p := page(sort, header)
		if !wipe(p) || wipe(p) {
			t.Errorf("page of sort %d is not clean", sort)
		}
		if x := bytes.Count(p, []byte{'x'}); x != 256-16+header-leafHeader || !bytes.Equal(p[header+2:256], make([]byte, 256-header-2)) {
			t.Errorf("sort %d: %d bytes are kept:\n%s", sort, x, hex.Dump(p))
		}
	}
	broken := map[string]func(p []byte){
		"another sort": func(p []byte) { p[0] = 0 }, "cells before their places": func(p []byte) { p[3] = 1 }, "a block outside": func(p []byte) { p[1], p[2] = 0x01, 0xfe },
		"a block that is too long": func(p []byte) { p[386] = 1 }, "a circle": func(p []byte) { copy(p[384:], []byte{0x01, 0x80}) }, "a block among places": func(p []byte) { p[1] = 0 },
	}
	for name, spoil := range broken {
		p := page(leafTable, leafHeader)
		spoil(p)
		was := bytes.Clone(p)
		if wipe(p) || !bytes.Equal(p, was) {
			t.Errorf("%s: it was changed", name)
		}
	}
}

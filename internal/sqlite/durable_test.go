package sqlite

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// The test binary runs itself as a helper process that appends to the database this variable names
// and prints each acknowledgement. helperWriters and helperAppends bound it; 0 appends never end.
const (
	helperEnv     = "STEAD_SQLITE_HELPER"
	helperWriters = "STEAD_SQLITE_HELPER_WRITERS"
	helperAppends = "STEAD_SQLITE_HELPER_APPENDS"
)

func helper(path string) int {
	var writers, appends int
	fmt.Sscan(os.Getenv(helperWriters), &writers)
	fmt.Sscan(os.Getenv(helperAppends), &appends)
	ctx := context.Background()
	s, err := Open(ctx, path, Options{recentRows: 100})
	if err == nil {
		err = s.Heartbeat(ctx, "helper", time.Hour)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			if err := helperWrite(ctx, s, w, appends); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
		return 0
	}
}

// helperWrite sends to a session of its own; the n-th event's data holds the text marker(w, n).
func helperWrite(ctx context.Context, s *Store, w, appends int) error {
	_, err := s.Send(ctx, key(w), createInput())
	if err != nil && stead.KindOf(err) != stead.KindConflict {
		return err
	}
	for n := 0; appends == 0 || n < appends; n++ {
		h, err := s.Head(ctx, key(w))
		if err != nil {
			return err
		}
		mark := marker(w, int(h.Tail)+1)
		e := stead.Event{Kind: "x", Data: fmt.Appendf(nil, `{"mark":"%s","pad":"%s"}`, mark, strings.Repeat("p", 500))}
		if _, err := s.Send(ctx, key(w), journal.Input{Events: []stead.Event{e}, If: h.Tail}); err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString("acked " + mark + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func marker(w, seq int) string { return fmt.Sprintf("mark-%03d-%06d.", w, seq) }

func helperCommand(t *testing.T, path string, writers, appends int, prefix ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(prefix, self)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperEnv+"="+path, fmt.Sprint(helperWriters, "=", writers), fmt.Sprint(helperAppends, "=", appends))
	return cmd
}

// TestKill kills a writing process with SIGKILL, again and again on one database: everything that
// it acknowledged is there, in place, and the database is whole.
func TestKill(t *testing.T) {
	const rounds, writers, acks = 4, 16, 250
	path := filepath.Join(t.TempDir(), "stead.db")
	acked := map[string]bool{}
	for round := range rounds {
		for _, line := range killAfter(t, helperCommand(t, path, writers, 0), acks*(round+1)) {
			acked[strings.TrimPrefix(line, "acked ")] = true
		}
		checkAcked(t, path, writers, acked)
	}
	if len(acked) < rounds*acks {
		t.Fatalf("only %d acknowledgements", len(acked))
	}
}

// killAfter kills the command after so many lines of output and returns all its whole lines.
func killAfter(t *testing.T, cmd *exec.Cmd, lines int) []string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		if got = append(got, strings.TrimSpace(line)); len(got) == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(got) < lines {
		t.Fatalf("the helper ended by itself after %d lines: %v", len(got), err)
	}
	return got
}

func checkAcked(t *testing.T, path string, sessions int, acked map[string]bool) {
	t.Helper()
	s := open(t, path, Options{})
	defer s.Close()
	stored := map[string]bool{}
	for w := range sessions {
		for after := stead.Seq(0); ; {
			page, err := s.Read(t.Context(), key(w), journal.ReadOptions{After: after})
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range page {
				if e.Seq != after+stead.Seq(i)+1 {
					t.Fatalf("session %d has event %d after %d", w, e.Seq, after)
				}
				if m := marker(w, int(e.Seq)); bytes.Contains(e.Data, []byte(m)) {
					stored[m] = true
				}
			}
			if len(page) < stead.MaxReadEvents {
				break
			}
			after += stead.Seq(len(page))
		}
	}
	for m := range acked {
		if !stored[m] {
			t.Errorf("%s was acknowledged and is lost", m)
		}
	}
	checkIntegrity(t, s)
}

func checkIntegrity(t *testing.T, s *Store) {
	t.Helper()
	var verdict string
	if err := s.readers.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %s, %v", verdict, err)
	}
}

// TestAcknowledgedAfterSync watches a writing process's system calls: the write of an event to the
// WAL, then a sync of the WAL that begins after it and succeeds, then the acknowledgement.
func TestAcknowledgedAfterSync(t *testing.T) {
	const appends = 40
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is missing: install the Debian package strace")
		}
		t.Skip("strace is not installed (Debian package strace)")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := helperCommand(t, filepath.Join(dir, "stead.db"), 1, appends,
		strace, "-f", "-y", "-s", "65536", "-e", "trace=fsync,fdatasync,pwrite64,write", "-o", trace)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace: %v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if n := checkTrace(t, string(text)); n != appends {
		t.Fatalf("%d acknowledgements seen, want %d", n, appends)
	}
}

var (
	traceMark    = regexp.MustCompile(`mark-\d{3}-\d{6}\.`)
	traceSync    = regexp.MustCompile(`^(\d+) +(?:fsync|fdatasync)\(\d+<[^>]*-wal>(.*)$`)
	traceResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>.*= 0`)
)

// checkTrace returns how many acknowledgements it saw, all of them after the sync of their event.
func checkTrace(t *testing.T, text string) (acks int) {
	written := map[string]bool{}            // marks in writes to the WAL, not yet synced
	syncing := map[string]map[string]bool{} // thread → what was written when its sync began
	durable := map[string]bool{}
	synced := func(marks map[string]bool) {
		for m := range marks {
			durable[m] = true
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if m := traceSync.FindStringSubmatch(line); m != nil {
			begun := map[string]bool{}
			for mark := range written {
				begun[mark] = true
			}
			if strings.Contains(m[2], "= 0") {
				synced(begun)
			} else {
				syncing[m[1]] = begun
			}
			continue
		}
		if m := traceResumed.FindStringSubmatch(line); m != nil {
			synced(syncing[m[1]])
			delete(syncing, m[1])
			continue
		}
		for _, mark := range traceMark.FindAllString(line, -1) {
			switch {
			case strings.Contains(line, "-wal>"):
				written[mark] = true
			case strings.Contains(line, "acked "):
				acks++
				if !durable[mark] {
					t.Errorf("%s was acknowledged before it was durable", mark)
				}
			}
		}
	}
	return acks
}

// TestTraceCheckerFindsFaults makes sure that TestAcknowledgedAfterSync can fail.
func TestTraceCheckerFindsFaults(t *testing.T) {
	const write = `7 pwrite64(5</d/stead.db-wal>, "..mark-000-000002....", 4096, 0) = 4096` + "\n"
	const ack = `8 write(1<pipe:[1]>, "acked mark-000-000002.\n", 23) = 23` + "\n"
	const sync = "7 fsync(5</d/stead.db-wal>) = 0\n"
	const begin, end = "7 fdatasync(5</d/stead.db-wal> <unfinished ...>\n", "7 <... fdatasync resumed>) = 0\n"
	cases := map[string]bool{
		write + sync + ack:                                    true,
		write + begin + end + ack:                             true,
		write + ack + sync:                                    false,
		sync + write + ack:                                    false,
		begin + write + end + ack:                             false,
		write + begin + ack + end:                             false,
		write + strings.Replace(sync, "-wal", "", 1) + ack:    false,
		write + strings.Replace(sync, "= 0", "= -1", 1) + ack: false,
	}
	for text, good := range cases {
		probe := &testing.T{}
		if checkTrace(probe, text); probe.Failed() == good {
			t.Errorf("verdict %v on\n%s", !good, text)
		}
	}
}

// fillUp appends to a session until the disk is full, and returns its tail: everything acknowledged.
func fillUp(t *testing.T, s *Store, l journal.Lease) stead.Seq {
	t.Helper()
	const most = 100_000 // appends; a disk of a few MB is full before
	data := `{"x":"` + strings.Repeat("y", 8<<10) + `"}`
	for tail := l.Tail; tail < most; tail++ {
		err := s.Append(t.Context(), l, one(tail, data))
		if err == nil {
			continue
		}
		if stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "disk") {
			t.Fatalf("append to a full disk: %v (kind %s)", err, stead.KindOf(err))
		}
		return tail
	}
	t.Fatal("the disk never was full")
	return 0
}

// checkRecovered shows that the same lease carries on and that all is there, also after a restart.
func checkRecovered(t *testing.T, s *Store, l journal.Lease, tail stead.Seq) {
	t.Helper()
	for ; ; tail++ { // also the first try after the failure succeeds, or finds that it was stored
		if err := s.Append(t.Context(), l, one(tail, `{"after":1}`)); err == nil {
			break
		} else if stead.KindOf(err) != stead.KindTail {
			t.Fatalf("append with space again: %v", err)
		}
	}
	tail++
	for range 2 {
		h, err := s.Head(t.Context(), l.Key)
		got, err2 := s.Read(t.Context(), l.Key, journal.ReadOptions{})
		if err != nil || err2 != nil || h.Tail != tail || len(got) != int(tail) {
			t.Fatalf("tail %d, %d events, want %d; %v, %v", h.Tail, len(got), tail, err, err2)
		}
		checkIntegrity(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, s.path, Options{})
	}
}

func TestFullDatabase(t *testing.T) {
	s := openNew(t)
	l := lease(t, s, key(1))
	maxPages := func(n int) {
		t.Helper()
		if err := s.do(t.Context(), &op{write: func(g *group) error {
			_, err := g.c.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", n))
			return err
		}}); err != nil {
			t.Fatal(err)
		}
	}
	maxPages(200)
	tail := fillUp(t, s, l)
	if got, err := s.Read(t.Context(), l.Key, journal.ReadOptions{}); err != nil || len(got) != int(tail) {
		t.Fatalf("%d events can be read on a full disk, want %d, %v", len(got), tail, err)
	}
	if _, err := s.Send(t.Context(), l.Key, journal.Input{Events: []stead.Event{{Kind: "x", Data: []byte(`{"x":"` + strings.Repeat("y", 64<<10) + `"}`)}}, If: -1, Key: "k", Digest: "d"}); stead.KindOf(err) != stead.KindUnavailable {
		t.Fatalf("Send on a full disk: %v", err)
	}
	maxPages(1 << 30)
	r, err := s.Send(t.Context(), l.Key, journal.Input{Events: []stead.Event{{Kind: "x"}}, If: -1, Key: "k", Digest: "d"})
	if err != nil || r.Replayed || r.First != tail+1 {
		t.Fatalf("receipt %+v, %v: the refused send left something behind", r, err)
	}
	checkRecovered(t, s, l, tail+1)
}

// TestFullDisk fills a small file system of its own, where the system lets the test mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here (%v); TestFullDatabase stands in", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "stead.db"), Options{})
	l := lease(t, s, key(1))
	tail := fillUp(t, s, l)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	checkRecovered(t, s, l, tail)
}

// A write that finds no room is made again when it is given some, with all that shares its commit; who waits for
// it learns nothing of that.
func TestSparedRoom(t *testing.T) {
	pages, asked, left := 200, 0, 3
	var s *Store
	grow := func() { // the committer itself calls it
		pages += 50
		if _, err := s.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Error(err)
		}
	}
	s = open(t, filepath.Join(t.TempDir(), "stead.db"), Options{Spare: func(file string, _ int64, _ bool) bool {
		if filepath.Base(file) != "stead.db-wal" {
			t.Errorf("it asks for room for %s", file)
		}
		asked++
		if left == 0 {
			return false
		}
		left--
		grow()
		return true
	}})
	l := lease(t, s, key(1))
	pages = 150
	if err := s.do(t.Context(), &op{write: func(*group) error { grow(); return nil }}); err != nil {
		t.Fatal(err)
	}
	tail := fillUp(t, s, l)
	if asked != 4 || left != 0 {
		t.Errorf("it asked %d times, and %d were left", asked, left)
	}
	if got, err := s.Read(t.Context(), l.Key, journal.ReadOptions{}); err != nil || len(got) != int(tail) {
		t.Fatalf("%d events can be read, want %d, %v", len(got), tail, err)
	}
	left = 1
	checkRecovered(t, s, l, tail)
}

// On a full disk a commit's room is that of the log, which is moved into the database and used again: 32 MB of
// commits need no more than the database grows by.
func TestFullDiskUsesTheLogAgain(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("mounting a tmpfs is not allowed here (%v)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	reserve := int64(2 << 20)
	file := filepath.Join(dir, "reserve")
	if err := os.WriteFile(file, make([]byte, reserve), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "stead.db"), Options{Spare: func(_ string, bytes int64, _ bool) bool {
		if reserve == 0 {
			return false
		}
		reserve = max(reserve-cmp.Or(bytes, 64<<10), 0)
		return os.Truncate(file, reserve) == nil
	}})
	l := lease(t, s, key(1))
	large := bytes.Repeat([]byte("x"), 16<<10)
	if err := s.SaveSnapshot(t.Context(), l.Key, 1, large); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk can't be filled: %v", err)
	}
	for seq := range stead.Seq(1000) {
		if err := s.SaveSnapshot(t.Context(), l.Key, seq+2, large); err != nil {
			t.Fatalf("commit %d: %v", seq, err)
		}
	}
	if reserve < 1<<20 {
		t.Errorf("%d bytes of the reserve are left of 2 MiB", reserve)
	}
}

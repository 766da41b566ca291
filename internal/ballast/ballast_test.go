package ballast

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/volume"
)

// disk is what a test says of the file system.
type disk struct{ free, total, files, allFiles int64 }

const (
	testTotal = 512 << 20 // so that the ballast has 32 MiB and the floor 16
	testFloor = 16 << 20
	slice     = 2 << 20
)

func newBallast(t *testing.T, d *disk) (*Ballast, *bytes.Buffer) {
	var log bytes.Buffer
	b := Open(t.TempDir(), true, slog.New(slog.NewTextHandler(&log, nil)))
	b.look = func() (volume.Room, bool) {
		return volume.Room{Bytes: d.free, TotalBytes: d.total, Files: d.files, TotalFiles: d.allFiles}, true
	}
	b.measure()
	return b, &log
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		journal             bool
		total, whole, floor int64
	}{
		{true, 1 << 40, Bytes, FloorBytes},
		{true, 1 << 30, 1 << 30 / Share, 1 << 30 / FloorShare},
		{true, 1<<30 + 999, 1 << 30 / Share, (1<<30 + 999) / FloorShare}, // whole slices of whole blocks
		{false, 1 << 40, 0, FloorBytes},
	} {
		b, _ := newBallast(t, &disk{free: c.total, total: c.total})
		b.journal = c.journal
		b.measure()
		if got := b.Status().Bytes; got.Whole != c.whole || got.Floor != c.floor {
			t.Errorf("journal %v, a disk of %d: %+v, want a ballast of %d and a floor of %d", c.journal, c.total, got, c.whole, c.floor)
		}
	}
}

// It has blocks, not only a length; it is made only where twice the floor stays free, and once.
func TestMade(t *testing.T) {
	d := &disk{free: 2*testFloor + 32<<20 - 1, total: testTotal}
	b, log := newBallast(t, d)
	b.tend()
	if got := b.Status().Bytes.Ballast; got != 0 {
		t.Errorf("it has %d bytes on a disk that has no room for it", got)
	}
	if err := b.Full(); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("without a ballast: %v", err)
	}
	d.free++
	b.tend()
	if got := blocks(t, b.path()); got != 32<<20 {
		t.Errorf("it has %d bytes of blocks", got)
	}
	if err := b.Full(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "the disk is full"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, log)
	}
	if !strings.Contains(log.String(), "room again") {
		t.Errorf("the log does not say that there is room again: %s", log)
	}
	again := Open(b.dir, true, b.log)
	again.look = b.look
	again.measure()
	if got := again.Status().Bytes.Ballast; got != 32<<20 {
		t.Errorf("a second start finds %d bytes", got)
	}
}

// A copy that lost its blocks keeps nothing.
func TestASparseCopyIsNoBallast(t *testing.T) {
	d := &disk{free: testTotal, total: testTotal}
	b, _ := newBallast(t, d)
	if err := os.WriteFile(b.path(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(b.path(), 32<<20); err != nil {
		t.Fatal(err)
	}
	b.measure()
	if got := b.Status().Bytes.Ballast; got != 0 {
		t.Fatalf("it counts as %d bytes", got)
	}
	b.tend()
	if got := blocks(t, b.path()); got != 32<<20 {
		t.Errorf("it has %d bytes of blocks", got)
	}
}

// A slice after the other becomes blocks of the file that needs them, which stays as long as it is; then
// there is nothing more. New work is refused from the first on, and what runs waits from the half on.
func TestGivenAway(t *testing.T) {
	d := &disk{free: testTotal, total: testTotal}
	b, log := newBallast(t, d)
	b.tend()
	file := filepath.Join(b.dir, "journal")
	if err := os.WriteFile(file, []byte("begun"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.free = slice; b.Give(file, 0, false) {
		t.Error("a slice was given on a disk that has room for one")
	}
	d.free = 0
	for n := 1; b.Give(file, 0, true); n++ {
		if got := b.Status().Bytes.Ballast; got != 32<<20-int64(n)*slice {
			t.Fatalf("after %d slices it has %d bytes", n, got)
		}
		if got := blocks(t, b.path()); got > b.Status().Bytes.Ballast {
			t.Fatalf("after %d slices it has %d bytes of blocks", n, got)
		}
		if got := blocks(t, file); got < int64(n)*slice {
			t.Errorf("after %d slices the file has %d bytes of blocks", n, got)
		}
		if err := b.Full(); err == nil {
			t.Errorf("after %d slices new work is begun", n)
		}
		if low := b.Low(); low != (n > Slices/2) {
			t.Errorf("after %d slices low is %v", n, low)
		}
	}
	if got := b.Status().Bytes.Ballast; got != 0 {
		t.Errorf("%d bytes were never given", got)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "begun" {
		t.Errorf("the file is %.20q, %v", data, err)
	}
	if n := strings.Count(log.String(), "the disk is full"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, log)
	}
	d.free = testTotal
	b.tend()
	if err := b.Full(); err != nil || b.Low() {
		t.Errorf("with room again: %v, low %v", err, b.Low())
	}
}

// The holes of a file get blocks as well: memory that lies before them can't be used without.
func TestHolesAreFilled(t *testing.T) {
	d := &disk{free: testTotal, total: testTotal}
	b, _ := newBallast(t, d)
	b.tend()
	file := filepath.Join(b.dir, "index")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	b.Give(file, 4096, true)
	if got := blocks(t, file); got < size {
		t.Errorf("a file of %d bytes has %d bytes of blocks", size, got)
	}
}

// What can wait is refused before it takes of twice the floor; new work from the floor on, until there is twice as much.
func TestFloor(t *testing.T) {
	d := &disk{free: testTotal, total: testTotal}
	b, _ := newBallast(t, d)
	b.tend()
	d.free = 2*testFloor + 100
	if err := b.Admit(100, 0); err != nil {
		t.Error(err)
	}
	err := b.Admit(101, 0)
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindUnavailable || e.Code != stead.CodeStorageFull || e.Hint == "" || e.RetryAfter == 0 {
		t.Errorf("more than there is: %v", err)
	}
	d.free = 2 * testFloor
	if b.Admit(1, 0) == nil || b.Full() != nil {
		t.Error("what is refused to others stops everybody's work")
	}
	for _, step := range []struct {
		free int64
		full bool
	}{{testFloor, false}, {testFloor - 1, true}, {testFloor, true}, {2*testFloor - 1, true}, {2 * testFloor, false}, {testFloor, false}} {
		d.free = step.free
		if got := b.Full() != nil; got != step.full {
			t.Errorf("with %d bytes free it is full: %v", step.free, got)
		}
		if b.Low() {
			t.Error("what runs waits, though the ballast is whole")
		}
	}
}

// Every call asks whether the disk is full: where much is free, one look is for all of a moment, and where little is, each
// looks.
func TestAMomentOfPlenty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{free: PlentyBytes + 2*FloorBytes, total: 1 << 40, files: PlentyFiles + 2*FloorFiles + Files, allFiles: 1 << 20}
		b, _ := newBallast(t, d)
		b.tend()
		looks, look := 0, b.look
		b.look = func() (volume.Room, bool) { looks++; return look() }
		asked := func(want int, full bool) {
			t.Helper()
			looks = 0
			for range 10 {
				if (b.Full() != nil) != full {
					t.Fatalf("with %d bytes free it is full: %t", d.free, !full)
				}
			}
			if looks != want {
				t.Errorf("with %d bytes free it was looked %d times, want %d", d.free, looks, want)
			}
		}
		time.Sleep(PlentyFor)
		asked(1, false)
		d.free = FloorBytes - 1
		asked(0, false)
		time.Sleep(PlentyFor)
		asked(10, true)
		d.free = PlentyBytes
		asked(10, false)
		d.free, d.files = 1<<40, FloorFiles-1
		asked(10, true)
	})
}

// Where the journal is elsewhere only what is stored here is refused.
func TestWithoutAJournal(t *testing.T) {
	d := &disk{total: testTotal}
	b, _ := newBallast(t, d)
	b.journal = false
	b.measure()
	b.tend()
	if b.Full() != nil || b.Low() || b.Give("", 0, true) {
		t.Error("a disk that the journal is not on stops work")
	}
	if b.Admit(1, 0) == nil {
		t.Error("a full disk takes blobs")
	}
}

func blocks(t *testing.T, file string) int64 {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(file, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * statUnit
}

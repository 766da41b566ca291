package ballast

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// Of a disk with so many inodes the ballast has 1,000 in slices of 62, and the floor 500.
const (
	testFiles      = 16_000
	testFilesSize  = 992
	testFilesFloor = testFiles / FloorShare
	filesSlice     = testFilesSize / Slices
)

func withFiles(files int64) *disk {
	return &disk{free: testTotal, total: testTotal, files: files, allFiles: testFiles}
}

func TestSizesOfFiles(t *testing.T) {
	for _, c := range []struct{ total, whole, floor int64 }{
		{100 << 20, Files, FloorFiles},
		{testFiles, testFilesSize, testFilesFloor},
		{0, 0, 0}, // no fixed number
	} {
		b, _ := newBallast(t, &disk{free: testTotal, total: testTotal, files: c.total, allFiles: c.total})
		if got := b.Status().Files; got.Whole != c.whole || got.Floor != c.floor {
			t.Errorf("of %d inodes: %+v, want a ballast of %d and a floor of %d", c.total, got, c.whole, c.floor)
		}
	}
}

// Its files are made only where twice the floor stays free, and have inodes of their own. Until then no work is begun.
func TestFilesMade(t *testing.T) {
	d := withFiles(2*testFilesFloor + testFilesSize - 1)
	b, log := newBallast(t, d)
	b.tend()
	if got := b.Status().Files.Ballast; got != 0 {
		t.Errorf("it has %d files on a disk that has no room for them", got)
	}
	refused(t, b.Full(), "no room for more files (inodes)")
	if n := strings.Count(log.String(), "has no room for more files (inodes)"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, log)
	}
	d.files++
	b.tend()
	if got := len(names(t, b.filesDir())); got != testFilesSize || b.Full() != nil {
		t.Errorf("it has %d files, and is full: %v", got, b.Full())
	}
	if !strings.Contains(log.String(), "room again") {
		t.Errorf("the log does not say that there is room again: %s", log)
	}
	b.measure()
	if got := b.Status().Files.Ballast; got != testFilesSize {
		t.Errorf("a second start finds %d files", got)
	}
}

// One slice after the other is freed, and a file that can't be made is made of one of them: as an empty file, and never in
// place of one that is there.
func TestFilesGivenAway(t *testing.T) {
	d := withFiles(testFiles)
	b, _ := newBallast(t, d)
	b.tend()
	file := filepath.Join(b.dir, "journal-wal")
	if d.files = filesSlice; b.Give(file, 0, false) {
		t.Error("files were given on a disk that has a slice of them")
	}
	d.files = 0
	if b.Give(file, 0, true) && b.Status().Files.Ballast < testFilesSize {
		t.Error("files were given for want of blocks")
	}
	b.tend()
	if !b.Give(file, 0, false) {
		t.Fatal("nothing was given")
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 0 || info.Mode() != 0o600 {
		t.Errorf("the file was not made: %v, %v", info, err)
	}
	if err := os.WriteFile(file, []byte("begun"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := int64(2); b.Give(file, 0, false); n++ {
		left := testFilesSize - n*filesSlice
		if got := b.Status().Files.Ballast; got != left || len(names(t, b.filesDir())) != int(left) {
			t.Fatalf("after %d slices it has %d files", n, got)
		}
		refused(t, b.Full(), "no room for more files (inodes)")
		if low := b.Low(); low != (n > Slices/2) {
			t.Errorf("after %d slices low is %v", n, low)
		}
	}
	if got := b.Status(); got.Files.Ballast != 0 || got.Bytes.Ballast != got.Bytes.Whole {
		t.Errorf("at the end: %+v", got)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "begun" {
		t.Errorf("the file is %.20q, %v", data, err)
	}
	d.files = testFiles
	b.tend()
	if err := b.Full(); err != nil || b.Low() {
		t.Errorf("with room again: %v, low %v", err, b.Low())
	}
}

// What can wait is refused before it takes of twice the floor; new work from the floor on, until there is twice as much.
func TestFloorOfFiles(t *testing.T) {
	d := withFiles(testFiles)
	b, _ := newBallast(t, d)
	b.tend()
	d.files = 2*testFilesFloor + 3
	if err := b.Admit(1, 3); err != nil {
		t.Error(err)
	}
	refused(t, b.Admit(1, 4), "no room for more files (inodes)")
	d.files = 0
	if err := b.Admit(1, 0); err != nil {
		t.Errorf("bytes that need no file: %v", err)
	}
	for _, step := range []struct {
		free int64
		full bool
	}{{testFilesFloor, false}, {testFilesFloor - 1, true}, {testFilesFloor, true}, {2*testFilesFloor - 1, true}, {2 * testFilesFloor, false}, {testFilesFloor, false}} {
		d.files = step.free
		if step.full == (b.Full() == nil) {
			t.Errorf("with %d inodes free it is full: %v", step.free, b.Full())
		}
	}
}

// A file system without a fixed number of inodes is never short of them, and has no ballast of files.
func TestWithoutInodes(t *testing.T) {
	b, _ := newBallast(t, &disk{free: testTotal, total: testTotal})
	b.tend()
	if b.Full() != nil || b.Admit(1, 1_000_000) != nil || b.Low() || b.Give("", 0, false) {
		t.Error("it is short of what it has no number of")
	}
	if _, err := os.Stat(b.filesDir()); err == nil {
		t.Error("it has a ballast of files")
	}
}

func refused(t *testing.T, err error, words string) {
	t.Helper()
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindUnavailable || e.Code != stead.CodeStorageFull || !strings.Contains(e.Message, words) {
		t.Errorf("it is not refused as it should be: %v", err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

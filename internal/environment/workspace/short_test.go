package workspace

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/volume"
)

func TestFileReserve(t *testing.T) {
	for _, c := range []struct{ total, want int64 }{{100 << 20, environment.FileReserve}, {44_832, 4483}, {0, 0}} {
		if got := fileReserve(volume.Room{TotalFiles: c.total}); got != c.want {
			t.Errorf("of %d inodes: %d, want %d", c.total, got, c.want)
		}
	}
}

// The fewer inodes are left, the sooner it is looked again; a file system without a fixed number of them is never short.
func TestWhenToLookAgain(t *testing.T) {
	const total = 100_000
	for _, c := range []struct {
		room  volume.Room
		known bool
		wait  time.Duration
		short bool
	}{
		{volume.Room{}, false, lookAtMost, false},
		{volume.Room{Bytes: 1, TotalBytes: 1}, true, lookAtMost, false},
		{volume.Room{Files: total, TotalFiles: total}, true, lookAtMost, false},
		{volume.Room{Files: total/reserveShare + 20*filesAMillisecond, TotalFiles: total}, true, 20 * time.Millisecond, false},
		{volume.Room{Files: total / reserveShare, TotalFiles: total}, true, lookAtLeast, false},
		{volume.Room{Files: total/reserveShare - 1, TotalFiles: total}, true, 0, true},
	} {
		if wait, short := lookAgain(c.room, c.known); wait != c.wait || short != c.short {
			t.Errorf("%+v, known %v: %v, short %v; want %v, %v", c.room, c.known, wait, short, c.wait, c.short)
		}
	}
}

// Growth is seen without counting everything.
func TestGrewBeyond(t *testing.T) {
	dir := t.TempDir()
	for n := range 50 {
		put(t, filepath.Join(dir, fmt.Sprint("f", n)), "")
	}
	d := open(t, dir)
	for before, want := range map[int]bool{0: true, 49: true, 50: false, 60: false} {
		if got := d.grewBeyond(before); got != want {
			t.Errorf("50 files after %d: it grew is %v", before, got)
		}
	}
}

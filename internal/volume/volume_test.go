package volume

import (
	"errors"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stead-dev/stead"
)

func TestRoomOf(t *testing.T) {
	for _, c := range []struct {
		name                         string
		free, total, files, allFiles uint64
		want                         Room
	}{
		{"ext4", 10, 100, 5, 50, Room{40960, 409600, 5, 50}},
		{"without a fixed number of inodes", 10, 100, 0, 0, Room{40960, 409600, 0, 0}},
		{"that does not know how many are free", 10, 100, math.MaxUint64, 7, Room{40960, 409600, 0, 0}},
	} {
		if got, known := roomOf(4096, c.free, c.total, c.files, c.allFiles); got != c.want || !known {
			t.Errorf("a file system %s: %+v, %v; want %+v", c.name, got, known, c.want)
		}
	}
	if _, known := roomOf(4096, 0, 0, 0, 0); known {
		t.Error("a file system that says nothing is known")
	}
}

func TestLacksFiles(t *testing.T) {
	for _, c := range []struct {
		room Room
		want bool
	}{
		{Room{100, 1000, 0, 50}, true},
		{Room{0, 1000, 10, 50}, false},
		{Room{0, 1000, 0, 0}, false},
	} {
		if got := c.room.LacksFiles(); got != c.want {
			t.Errorf("%+v: %v", c.room, got)
		}
	}
}

func TestFault(t *testing.T) {
	dir := t.TempDir()
	if err := Fault(nil, dir, "store"); err != nil {
		t.Error(err)
	}
	full := &os.PathError{Op: "open", Path: "x", Err: syscall.ENOSPC}
	e, ok := errors.AsType[*stead.Error](Fault(full, dir, "store blob"))
	if !ok || e.Kind != stead.KindUnavailable || e.Code != stead.CodeStorageFull || e.Hint == "" || !strings.HasPrefix(e.Message, "store blob: the server's disk ") {
		t.Errorf("a full disk: %#v", e)
	}
	e, ok = errors.AsType[*stead.Error](Fault(os.ErrPermission, dir, "store blob"))
	if !ok || e.Kind != stead.KindUnavailable || e.Code != "" {
		t.Errorf("another error: %#v", e)
	}
	if again := Fault(e, dir, "more"); again != error(e) {
		t.Errorf("an error of ours became %v", again)
	}
}

func TestThisDisk(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a, known := Of(root.Name())
	b, also := Below(root)
	if !known || !also || a.TotalBytes == 0 || a.TotalBytes != b.TotalBytes || a.TotalFiles != b.TotalFiles {
		t.Errorf("%+v, %v and %+v, %v", a, known, b, also)
	}
}

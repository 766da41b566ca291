package host

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEnvironmentsAreKeptApart: where the file system knows the attribute, the directories that environments and
// layers come and go in have it, so that the next one does not pay for what was removed.
func TestEnvironmentsAreKeptApart(t *testing.T) {
	b := ready(t)
	want := 0
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.cfg.Dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.EXT4_SUPER_MAGIC {
		want = 0x20000 // FS_TOPDIR_FL of linux/fs.h
	}
	project := filepath.Dir(b.place(b.key).dir)
	for _, dir := range []string{project, filepath.Dir(project), filepath.Join(b.cfg.Dir, layersDir)} {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		flags, _ := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS) // 0 where there are none
		if flags&0x20000 != want {
			t.Errorf("%s has the flags %#x", dir, flags)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

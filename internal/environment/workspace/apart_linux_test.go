package workspace

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory whose directories are kept apart says so to a file system that knows it, and is a directory like
// any other to one that does not.
func TestDirectoriesAreKeptApart(t *testing.T) {
	dir := t.TempDir()
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(dir, &fs))
	Apart(dir)
	Apart(dir) // a second time changes nothing
	if fs.Type == unix.EXT4_SUPER_MAGIC {
		if flags := flagsOf(t, dir); flags&topOfHierarchies == 0 {
			t.Errorf("the flags are %#x", flags)
		}
	}
	put(t, filepath.Join(dir, "a", "file"), "x")
	if fs.Type == unix.EXT4_SUPER_MAGIC {
		if flags := flagsOf(t, filepath.Join(dir, "a")); flags&topOfHierarchies != 0 {
			t.Errorf("what is in it has the flags %#x: a workspace's own directories belong together", flags)
		}
	}
}

// What is not there, is no directory or leads elsewhere is left alone.
func TestOnlyADirectoryIsToldToKeepApart(t *testing.T) {
	dir := t.TempDir()
	other := t.TempDir()
	before := flags(other)
	must(t, os.Symlink(other, filepath.Join(dir, "link")))
	put(t, filepath.Join(dir, "file"), "x")
	for _, name := range []string{"missing", "file", "link"} {
		Apart(filepath.Join(dir, name))
	}
	if after := flags(other); after != before {
		t.Errorf("the flags behind a link are %#x, were %#x", after, before)
	}
}

func flagsOf(t *testing.T, dir string) int {
	t.Helper()
	n := flags(dir)
	if n < 0 {
		t.Fatal("the flags can't be read")
	}
	return n
}

// flags of a file, or -1 where the file system has none.
func flags(name string) int {
	f, err := os.Open(name)
	if err != nil {
		return -1
	}
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return -1
	}
	return n
}

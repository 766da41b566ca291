//go:build unix

package volume

import (
	"os"
	"syscall"
)

// Of looks at the file system of a directory; false where nobody says.
func Of(dir string) (Room, bool) {
	var s syscall.Statfs_t
	return read(&s, syscall.Statfs(dir, &s))
}

// Below is Of for an open directory, whatever has its name by now.
func Below(root *os.Root) (Room, bool) {
	f, err := root.Open(".")
	if err != nil {
		return Room{}, false
	}
	defer f.Close()
	var s syscall.Statfs_t
	return read(&s, syscall.Fstatfs(int(f.Fd()), &s))
}

func read(s *syscall.Statfs_t, err error) (Room, bool) {
	if err != nil {
		return Room{}, false
	}
	return roomOf(uint64(s.Bsize), uint64(s.Bavail), uint64(s.Blocks), uint64(s.Ffree), uint64(s.Files)) //nolint:unconvert,gosec // the types differ between systems
}

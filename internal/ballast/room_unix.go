//go:build unix

package ballast

import (
	"os"
	"syscall"
)

// room is what an unprivileged process may still take of a directory's file system, and its size.
func room(dir string) (free, total int64, known bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil || s.Blocks == 0 {
		return 0, 0, false
	}
	block := int64(s.Bsize)                                       //nolint:unconvert // its type differs between systems
	return int64(s.Bavail) * block, int64(s.Blocks) * block, true //nolint:unconvert,gosec // likewise; no disk has 2^63 bytes
}

// occupied is what a file has of blocks, up to its length; 0 where there is none. One that was copied may
// have lost them.
func occupied(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return min(info.Size(), s.Blocks*statUnit)
}

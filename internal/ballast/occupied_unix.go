//go:build unix

package ballast

import (
	"os"
	"syscall"
)

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

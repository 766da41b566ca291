//go:build unix

package workspace

import (
	"os"
	"syscall"

	"github.com/stead-dev/stead/internal/environment"
)

// short reports whether the file system of a directory has less left for the server than it needs; false where nobody says.
func short(root *os.Root) bool {
	f, err := root.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	var s syscall.Statfs_t
	if syscall.Fstatfs(int(f.Fd()), &s) != nil || s.Blocks == 0 {
		return false
	}
	const share = 10
	block := uint64(s.Bsize)                                                           //nolint:unconvert,gosec // its type differs between systems
	return uint64(s.Bavail)*block < min(environment.DiskReserve, s.Blocks*block/share) //nolint:unconvert // likewise
}

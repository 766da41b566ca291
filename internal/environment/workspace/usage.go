package workspace

import (
	"os"
	"sync/atomic"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// diskBlockBytes is the unit in which the system counts what a file takes on disk.
const diskBlockBytes = 512

// DiskUsage is what the workspace takes on disk, in bytes: blocks, not lengths, so that a sparse file
// counts for what it fills, and a file with several names once. Files that come and go meanwhile may
// be in or out.
func (d *Dir) DiskUsage() (int64, error) {
	d.unlockSelf()
	u := usage{counted: map[uint64]bool{}}
	err := u.add(d.root, 0)
	return u.bytes, d.fault(err, inside("."), "measure")
}

type usage struct {
	bytes   int64
	seen    atomic.Int64
	counted map[uint64]bool // inodes with several names
}

func (u *usage) add(root *os.Root, depth int) error {
	names, err := namesOf(root, &u.seen)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil {
			continue // gone since
		}
		s, ok := statOf(info)
		switch {
		case !ok:
			u.bytes += info.Size()
		case s.links > 1 && !info.IsDir() && u.counted[s.ino]:
		default:
			u.bytes += s.blocks * diskBlockBytes
			if s.links > 1 && !info.IsDir() {
				u.counted[s.ino] = true
			}
		}
		if !info.IsDir() || depth >= manifest.MaxDepth {
			continue
		}
		sub, leave, err := enterLocked(root, name)
		if vanished(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = u.add(sub, depth+1)
		leave()
		if err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

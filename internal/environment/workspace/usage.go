package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// diskBlockBytes is the unit in which the system counts what a file takes on disk.
const diskBlockBytes = 512

// DiskUsage is what the workspace takes on disk, in bytes: blocks, not lengths, so that a sparse file
// counts for what it fills, and a file with several names once. It counts at any depth. Files that come
// and go meanwhile may be in or out.
func (d *Dir) DiskUsage() (int64, error) {
	o, err := d.Measure(0)
	return o.Bytes, err
}

// Measure is DiskUsage with the number of files, directories and whatever else has a name. It stops when
// it has counted more than most of them, 0 for no limit: then both are at least what it says.
func (d *Dir) Measure(most int) (environment.Occupied, error) {
	d.unlockSelf()
	u := usage{counted: map[uint64]bool{}, most: most}
	w := walker{ctx: context.Background(), list: u.list, visit: u.visit}
	err := w.walk(d.root, "", 0)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return environment.Occupied{Bytes: u.bytes, Files: u.entries, Short: d.short()}, d.fault(err, inside("."), "measure")
}

// errEnough ends a walk that has seen as much as was asked for.
var errEnough = errors.New("enough")

type usage struct {
	bytes   int64
	entries int
	most    int
	counted map[uint64]bool // inodes with several names
}

func (u *usage) list(root *os.Root) ([]string, error) {
	return readNames(root, func(n int) error {
		if u.entries += n; u.most > 0 && u.entries > u.most {
			return errEnough
		}
		return nil
	})
}

func (u *usage) visit(_ *step, _ string, info fs.FileInfo) (bool, error) {
	s, ok := statOf(info)
	u.count(s, ok, info.Size(), info.IsDir())
	return info.IsDir(), nil
}

// onDisk is what the files and directories of a scan take.
func onDisk(nodes []node) int64 {
	u := usage{counted: map[uint64]bool{}}
	for _, n := range nodes {
		u.count(n.stat, n.known, n.size, n.kind == manifest.Directory)
	}
	return u.bytes
}

// count adds one file, of which known says whether the system told s.
func (u *usage) count(s stat, known bool, size int64, dir bool) {
	several := known && s.links > 1 && !dir
	switch {
	case !known:
		u.bytes += size
	case several && u.counted[s.ino]:
	default:
		u.bytes += s.blocks * diskBlockBytes
		if several {
			u.counted[s.ino] = true
		}
	}
}

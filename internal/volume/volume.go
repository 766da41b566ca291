// Package volume says what a file system has left, and makes one kind of error of a full one.
//
// Shape: a directory on it → Room. A file system runs out of two things: blocks, in bytes, and inodes, one for each
// file, directory and link. Some have a fixed number of inodes, made with the file system (ext4: one for each 16 KiB), others make them of
// blocks (btrfs, ZFS). Those say 0 of 0, or that more are free than there are (CephFS): they are never short of files by themselves.
//
// Units: bytes, and files. What only root may still take is not counted.
//
// Errors: Fault's, of KindUnavailable; stead.CodeStorageFull where the file system has no room.
//
// Source: statfs(2), f_bavail and f_ffree; ext4's bytes-per-inode ratio in mke2fs.conf(5); ceph_statfs of the kernel's fs/ceph/super.c.
package volume

import (
	"errors"
	"math"
	"syscall"

	"github.com/stead-dev/stead"
)

// Room is what a file system has left, and how much it has in all.
type Room struct {
	Bytes, TotalBytes int64
	// Files are inodes. TotalFiles is 0 where they have no fixed number; then Files is 0 as well, and means nothing.
	Files, TotalFiles int64
}

// NoFiles are the words for a disk without inodes: people look for them.
const NoFiles = "has no room for more files (inodes)"

// roomOf makes a Room of what the system says, in blocks and inodes.
func roomOf(block, free, total, files, allFiles uint64) (Room, bool) {
	if total == 0 {
		return Room{}, false
	}
	r := Room{Bytes: whole(free * block), TotalBytes: whole(total * block)}
	if files <= allFiles {
		r.Files, r.TotalFiles = whole(files), whole(allFiles)
	}
	return r, true
}

func whole(n uint64) int64 { return int64(min(n, math.MaxInt64)) } //nolint:gosec // it is cut to fit

// LacksFiles reports whether a full file system is short of inodes rather than of blocks.
func (r Room) LacksFiles() bool {
	return r.TotalFiles > 0 && float64(r.Files)/float64(r.TotalFiles) < float64(r.Bytes)/float64(max(r.TotalBytes, 1))
}

// IsFull reports whether an operation found no room, or no quota.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Fault is the error of an operation below a directory: what could not be done. nil for nil, and one of ours as it is.
func Fault(err error, dir, what string) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*stead.Error](err); ours {
		return err
	}
	if !IsFull(err) {
		return stead.Wrap(stead.KindUnavailable, err, "%s", what)
	}
	lack := "is full"
	if room, known := Of(dir); known && room.LacksFiles() {
		lack = NoFiles
	}
	e := stead.Wrap(stead.KindUnavailable, err, "%s: the server's disk %s", what, lack)
	e.Code, e.Hint = stead.CodeStorageFull, "Delete sessions or files that are not needed, or give the data directory more room; the server goes on by itself"
	return e
}

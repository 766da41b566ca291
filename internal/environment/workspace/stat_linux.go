package workspace

import (
	"io/fs"
	"syscall"
)

// stat is what the system knows of a file beside fs.FileInfo.
type stat struct {
	ino      uint64
	links    uint64
	blocks   int64 // of 512 bytes, on disk
	ctime    int64 // of the last change of bytes or attributes, in ns; nobody can set it
	uid, gid int
}

func statOf(info fs.FileInfo) (stat, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{}, false
	}
	return stat{s.Ino, uint64(s.Nlink), s.Blocks, s.Ctim.Nano(), int(s.Uid), int(s.Gid)}, true
}

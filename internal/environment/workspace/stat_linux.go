package workspace

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
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

// above opens the directory that a directory is in now, wherever that is: whoever wants it has to know it.
func above(dir *os.Root) (*os.Root, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(f.Fd())) + "/..")
}

const seekData = 3 // SEEK_DATA of lseek(2)

// nextData is where the next data of a sparse file are, at the earliest at; size when there are none.
// false: the file system can't tell.
func nextData(f *os.File, at, size int64) (int64, bool) {
	n, err := f.Seek(at, seekData)
	if errors.Is(err, syscall.ENXIO) {
		return size, true
	}
	return n, err == nil
}

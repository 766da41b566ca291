package ballast

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives a file blocks up to a length.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return write(f, size)
	}
	return err
}

// extend gives a file so many bytes of blocks in its holes and beyond its end, which its next writes use. Where that
// can't be done they have to find what is free.
func extend(file string, bytes int64) {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var s unix.Stat_t
	if unix.Fstat(int(f.Fd()), &s) != nil {
		return
	}
	end := max(s.Size, s.Blocks*statUnit) // of what it was given before
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, end+bytes)
}

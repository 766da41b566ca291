//go:build amd64 || arm64

package landlock

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// pieceBytes is what is read of a caller's memory at once: no page is smaller.
const pieceBytes = 4096

// caller is a thread inside that waits for the answer to a call. All that is read of it is read once.
type caller struct{ seccomp.Call }

// number is an argument that the kernel takes for an int.
func (c caller) number(n int) int { return int(int32(uint32(c.Args[n]))) }

// memory reads n bytes. What can't be read is EFAULT, as for the kernel.
func (c caller) memory(address uint64, n int) ([]byte, error) {
	data := make([]byte, n)
	if got, err := c.read(address, data); err != nil || got < n {
		return nil, unreadable(err)
	}
	return data, nil
}

// text reads an argument that leads to a text which a zero byte ends, of most bytes with that; a longer
// one is the error tooLong.
func (c caller) text(n, most int, tooLong unix.Errno) (string, error) {
	data := make([]byte, most)
	got, err := c.read(c.Args[n], data)
	if end := bytes.IndexByte(data[:got], 0); end >= 0 {
		return string(data[:end]), nil
	}
	if err != nil || got < most {
		return "", unreadable(err)
	}
	return "", tooLong
}

func (c caller) path(n int) (string, error) { return c.text(n, unix.PathMax, unix.ENAMETOOLONG) }

// read reads as much as there is, in pieces that end where pages end.
func (c caller) read(address uint64, data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	var pieces []unix.RemoteIovec
	for at, left := address, len(data); left > 0; {
		n := min(left, pieceBytes-int(at%pieceBytes))
		pieces = append(pieces, unix.RemoteIovec{Base: uintptr(at), Len: n})
		at, left = at+uint64(n), left-n
	}
	here := []unix.Iovec{{Base: &data[0]}}
	here[0].SetLen(len(data))
	got, err := unix.ProcessVMReadv(c.Thread, here, pieces, 0)
	return max(got, 0), err
}

// unreadable is the error for memory that could not be read: one that a program knows.
func unreadable(err error) error {
	if err == unix.EPERM { // it may not be looked at: it has made itself undumpable
		return err
	}
	return unix.EFAULT
}

// open pins what a descriptor of the caller stands for.
func (c caller) open(fd int) (int, error) {
	if fd == unix.AT_FDCWD {
		return pin("/proc/" + strconv.Itoa(c.Thread) + "/cwd")
	}
	if fd < 0 {
		return -1, unix.EBADF
	}
	at, err := pin("/proc/" + strconv.Itoa(c.Thread) + "/fd/" + strconv.Itoa(fd))
	if err == unix.ENOENT {
		err = unix.EBADF
	}
	return at, err
}

// resolve pins what an order is about, as the kernel would have found it. The files of processes are no
// way: there "self" would be the helper, and whose links are followed it could be anybody's.
func (c caller) resolve(o order) (int, error) {
	if o.itself {
		return c.open(o.dir)
	}
	if fd, ok := ownDescriptor(o.path); ok && !o.link {
		return c.open(fd)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if o.link {
		how.Flags |= unix.O_NOFOLLOW
	}
	dir := unix.AT_FDCWD
	if !strings.HasPrefix(o.path, "/") {
		var err error
		if dir, err = c.open(o.dir); err != nil {
			return -1, err
		}
		defer unix.Close(dir)
	}
	return unix.Openat2(dir, o.path, &how)
}

// ownDescriptor finds the descriptor in a path by which libraries name an open file of their own.
func ownDescriptor(path string) (int, bool) {
	for _, prefix := range []string{"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			n, err := strconv.ParseUint(rest, 10, 31)
			return int(n), err == nil
		}
	}
	return 0, false
}

// pin opens a path for nothing but to hold what is there. It follows links.
func pin(path string) (int, error) { return unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0) }

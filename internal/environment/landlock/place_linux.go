//go:build amd64 || arm64

package landlock

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// placeTries bounds how often a file is looked for that is moved meanwhile.
const placeTries = 8

// deleted is what the kernel puts behind the name of what has none any more.
const deleted = " (deleted)"

// place is a directory in which an environment may change everything.
type place struct {
	dir  int    // held open as long as the helper lives
	name string // as the kernel names it
}

// places opens directories.
func places(names ...string) (all []place, err error) {
	for _, name := range names {
		dir, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, step("open "+name, err)
		}
		if name, err = nameOf(dir); err != nil {
			return nil, step("name "+name, err)
		}
		all = append(all, place{dir, name})
	}
	return all, nil
}

// nameOf is where what a descriptor holds is now. It is ENAMETOOLONG above the kernel's 4096 bytes.
func nameOf(fd int) (string, error) {
	name := make([]byte, unix.PathMax+1)
	n, err := unix.Readlink(ownName(fd), name)
	if err != nil {
		return "", err
	}
	return string(name[:n]), nil
}

// ownName is a path that leads to what a descriptor of ours holds.
func ownName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// find opens what is pinned once more, from one of the places and by nothing but steps downwards: what
// it returns lies in that place, whatever was said about it before. It is EPERM if it lies nowhere there.
func find(all []place, pinned int) (int, error) {
	var want unix.Stat_t
	if err := unix.Fstat(pinned, &want); err != nil {
		return -1, err
	}
	for range placeTries {
		name, err := nameOf(pinned)
		if err != nil {
			return -1, err
		}
		if want.Nlink == 0 && want.Mode&unix.S_IFMT == unix.S_IFREG && strings.HasSuffix(name, deleted) {
			// Nobody can find it any more, or not yet: O_TMPFILE, memfd. One of the server's can't be had,
			// except if it was pinned when it still had a name: that one stays without.
			return unix.FcntlInt(uintptr(pinned), unix.F_DUPFD_CLOEXEC, 0)
		}
		fd, err := below(all, name)
		if err == unix.ENOENT || err == unix.EAGAIN {
			continue // it was moved
		}
		if err != nil {
			return -1, err
		}
		var got unix.Stat_t
		if err = unix.Fstat(fd, &got); err == nil && got.Dev == want.Dev && got.Ino == want.Ino {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	return -1, unix.EPERM
}

// below opens a name in the place that it is in.
func below(all []place, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for _, p := range all {
		rest, ok := strings.CutPrefix(name, p.name)
		switch {
		case !ok:
		case rest == "":
			return unix.Openat2(p.dir, ".", &how)
		case rest[0] == '/':
			return unix.Openat2(p.dir, rest[1:], &how)
		}
	}
	return -1, unix.EPERM
}

// errnoOf is the number with which a call fails for an error.
func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return e
	}
	return unix.EPERM
}

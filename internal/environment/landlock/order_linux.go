//go:build amd64 || arm64

package landlock

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxAttributeName  = 255 + 1  // bytes of XATTR_NAME_MAX and the zero behind it
	maxAttributeBytes = 64 << 10 // XATTR_SIZE_MAX
	// pidfdThread is PIDFD_THREAD, since Linux 6.9.
	pidfdThread = unix.O_EXCL
)

// order is a supervised call as its caller means it: what it is about, and what to do with that.
type order struct {
	dir    int // the caller's descriptor from which path leads, or AT_FDCWD
	path   string
	itself bool                           // it is about what dir stands for, and there is no path
	link   bool                           // a link at the path's end is meant itself
	do     func(name string) (int, error) // with a path that leads to what it is about
}

// supervised are the calls that change, or watch, files for which Landlock has no rule. The helper does
// them in the caller's place, or refuses them.
func supervised() map[uint32]func(caller) (order, error) {
	calls := map[uint32]func(caller) (order, error){
		unix.SYS_FCHMOD: func(c caller) (order, error) { return c.mode(order{dir: c.number(0), itself: true}, 1, nil) },
		unix.SYS_FCHMODAT: func(c caller) (order, error) {
			o, err := c.at(0, 1, 0)
			return c.mode(o, 2, err)
		},
		sysFchmodat2: func(c caller) (order, error) {
			o, err := c.at(0, 1, c.number(3))
			return c.mode(o, 2, err)
		},
		unix.SYS_FCHOWN: func(c caller) (order, error) { return c.owner(order{dir: c.number(0), itself: true}, 1, nil) },
		unix.SYS_FCHOWNAT: func(c caller) (order, error) {
			o, err := c.at(0, 1, c.number(4))
			return c.owner(o, 2, err)
		},
		unix.SYS_UTIMENSAT: func(c caller) (order, error) {
			if c.Args[1] == 0 {
				return c.times(order{dir: c.number(0), itself: true}, 2, nil)
			}
			o, err := c.at(0, 1, c.number(3))
			return c.times(o, 2, err)
		},
		unix.SYS_INOTIFY_ADD_WATCH: func(c caller) (order, error) { return c.watch() },
	}
	for call, link := range map[uint32]bool{unix.SYS_SETXATTR: false, unix.SYS_LSETXATTR: true} {
		calls[call] = func(c caller) (order, error) {
			o, err := c.plain(link)
			return c.set(o, err)
		}
	}
	for call, link := range map[uint32]bool{unix.SYS_REMOVEXATTR: false, unix.SYS_LREMOVEXATTR: true} {
		calls[call] = func(c caller) (order, error) {
			o, err := c.plain(link)
			return c.remove(o, err)
		}
	}
	calls[unix.SYS_FSETXATTR] = func(c caller) (order, error) { return c.set(order{dir: c.number(0), itself: true}, nil) }
	calls[unix.SYS_FREMOVEXATTR] = func(c caller) (order, error) { return c.remove(order{dir: c.number(0), itself: true}, nil) }
	supervisedHere(calls)
	return calls
}

// plain is about a path in argument 0.
func (c caller) plain(link bool) (order, error) {
	path, err := c.path(0)
	return order{dir: unix.AT_FDCWD, path: path, link: link}, err
}

// at is about a descriptor and a path, with flags.
func (c caller) at(dir, path, flags int) (order, error) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return order{}, unix.EINVAL
	}
	p, err := c.path(path)
	o := order{dir: c.number(dir), path: p, link: flags&unix.AT_SYMLINK_NOFOLLOW != 0}
	o.itself = p == "" && flags&unix.AT_EMPTY_PATH != 0
	return o, err
}

func (c caller) mode(o order, n int, err error) (order, error) {
	mode := uint32(c.Args[n])
	o.do = func(name string) (int, error) { return 0, unix.Chmod(name, mode) }
	return o, err
}

// owner takes the user from argument n and the group from the next.
func (c caller) owner(o order, n int, err error) (order, error) {
	user, group := c.number(n), c.number(n+1)
	o.do = func(name string) (int, error) { return 0, unix.Chown(name, user, group) }
	return o, err
}

// times takes two struct timespec, or none for now.
func (c caller) times(o order, n int, err error) (order, error) {
	if err != nil {
		return o, err
	}
	var to []unix.Timespec
	if c.Args[n] != 0 {
		words, err := c.words(c.Args[n], 4)
		if err != nil {
			return o, err
		}
		to = []unix.Timespec{{Sec: words[0], Nsec: words[1]}, {Sec: words[2], Nsec: words[3]}}
	}
	o.do = func(name string) (int, error) { return 0, unix.UtimesNanoAt(unix.AT_FDCWD, name, to, 0) }
	return o, nil
}

// words reads numbers of 64 bits; both architectures are little endian.
func (c caller) words(address uint64, n int) ([]int64, error) {
	data, err := c.memory(address, 8*n)
	if err != nil {
		return nil, err
	}
	words := make([]int64, n)
	for i := range words {
		words[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return words, nil
}

// set takes name, value, size and flags of an attribute from argument 1 on.
func (c caller) set(o order, err error) (order, error) {
	if err != nil {
		return o, err
	}
	name, err := c.text(1, maxAttributeName, unix.ERANGE)
	if err != nil {
		return o, err
	}
	if c.Args[3] > maxAttributeBytes {
		return o, unix.E2BIG
	}
	value, err := c.memory(c.Args[2], int(c.Args[3]))
	flags := c.number(4)
	o.do = func(path string) (int, error) { return 0, unix.Setxattr(path, name, value, flags) }
	return o, err
}

func (c caller) remove(o order, err error) (order, error) {
	if err != nil {
		return o, err
	}
	name, err := c.text(1, maxAttributeName, unix.ERANGE)
	o.do = func(path string) (int, error) { return 0, unix.Removexattr(path, name) }
	return o, err
}

// watch is about a path in argument 1, that is to be watched by the caller's instance of inotify(7).
func (c caller) watch() (order, error) {
	path, err := c.path(1)
	mask := uint32(c.Args[2])
	o := order{dir: unix.AT_FDCWD, path: path, link: mask&unix.IN_DONT_FOLLOW != 0}
	o.do = func(name string) (int, error) {
		instance, err := c.take(c.number(0))
		if err != nil {
			return 0, err
		}
		defer unix.Close(instance)
		return unix.InotifyAddWatch(instance, name, mask&^unix.IN_DONT_FOLLOW)
	}
	return o, err
}

// take gets the caller's open file itself. Where that can't be had, as under Docker's default filter, the
// error is the one after which programs look at their files again and again instead.
func (c caller) take(fd int) (int, error) {
	process, err := unix.PidfdOpen(c.Thread, pidfdThread)
	if err == unix.EINVAL { // an older kernel: all threads of a process have the same files
		process, err = unix.PidfdOpen(c.process(), 0)
	}
	if err != nil {
		return -1, unix.ENOSPC
	}
	defer unix.Close(process)
	file, err := unix.PidfdGetfd(process, fd, 0)
	if err == unix.EPERM || err == unix.ENOSYS {
		err = unix.ENOSPC
	}
	return file, err
}

// process is the number of the caller's process, 0 if it can't be had.
func (c caller) process() int {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(c.Thread) + "/status")
	for line := range strings.Lines(string(status)) {
		if n, ok := strings.CutPrefix(line, "Tgid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(n))
			return pid
		}
	}
	return 0
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attributeAttacks change what belongs to a file and is not in it, or learn of changes. They put back
// what they change, or set what is there already.
func attributeAttacks() map[string]attack {
	return map[string]attack{
		"chmod-pinned": func(args []string) (string, error) { return byFile(args[0], unix.O_PATH, chmodPinned) },
		"chmod-open":   func(args []string) (string, error) { return byEachFile(args[0], chmodOpen) },
		"chmod-often":  chmodOften,
		"chmod-flip":   chmodFlip,
		"chown":        changeOwner,
		"utimes":       changeTimes,
		"utimes-open":  func(args []string) (string, error) { return byEachFile(args[0], timesOpen) },
		"setxattr":     setAttribute,
		"file-flags":   func(args []string) (string, error) { return byEachFile(args[0], setFlags) },
		"lease":        func(args []string) (string, error) { return byEachFile(args[0], lease) },
		"lock":         func(args []string) (string, error) { return byEachFile(args[0], lock) },
		"open-neither": func(args []string) (string, error) {
			return byFile(args[0], unix.O_ACCMODE, func(int) error { return nil })
		},
		"watch":    watch,
		"rename":   renameOther,
		"hardlink": hardLink,
		"truncate": truncate,
	}
}

// byFile does something with a file that it opens.
func byFile(name string, flags int, do func(fd int) error) (string, error) {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := do(fd); err != nil {
		return "", err
	}
	return fmt.Sprintf("did it by %s, opened with %#x", name, flags), nil
}

// byEachFile opens it in every way in which a file can be opened without changing it. Access mode 3 is
// for ioctl alone: it needs permission to read and write, and gives neither.
func byEachFile(name string, do func(fd int) error) (string, error) {
	return any1([]string{strconv.Itoa(unix.O_RDONLY), strconv.Itoa(unix.O_ACCMODE), strconv.Itoa(unix.O_PATH)}, func(way string) (string, error) {
		flags, _ := strconv.Atoi(way)
		return byFile(name, flags|unix.O_NONBLOCK, do)
	})
}

// fdPath is how libraries name an open file.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// chmodPinned gives the mode 0644 to a file that is held and not open.
func chmodPinned(fd int) error {
	err := os.Chmod(fdPath(fd), 0o644)
	if err == nil {
		return nil
	}
	return errors.Join(err, unix.Fchmodat(fd, "", 0o644, unix.AT_EMPTY_PATH))
}

func chmodOpen(fd int) error { return unix.Fchmod(fd, 0o644) }

// changeOwner gives a file to the user that it belongs to, which takes the right to do so.
func changeOwner(args []string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(args[0], &stat); err != nil {
		return "", err
	}
	for _, try := range []func() error{
		func() error { return unix.Chown(args[0], int(stat.Uid), int(stat.Gid)) },
		func() error { return unix.Lchown(args[0], int(stat.Uid), int(stat.Gid)) },
		func() error { return unix.Fchownat(unix.AT_FDCWD, args[0], int(stat.Uid), int(stat.Gid), 0) },
		func() error { return unix.Chown(args[0], -1, -1) }, // changes the time of the last change alone
	} {
		if err := try(); err == nil {
			return "may give " + args[0] + " away", nil
		} else if err != unix.EPERM {
			return "", err
		}
	}
	return "", unix.EPERM
}

// changeTimes sets the times that a file has.
func changeTimes(args []string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(args[0], &stat); err != nil {
		return "", err
	}
	exact := []unix.Timespec{stat.Atim, stat.Mtim}
	old := []unix.Timeval{{Sec: exact[0].Sec}, {Sec: exact[1].Sec}}
	all := []error{}
	for _, try := range []func() error{
		func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, args[0], exact, 0) },
		func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, args[0], exact, unix.AT_SYMLINK_NOFOLLOW) },
		func() error { return unix.Utimes(args[0], old) },
		func() error { return unix.Futimesat(unix.AT_FDCWD, args[0], old) },
	} {
		err := try()
		if err == nil {
			return "may change the times of " + args[0], nil
		}
		all = append(all, err)
	}
	return "", errors.Join(all...)
}

func timesOpen(fd int) error {
	keep := [2]unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}
	_, _, err := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&keep)), 0, 0, 0)
	return errnoOrNil(err)
}

// setAttribute sets an attribute of a file by path and by file, and takes it away again.
func setAttribute(args []string) (string, error) {
	const name = "user.probe"
	if err := unix.Setxattr(args[0], name, []byte("x"), 0); err == nil {
		return "set an attribute of " + args[0], unix.Removexattr(args[0], name)
	} else if err != unix.EPERM && err != unix.EACCES {
		return "", err
	}
	return byEachFile(args[0], func(fd int) error {
		if err := unix.Setxattr(fdPath(fd), name, []byte("x"), 0); err == nil {
			return unix.Removexattr(fdPath(fd), name)
		}
		if err := unix.Fsetxattr(fd, name, []byte("x"), 0); err != nil {
			return err
		}
		return unix.Fremovexattr(fd, name)
	})
}

// setFlags sets the flags that the file system keeps of a file to what they are.
func setFlags(fd int) error {
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags)
}

// lease makes everybody wait who opens the file for writing.
func lease(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	return err
}

func lock(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }

// watch has the kernel tell of what happens in a directory.
func watch(args []string) (string, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, args[0], unix.IN_CREATE); err != nil {
		return "", err
	}
	return "watches " + args[0], nil
}

func renameOther(args []string) (string, error) {
	if err := os.Rename(args[0], args[0]+"-moved"); err != nil {
		return "", err
	}
	return "moved " + args[0], os.Rename(args[0]+"-moved", args[0])
}

func hardLink(args []string) (string, error) {
	const name = "linked-here"
	if err := os.Link(args[0], name); err == nil {
		return "linked " + args[0], os.Remove(name)
	}
	return byFile(args[0], unix.O_PATH, func(fd int) error {
		if err := unix.Linkat(unix.AT_FDCWD, fdPath(fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
			return err
		}
		return os.Remove(name)
	})
}

// truncate gives a file the length that it has.
func truncate(args []string) (string, error) {
	info, err := os.Stat(args[0])
	if err != nil {
		return "", err
	}
	if err := os.Truncate(args[0], info.Size()); err != nil {
		return "", err
	}
	return "may shorten " + args[0], nil
}

// chmodOften gives files the mode 0640 again and again, for as many milliseconds. Whoever exchanges the
// names looks where that ended.
func chmodOften(args []string) (string, error) {
	ms, _ := strconv.Atoi(args[0])
	n := 0
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); n++ {
		for _, name := range args[1:] {
			if name == "" {
				continue
			}
			_ = os.Chmod(name, 0o640)
			_ = os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0))
			_ = unix.Setxattr(name, "user.probe", []byte("x"), 0)
		}
	}
	return fmt.Sprintf("%d rounds", n), nil
}

// chmodFlip calls with the name of a file of its own, which another thread exchanges with that of
// another file: who looks at the name once and uses it later changes the other. That has the mode 0644
// before.
func chmodFlip(args []string) (string, error) {
	ms, _ := strconv.Atoi(args[1])
	own, err := filepath.Abs("flip")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		return "", err
	}
	names := [2][]byte{append([]byte(own), 0), append([]byte(args[0]), 0)}
	buffer := make([]byte, max(len(names[0]), len(names[1])))
	var stop atomic.Bool
	defer stop.Store(true)
	go func() {
		runtime.LockOSThread()
		for i := 0; !stop.Load(); i++ {
			copy(buffer, names[i%2])
		}
	}()
	path, n := uintptr(unsafe.Pointer(&buffer[0])), 0
	cwd := unix.AT_FDCWD
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); n++ {
		_, _, _ = unix.Syscall(unix.SYS_FCHMODAT, uintptr(cwd), path, 0o640)
		if n%64 == 0 {
			if info, err := os.Stat(args[0]); err == nil && info.Mode().Perm() == 0o640 {
				return fmt.Sprintf("after %d tries", n), os.Chmod(args[0], 0o644)
			}
		}
	}
	runtime.KeepAlive(buffer)
	return "", fmt.Errorf("%d tries hit nothing else: %w", n, unix.EPERM)
}

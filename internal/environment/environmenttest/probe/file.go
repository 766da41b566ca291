//go:build linux

package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func fileAttacks() map[string]attack {
	return map[string]attack{
		"read":          readFile,
		"same-file":     sameFile,
		"handle":        openByHandle,
		"write-nothing": writeNothing,
		"create":        createFile,
		"open-write":    openForWriting,
		"open-read":     openForReading,
		"fds":           inheritedFiles,
		"mknod":         makeDevice,
		"exe":           overwriteExe,
		"chmod":         changeMode,
	}
}

// readFile reads files that hold the word "marker".
func readFile(args []string) (string, error) {
	return any1(args, func(name string) (string, error) {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if !strings.Contains(string(data), "marker") {
			return "", fmt.Errorf("another file stands there")
		}
		return "read " + name, nil
	})
}

// sameFile opens a file and says whether it is the host's, by device and inode: its content stays
// unread.
func sameFile(args []string) (string, error) {
	f, err := os.Open(args[0])
	if err != nil {
		return "", err
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return "", err
	}
	if got := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino); got != args[1] {
		return "", fmt.Errorf("another file stands there")
	}
	return "opened " + args[0], nil
}

// openByHandle opens a file by the kernel's own name of it, which needs no path: kind and bytes of the
// handle come from outside.
func openByHandle(args []string) (string, error) {
	kind, _ := strconv.Atoi(args[0])
	raw, err := hex.DecodeString(args[1])
	if err != nil {
		return "", err
	}
	mount, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", err
	}
	fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(int32(kind), raw), unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	data := make([]byte, 100)
	n, err := unix.Read(fd, data)
	if err != nil || !strings.Contains(string(data[:n]), "marker") {
		return "", fmt.Errorf("another file stands there: %w", err)
	}
	return "read it by its handle", nil
}

// writeNothing asks for a file without a name in a directory that must be read-only: it never appears
// there, and is gone when the probe ends.
func writeNothing(args []string) (string, error) {
	return any1(args, func(dir string) (string, error) {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		return "a file in " + dir, unix.Close(fd)
	})
}

// createFile makes a file, and takes it away again.
func createFile(args []string) (string, error) {
	return any1(args, func(name string) (string, error) {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		f.Close()
		return "made " + name, os.Remove(name)
	})
}

// openForWriting opens what a write to would do harm, and writes nothing.
func openForWriting(args []string) (string, error) {
	return opened(args, os.O_WRONLY)
}

// openForReading opens devices and the like, and reads nothing.
func openForReading(args []string) (string, error) {
	return opened(args, os.O_RDONLY|unix.O_NONBLOCK)
}

func opened(patterns []string, flags int) (string, error) {
	var names []string
	for _, p := range patterns {
		if p == "" {
			continue
		}
		found, err := filepath.Glob(p)
		if err != nil || len(found) == 0 {
			found = []string{p}
		}
		names = append(names, found...)
	}
	return any1(names, func(name string) (string, error) {
		f, err := os.OpenFile(name, flags, 0)
		if err != nil {
			return "", err
		}
		return "opened " + name, f.Close()
	})
}

// inheritedFiles looks for open files beside the three streams. A file that this process has opened
// itself is closed by exec, and one that it has inherited can't be.
func inheritedFiles([]string) (string, error) {
	var found []string
	for fd := 3; fd < 1<<16; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		found = append(found, fmt.Sprintf("%d %s", fd, name))
	}
	if len(found) == 0 {
		return "", errNothing
	}
	return strings.Join(found, ", "), nil
}

// changeMode gives a file the mode that it has, 0644.
func changeMode(args []string) (string, error) {
	if err := os.Chmod(args[0], 0o644); err != nil {
		return "", err
	}
	return "may change the mode of " + args[0], nil
}

// makeDevice makes the node of a disk or of the zero device, and opens it.
func makeDevice(args []string) (string, error) {
	return any1(args, func(numbers string) (string, error) {
		kind, rest, _ := strings.Cut(numbers, " ")
		major, minor, _ := strings.Cut(rest, ":")
		a, _ := strconv.Atoi(major)
		b, _ := strconv.Atoi(minor)
		mode := uint32(unix.S_IFCHR)
		if kind == "b" {
			mode = unix.S_IFBLK
		}
		if err := unix.Mknod("node", mode|0o600, int(unix.Mkdev(uint32(a), uint32(b)))); err != nil {
			return "", err
		}
		defer os.Remove("node")
		f, err := os.Open("node")
		if err != nil {
			return "", err
		}
		return "made and opened a device", f.Close()
	})
}

// overwriteExe opens the programs of other processes for writing, as CVE-2019-5736 did with the one
// that starts containers. That a program is busy means that it would be allowed a moment later.
func overwriteExe(args []string) (string, error) {
	names, _ := filepath.Glob("/proc/" + args[0] + "/exe")
	return any1(append(names, "/proc/self/exe"), func(name string) (string, error) {
		target, err := os.Readlink(name)
		if err != nil {
			return "", err
		}
		if here, _ := os.Getwd(); strings.HasPrefix(target, here+"/") {
			return "", fmt.Errorf("it is our own")
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		} else if !os.IsExist(err) && err.(*os.PathError).Err != syscall.ETXTBSY {
			return "", err
		}
		return "may overwrite " + target, nil
	})
}

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mountAttacks change what the file system looks like. On the bare host they run in a mount namespace
// of their own, so that nothing of it stays.
func mountAttacks() map[string]attack {
	return map[string]attack{
		"mount":      mountMemory,
		"bind":       bindMarker,
		"remount":    remount,
		"umount":     unmount,
		"fsopen":     openFileSystem,
		"open_tree":  cloneTree,
		"pivot_root": pivot,
		"chroot":     breakOut,
		"cgroup":     writeGroups,
	}
}

func mountMemory([]string) (string, error) {
	dir, err := os.MkdirTemp(".", "mount-")
	if err != nil {
		return "", err
	}
	defer os.Remove(dir)
	return any1([]string{"tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "overlay", "debugfs"}, func(kind string) (string, error) {
		if err := unix.Mount("none", dir, kind, 0, ""); err != nil {
			return "", err
		}
		return "mounted " + kind, unix.Unmount(dir, unix.MNT_DETACH)
	})
}

func bindMarker([]string) (string, error) {
	dir, err := os.MkdirTemp(".", "mount-")
	if err != nil {
		return "", err
	}
	defer os.Remove(dir)
	if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", err
	}
	return "the root in another place", unix.Unmount(dir, unix.MNT_DETACH)
}

// remount takes the read-only sign from what has it.
func remount(args []string) (string, error) {
	return any1(append(args, "/", "/usr", "/proc", "/sys"), func(dir string) (string, error) {
		if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
			return "", err
		}
		return "remounted " + dir, nil
	})
}

// unmount takes away what lies over something.
func unmount([]string) (string, error) {
	mounts := []string{"/proc", "/sys", "/dev", "/tmp"}
	if data, err := os.ReadFile("/proc/self/mounts"); err == nil {
		for line := range strings.Lines(string(data)) {
			mounts = append(mounts, strings.Fields(line)[1])
		}
	}
	return any1(mounts, func(dir string) (string, error) {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return "", err
		}
		return "unmounted " + dir, nil
	})
}

func openFileSystem([]string) (string, error) {
	name := []byte("tmpfs\x00")
	return opens("fsopen", unix.SYS_FSOPEN, uintptr(unsafe.Pointer(&name[0])), 1)
}

func cloneTree([]string) (string, error) {
	name := []byte("/\x00")
	at := unix.AT_FDCWD
	return opens("open_tree", unix.SYS_OPEN_TREE, uintptr(at), uintptr(unsafe.Pointer(&name[0])), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

func pivot([]string) (string, error) {
	dir, err := os.MkdirTemp(".", "root-")
	if err != nil {
		return "", err
	}
	defer os.Remove(dir)
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// Without the mount the answer of a process with the right would be EINVAL, and of all others EPERM.
	if err := unix.Mount(full, full, "", unix.MS_BIND, ""); err == nil {
		defer func() { _ = unix.Unmount(full, unix.MNT_DETACH) }()
	}
	switch err := unix.PivotRoot(full, full); err {
	case nil, unix.EINVAL, unix.EBUSY:
		return fmt.Sprintf("may change the root: %v", err), nil
	default:
		return "", err
	}
}

// breakOut leaves a root by the old way: into a new one with the old directory still at hand.
func breakOut([]string) (string, error) {
	dir, err := os.MkdirTemp(".", "root-")
	if err != nil {
		return "", err
	}
	if err := unix.Chroot(dir); err != nil {
		os.Remove(dir)
		return "", err
	}
	for range 64 {
		_ = unix.Chdir("..")
	}
	if err := unix.Chroot("."); err != nil {
		return "", err
	}
	_, err = os.Stat("/proc/self")
	return "out of a changed root", err
}

// writeGroups opens the files by which a process leaves its control group, has a program run when a
// group is empty, or takes its limits away.
func writeGroups([]string) (string, error) {
	var names []string
	for _, p := range []string{"", "/*", "/*/*"} {
		for _, f := range []string{"release_agent", "cgroup.procs", "tasks", "memory.limit_in_bytes", "memory.max", "pids.max"} {
			found, _ := filepath.Glob("/sys/fs/cgroup" + p + "/" + f)
			names = append(names, found...)
		}
	}
	return opened(names, os.O_WRONLY)
}

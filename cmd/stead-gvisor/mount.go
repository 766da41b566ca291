package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	readOnly  = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	readWrite = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
)

// rootless reports whether this process is root of a user namespace alone.
func rootless() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true
	}
	var inside, outside, size uint64
	n, err := fmt.Sscan(string(data), &inside, &outside, &size)
	return n != 3 || err != nil || inside != 0 || outside != 0 || size < 1<<31
}

// private cuts this process's mounts off from everybody else's, and shows its own processes in /proc.
func private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// tree is a copy of mounts that is not attached anywhere yet.
type tree int

// cloneTree copies what is at source. A link in its last component is not followed, unless follow says
// that it is the operator's.
func cloneTree(source string, follow bool) (tree, error) {
	flags := uint(unix.AT_SYMLINK_NOFOLLOW)
	if follow {
		flags = 0
	}
	return clone(unix.AT_FDCWD, source, flags)
}

// cloneFile copies what is open as f.
func cloneFile(f *os.File) (tree, error) { return clone(int(f.Fd()), "", unix.AT_EMPTY_PATH) }

func clone(dir int, source string, flags uint) (tree, error) {
	fd, err := unix.OpenTree(dir, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|flags)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", source, err)
	}
	return tree(fd), nil
}

func (t tree) set(attributes uint64) error {
	return unix.MountSetattr(int(t), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attributes, Propagation: unix.MS_PRIVATE})
}

// mapOwners shows owners as users has it, where the file system can.
func (t tree) mapOwners(users *os.File) error {
	return unix.MountSetattr(int(t), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())})
}

func (t tree) attach(target string) error {
	if err := unix.MoveMount(int(t), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount on %s: %w", target, err)
	}
	return nil
}

// attachOn attaches at what is open as target.
func (t tree) attachOn(target *os.File) error {
	return unix.MoveMount(int(t), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

func (t tree) close() { _ = unix.Close(int(t)) }

// bind shows source, which is no link, at target.
func bind(source, target string, attributes uint64) error {
	t, err := cloneTree(source, false)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.set(attributes); err != nil {
		return fmt.Errorf("set the attributes of %s: %w", source, err)
	}
	return t.attach(target)
}

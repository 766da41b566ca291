package workspace

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Most of a restore is small files, of which each costs a few system calls and little else: os.File makes twice as many of them
// (it asks what it has opened, and whether that could be waited for), and so files are made here without it.

// writeWhole makes a file that is not there in the directory that is entered, with its bytes, mode and time.
func (r *restorer) writeWhole(in *held, name string, e manifest.Entry, data []byte) error {
	if in.file == nil {
		f, err := in.root.Open(".")
		if err != nil {
			return err
		}
		in.file = f
	}
	at := int(in.file.Fd())
	fd, err := retried(func() (int, error) {
		return unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(e.Mode))
	})
	if err != nil {
		return &fs.PathError{Op: "openat", Path: name, Err: err}
	}
	return errors.Join(r.fillWhole(fd, e, data), unix.Close(fd))
}

func (r *restorer) fillWhole(fd int, e manifest.Entry, data []byte) error {
	if r.own.set {
		if err := unix.Fchown(fd, r.own.uid, r.own.gid); err != nil {
			return err
		}
	}
	for len(data) > 0 {
		n, err := retried(func() (int, error) { return unix.Write(fd, data) })
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if !r.plain || uint32(e.Mode)&r.umask != 0 {
		if err := unix.Fchmod(fd, uint32(e.Mode)); err != nil {
			return err
		}
	}
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(e.MTime)}
	// futimens(3): a path of nil is the descriptor itself.
	if _, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// retried repeats what a signal interrupted.
func retried(call func() (int, error)) (n int, err error) {
	for n, err = call(); errors.Is(err, unix.EINTR); n, err = call() {
	}
	return n, err
}

// learnMask finds out which bits of a mode files don't get that are made with it. Where the directory has an access control list
// for what is made in it, nobody knows, and the mode is set.
func (r *restorer) learnMask() {
	_, err := unix.Fgetxattr(int(r.dir.self.Fd()), "system.posix_acl_default", nil)
	r.umask, r.plain = processMask()
	r.plain = r.plain && (errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP))
}

// processMask reads this process's umask without changing it.
func processMask() (mask uint32, known bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Umask:"); ok { // since Linux 4.7
			n, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

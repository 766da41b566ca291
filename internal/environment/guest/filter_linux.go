package guest

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// filter puts our own seccomp filter over the guest and all that it will start, whatever profile the
// engine has: profiles differ, and those of some engines leave user namespaces, netlink, vsock and
// keyrings open. Where it can't be had (a kernel of the sandbox's own, another processor) Seen says so.
func filter(root bool) error {
	program, err := seccomp.Build(seccomp.Options{Network: seccomp.NetworkOwn, Root: root})
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	// All threads at once; 0 is success, and a thread's id the one that could not follow.
	n, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return errno
	}
	if n != 0 {
		return unix.EBUSY
	}
	return nil
}

//go:build amd64 || arm64

package seccomp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

// Ask is the answer of a filter with which the caller waits until the filter's Listener has answered.
const Ask = uint32(unix.SECCOMP_RET_USER_NOTIF)

// newListener is the flag with which a filter gets one; the package's users keep it from commands,
// which could else lay a listener of their own over ours and let everything through.
const newListener = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER

// Listener is where the kernel puts the calls for which a filter answers Ask. Its methods may be
// called by one goroutine at a time.
type Listener struct{ fd int }

// Call is one call that waits. While Waiting says so, no other thread has its number.
type Call struct {
	ID     uint64
	Thread int // of the caller, as this process numbers threads
	Number uint32
	Args   [6]uint64
}

// notice is the kernel's struct seccomp_notif.
type notice struct {
	id     uint64
	thread uint32
	flags  uint32
	number int32
	arch   uint32
	ip     uint64
	args   [6]uint64
}

// response is its struct seccomp_notif_resp. Its flag that lets a call go on is never set: what the
// call's pointers lead to could be something else by then.
type response struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// CanListen says whether this kernel knows Ask.
func CanListen() bool {
	action := Ask
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return e == 0
}

// Listen is Install for a filter that answers Ask. A process has one listener at most over all its
// filters: the kernel refuses a second one. Once a call is taken, signals wait for its answer unless
// they kill.
func Listen(filter []Instruction) (*Listener, error) {
	fd, err := install(filter, newListener|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err != nil {
		return nil, err
	}
	l := &Listener{int(fd)}
	unix.CloseOnExec(l.fd)
	// The caller is woken on the processor that answered, since Linux 6.6; without, it is only slower.
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return l, nil
}

// Next waits for a call.
func (l *Listener) Next() (Call, error) {
	for {
		var n notice
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
		switch e {
		case 0:
			return Call{ID: n.id, Thread: int(n.thread), Number: uint32(n.number), Args: n.args}, nil
		case unix.EINTR, unix.ENOENT: // a signal for us; or the caller is gone already
			continue
		}
		return Call{}, stead.Wrap(stead.KindUnavailable, e, "wait for a system call")
	}
}

// Waiting says whether a call's caller still waits: what was read of that thread before was its own.
func (l *Listener) Waiting(c Call) bool {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&c.ID)))
	return e == 0
}

// Answer has a call return a value, or an error. A caller that is gone needs none.
func (l *Listener) Answer(c Call, value int, err unix.Errno) {
	r := response{id: c.ID, value: int64(value), err: -int32(err)}
	if err != 0 {
		r.value = 0
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
}

// Close has all calls fail for which the filter asks, with ENOSYS.
func (l *Listener) Close() { _ = unix.Close(l.fd) }

// install puts a filter on the calling thread.
func install(filter []Instruction, flags uintptr) (uintptr, error) {
	if len(filter) == 0 {
		return 0, stead.Errorf(stead.KindInternal, "an empty filter of system calls")
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, stead.Wrap(stead.KindUnavailable, err, "set no_new_privs")
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if e != 0 {
		return 0, stead.Wrap(stead.KindUnavailable, e, "install the filter of system calls")
	}
	return fd, nil
}

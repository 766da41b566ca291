//go:build amd64 || arm64

package landlock

import (
	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// Offsets in the kernel's struct seccomp_data, of the low halves of arguments on little endian machines.
const (
	offNumber = 0
	offArgs   = 16
	argBytes  = 8
)

// Numbers that x/sys does not name on both architectures; new calls have the same number everywhere.
const (
	sysFchmodat2     = 452
	sysSetxattrat    = 463
	sysRemovexattrat = 466
	sysFileSetattr   = 469
	// firstUnknown is the first number that this filter's authors have not looked at: a newer kernel may
	// have a call there that changes files by their path.
	firstUnknown = 470
)

const (
	// everybody is PRIO_USER, with which setpriority(2) reaches all processes of a user, the server among
	// them; ioEverybody is ioprio_set(2)'s.
	everybody   = 2
	ioEverybody = 3
	// sockTypeMask takes SOCK_CLOEXEC and SOCK_NONBLOCK off the type of a socket.
	sockTypeMask = 0xf
	// terminals and sockets are the types of the requests of ioctl(2) for those.
	terminals = 'T'
	sockets   = 0x89
	figetbsz  = 2
	fiemap    = 0xc020660b
)

// ownFilter is laid over that of package seccomp, which has refused calls of other architectures. It
// refuses what a shared root, network, user and set of processes make dangerous:
//
//	socket(2), whatever the family: see the package; pairs of sockets that could send to others
//	signals to the threads, which are the only ones of the helper that a command might signal
//	limits and priorities of other processes, which Landlock does not look at
//	files that are opened for neither reading nor writing (access mode 3), for which Landlock wants no
//	  right, but which may be used to change their attributes
//	ioctls but those of terminals, sockets and a few of files; leases, signals and notices of files
//	a listener for system calls, which would come before ours
//	calls that are newer than this list
//
// and asks the helper about those that change what Landlock has no rule for: see order_linux.go.
func ownFilter(threads ...int) []seccomp.Instruction {
	f := filter{load(offNumber), test(unix.BPF_JGE, firstUnknown, 0, 1), ret(fail(unix.ENOSYS))}
	f.refuse(unix.ENOSYS, sysSetxattrat, sysRemovexattrat, sysFileSetattr) // no library needs them yet
	f.refuse(unix.EAFNOSUPPORT, unix.SYS_SOCKET)
	f.refuse(unix.EPERM, unix.SYS_BIND, unix.SYS_CONNECT, unix.SYS_LISTEN)
	f.on(unix.SYS_SOCKETPAIR, append(append(arg(1), and(sockTypeMask)), only(unix.EAFNOSUPPORT, unix.SOCK_STREAM, unix.SOCK_SEQPACKET)...)...)
	for call, n := range map[uint32]uint32{
		unix.SYS_KILL: 0, unix.SYS_TKILL: 0, unix.SYS_RT_SIGQUEUEINFO: 0, unix.SYS_PIDFD_OPEN: 0,
		unix.SYS_TGKILL: 1, unix.SYS_RT_TGSIGQUEUEINFO: 1,
	} {
		f.on(call, append(arg(n), none(unix.EPERM, threads...)...)...)
	}
	// An argument that names another process than the caller, which is 0.
	for call, n := range map[uint32]uint32{
		unix.SYS_PRLIMIT64: 0, unix.SYS_SCHED_SETAFFINITY: 0, unix.SYS_SCHED_SETSCHEDULER: 0, unix.SYS_SCHED_SETPARAM: 0,
		unix.SYS_SCHED_SETATTR: 0,
	} {
		f.on(call, append(arg(n), only(unix.EPERM, 0)...)...)
	}
	for call, all := range map[uint32]uint32{unix.SYS_SETPRIORITY: everybody, unix.SYS_IOPRIO_SET: ioEverybody} {
		body := append(arg(0), jump(all, 0, 1), ret(fail(unix.EPERM)))
		f.on(call, append(append(body, arg(1)...), only(unix.EPERM, 0)...)...)
	}
	for call, n := range opens() {
		f.on(call, append(append(arg(n), and(unix.O_ACCMODE)), none(unix.EPERM, unix.O_ACCMODE)...)...)
	}
	f.on(unix.SYS_IOCTL, ioctls()...)
	f.on(unix.SYS_FCNTL, append(arg(1), none(unix.EPERM, unix.F_SETLEASE, unix.F_NOTIFY, unix.F_SETSIG)...)...)
	f.on(unix.SYS_SECCOMP, append(arg(1), test(unix.BPF_JSET, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0, 1), ret(fail(unix.EPERM)), ret(unix.SECCOMP_RET_ALLOW))...)
	for call := range supervised() {
		f.on(call, ret(seccomp.Ask))
	}
	return append(f, ret(unix.SECCOMP_RET_ALLOW))
}

// ioctls is the body for ioctl(2). What is refused is so as by a file that does not know the request.
func ioctls() []seccomp.Instruction {
	kind := append(arg(1), seccomp.Instruction{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 8}, and(0xff))
	kind = append(kind, allow(terminals, sockets)...)
	const clone, cloneRange = unix.FICLONE, unix.FICLONERANGE
	return append(append(kind, arg(1)...), only(unix.ENOTTY, unix.FS_IOC_GETFLAGS, figetbsz, fiemap, clone, cloneRange)...)
}

// filter is one that is being written. Each body returns in any case, so that the accumulator holds the
// number of the call wherever the next one begins.
type filter []seccomp.Instruction

// on runs a body for one call.
func (f *filter) on(call uint32, body ...seccomp.Instruction) {
	*f = append(append(*f, jump(call, 0, uint8(len(body)))), body...) // bodies are short
}

func (f *filter) refuse(e unix.Errno, calls ...uint32) {
	for _, c := range calls {
		f.on(c, ret(fail(e)))
	}
}

// arg loads the low half of an argument.
func arg(n uint32) []seccomp.Instruction { return []seccomp.Instruction{load(offArgs + n*argBytes)} }

// allow allows some values.
func allow(values ...uint32) (p []seccomp.Instruction) {
	for _, v := range values {
		p = append(p, jump(v, 0, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	return p
}

// only refuses all but some values.
func only(e unix.Errno, values ...uint32) []seccomp.Instruction {
	return append(allow(values...), ret(fail(e)))
}

// none refuses some values, and allows all others.
func none(e unix.Errno, values ...int) (p []seccomp.Instruction) {
	for _, v := range values {
		p = append(p, jump(uint32(v), 0, 1), ret(fail(e)))
	}
	return append(p, ret(unix.SECCOMP_RET_ALLOW))
}

func fail(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

func load(offset uint32) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func and(mask uint32) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
}

func test(op uint16, k uint32, whenTrue, whenFalse uint8) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_JMP | op | unix.BPF_K, JT: whenTrue, JF: whenFalse, K: k}
}

func jump(k uint32, whenTrue, whenFalse uint8) seccomp.Instruction {
	return test(unix.BPF_JEQ, k, whenTrue, whenFalse)
}

func ret(action uint32) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

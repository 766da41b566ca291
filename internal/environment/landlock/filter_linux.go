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

// ownFilter is laid over that of package seccomp, which has refused calls of other architectures. It
// refuses what a shared root, network and set of processes make dangerous:
//
//	socket(2), whatever the family: see the package
//	signals to the thread tid, the only thread of the helper that a command may signal
//	limits and priorities of other processes, which Landlock does not look at
func ownFilter(tid int) []seccomp.Instruction {
	p := []seccomp.Instruction{load(offNumber)}
	refuse := func(call uint32, body ...seccomp.Instruction) {
		p = append(p, jump(call, 0, uint8(len(body))))
		p = append(p, body...)
	}
	refuse(unix.SYS_SOCKET, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EAFNOSUPPORT)))
	// An argument that is the thread's number.
	for call, arg := range map[uint32]uint32{
		unix.SYS_KILL: 0, unix.SYS_TKILL: 0, unix.SYS_RT_SIGQUEUEINFO: 0, unix.SYS_PIDFD_OPEN: 0,
		unix.SYS_TGKILL: 1, unix.SYS_RT_TGSIGQUEUEINFO: 1,
	} {
		refuse(call, load(offArgs+arg*argBytes), jump(uint32(tid), 0, 1), ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), ret(unix.SECCOMP_RET_ALLOW))
	}
	// An argument that names another process than the caller, which is 0.
	for call, arg := range map[uint32]uint32{
		unix.SYS_PRLIMIT64: 0, unix.SYS_SCHED_SETAFFINITY: 0, unix.SYS_SCHED_SETSCHEDULER: 0, unix.SYS_SCHED_SETPARAM: 0,
		unix.SYS_SCHED_SETATTR: 0, unix.SYS_SETPRIORITY: 1, unix.SYS_IOPRIO_SET: 1,
	} {
		refuse(call, load(offArgs+arg*argBytes), jump(0, 1, 0), ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(p, ret(unix.SECCOMP_RET_ALLOW))
}

func load(offset uint32) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(k uint32, whenTrue, whenFalse uint8) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, JT: whenTrue, JF: whenFalse, K: k}
}

func ret(action uint32) seccomp.Instruction {
	return seccomp.Instruction{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

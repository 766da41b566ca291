// Package seccomp makes the filter of system calls under which an environment's commands run. It
// keeps them away from parts of the kernel that no agent needs and that have been ways out before.
//
// Shape:
//
//	Options ── Build ──▶ []Instruction (classic BPF) ── Install ──▶ this thread, and all it starts
//	                     a driver's own, with Ask    ── Listen  ──▶ likewise; Listener: Next, Answer
//
//	calls of 32 bits             → SIGSYS: such programs don't run
//	x32                          → ENOSYS
//	clone3, openat2              → ENOSYS: libraries fall back to calls whose arguments can be read
//	clone with a new namespace   → EPERM
//	socket of a refused family   → EAFNOSUPPORT
//	a mode with the set-user-ID bit, TIOCSTI, an odd personality → EPERM
//	a name on the list           → EPERM (see table.go)
//	everything else              → allowed
//
// It is a list of what is refused: what an allow-list would add, a namespace's lack of capabilities
// refuses already. The kernel remembers which calls are allowed whatever their arguments, so most
// cost nothing.
//
// A driver may lay a filter of its own over it that asks (SECCOMP_RET_USER_NOTIF): then the caller waits
// until the Listener's owner has done the call in its place, or refused it.
//
// Debuggers don't run: ptrace is refused, as it is too much kernel for too few uses.
//
// Units and limits: amd64 and arm64. A filter is below the kernel's 4096 instructions.
//
// Errors: KindNotImplemented on another architecture; KindUnavailable when the kernel refuses the filter.
//
// Source: seccomp(2), seccomp_unotify(2); Documentation/userspace-api/seccomp_filter.rst. The set-user-ID rule is that of
// systemd's RestrictSUIDSGID=, and the reason for openat2 with it.
package seccomp

// Network says which network the commands stand in.
type Network uint8

// The networks.
const (
	// NetworkOwn is a network namespace: every address there is the environment's own.
	NetworkOwn Network = iota
	// NetworkHostTCP is the host's, where something else decides about TCP ports: unix and TCP
	// stream sockets alone.
	NetworkHostTCP
	// NetworkNone has no network: unix sockets alone.
	NetworkNone
)

// Options say what stands around the commands.
type Options struct {
	Network Network
	// HostIPC: there is no ipc namespace, so System V IPC and POSIX message queues are refused.
	HostIPC bool
	// Root is for set-up commands, which run as root of a user namespace: chroot and files with the
	// set-user-ID bit, which packages have, are allowed.
	Root bool
}

// Instruction is one of classic BPF, in the layout of the kernel's struct sock_filter.
type Instruction struct {
	Code   uint16
	JT, JF uint8 // instructions that are skipped: when true, when false
	K      uint32
}

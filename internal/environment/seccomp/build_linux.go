//go:build amd64 || arm64

package seccomp

import "golang.org/x/sys/unix"

// Offsets in the kernel's struct seccomp_data. Both architectures are little endian: the low half of
// an argument comes first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
	argBytes  = 8
)

// namespaces are the flags of clone(2) that make new ones.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// setUserID is the mode bit S_ISUID.
const setUserID = 0o4000

// makes are the flags of open(2) with which it makes a file: O_TMPFILE without O_DIRECTORY is that bit.
const makes = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

// sockTypeMask takes SOCK_CLOEXEC and SOCK_NONBLOCK off the type of a socket.
const sockTypeMask = 0xf

// Build makes the filter.
func Build(o Options) ([]Instruction, error) {
	var p program
	p.load(offArch)
	p.unless(arch, unix.SECCOMP_RET_KILL_PROCESS)
	p.load(offNumber)
	if x32Bit != 0 {
		p.jump(unix.BPF_JGE, x32Bit, 0, 1)
		p.ret(errno(unix.ENOSYS))
	}
	if !o.Root {
		for _, m := range modes() { // in front, as files are opened often
			p.when(m.call, func(b *program) { b.modes(m) })
		}
		p.refuse(unix.ENOSYS, unix.SYS_OPENAT2)
	}
	p.refuse(unix.ENOSYS, unix.SYS_CLONE3)
	p.when(unix.SYS_CLONE, func(b *program) { b.refuseBits(cloneFlags, namespaces, unix.EPERM) })
	p.when(unix.SYS_SOCKET, func(b *program) { b.sockets(o.Network) })
	p.when(unix.SYS_SOCKETPAIR, func(b *program) { b.allowOnly(0, unix.EAFNOSUPPORT, unix.AF_UNIX) })
	p.when(unix.SYS_PERSONALITY, func(b *program) { b.allowOnly(0, unix.EPERM, personalities()...) })
	p.when(unix.SYS_IOCTL, func(b *program) { b.refuseValues(1, unix.EPERM, unix.TIOCSTI, unix.TIOCLINUX) })
	p.refuse(unix.EPERM, refused()...)
	if o.HostIPC {
		p.refuse(unix.EPERM, ipcCalls()...)
	}
	if !o.Root {
		p.refuse(unix.EPERM, unix.SYS_CHROOT)
	}
	p.ret(unix.SECCOMP_RET_ALLOW)
	return p, nil
}

// program is a filter that is being written. Each body of when returns in any case, so that the
// accumulator holds the number of the call wherever the next one begins.
type program []Instruction

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

func (p *program) add(i Instruction) { *p = append(*p, i) }

func (p *program) load(offset uint32) {
	p.add(Instruction{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

// arg loads the low half of an argument: the kernel's own type of it is 32 bits wide, or the bits
// that are looked at are there.
func (p *program) arg(n uint32) { p.load(offArgs + n*argBytes) }

func (p *program) jump(op uint16, k uint32, whenTrue, whenFalse uint8) {
	p.add(Instruction{unix.BPF_JMP | op | unix.BPF_K, whenTrue, whenFalse, k})
}

func (p *program) ret(action uint32) {
	p.add(Instruction{Code: unix.BPF_RET | unix.BPF_K, K: action})
}

// unless returns action if the accumulator is not k.
func (p *program) unless(k, action uint32) {
	p.jump(unix.BPF_JEQ, k, 1, 0)
	p.ret(action)
}

// refuse returns an error for calls.
func (p *program) refuse(e unix.Errno, calls ...uint32) {
	for _, c := range calls {
		p.jump(unix.BPF_JEQ, c, 0, 1)
		p.ret(errno(e))
	}
}

// when runs a body for one call.
func (p *program) when(call uint32, body func(*program)) {
	var b program
	body(&b)
	p.jump(unix.BPF_JEQ, call, 0, uint8(len(b))) // bodies are short: TestBuild
	*p = append(*p, b...)
}

// refuseBits refuses an argument that has any of some bits.
func (p *program) refuseBits(arg, bits uint32, e unix.Errno) {
	p.arg(arg)
	p.jump(unix.BPF_JSET, bits, 0, 1)
	p.ret(errno(e))
	p.ret(unix.SECCOMP_RET_ALLOW)
}

// refuseValues refuses some values of an argument.
func (p *program) refuseValues(arg uint32, e unix.Errno, values ...uint32) {
	p.arg(arg)
	p.refuse(e, values...)
	p.ret(unix.SECCOMP_RET_ALLOW)
}

// allowOnly refuses all but some values of an argument.
func (p *program) allowOnly(arg uint32, e unix.Errno, values ...uint32) {
	p.arg(arg)
	p.allow(values...)
	p.ret(errno(e))
}

func (p *program) allow(values ...uint32) {
	for _, v := range values {
		p.jump(unix.BPF_JEQ, v, 0, 1)
		p.ret(unix.SECCOMP_RET_ALLOW)
	}
}

// modes is the body for a call that takes a mode. One that opens uses it only when it makes a file;
// else the argument is whatever stood in the register.
func (p *program) modes(m mode) {
	if m.opens {
		p.arg(m.arg - 1)
		p.jump(unix.BPF_JSET, makes, 1, 0)
		p.ret(unix.SECCOMP_RET_ALLOW)
	}
	p.refuseBits(m.arg, setUserID, unix.EPERM)
}

// sockets is the body for socket(family, type, protocol).
func (p *program) sockets(n Network) {
	p.arg(0)
	p.allow(unix.AF_UNIX)
	switch n {
	case NetworkOwn:
		p.allow(unix.AF_INET, unix.AF_INET6)
		p.unless(unix.AF_NETLINK, errno(unix.EAFNOSUPPORT))
		p.allowOnly(2, unix.EAFNOSUPPORT, unix.NETLINK_ROUTE) // getifaddrs(3) asks it
	case NetworkHostTCP:
		p.jump(unix.BPF_JEQ, unix.AF_INET, 2, 0)
		p.jump(unix.BPF_JEQ, unix.AF_INET6, 1, 0)
		p.ret(errno(unix.EAFNOSUPPORT))
		p.arg(1)
		p.add(Instruction{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: sockTypeMask})
		p.unless(unix.SOCK_STREAM, errno(unix.EAFNOSUPPORT))
		p.allowOnly(2, unix.EAFNOSUPPORT, unix.IPPROTO_IP, unix.IPPROTO_TCP) // not MPTCP or SCTP, which rules on TCP ports don't see
	default:
		p.ret(errno(unix.EAFNOSUPPORT))
	}
}

// Install puts the filter on the calling thread, and sets no_new_privs on it: the caller has locked
// its goroutine to it. Threads and processes that it starts from now on have it too. It can't be taken
// off.
func Install(filter []Instruction) error {
	_, err := install(filter, 0)
	return err
}

package seccomp

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_X86_64
	// x32Bit marks calls of the x32 interface, whose numbers this filter does not know.
	x32Bit = 0x40000000
	// cloneFlags is the argument of clone(2) with the flags.
	cloneFlags = 0
)

// refusedHere are refused calls that other architectures don't have.
func refusedHere() []uint32 {
	return []uint32{
		unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_SYSFS,
		unix.SYS__SYSCTL, unix.SYS_CREATE_MODULE, unix.SYS_QUERY_MODULE, unix.SYS_GET_KERNEL_SYMS,
	}
}

func modesHere() []mode {
	return []mode{{unix.SYS_OPEN, 2, true}, {unix.SYS_CREAT, 1, false}, {unix.SYS_CHMOD, 1, false}, {unix.SYS_MKNOD, 1, false}}
}

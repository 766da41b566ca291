package seccomp

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_AARCH64
	// x32Bit: there is no such interface here.
	x32Bit = 0
	// cloneFlags is the argument of clone(2) with the flags.
	cloneFlags = 0
)

// refusedHere are refused calls that other architectures don't have.
func refusedHere() []uint32 { return nil }

func modesHere() []mode { return nil }

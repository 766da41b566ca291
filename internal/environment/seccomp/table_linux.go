//go:build amd64 || arm64

package seccomp

import "golang.org/x/sys/unix"

// Numbers that x/sys does not name on both architectures; new calls have the same number everywhere.
const (
	sysFchmodat2    = 452
	sysStatmount    = 457
	sysListmount    = 458
	sysOpenTreeAttr = 467
)

// refused are the calls that are refused whatever their arguments.
func refused() []uint32 {
	calls := []uint32{
		// The tree of mounts, and other namespaces.
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		sysStatmount, sysListmount, sysOpenTreeAttr, unix.SYS_UNSHARE, unix.SYS_SETNS,
		// Other processes' memory and files.
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
		unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_MOVE_PAGES, unix.SYS_MIGRATE_PAGES,
		// Programs in the kernel, and rings that go round this filter.
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		// Keys, which no namespace separates.
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_MEMFD_SECRET,
		// Files by handle, and watching all of them.
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_FANOTIFY_MARK,
		unix.SYS_LOOKUP_DCOOKIE,
		// The machine.
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
		unix.SYS_NFSSERVCTL, unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME,
		unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
	}
	return append(calls, refusedHere()...)
}

// ipcCalls are those of System V IPC and POSIX message queues.
func ipcCalls() []uint32 {
	return []uint32{
		unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SHMDT,
		unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMCTL, unix.SYS_SEMTIMEDOP,
		unix.SYS_MSGGET, unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_MSGCTL,
		unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK,
	}
}

// personalities are those that change nothing but what uname(2) says: PER_LINUX, UNAME26,
// PER_LINUX32, both, and the question for the present one.
func personalities() []uint32 { return []uint32{0, 0x20000, 8, 0x20008, 0xffffffff} }

// mode says which argument of a call is the mode of a file.
type mode struct {
	call, arg uint32
	opens     bool // the argument before it is flags of open(2)
}

func modes() []mode {
	return append(modesHere(),
		mode{unix.SYS_OPENAT, 3, true},
		mode{unix.SYS_FCHMOD, 1, false},
		mode{unix.SYS_FCHMODAT, 2, false},
		mode{sysFchmodat2, 2, false},
		mode{unix.SYS_MKNODAT, 2, false})
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelAttacks reach for parts of the kernel that no command needs and that had holes.
func kernelAttacks() map[string]attack {
	return map[string]attack{
		"userns-clone": func([]string) (string, error) { return startWith(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}) },
		"userns-unshare": func([]string) (string, error) {
			return startWith(&syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWUSER})
		},
		"userns-clone3": clone3User,
		"bpf":           func([]string) (string, error) { return makeMap() },
		"io_uring":      func([]string) (string, error) { return setUpRing() },
		"keyctl":        func([]string) (string, error) { return readKeyring() },
		"add_key":       func([]string) (string, error) { return addKey() },
		"perf":          func([]string) (string, error) { return openCounter() },
		"userfaultfd":   func([]string) (string, error) { return openFaults() },
		"x32":           func([]string) (string, error) { return otherTable() },
		"modules":       func([]string) (string, error) { return reaches("init_module", unix.SYS_INIT_MODULE, 0, 0, 0) },
		"kexec":         func([]string) (string, error) { return reaches("kexec_load", unix.SYS_KEXEC_LOAD, 0, 1<<20, 0) },
		"reboot":        func([]string) (string, error) { return reaches("reboot", unix.SYS_REBOOT, 0, 0, 0) },
		"swap":          func([]string) (string, error) { return reaches("swapoff", unix.SYS_SWAPOFF, nowhere(), 0, 0) },
		"acct":          func([]string) (string, error) { return reaches("acct", unix.SYS_ACCT, nowhere(), 0, 0) },
		"fanotify":      func([]string) (string, error) { return opens("fanotify_init", unix.SYS_FANOTIFY_INIT, 0, 0) },
		"syslog":        func([]string) (string, error) { return reaches("syslog", unix.SYS_SYSLOG, 10, 0, 0) },
		"clock":         setClock,
	}
}

// startWith starts a process in namespaces of its own.
func startWith(attributes *syscall.SysProcAttr) (string, error) {
	c := exec.Command("/proc/self/exe", "eat", "0")
	if self, err := exec.LookPath("./probe"); err == nil {
		c.Path = self
	}
	c.SysProcAttr = attributes
	if err := c.Run(); err != nil {
		return "", err
	}
	return "a process in a namespace of its own", nil
}

// clone3User makes a user namespace by the newest of the three calls, whose flags no filter can see.
func clone3User([]string) (string, error) {
	runtime.LockOSThread()
	args := struct{ flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64 }{
		flags: unix.CLONE_NEWUSER, exitSignal: uint64(unix.SIGCHLD),
	}
	pid, err := cloneAndExit(unsafe.Pointer(&args), unsafe.Sizeof(args))
	if err != 0 {
		return "", err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return "", err
	}
	return "a process in a user namespace", nil
}

// cloneAndExit forks and ends the child before it does anything at all.
//
//go:norace
//go:noinline
//go:nosplit
func cloneAndExit(args unsafe.Pointer, size uintptr) (uintptr, unix.Errno) {
	pid, _, err := unix.RawSyscall(unix.SYS_CLONE3, uintptr(args), size, 0)
	if err == 0 && pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return pid, err
}

// opens makes a system call that returns a file.
func opens(name string, number uintptr, args ...uintptr) (string, error) {
	fd, _, err := unix.Syscall6(number, arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4), 0)
	if err != 0 {
		return "", err
	}
	return name + " opened something", unix.Close(int(fd))
}

// reaches makes a system call with arguments that can't work. Every answer but "not permitted" and "no
// such call" comes from behind the door.
func reaches(name string, number, a, b, c uintptr) (string, error) {
	_, _, err := unix.Syscall(number, a, b, c)
	switch err {
	case unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EOPNOTSUPP:
		return "", err
	}
	return fmt.Sprintf("%s came through: %v", name, err), nil
}

func arg(args []uintptr, i int) uintptr {
	if i < len(args) {
		return args[i]
	}
	return 0
}

// nowhere is a path at which there is nothing.
func nowhere() uintptr {
	return uintptr(unsafe.Pointer(&[]byte("/nothing/here\x00")[0]))
}

func makeMap() (string, error) {
	attributes := struct{ kind, key, value, entries, flags uint32 }{kind: 2, key: 4, value: 8, entries: 1} // an array
	fd, _, err := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	if err != 0 {
		return "", err
	}
	return "a map for programs in the kernel", unix.Close(int(fd))
}

func setUpRing() (string, error) {
	var parameters [120]byte
	fd, _, err := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&parameters)), 0)
	if err != 0 {
		return "", err
	}
	return "a ring", unix.Close(int(fd))
}

func readKeyring() (string, error) {
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true); err != nil {
		return "", err
	}
	return "a keyring", nil
}

func addKey() (string, error) {
	if _, err := unix.AddKey("user", "stead-probe", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING); err != nil {
		return "", err
	}
	return "a key, until the process ends", nil
}

func openCounter() (string, error) {
	attributes := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	fd, err := unix.PerfEventOpen(&attributes, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return "", err
	}
	return "a counter", unix.Close(fd)
}

func openFaults() (string, error) {
	const userModeOnly = 1
	if how, err := opens("userfaultfd", unix.SYS_USERFAULTFD, unix.O_CLOEXEC); err == nil {
		return how, nil
	}
	return opens("userfaultfd", unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly)
}

// otherTable calls the kernel through the table of the x32 interface, which has the same calls with
// other numbers: a filter that compares numbers alone does not see them.
func otherTable() (string, error) {
	const x32 = 0x40000000
	if _, _, err := unix.Syscall(x32|unix.SYS_GETPID, 0, 0, 0); err != 0 {
		return "", err
	}
	return "calls of another interface are served", nil
}

// setClock sets the clock to no time at all, through the call that checks permission first.
func setClock([]string) (string, error) {
	t := unix.Timex{Modes: 0x0100 /* ADJ_SETOFFSET */, Time: unix.Timeval{Usec: -1}}
	if _, err := unix.Adjtimex(&t); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return "", err
	}
	return "may set the clock", nil
}

package ns

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// rootCapabilities are what commands of a set-up keep: enough for a package manager to give files
// away and to change its id, all within the box's own ids. None of them opens up the kernel, other
// processes (CAP_SYS_PTRACE) or mounts (CAP_SYS_ADMIN).
func rootCapabilities() uint64 {
	var set uint64
	for _, c := range []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
		unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SYS_CHROOT, unix.CAP_NET_BIND_SERVICE,
	} {
		set |= 1 << c
	}
	return set
}

// jail locks a thread in and forks commands on it, for ever. Everything here is a thread's own, which
// is why the other threads keep what init needs, and why the calls are raw: the library's would try
// to change all threads, and can't in a program that is linked with C.
func (i *inmate) jail(s setup, ready chan<- error) {
	runtime.LockOSThread()
	err := s.lockIn()
	ready <- err
	if err != nil {
		return
	}
	for f := range i.forks {
		pid, err := f.start()
		f.done <- forked{pid, err}
	}
}

// lockIn gives up everything on this thread.
func (s setup) lockIn() error {
	var keep uint64
	if s.AsRoot {
		keep = rootCapabilities()
	}
	for c := range 64 {
		if keep&(1<<c) != 0 {
			continue
		}
		if _, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0); e == unix.EINVAL {
			break // the kernel has no more
		} else if e != 0 {
			return step("drop a capability", e)
		}
	}
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); e != 0 {
		return step("drop ambient capabilities", e)
	}
	if s.Switch {
		if err := switchTo(agentID); err != nil {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); e != 0 {
		return step("drop capabilities", e)
	}
	filter, err := seccomp.Build(seccomp.Options{Root: s.AsRoot})
	if err != nil {
		return err
	}
	return seccomp.Install(filter)
}

// switchTo takes an id on this thread.
func switchTo(id uintptr) error {
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return step("leave groups", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return step("take the agent's group", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return step("take the agent's user", e)
	}
	return nil
}

// limit sets what is bounded a process, on this one, for all that it starts.
func (s setup) limit() error {
	type limit struct {
		name     string
		resource int
		value    int64
	}
	limits := []limit{
		{"open files", unix.RLIMIT_NOFILE, int64(s.OpenFiles)},
		{"the size of a file", unix.RLIMIT_FSIZE, s.FileBytes},
		{"processes", unix.RLIMIT_NPROC, int64(s.Processes)},
		{"data of a process", unix.RLIMIT_DATA, s.DataBytes},
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return step("forbid core dumps", err)
	}
	for _, l := range limits {
		if l.value <= 0 {
			continue
		}
		var have unix.Rlimit
		if err := unix.Getrlimit(l.resource, &have); err != nil {
			return step("read the limit of "+l.name, err)
		}
		// The server's own limit can't be passed.
		v := min(uint64(l.value), have.Max)
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return step("limit "+l.name, err)
		}
	}
	unix.Umask(0o022)
	return os.Chdir("/")
}

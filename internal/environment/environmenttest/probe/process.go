//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func processAttacks() map[string]attack {
	return map[string]attack{
		"see":      seeProcess,
		"signal":   signalProcess,
		"ptrace":   traceProcess,
		"environ":  readEnviron,
		"memory":   openMemory,
		"vm-read":  readMemory,
		"pidfd":    stealFile,
		"massacre": massacre,
		"setns":    joinNamespace,
		"tiocsti":  typeForOthers,

		"limit-other": limitOther,
		"renice":      reniceOther,
	}
}

// seeProcess looks for a process with a word among its arguments.
func seeProcess(args []string) (string, error) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), args[0]) && !strings.Contains(string(data), "\x00see\x00") {
			return name, nil
		}
	}
	return "", fmt.Errorf("not among the %d processes that are seen", len(names))
}

func pidOf(args []string) int {
	pid, _ := strconv.Atoi(args[0])
	return pid
}

// signalProcess sends a process the signal that does nothing but to be allowed.
func signalProcess(args []string) (string, error) {
	var all []error
	for _, send := range []func(int) error{
		func(pid int) error { return unix.Kill(pid, 0) },
		func(pid int) error { return unix.Tgkill(pid, pid, 0) },
		func(pid int) error {
			_, _, err := unix.Syscall(unix.SYS_TKILL, uintptr(pid), 0, 0)
			return errnoOrNil(err)
		},
		func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err == nil {
				err = unix.PidfdSendSignal(fd, 0, nil, 0)
			}
			return err
		},
	} {
		err := send(pidOf(args))
		if err == nil {
			return "a signal to process " + args[0], nil
		}
		all = append(all, err)
	}
	return "", errors.Join(all...)
}

// traceProcess takes a process under control without stopping it; the kernel lets it go when the probe
// ends.
func traceProcess(args []string) (string, error) {
	runtime.LockOSThread()
	for _, request := range []int{unix.PTRACE_SEIZE} {
		if _, _, err := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pidOf(args)), 0, 0, 0, 0); err != 0 {
			return "", err
		}
	}
	return "traces process " + args[0], nil
}

// readEnviron reads a process' variables.
func readEnviron(args []string) (string, error) {
	data, err := os.ReadFile("/proc/" + args[0] + "/environ")
	if err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", errNothing
	}
	return fmt.Sprintf("%d bytes of variables of process %s", len(data), args[0]), nil
}

// openMemory opens a process' memory for writing.
func openMemory(args []string) (string, error) {
	f, err := os.OpenFile("/proc/"+args[0]+"/mem", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	return "opened the memory of process " + args[0], f.Close()
}

// readMemory reads another process' memory by the system call that needs no file. The address is one
// where nothing is: EFAULT comes after the permission.
func readMemory(args []string) (string, error) {
	buffer := make([]byte, 8)
	local := []unix.Iovec{{Base: &buffer[0], Len: 8}}
	_, err := unix.ProcessVMReadv(pidOf(args), local, []unix.RemoteIovec{{Base: 16, Len: 8}}, 0)
	if err != nil && err != unix.EFAULT {
		return "", err
	}
	return "may read the memory of process " + args[0], nil
}

// stealFile takes a process' standard input out of it.
func stealFile(args []string) (string, error) {
	fd, err := unix.PidfdOpen(pidOf(args), 0)
	if err != nil {
		return "", err
	}
	if _, err := unix.PidfdGetfd(fd, 0, 0); err != nil {
		return "", err
	}
	return "took an open file out of process " + args[0], nil
}

// massacre stops and kills everything that it may, itself excepted. The suite looks afterwards at
// what is left of the environment, and at its victim outside.
func massacre(args []string) (string, error) {
	hit := 0
	most := pidOf(args)
	for _, s := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		for pid := 1; pid <= most; pid++ {
			if unix.Tgkill(os.Getpid(), pid, 0) == nil {
				continue // a thread of this process: the signal would be for all of it
			}
			if unix.Kill(pid, s) == nil {
				hit++
			}
		}
	}
	return fmt.Sprintf("%d signals went out", hit), nil
}

// limitOther takes another process its right to dump core, which this one does not need.
func limitOther(args []string) (string, error) {
	if err := unix.Prlimit(pidOf(args), unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil {
		return "", err
	}
	return "limited process " + args[0], nil
}

// reniceOther makes another process wait for everybody.
func reniceOther(args []string) (string, error) {
	if err := unix.Setpriority(unix.PRIO_PROCESS, pidOf(args), 19); err != nil {
		return "", err
	}
	return "slowed down process " + args[0], nil
}

// joinNamespace enters a namespace of another process.
func joinNamespace(args []string) (string, error) {
	runtime.LockOSThread()
	return any1([]string{"uts", "net", "ipc", "mnt", "pid", "user"}, func(kind string) (string, error) {
		fd, err := unix.Open("/proc/"+args[0]+"/ns/"+kind, unix.O_RDONLY, 0)
		if err != nil {
			return "", err
		}
		if err := unix.Setns(fd, 0); err != nil {
			return "", err
		}
		return "entered the " + kind + " namespace of process " + args[0], nil
	})
}

// typeForOthers puts a letter into a terminal as if it were typed there.
func typeForOthers([]string) (string, error) {
	letter := [1]byte{'\n'}
	var last error = errNothing
	for fd := range 3 {
		_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&letter)))
		if err == 0 {
			return fmt.Sprintf("typed into file %d", fd), nil
		}
		last = err
	}
	return "", last
}

func errnoOrNil(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

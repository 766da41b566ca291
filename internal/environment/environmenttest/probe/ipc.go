//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ipcAttacks reach other processes by what processes of a machine, or of a user, share.
func ipcAttacks() map[string]attack {
	return map[string]attack{
		"shm":           func(args []string) (string, error) { return sysv("shared memory", unix.SYS_SHMCTL, args[0]) },
		"sem":           func(args []string) (string, error) { return sysv("semaphores", unix.SYS_SEMCTL, args[0]) },
		"msg":           func(args []string) (string, error) { return sysv("a queue", unix.SYS_MSGCTL, args[0]) },
		"pair-datagram": pairDatagram,
		"affinity":      affinity,
		"policy":        policy,
		"io-priority":   ioPriority,
		"renice-user":   reniceUser,
		"file-signal":   fileSignal,
	}
}

// sysv asks about an object of System V IPC by its number.
func sysv(what string, call uintptr, id string) (string, error) {
	n, err := strconv.Atoi(id)
	if err != nil {
		return "", errNothing
	}
	var answer [512]byte // longer than any of the three
	args := []uintptr{uintptr(n), unix.IPC_STAT, uintptr(unsafe.Pointer(&answer)), 0}
	if call == unix.SYS_SEMCTL {
		args = []uintptr{uintptr(n), 0, unix.IPC_STAT, uintptr(unsafe.Pointer(&answer))}
	}
	if _, _, e := unix.Syscall6(call, args[0], args[1], args[2], args[3], 0, 0); e != 0 {
		return "", e
	}
	return what + " of the host", nil
}

// pairDatagram sends to somebody else by one of a pair of sockets, which nobody has to ask for by
// socket(2).
func pairDatagram(args []string) (string, error) {
	return any1([]string{"dgram", "raw"}, func(kind string) (string, error) {
		pair, err := unix.Socketpair(unix.AF_UNIX, map[string]int{"dgram": unix.SOCK_DGRAM, "raw": unix.SOCK_RAW}[kind], 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(pair[1])
		defer unix.Close(pair[0])
		if err := unix.Sendto(pair[0], []byte("probe"), unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: args[0]}); err != nil {
			return "", err
		}
		return "sent a datagram to " + args[0], nil
	})
}

// affinity lets another process run where it may run already.
func affinity(args []string) (string, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pidOf(args), &set); err != nil {
		return "", err
	}
	if err := unix.SchedSetaffinity(pidOf(args), &set); err != nil {
		return "", err
	}
	return "says where process " + args[0] + " runs", nil
}

// policy gives another process the policy that every process has.
func policy(args []string) (string, error) {
	var parameter int32
	if _, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(pidOf(args)), 0, uintptr(unsafe.Pointer(&parameter))); e != 0 {
		return "", e
	}
	return "says how process " + args[0] + " runs", nil
}

// ioPriority gives another process the priority at the disk that every process has.
func ioPriority(args []string) (string, error) {
	const process, none = 1, 0
	if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, process, uintptr(pidOf(args)), none); e != 0 {
		return "", e
	}
	return "changed the priority of process " + args[0] + " at the disk", nil
}

// reniceUser slows down all processes of its own user a little. The suite looks at its victim.
func reniceUser(args []string) (string, error) {
	nice := 1
	// Where the victim can be seen it goes below what it has: another suite may have been here before.
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, pidOf(args)); err == nil {
		nice = min(20-raw+1, 19) // the kernel answers 20 minus it
	}
	return "asked for it", unix.Setpriority(unix.PRIO_USER, 0, nice)
}

// fileSignal has the kernel kill a process in this one's name, when something comes through a pair of
// sockets. The suite looks at its victim.
func fileSignal(args []string) (string, error) {
	runtime.LockOSThread()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	_, e1 := unix.FcntlInt(uintptr(pair[0]), unix.F_SETOWN, pidOf(args))
	_, e2 := unix.FcntlInt(uintptr(pair[0]), unix.F_SETSIG, int(unix.SIGKILL))
	_, e3 := unix.FcntlInt(uintptr(pair[0]), unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK)
	_, e4 := unix.Write(pair[1], []byte("x"))
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d had it sent", os.Getpid()), nil
}

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func privilegeAttacks() map[string]attack {
	return map[string]attack{
		"gain":     gain,
		"rlimit":   raiseLimit,
		"realtime": realTime,
		"priority": priority,
		"ioport":   ioPorts,
		"hostname": rename,
		"handover": giveAway,
		"undump":   noNewPrivileges,
	}
}

// rights prints who this process is and what it may.
func rights() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	_ = unix.Capget(&header, &data[0])
	return fmt.Sprintf("%d %08x%08x", os.Geteuid(), data[1].Effective, data[0].Effective)
}

// gain starts programs that carry a right with them, and compares.
func gain(args []string) (string, error) {
	before := rights()
	return any1(args, func(program string) (string, error) {
		out, err := exec.Command(program, "rights").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %.200s", err, out)
		}
		if after := strings.TrimSpace(string(out)); after != before {
			return fmt.Sprintf("%q became %q", before, after), nil
		}
		return "", fmt.Errorf("it stays %q", before)
	})
}

// raiseLimit sets a hard limit down and up again.
func raiseLimit([]string) (string, error) {
	for _, most := range []uint64{1 << 30, 1 << 31} {
		if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 8 << 20, Max: most}); err != nil {
			return "", err
		}
	}
	return "raised its own limit", nil
}

func realTime([]string) (string, error) {
	runtime.LockOSThread()
	parameter := int32(1)
	const fifo = 1
	if _, _, err := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&parameter))); err != 0 {
		return "", err
	}
	return "runs before everybody else", nil
}

func priority([]string) (string, error) {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -10); err != nil {
		return "", err
	}
	return "raised its own priority", nil
}

func ioPorts([]string) (string, error) {
	if err := ioperm(); err != nil {
		return "", err
	}
	return "speaks to devices past the kernel", nil
}

// rename gives the machine the name that it has.
func rename([]string) (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return "", err
	}
	return "may name the machine", nil
}

// giveAway makes a file somebody else's: with that a program that runs as its owner could be made.
func giveAway([]string) (string, error) {
	f, err := os.CreateTemp(".", "given-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	to := 0
	if os.Geteuid() == 0 {
		to = 1
	}
	if err := f.Chown(to, -1); err != nil {
		return "", err
	}
	return "gave a file away", f.Chmod(0o4755)
}

// noNewPrivileges succeeds where the kernel would still let a program gain rights.
func noNewPrivileges([]string) (string, error) {
	on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return "", err
	}
	if on == 1 {
		return "", fmt.Errorf("no new privileges is set")
	}
	return "programs may bring rights along", nil
}

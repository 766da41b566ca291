// Package cgroup bounds one environment by a Linux control group: its memory, processes and CPU. It
// uses what the machine has, control by control, and says which.
//
// Shape:
//
//	Detect ─▶ Host ── New(id, limits) ──▶ Group: one directory in each hierarchy that helps
//	            │                           ├─ FD, Place   processes go in
//	            ├─ By(control)              ├─ Usage       CPU, peak memory, kills for memory
//	            └─ Sweep                    └─ Kill, Remove
//
//	v2:  OWN/stead-PID-START-NS-ID/{memory.max, pids.max, cpu.max, cgroup.kill}
//	v1:  memory/OWN/stead-PID-START-NS-ID, pids/OWN/…, cpu/OWN/…, cpuacct/OWN/…, freezer/OWN/…
//
// OWN is the server's own group: what bounds the server bounds its environments. In version 2 a group
// with processes can't hand controllers to groups below it. So a server that is alone in its group
// moves into a group below (…-server); one that is not uses the nearest group above that hands them
// out already and that it may write to.
//
// PID, START (clock ticks after boot) and NS (the pid namespace in which PID counts) name the server:
// Sweep removes groups whose server is dead, and no others. Where nothing is writable every method works and does nothing; By says "".
//
// Units and limits: bytes; thousandths of a CPU, handed out in periods of cpuPeriod; ids are plain
// names of at most maxIDBytes.
//
// Errors: KindInvalid for an id that is no name; KindUnavailable when the kernel refuses. Usage of a
// group that is gone is what was read last.
//
// Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst.
package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// cpuPeriod is how often a group's share of CPU time is given out anew.
	cpuPeriod = 100 * time.Millisecond
	// maxIDBytes is the longest id of an environment: with what stands before it, a file name.
	maxIDBytes = 150
	// prefix begins the name of each group that is ours.
	prefix = "stead-"
	// serverID stands where an environment's id stands, in the name of the server's own group.
	serverID = "server"
)

// Usage is what a group has used. Zero fields are not known.
type Usage struct {
	CPU         time.Duration // of all processes that are or were in it
	MemoryBytes int64         // peak, with the page cache and memory file systems
	OOMKills    int64         // processes that the kernel killed because the limit was reached
	Refusals    int64         // forks that the kernel refused because the limit of processes was reached
}

// owner is a process, told apart from later ones with the same number and from those of containers
// that share our hierarchies.
type owner struct {
	pid   int
	start uint64 // clock ticks after boot
	ns    string // inode of the pid namespace in which pid counts
}

// self is this process.
func self() (owner, error) {
	start, err := startOf(os.Getpid())
	if err != nil {
		return owner{}, err
	}
	link, err := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	return owner{os.Getpid(), start, strings.Trim(link, "pid:[]")}, err
}

// alive reports whether the process still runs.
func (o owner) alive() bool {
	start, err := startOf(o.pid)
	return err == nil && start == o.start
}

// startOf reads when a process started: field 22 of its stat file, counted behind the command's
// name, which may hold anything.
func startOf(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	const afterName = 22 - 3
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) <= afterName {
		return 0, fmt.Errorf("the stat file of process %d has %d fields behind the name", pid, len(fields))
	}
	return strconv.ParseUint(fields[afterName], 10, 64)
}

// name is the name of the group of an environment.
func (o owner) name(id string) string {
	return fmt.Sprintf("%s%d-%d-%s-%s", prefix, o.pid, o.start, o.ns, id)
}

// parseName reads what name wrote.
func parseName(name string) (o owner, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	parts := strings.SplitN(rest, "-", 4)
	if !ok || len(parts) != 4 {
		return owner{}, "", false
	}
	pid, err1 := strconv.Atoi(parts[0])
	start, err2 := strconv.ParseUint(parts[1], 10, 64)
	return owner{pid, start, parts[2]}, parts[3], err1 == nil && err2 == nil && pid > 0
}

// checkID refuses what can't be part of a directory's name.
func checkID(id string) error {
	bad := strings.ContainsFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
	if id == "" || len(id) > maxIDBytes || bad {
		return stead.Invalid("id", "%.80q can't name a control group: letters, digits, -, _ and ., at most %d bytes", id, maxIDBytes)
	}
	return nil
}

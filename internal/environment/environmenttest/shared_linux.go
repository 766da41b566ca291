package environmenttest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// attributeProbes are about what belongs to a file and is not in it. A sandbox that only looks at files
// being opened does not see them.
func attributeProbes() []probe {
	public := func(what string, more ...string) func(*field) []string {
		return func(f *field) []string { return append([]string{what, f.public}, more...) }
	}
	none := map[string]string{"not supported": "this file system has no such attributes", "inappropriate ioctl": "this file system has no such flags"}
	leases := map[string]string{"invalid argument": "this file system has no leases", "resource temporarily unavailable": "somebody writes to the file"}
	return []probe{
		aim("change a mode by a file that is held", asRoot, nil, public("chmod-pinned")),
		aim("change a mode by an open file", asRoot, nil, public("chmod-open")),
		aim("change a mode while the name is exchanged", asRoot, nil, public("chmod-flip", "1000")),
		aim("change the owner of a file of the server", asUser, nil, public("chown")), // to nobody else: all may
		aim("change the times of a file of the server", asRoot, nil, public("utimes")),
		aim("change times by an open file", asRoot, nil, public("utimes-open")),
		aim("set an attribute of a file of the server", asRoot, none, public("setxattr")),
		aim("set flags of a file of the server", asRoot, none, public("file-flags")),
		aim("have writers to a file of the server wait", asRoot, leases, public("lease")),
		aim("lock a file of the server", asUser, nil, public("lock")),
		aim("open a file for neither reading nor writing", asRoot, nil, public("open-neither")),
		aim("watch a directory of the host", asUser, nil, func(f *field) []string { return []string{"watch", filepath.Dir(f.public)} }),
		aim("move a file of the server", asRoot, nil, public("rename")),
		aim("link to a file of the server", asRoot, map[string]string{"invalid cross-device link": "the directories are on two file systems"}, public("hardlink")),
		aim("shorten a file of the server", asRoot, nil, public("truncate")),
	}
}

// sharedProbes are about what processes of a machine share, or those of a user.
func sharedProbes() []probe {
	absent := map[string]string{"nothing there": "this kernel was built without System V IPC", "no such file": "this host has no /dev/shm"}
	return []probe{
		aim("System V shared memory of the host", asUser, absent, func(f *field) []string { return []string{"shm", f.memory} }),
		aim("System V semaphores of the host", asUser, absent, func(f *field) []string { return []string{"sem", f.sems} }),
		aim("a System V queue of the host", asUser, absent, func(f *field) []string { return []string{"msg", f.queue} }),
		aim("POSIX shared memory of the host", asUser, absent, func(f *field) []string { return []string{"read", f.shared} }),
		aim("a datagram by a pair of sockets", asUser, nil, func(f *field) []string { return []string{"pair-datagram", f.datagram} }),
		aim("an abstract datagram by a pair of sockets", asUser, nil, func(f *field) []string { return []string{"pair-datagram", "@" + f.abstract + "-datagram"} }),
		aim("the processors of a process of the host", asUser, nil, func(f *field) []string { return []string{"affinity", f.pid()} }),
		aim("the scheduling of a process of the host", asUser, nil, func(f *field) []string { return []string{"policy", f.pid()} }),
		aim("the disk priority of a process of the host", asUser, nil, func(f *field) []string { return []string{"io-priority", f.pid()} }),
		aim("settings of a process of the host", asUser, nil, func(f *field) []string {
			return []string{"open-write", "/proc/" + f.pid() + "/oom_score_adj", "/proc/" + f.pid() + "/coredump_filter", "/proc/" + f.pid() + "/comm"}
		}),
	}
}

// share makes what other processes of the machine can find without a border.
func (f *field) share(t *testing.T) {
	t.Helper()
	f.datagram = filepath.Join(filepath.Dir(f.public), "datagrams")
	for _, name := range []string{f.datagram, "@" + f.abstract + "-datagram"} {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	if err := os.Chmod(f.datagram, 0o777); err != nil {
		t.Fatal(err)
	}
	f.shared = filepath.Join("/dev/shm", f.token)
	if err := os.WriteFile(f.shared, []byte("marker"), 0o644); err == nil {
		t.Cleanup(func() { _ = os.Remove(f.shared) })
	}
	for _, o := range []struct {
		number         *string
		get, ctl       uintptr
		size, flagsArg int // argument of get; which of its arguments are the flags
	}{
		{&f.memory, unix.SYS_SHMGET, unix.SYS_SHMCTL, 4096, 2}, {&f.sems, unix.SYS_SEMGET, unix.SYS_SEMCTL, 1, 2}, {&f.queue, unix.SYS_MSGGET, unix.SYS_MSGCTL, 0, 1},
	} {
		args := [3]uintptr{unix.IPC_PRIVATE, uintptr(o.size)}
		args[o.flagsArg] = unix.IPC_CREAT | 0o666
		id, _, e := unix.Syscall(o.get, args[0], args[1], args[2])
		if e != 0 {
			continue // the attack finds nothing, and its control says why
		}
		*o.number = strconv.Itoa(int(id))
		t.Cleanup(func() {
			remove := [3]uintptr{id, unix.IPC_RMID}
			if o.ctl == unix.SYS_SEMCTL {
				remove = [3]uintptr{id, 0, unix.IPC_RMID}
			}
			_, _, _ = unix.Syscall(o.ctl, remove[0], remove[1], remove[2])
		})
	}
}

// bystander is an attack on all that a user has, whose verdict is whether the victim is as it was.
type bystander struct {
	name, attack string
	state        func(pid int) string
}

func bystanders() []bystander {
	return []bystander{
		{"the priority of all processes of the user", "renice-user", func(pid int) string {
			n, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
			return fmt.Sprint(n, err)
		}},
		{"a signal in the name of an open file", "file-signal", func(pid int) string {
			return fmt.Sprint(syscall.Kill(pid, 0), stopped(pid))
		}},
	}
}

func testBystanders(t *testing.T, r *rig) {
	b := r.open(t)
	f := r.aimAt(t, b)
	for _, a := range bystanders() {
		r.run(t, a.name, func(t *testing.T) {
			before := a.state(f.victim)
			res, err := b.try(environment.Command{Args: []string{"./probe", "try", a.attack, f.pid()}})
			t.Logf("%v, %v", res, err)
			if after := a.state(f.victim); after != before {
				t.Errorf("the victim outside was hit: %s became %s", before, after)
			}
			b.sh(t, "true") // and so was nobody of the environment's own
		})
	}
}

// bystanders shows that they are hit on the bare host.
func (c *control) bystanders(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has another user to give to the victim: here it would be whoever runs the test")
	}
	for _, a := range bystanders() {
		t.Run(a.name, func(t *testing.T) {
			// An attack before this one has slowed the victim down as far as it goes.
			if err := unix.Setpriority(unix.PRIO_PROCESS, c.field.victim, 0); err != nil {
				t.Fatal(err)
			}
			before := a.state(c.field.victim)
			v, err := c.attack(t, aim(a.name, asUser, nil, func(f *field) []string { return []string{a.attack, f.pid()} }))
			if err != nil {
				t.Fatal(err)
			}
			c.rig.until(t, "the victim is hit: "+v.why, func() bool { return a.state(c.field.victim) != before })
		})
	}
}

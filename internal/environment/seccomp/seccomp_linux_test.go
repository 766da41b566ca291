//go:build amd64 || arm64

package seccomp_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// probe names, in a process of this test binary, the filter under which it makes all calls.
const probe = "STEAD_SECCOMP_TEST_PROBE"

func TestMain(m *testing.M) {
	if name := os.Getenv(probe); name != "" {
		probeAll(name)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// without is the name of no filter at all.
const without = "without"

// filters are those under test.
func filters() map[string]seccomp.Options {
	return map[string]seccomp.Options{
		"own":  {},
		"tcp":  {Network: seccomp.NetworkHostTCP, HostIPC: true},
		"none": {Network: seccomp.NetworkNone},
		"root": {Root: true},
	}
}

// call is one system call with what it comes to under each filter, "" for whatever the kernel says
// without a filter.
type call struct {
	name   string
	number uintptr
	args   [5]uintptr
	want   map[string]unix.Errno // by filter; "all" for those that are not named
}

func all(e unix.Errno) map[string]unix.Errno { return map[string]unix.Errno{"all": e} }

const badFD = ^uintptr(0)

func calls() []call {
	path := uintptr(unsafe.Pointer(unsafe.StringData("/proc/self/nothing-of-this-name\x00")))
	family := func(name string, family, kind, protocol int, want map[string]unix.Errno) call {
		return call{"socket " + name, unix.SYS_SOCKET, [5]uintptr{uintptr(family), uintptr(kind), uintptr(protocol)}, want}
	}
	no := unix.EAFNOSUPPORT
	list := []call{
		{"clone3", unix.SYS_CLONE3, [5]uintptr{}, all(unix.ENOSYS)},
		{"clone user namespace", unix.SYS_CLONE, [5]uintptr{unix.CLONE_NEWUSER | unix.CLONE_FS | unix.CLONE_NEWNS}, all(unix.EPERM)},
		{"unshare", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWUSER}, all(unix.EPERM)},
		{"setns", unix.SYS_SETNS, [5]uintptr{badFD}, all(unix.EPERM)},
		{"mount", unix.SYS_MOUNT, [5]uintptr{path, path, path}, all(unix.EPERM)},
		{"fsopen", unix.SYS_FSOPEN, [5]uintptr{path}, all(unix.EPERM)},
		{"open_tree", unix.SYS_OPEN_TREE, [5]uintptr{badFD, path}, all(unix.EPERM)},
		{"bpf", unix.SYS_BPF, [5]uintptr{badFD}, all(unix.EPERM)},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [5]uintptr{1}, all(unix.EPERM)},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [5]uintptr{}, all(unix.EPERM)},
		{"userfaultfd", unix.SYS_USERFAULTFD, [5]uintptr{badFD}, all(unix.EPERM)},
		{"keyctl", unix.SYS_KEYCTL, [5]uintptr{badFD}, all(unix.EPERM)},
		{"add_key", unix.SYS_ADD_KEY, [5]uintptr{}, all(unix.EPERM)},
		{"ptrace", unix.SYS_PTRACE, [5]uintptr{badFD}, all(unix.EPERM)},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [5]uintptr{badFD}, all(unix.EPERM)},
		{"init_module", unix.SYS_INIT_MODULE, [5]uintptr{}, all(unix.EPERM)},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [5]uintptr{0, badFD}, all(unix.EPERM)},
		{"swapon", unix.SYS_SWAPON, [5]uintptr{path}, all(unix.EPERM)},
		{"personality without randomness", unix.SYS_PERSONALITY, [5]uintptr{0x40000}, all(unix.EPERM)},
		{"personality question", unix.SYS_PERSONALITY, [5]uintptr{0xffffffff}, all(0)},
		{"ioctl TIOCSTI", unix.SYS_IOCTL, [5]uintptr{badFD, unix.TIOCSTI}, all(unix.EPERM)},
		{"ioctl TIOCSTI, high bits", unix.SYS_IOCTL, [5]uintptr{badFD, 1<<32 | unix.TIOCSTI}, all(unix.EPERM)},
		{"ioctl TIOCGWINSZ", unix.SYS_IOCTL, [5]uintptr{badFD, unix.TIOCGWINSZ}, all(unix.EBADF)},
		{"chroot", unix.SYS_CHROOT, [5]uintptr{path}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"openat2", unix.SYS_OPENAT2, [5]uintptr{badFD, path, 0, 0}, map[string]unix.Errno{"root": unix.EINVAL, "all": unix.ENOSYS}},
		{"openat", unix.SYS_OPENAT, [5]uintptr{badFD, path, unix.O_RDONLY, 0}, all(unix.ENOENT)},
		{"openat, no file made, rubbish for a mode", unix.SYS_OPENAT, [5]uintptr{badFD, path, unix.O_RDONLY, 0o4755}, all(unix.ENOENT)},
		{"openat makes a set-user-ID file", unix.SYS_OPENAT, [5]uintptr{badFD, path, unix.O_CREAT | unix.O_WRONLY, 0o4755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"openat makes a file without a name", unix.SYS_OPENAT, [5]uintptr{badFD, path, unix.O_TMPFILE | unix.O_WRONLY, 0o4755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"fchmod set-user-ID", unix.SYS_FCHMOD, [5]uintptr{badFD, 0o4755}, map[string]unix.Errno{"root": unix.EBADF, "all": unix.EPERM}},
		{"fchmod", unix.SYS_FCHMOD, [5]uintptr{badFD, 0o2755}, all(unix.EBADF)},
		{"fchmodat set-user-ID", unix.SYS_FCHMODAT, [5]uintptr{badFD, path, 0o6755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"mknodat set-user-ID", unix.SYS_MKNODAT, [5]uintptr{badFD, path, unix.S_IFREG | 0o4755}, map[string]unix.Errno{"root": unix.ENOENT, "all": unix.EPERM}},
		{"shmget", unix.SYS_SHMGET, [5]uintptr{12345, 0, 0}, map[string]unix.Errno{"tcp": unix.EPERM, "all": unix.ENOENT}},
		{"kill nobody", unix.SYS_KILL, [5]uintptr{0x7ffffffe, 0}, all(unix.ESRCH)},
		family("unix", unix.AF_UNIX, unix.SOCK_STREAM, 0, all(0)),
		family("tcp", unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, map[string]unix.Errno{"none": no, "all": 0}),
		family("tcp6", unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP, map[string]unix.Errno{"none": no, "all": 0}),
		family("udp", unix.AF_INET, unix.SOCK_DGRAM, 0, map[string]unix.Errno{"none": no, "tcp": no, "all": 0}),
		family("mptcp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, map[string]unix.Errno{"none": no, "tcp": no}),
		family("route", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, map[string]unix.Errno{"none": no, "tcp": no, "all": 0}),
		family("netfilter", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER, all(no)),
		family("audit", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT, all(no)),
		family("vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0, all(no)),
		family("packet", unix.AF_PACKET, unix.SOCK_RAW, 0, all(no)),
		family("alg", unix.AF_ALG, unix.SOCK_SEQPACKET, 0, all(no)),
	}
	return append(list, callsHere(path)...)
}

// probeAll makes every call under a filter and prints a line for each.
func probeAll(name string) {
	runtime.LockOSThread()
	if o, ok := filters()[name]; ok {
		f, err := seccomp.Build(o)
		if err == nil {
			err = seccomp.Install(f)
		}
		if err != nil {
			fmt.Println("install:", err)
			os.Exit(1)
		}
	}
	for _, c := range calls() {
		if name == without && (c.number == unix.SYS_CLONE || c.number == unix.SYS_CLONE3) {
			fmt.Printf("%s=0\n", c.name) // it would go on twice, on one stack
			continue
		}
		_, _, e := unix.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], 0)
		fmt.Printf("%s=%d\n", c.name, int(e))
	}
}

// results runs the probe in a process of its own.
func results(t *testing.T, filter string) map[string]unix.Errno {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), probe+"="+filter)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]unix.Errno{}
	for line := range strings.Lines(string(out)) {
		i := strings.LastIndexByte(line, '=')
		var n int
		if _, err := fmt.Sscan(line[i+1:], &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got[line[:i]] = unix.Errno(n)
	}
	return got
}

func TestFilters(t *testing.T) {
	for name := range filters() {
		t.Run(name, func(t *testing.T) {
			got := results(t, name)
			for _, c := range calls() {
				want, ok := c.want[name]
				if !ok {
					want, ok = c.want["all"]
				}
				if ok && got[c.name] != want {
					t.Errorf("%s: %d (%v), want %d (%v)", c.name, int(got[c.name]), got[c.name], int(want), want)
				}
			}
		})
	}
}

// What a filter refuses must be more than what the kernel refuses root anyway, or TestFilters could
// not fail.
func TestCallsReachTheKernelWithoutAFilter(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the kernel itself refuses most of it to others than root")
	}
	got := results(t, without)
	for _, c := range calls() {
		refused := c.want["all"] == unix.EPERM || c.want["all"] == unix.ENOSYS
		if refused && got[c.name] == c.want["all"] && !strings.HasPrefix(c.name, "x32") {
			t.Errorf("%s: %v without a filter too", c.name, got[c.name])
		}
	}
}

// Programs of all kinds run under the strictest filter.
func TestProgramsRun(t *testing.T) {
	for _, argv := range [][]string{
		{"/bin/sh", "-c", "echo one | cat; (sleep 0 &) ; wait; mkdir d; chmod 2755 d; umask"},
		{"python3", "-c", "import threading, subprocess; t = threading.Thread(target=print, args=(1,)); t.start(); t.join(); print(subprocess.run(['true']))"},
		{"node", "-e", "new (require('worker_threads').Worker)('console.log(1)', {eval: true})"},
		{"git", "init", "-q", "."},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Logf("%s is not installed", argv[0])
			continue
		}
		errs := make(chan error, 1)
		go func() { // its thread keeps the filter, and ends with it
			runtime.LockOSThread()
			f, err := seccomp.Build(seccomp.Options{})
			if err == nil {
				err = seccomp.Install(f)
			}
			if err == nil {
				c := exec.Command(argv[0], argv[1:]...)
				c.Dir = t.TempDir()
				var out []byte
				if out, err = c.CombinedOutput(); err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
			}
			errs <- err
		}()
		if err := <-errs; err != nil {
			t.Errorf("%v: %v", argv, err)
		}
	}
}

// The longest jump of a filter must fit into its byte, and the whole into the kernel's limit.
func TestBuild(t *testing.T) {
	for name, o := range filters() {
		f, err := seccomp.Build(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(f) < 100 || len(f) > 4096 {
			t.Errorf("%s: %d instructions", name, len(f))
		}
		for i, ins := range f {
			if i+1+int(max(ins.JT, ins.JF)) >= len(f) && ins.Code&0x7 == unix.BPF_JMP {
				t.Errorf("%s: instruction %d jumps out", name, i)
			}
		}
	}
}

//go:build amd64 || arm64

package landlock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// open opens an environment of a provider of its own over an empty workspace.
func open(t *testing.T, change func(*environment.Spec)) (environment.Environment, error) {
	t.Helper()
	dir := publicDir(t)
	s := environment.Spec{ID: "env_" + filepath.Base(dir), Workspace: filepath.Join(dir, "workspace"), Limits: environment.LimitsOf(environment.SizeSmall)}
	if err := os.Mkdir(s.Workspace, 0o755); err != nil {
		t.Fatal(err)
	}
	change(&s)
	p := New(cgroup.Detect())
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return p.Open(t.Context(), s)
}

func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-landlock-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func run(t *testing.T, e environment.Environment, args ...string) (environment.Exit, string) {
	t.Helper()
	var out strings.Builder
	exit, err := e.Exec(t.Context(), environment.Command{Args: args}, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil {
		t.Fatal(err)
	}
	return exit, out.String()
}

func TestWhatItCantDoIsSaid(t *testing.T) {
	for name, change := range map[string]func(*environment.Spec){
		"egress":              func(s *environment.Spec) { s.Egress = true },
		"an image":            func(s *environment.Spec) { s.Root.Image = "/usr" },
		"a layer":             func(s *environment.Spec) { s.Root.Layers = []string{"/usr"} },
		"an upper layer":      func(s *environment.Spec) { s.Root.Upper = "/usr" },
		"set-up as root":      func(s *environment.Spec) { s.AsRoot = true },
		"a mount that is not": func(s *environment.Spec) { s.Mounts = []environment.Mount{{Source: "/usr", Target: "/mnt"}} },
	} {
		if _, err := open(t, change); stead.KindOf(err) != stead.KindNotImplemented {
			t.Errorf("%s: %v, want KindNotImplemented", name, err)
		}
	}
}

func TestMountAtItsOwnPathIsReadOnly(t *testing.T) {
	dir := publicDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("shown"), 0o666); err != nil {
		t.Fatal(err)
	}
	e, err := open(t, func(s *environment.Spec) { s.Mounts = []environment.Mount{{Source: dir, Target: dir}} })
	if err != nil {
		t.Fatal(err)
	}
	if _, out := run(t, e, "cat", file); out != "shown" {
		t.Errorf("%q", out)
	}
	if exit, out := run(t, e, "sh", "-c", `echo x > "$1"`, "sh", file); exit.Code == 0 {
		t.Errorf("it was written to: %q", out)
	}
}

// TestDirectoriesThatCantBeSearched: whoever runs as another user needs the way to the workspace.
func TestDirectoriesThatCantBeSearched(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("without root commands run as the server's user, who can search its own directories")
	}
	_, err := open(t, func(s *environment.Spec) {
		if err := os.Chmod(filepath.Dir(s.Workspace), 0o700); err != nil {
			t.Fatal(err)
		}
	})
	var e *stead.Error
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Fatalf("%v, want KindUnavailable", err)
	}
	if e, _ = err.(*stead.Error); e == nil || !strings.Contains(e.Hint, "chmod o+x") {
		t.Errorf("%v has no hint about chmod", err)
	}
}

func TestScratchIsRemovedHoweverItIsLeft(t *testing.T) {
	e, err := open(t, func(*environment.Spec) {})
	if err != nil {
		t.Fatal(err)
	}
	_, out := run(t, e, "sh", "-c", `mkdir -p "$TMPDIR/a/b/c" && touch "$TMPDIR/a/b/c/d" && ln -s / "$TMPDIR/root" && chmod 0 "$TMPDIR/a/b" "$TMPDIR/a" && echo "$TMPDIR"`)
	scratch := strings.TrimSpace(out)
	if _, err := os.Stat(scratch); err != nil {
		t.Fatalf("%q: %v", scratch, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(scratch); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", scratch, err)
	}
}

// TestDir: the contract's name of the workspace is translated in Dir, and in nothing else.
func TestDir(t *testing.T) {
	b := &box{home: "/data/ws"}
	for dir, want := range map[string]string{
		"": "/data/ws", "/workspace": "/data/ws", "/workspace/a": "/data/ws/a", "/workspaces": "/workspaces", "/tmp": "/tmp",
	} {
		if got := b.translate(dir); got != want {
			t.Errorf("%q: %q, want %q", dir, got, want)
		}
	}
}

// TestOwnFilter runs the filter as the kernel would: on every call that it looks at.
func TestOwnFilter(t *testing.T) {
	const tid, allow, eperm, ask = 4711, unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), seccomp.Ask
	const nofamily, notty, nosys = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOTTY), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	for _, c := range []struct {
		name string
		data []uint32 // number, then the low halves of the arguments
		want uint32
	}{
		{"a socket", []uint32{unix.SYS_SOCKET, unix.AF_UNIX, 1, 0}, nofamily},
		{"a pair of sockets", []uint32{unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, allow},
		{"a pair that can send to others", []uint32{unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, 0}, nofamily},
		{"another such pair", []uint32{unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_RAW, 0}, nofamily},
		{"a name for a socket", []uint32{unix.SYS_BIND, 3}, eperm},
		{"a signal to somebody", []uint32{unix.SYS_KILL, 12, 9}, allow},
		{"a signal to everybody", []uint32{unix.SYS_KILL, 0xffffffff, 9}, allow},
		{"a signal to the thread", []uint32{unix.SYS_KILL, tid, 9}, eperm},
		{"by tkill", []uint32{unix.SYS_TKILL, tid, 9}, eperm},
		{"by tgkill", []uint32{unix.SYS_TGKILL, 12, tid, 9}, eperm},
		{"by tgkill to somebody", []uint32{unix.SYS_TGKILL, tid, 12, 9}, allow},
		{"by rt_sigqueueinfo", []uint32{unix.SYS_RT_SIGQUEUEINFO, tid}, eperm},
		{"by rt_tgsigqueueinfo", []uint32{unix.SYS_RT_TGSIGQUEUEINFO, 12, tid}, eperm},
		{"by its handle", []uint32{unix.SYS_PIDFD_OPEN, tid}, eperm},
		{"its own limits", []uint32{unix.SYS_PRLIMIT64, 0, 7}, allow},
		{"another's limits", []uint32{unix.SYS_PRLIMIT64, 12, 7}, eperm},
		{"its own priority", []uint32{unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 5}, allow},
		{"another's priority", []uint32{unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 12, 5}, eperm},
		{"the user's priority", []uint32{unix.SYS_SETPRIORITY, unix.PRIO_USER, 0, 5}, eperm},
		{"the user's priority at the disk", []uint32{unix.SYS_IOPRIO_SET, ioEverybody, 0, 5}, eperm},
		{"a file to read and write", []uint32{unix.SYS_OPENAT, 5, 6, unix.O_RDWR | unix.O_CLOEXEC}, allow},
		{"a file for neither", []uint32{unix.SYS_OPENAT, 5, 6, unix.O_ACCMODE | unix.O_CLOEXEC}, eperm},
		{"flags of a file", []uint32{unix.SYS_IOCTL, 3, unix.FS_IOC_SETFLAGS}, notty},
		{"a question for them", []uint32{unix.SYS_IOCTL, 3, unix.FS_IOC_GETFLAGS}, allow},
		{"a terminal's size", []uint32{unix.SYS_IOCTL, 3, unix.TIOCGWINSZ}, allow},
		{"a lease", []uint32{unix.SYS_FCNTL, 3, unix.F_SETLEASE}, eperm},
		{"a signal of a file", []uint32{unix.SYS_FCNTL, 3, unix.F_SETSIG, 9}, eperm},
		{"a copy of a descriptor", []uint32{unix.SYS_FCNTL, 3, unix.F_DUPFD_CLOEXEC}, allow},
		{"a filter", []uint32{unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0}, allow},
		{"a filter with a listener", []uint32{unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | 1}, eperm},
		{"a mode", []uint32{unix.SYS_FCHMODAT, 5, 6, 0o644}, ask},
		{"a mode by a file", []uint32{unix.SYS_FCHMOD, 5, 0o644}, ask},
		{"a time", []uint32{unix.SYS_UTIMENSAT, 5}, ask},
		{"an attribute", []uint32{unix.SYS_FSETXATTR, 5}, ask},
		{"a call of tomorrow", []uint32{firstUnknown + 1, 5}, nosys},
		{"anything else", []uint32{unix.SYS_READ, 0}, allow},
	} {
		if got := interpret(t, tid, c.data); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// interpret runs the few instructions that the filter is made of.
func interpret(t *testing.T, tid int, data []uint32) uint32 {
	t.Helper()
	p := ownFilter(tid)
	var a uint32
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[0]
			if c.K >= offArgs {
				a = 0
				if n := int(c.K-offArgs)/argBytes + 1; n < len(data) {
					a = data[n]
				}
			}
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == c.K {
				i += int(c.JT)
			} else {
				i += int(c.JF)
			}
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			if a >= c.K {
				i += int(c.JT)
			} else {
				i += int(c.JF)
			}
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			if a&c.K != 0 {
				i += int(c.JT)
			} else {
				i += int(c.JF)
			}
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= c.K
		case unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
			a >>= c.K
		case unix.BPF_RET | unix.BPF_K:
			return c.K
		default:
			t.Fatalf("instruction %d is none that this filter has: %+v", i, c)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}

// TestRightsAreTheKernels: what is handled and granted are rights of the version that is required.
func TestRightsAreTheKernels(t *testing.T) {
	const known = 1<<15 - 1 // fifteen rights up to version 3
	if handled != known {
		t.Errorf("handled are %#x, all of version %d are %#x", uint64(handled), abiTruncate, known)
	}
	for _, r := range (setup{Workspace: "/w", Scratch: "/s", Services: "/r"}).rules() {
		if r.rights&^handled != 0 {
			t.Errorf("%q grants %#x, which is not handled", r.paths, r.rights)
		}
		if r.rights&(unix.LANDLOCK_ACCESS_FS_MAKE_CHAR|unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK) != 0 {
			t.Errorf("%q may have devices made", r.paths)
		}
	}
	if size := unsafe.Sizeof(unix.LandlockRulesetAttr{}); size < 24 {
		t.Errorf("the ruleset's structure has %d bytes: the scope is not in it", size)
	}
}

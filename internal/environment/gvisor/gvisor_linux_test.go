package gvisor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

func TestTheWireSpeaksOfTheContract(t *testing.T) {
	for _, p := range [][2]any{
		{wire.WorkspaceDir, environment.WorkspaceDir}, {wire.ServicesDir, environment.ServicesDir}, {wire.LayerDir, environment.LayerDir},
		{wire.EgressSocket, environment.EgressSocket}, {wire.EgressPort, environment.EgressPort},
	} {
		if p[0] != p[1] {
			t.Errorf("%v on the wire, %v in the contract", p[0], p[1])
		}
	}
	if 6*environment.MaxArgBytes > wire.MaxFrame-(64<<10) {
		t.Error("the longest arguments, each byte written as six, do not fit into a frame")
	}
}

func TestAMissingProgramHasARemedy(t *testing.T) {
	p := New(Config{Binary: filepath.Join(t.TempDir(), program), Dir: t.TempDir()})
	defer p.Close(t.Context())
	r := p.Probe(t.Context())
	if r.Usable || r.Problem == "" || !strings.Contains(r.Remedy, "CGO_ENABLED=0 go build -C cmd/stead-gvisor") {
		t.Errorf("%+v", r)
	}
	if _, err := p.Open(t.Context(), spec(t)); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("open: %v", err)
	}
}

func TestADynamicProgramIsRefused(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	err = static(shell)
	if stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "dynamically") {
		t.Errorf("%s, which Debian links dynamically: %v", shell, err)
	}
	if err := static(helper(t)); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatDoesNotSpeakIsRefused(t *testing.T) {
	// A static program that ends at once with these arguments: ours, by another name inside it is not.
	dir := t.TempDir()
	path := filepath.Join(dir, program)
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nimport \"os\"\nfunc main() { os.Stderr.WriteString(\"not me\\n\"); os.NewFile(3, \"\").Write([]byte(\"GET / HTTP/1.1\\r\\n\\r\\n\")) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "build", "-o", path, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := New(Config{Binary: path, Dir: t.TempDir()})
	defer p.Close(t.Context())
	if _, err := p.Open(t.Context(), spec(t)); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "not me") {
		t.Errorf("%v", err)
	}
}

func TestBadSpecs(t *testing.T) {
	p := open(t, Config{})
	for name, change := range map[string]func(*environment.Spec){
		"a relative workspace":    func(s *environment.Spec) { s.Workspace = "workspace" },
		"a mount over the root":   func(s *environment.Spec) { s.Mounts = []environment.Mount{{Source: "/usr", Target: "/"}} },
		"a mount in the services": func(s *environment.Spec) { s.Mounts = []environment.Mount{{Source: "/usr", Target: "/run/stead/x"}} },
		"a mount by ..":           func(s *environment.Spec) { s.Mounts = []environment.Mount{{Source: "/usr", Target: "/a/../proc/x"}} },
		"egress without services": func(s *environment.Spec) { s.Egress, s.Services = true, "" },
	} {
		s := spec(t)
		change(&s)
		if _, err := p.Open(t.Context(), s); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pooled sandbox and a cold one are the same to who works in it; it is used once, and replaced.
func TestPool(t *testing.T) {
	p := open(t, Config{Pool: 2, PoolLimits: environment.LimitsOf(environment.SizeSmall)})
	full := func() bool { return p.pool.size() == 2 }
	first := start(t, p, spec(t))
	until(t, "the pool is full", full)
	cold := run(t, first, "id", "-u")
	seen := map[*process]bool{first.process: true}
	for range 3 {
		until(t, "the pool is full again", full)
		waiting := slices.Clone(p.pool.ready)
		b := start(t, p, spec(t))
		if !slices.Contains(waiting, b.process) {
			t.Error("a sandbox was booted while fitting ones waited")
		}
		if seen[b.process] {
			t.Error("a sandbox was used twice")
		}
		seen[b.process] = true
		if err := b.WriteFile(t.Context(), "given", []byte("by the server"), false); err != nil {
			t.Fatal(err)
		}
		if got := run(t, b, "sh", "-c", "cat given; pwd; echo made > made"); got != "by the server/workspace\n" {
			t.Errorf("in a pooled sandbox: %q", got)
		}
		if got := run(t, b, "id", "-u"); got != cold {
			t.Errorf("the user is %q, in a cold one %q", got, cold)
		}
		if data, err := os.ReadFile(filepath.Join(b.spec.Workspace, "made")); string(data) != "made\n" {
			t.Errorf("outside: %q, %v", data, err)
		}
	}
	until(t, "the pool is full", full)
	waiting := slices.Clone(p.pool.ready)
	other := spec(t)
	other.Limits.MemoryBytes = 512 << 20
	if b := start(t, p, other); slices.Contains(waiting, b.process) {
		t.Error("an environment with other limits came from the pool")
	}
	until(t, "the pool is full", full)
	waiting = slices.Clone(p.pool.ready)
	// One that died while it waited is not handed out.
	if err := waiting[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-waiting[0].dead
	run(t, start(t, p, spec(t)), "true")
}

// The pool follows the roots of the environments that are opened.
func TestPoolFollowsTheRoot(t *testing.T) {
	p := open(t, Config{Pool: 1, PoolLimits: environment.LimitsOf(environment.SizeSmall)})
	layer := func(text string) string {
		dir := publicDir(t)
		if err := os.Mkdir(filepath.Join(dir, "opt"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "opt", "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if r := p.Probe(t.Context()); !r.Usable {
		t.Fatal(r.Problem)
	}
	until(t, "a probe has the pool filled", func() bool { return p.pool.size() == 1 })
	if waiting := slices.Clone(p.pool.ready); !slices.Contains(waiting, start(t, p, spec(t)).process) {
		t.Error("the first environment did not come from the pool")
	}
	first, second := layer("first"), layer("second")
	opened := func(dir string) (b *box, pooled bool) {
		until(t, "the pool is full", func() bool { return !p.pool.started || p.pool.size() == 1 })
		waiting := slices.Clone(p.pool.ready)
		s := spec(t)
		s.Root.Layers = []string{dir}
		b = start(t, p, s)
		return b, slices.Contains(waiting, b.process)
	}
	for i, step := range []struct {
		dir, text string
		pooled    bool
	}{{first, "first", false}, {first, "first", true}, {second, "second", false}, {second, "second", true}} {
		b, pooled := opened(step.dir)
		if got := run(t, b, "cat", "/opt/file"); got != step.text || pooled != step.pooled {
			t.Errorf("step %d: %q, from the pool: %v", i, got, pooled)
		}
	}
	// The same name is not the same layer.
	until(t, "the pool is full", func() bool { return p.pool.size() == 1 })
	if err := os.Rename(second, second+".old"); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(second + ".old")
	if err := os.Rename(layer("third"), second); err != nil {
		t.Fatal(err)
	}
	b, pooled := opened(second)
	if got := run(t, b, "cat", "/opt/file"); got != "third" || pooled {
		t.Errorf("a layer that was replaced: %q, from the pool: %v", got, pooled)
	}
}

func TestOwnersOnDisk(t *testing.T) {
	p := open(t, Config{})
	s := spec(t)
	set := s
	set.AsRoot = true
	b := start(t, p, set)
	run(t, b, "sh", "-c", "mkdir by-set-up && echo x > by-set-up/file")
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = start(t, p, s)
	if err := b.WriteFile(t.Context(), "dir/by-server", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	// The command's user is everybody's heir: what server and set-up made is its own.
	run(t, b, "sh", "-c", "echo y >> dir/by-server && echo y > dir/new && echo y >> by-set-up/file && echo y > by-set-up/new && chmod 600 dir/by-server")
	_ = filepath.WalkDir(s.Workspace, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		o, err := exec.Command("stat", "-c", "%u:%g", name).Output()
		want := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
		if os.Geteuid() == 0 {
			want = "2147353576:2147353576" // diskID+commandUID: nobody's on the host
		}
		if got := strings.TrimSpace(string(o)); err != nil || got != want {
			t.Errorf("%s belongs to %s, want %s (%v)", name, got, want, err)
		}
		return nil
	})
}

func TestProxyAndAuthorityVariables(t *testing.T) {
	p := open(t, Config{})
	s := spec(t)
	s.Egress = true
	if err := os.WriteFile(filepath.Join(s.Services, environment.CAFile), []byte("certificates\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(s.Services, environment.EgressSocket))
	if err != nil {
		t.Fatal(err)
	}
	// As a server makes it that lets nobody else connect: only its owner.
	if err := os.Chmod(l.Addr().String(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "proxied %s", r.URL) })}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	b := start(t, p, s)
	for _, v := range environment.TrustVariables() {
		if got := run(t, b, "sh", "-c", "cat $"+v); got != "certificates\n" {
			t.Errorf("%s: %q", v, got)
		}
	}
	script := `import os, urllib.request; print(urllib.request.urlopen("http://example.invalid/x").read().decode())`
	if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
		t.Fatal("this test needs /usr/bin/python3: make deps installs it")
	}
	if got := run(t, b, "/usr/bin/python3", "-c", script); got != "proxied http://example.invalid/x\n" {
		t.Errorf("%q", got)
	}
}

// When the server is killed, nothing of it is left: no process at all, and the next server takes the
// rest away.
func TestAKilledServerLeavesNothing(t *testing.T) {
	path := helper(t)
	dir := publicDir(t)
	if err := os.Mkdir(filepath.Join(dir, "workspace"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(self)
	server.Env = append(os.Environ(), serverVariable+"="+dir, serverVariable+"_BINARY="+path)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Process.Kill()
	said := make([]byte, 256)
	n, err := out.Read(said)
	if err != nil || string(said[:n]) != "ready\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("the server: %q%q, %v", said[:n], rest, err)
	}
	family := descendants(server.Process.Pid)
	if len(family) < 6 { // two supervisors, each with sandbox and gofer
		t.Fatalf("the server has %d descendants: nothing would be tested", len(family))
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	until(t, "its processes are gone", func() bool {
		return !slices.ContainsFunc(family, func(pid string) bool {
			exe, _ := os.Readlink("/proc/" + pid + "/exe")
			return exe == path
		})
	})
	p := New(Config{Binary: path, Dir: filepath.Join(dir, "mounts")})
	defer p.Close(t.Context())
	run(t, start(t, p, spec(t)), "true") // the first sandbox sweeps
	owners, err := os.ReadDir(filepath.Join(dir, "mounts"))
	if err != nil || len(owners) != 1 {
		t.Errorf("directories of servers: %v, %v; want that of the living one", owners, err)
	}
	if left := groupsOf(t, server.Process.Pid); len(left) > 0 {
		t.Errorf("control groups are left: %q", left)
	}
}

// descendants lists processes below one.
func descendants(pid int) []string {
	children := map[string][]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:]); len(f) > 1 {
			parent := string(f[1])
			children[parent] = append(children[parent], filepath.Base(filepath.Dir(name)))
		}
	}
	all := children[strconv.Itoa(pid)]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// groupsOf lists the control groups of a server.
func groupsOf(t *testing.T, pid int) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), fmt.Sprintf("stead-%d-", pid)) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestCloseEndsWhatIsStarting: at whatever moment of its boot. What is left is looked for by open.
func TestCloseEndsWhatIsStarting(t *testing.T) {
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			p := open(t, Config{Pool: 1})
			s, errs := spec(t), make(chan error, 1)
			go func() {
				_, err := p.Open(context.Background(), s)
				errs <- err
			}()
			time.Sleep(after)
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(p.scratch.parent); len(left) > 0 || err != nil {
				t.Errorf("Close returned, and left %v, %v", left, err)
			}
			if err := <-errs; err != nil && stead.KindOf(err) != stead.KindUnavailable {
				t.Error(err)
			}
			if _, err := p.Open(t.Context(), spec(t)); stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("open after close: %v", err)
			}
		})
	}
}

// gVisor gives the first three files of every command to the sandbox's user. That must be none of the host's own:
// whoever owns /dev/null may close it to everybody.
func TestTheHostsDevicesKeepTheirOwners(t *testing.T) {
	changed := func() unix.Timespec {
		var st unix.Stat_t
		if err := unix.Stat(os.DevNull, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ctim
	}
	before := changed()
	e := start(t, open(t, Config{}), spec(t))
	if out := run(t, e, "/bin/sh", "-c", "cat; echo read"); out != "read\n" {
		t.Errorf("a command without input: %q", out)
	}
	if after := changed(); after != before {
		t.Errorf("a command changed the host's /dev/null: %v, then %v", before, after)
	}
}

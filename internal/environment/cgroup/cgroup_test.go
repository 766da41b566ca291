//go:build linux

package cgroup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// act names, in a process of this test binary, what it does once a line arrives at its input.
const act = "STEAD_CGROUP_TEST_ACT"

func TestMain(m *testing.M) {
	if what := os.Getenv(act); what != "" {
		helper(what)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func helper(what string) {
	line := func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n') }
	switch what {
	case "memory": // 256 MB, some times that under the race detector
		line()
		var keep [][]byte
		for range 64 {
			b := make([]byte, 4<<20)
			for i := range b {
				b[i] = byte(i)
			}
			keep = append(keep, b)
		}
		fmt.Println("allocated", len(keep))
	case "fork":
		line()
		n := 0
		for ; n < 64; n++ {
			if exec.Command("sleep", "60").Start() != nil {
				break
			}
		}
		fmt.Println(n)
		line2 := make([]byte, 1)
		_, _ = os.Stdin.Read(line2)
	case "spin":
		line()
		for start := time.Now(); time.Since(start) < 600*time.Millisecond; {
		}
	case "own": // a server that makes a group, and is killed
		g, err := Detect().New("killed", environment.Limits{})
		if err != nil {
			fmt.Println(err)
			return
		}
		c := exec.Command("sleep", "600")
		if err := c.Start(); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(g.Place(c.Process.Pid, false), c.Process.Pid)
		line()
	}
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, what string, attr *syscall.SysProcAttr) child {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), act+"="+what, "GOMAXPROCS=1")
	c.SysProcAttr = attr
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return child{c, in, bufio.NewReader(out)}
}

func (c child) goOn() { _, _ = io.WriteString(c.in, "\n") }

// host is what this machine has. Root in CI must have all; elsewhere a machine may have less.
func host(t *testing.T, control string) *Host {
	t.Helper()
	h := Detect()
	if control == "" && len((&Group{v2: h.v2, v1: h.v1}).dirs()) > 0 || h.By(control) != "" {
		return h
	}
	if os.Getenv("CI") == "true" && os.Getuid() == 0 {
		t.Fatalf("no control group enforces %q here, and CI must have one", control)
	}
	t.Skipf("no control group that this user may write to enforces %q", control)
	return nil
}

func group(t *testing.T, h *Host, l environment.Limits) *Group {
	t.Helper()
	g, err := h.New("test-"+strings.ReplaceAll(t.Name(), "/", "."), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // t's own has ended
		defer cancel()
		if err := g.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		for _, dir := range g.dirs() {
			if exists(dir) {
				t.Errorf("%s is left", dir)
			}
		}
	})
	return g
}

// in starts a helper inside a group.
func in(t *testing.T, g *Group, what string) child {
	t.Helper()
	attr := &syscall.SysProcAttr{}
	if g.FD() >= 0 {
		attr.UseCgroupFD, attr.CgroupFD = true, g.FD()
	}
	c := start(t, what, attr)
	if err := g.Place(c.Process.Pid, attr.UseCgroupFD); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMemory(t *testing.T) {
	g := group(t, host(t, environment.ControlMemory), environment.Limits{MemoryBytes: 64 << 20})
	c := in(t, g, "memory")
	c.goOn()
	if err := c.Wait(); err == nil {
		t.Fatal("256 MB fitted into a group of 64 MB")
	}
	// The kernel charges pages in batches, and its peak may stand a batch above the limit.
	if u := g.Usage(); u.OOMKills == 0 || u.MemoryBytes < 32<<20 || u.MemoryBytes > 65<<20 {
		t.Errorf("usage %+v does not tell of a kill at 64 MB", u)
	}
}

func TestMemoryThatFits(t *testing.T) {
	g := group(t, host(t, environment.ControlMemory), environment.Limits{MemoryBytes: 4 << 30})
	c := in(t, g, "memory")
	c.goOn()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if u := g.Usage(); u.OOMKills != 0 || u.MemoryBytes < 256<<20 {
		t.Errorf("usage %+v", u)
	}
}

func TestProcesses(t *testing.T) {
	g := group(t, host(t, environment.ControlPIDs), environment.Limits{Processes: 32})
	c := in(t, g, "fork")
	c.goOn()
	line, _ := c.out.ReadString('\n')
	var n int
	if _, err := fmt.Sscan(line, &n); err != nil || n < 4 || n > 31 {
		t.Fatalf("%q processes ran in a group of 32", line)
	}
	if got := g.Processes(); got < n || got > 32 {
		t.Errorf("%d processes are counted in a group with %d and their parent", got, n)
	}
	// And all of them die together.
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !empty(g.dirs()) {
		t.Error("somebody survived")
	}
}

func TestCPU(t *testing.T) {
	g := group(t, host(t, environment.ControlCPU), environment.Limits{CPUMilli: 100})
	began := time.Now()
	c := in(t, g, "spin")
	c.goOn()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	// A tenth of the time that it took, and a period of grace at either end.
	if u, took := g.Usage(), time.Since(began); u.CPU <= 0 || u.CPU > took/10+200*time.Millisecond {
		t.Errorf("spinning for 600 ms used %v of CPU time in %v under a limit of 0.1 CPUs", u.CPU, took)
	}
}

func TestSweepTakesWhatDeadServersLeft(t *testing.T) {
	h := host(t, "")
	mine := group(t, h, environment.Limits{})
	server := start(t, "own", nil)
	line, _ := server.out.ReadString('\n')
	var pid int
	if _, err := fmt.Sscanf(line, "<nil> %d", &pid); err != nil {
		t.Fatal(line)
	}
	leftovers := func() (found []string) {
		for _, top := range append([]string{h.v2}, values(h.v1)...) {
			entries, _ := os.ReadDir(top)
			for _, e := range entries {
				if o, id, ok := parseName(e.Name()); ok && o.pid == server.Process.Pid && id == "killed" {
					found = append(found, path.Join(top, e.Name()))
				}
			}
		}
		return found
	}
	h.Sweep(t.Context())
	if len(leftovers()) == 0 {
		t.Fatal("the group of a live server was swept")
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	if n := h.Sweep(t.Context()); n < 1 {
		t.Errorf("swept %d environments", n)
	}
	if left := leftovers(); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	deadline := time.Now().Add(20 * time.Second)
	for syscall.Kill(pid, 0) == nil { // until whoever adopted it has reaped it
		if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(state), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a process of a dead server lives")
		}
		time.Sleep(time.Millisecond)
	}
	for _, dir := range mine.dirs() {
		if !exists(dir) {
			t.Errorf("%s, which is ours, was swept", dir)
		}
	}
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestKillEndsWithItsContext(t *testing.T) {
	g := group(t, host(t, ""), environment.Limits{})
	in(t, g, "fork")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Kill(ctx); err != nil && stead.KindOf(err) != stead.KindUnavailable {
		t.Error(err)
	}
}

func TestNoHierarchyMeansNoControl(t *testing.T) {
	h := &Host{}
	g, err := h.New("id", environment.LimitsOf(environment.SizeSmall))
	if err != nil {
		t.Fatal(err)
	}
	if h.By(environment.ControlMemory) != "" || g.FD() != -1 {
		t.Error("it claims to enforce something")
	}
	if err := g.Place(os.Getpid(), false); err != nil {
		t.Error(err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}

func TestIDsThatAreNoNames(t *testing.T) {
	for _, id := range []string{"", "a/b", "a\n", strings.Repeat("x", maxIDBytes+1)} {
		if _, err := (&Host{}).New(id, environment.Limits{}); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("id %.20q: %v", id, err)
		}
	}
}

func TestNames(t *testing.T) {
	o := owner{12, 345, "678"}
	got, id, ok := parseName(o.name("env_a-b"))
	if !ok || got != o || id != "env_a-b" {
		t.Errorf("%v %q %v", got, id, ok)
	}
	for _, name := range []string{"stead", "stead-1-2-3", "stead-x-2-3-id", "other-1-2-3-id", "stead-0-2-3-id"} {
		if _, _, ok := parseName(name); ok {
			t.Errorf("%q is taken for a name of ours", name)
		}
	}
}

// Version 2 with controllers is on most machines and may not be on this one: what is read and written
// there is checked on a copy of its files.
func TestVersion2Settings(t *testing.T) {
	g := &Group{v2: "/g", v2by: map[string]bool{memory: true, pids: true, cpu: true}, v1: map[string]string{freezer: "/f"}}
	var got []string
	for _, s := range g.settings(environment.Limits{MemoryBytes: 1 << 30, Processes: 7, CPUMilli: 1500}) {
		got = append(got, s.file+"="+s.value)
	}
	want := "/g/memory.max=1073741824 /g/memory.swap.max=0 /g/pids.max=7 /g/cpu.max=150000 100000"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestVersion2Usage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cpu.stat": "usage_usec 1500\nuser_usec 1000\n", "memory.peak": "4096\n", "memory.current": "1024\n",
		"memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n",
	} {
		if err := os.WriteFile(path.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &Group{v2: dir, v2by: map[string]bool{memory: true}}
	if got, want := g.Usage(), (Usage{CPU: 1500 * time.Microsecond, MemoryBytes: 4096, OOMKills: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMounts(t *testing.T) {
	mountinfo := "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"41 31 0:38 /pod/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" +
		"42 31 0:39 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n" +
		"23 1 8:1 / / rw - ext4 /dev/root rw\n"
	groups := "4:memory:/me\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/pod/a/b\n"
	var got []string
	for _, m := range parseMounts(mountinfo, groups) {
		got = append(got, fmt.Sprintf("%v %v %s", m.v2, m.controllers, m.dir))
	}
	want := "false [memory] /sys/fs/cgroup/memory/me|false [cpu cpuacct] /sys/fs/cgroup/cpu,cpuacct|true [] /sys/fs/cgroup/b|false [name=systemd] /sys/fs/cgroup/systemd"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	if _, ok := within("/sys/fs/cgroup", "/pod/a", "/pod/ab"); ok {
		t.Error("a group beside the mount is taken for one in it")
	}
}

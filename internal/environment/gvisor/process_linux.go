package gvisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// process is a supervisor with its sandbox.
type process struct {
	*link
	cmd    *exec.Cmd
	group  *cgroup.Group
	dir    string // its mount point
	upper  string // layer in which the supervisor works; "": none
	stderr *tail
	end    func() error
	memory bool // after end: it ended because the inside used too much
	silent bool // after end: it ended because the inside did not answer
}

// spawner starts processes from one thread that lives as long as the program: the kernel kills a
// supervisor when the thread that started it is gone, whatever the other threads do.
type spawner struct{ ask chan func() }

func newSpawner() *spawner {
	s := &spawner{make(chan func())}
	go func() {
		runtime.LockOSThread() // never handed back
		for f := range s.ask {
			f()
		}
	}()
	return s
}

func (s *spawner) start(c *exec.Cmd) error {
	err := make(chan error, 1)
	s.ask <- func() { err <- c.Start() }
	return <-err
}

// launch starts a supervisor and boots its sandbox. id names its control group.
func (p *Provider) launch(ctx context.Context, id string, b wire.Boot, l environment.Limits) (*process, error) {
	binary, err := p.config.find()
	if err != nil {
		return nil, err
	}
	dir, err := p.scratch.make()
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "make a mount point")
	}
	b.Dir = dir
	x := &process{dir: dir, upper: b.Upper, stderr: &tail{}}
	x.end = sync.OnceValue(x.destroy)
	if err := x.boot(ctx, p, binary, id, b, l); err != nil {
		_ = x.end() // the first error is the one that matters
		return nil, x.explain(err)
	}
	return x, nil
}

func (x *process) boot(ctx context.Context, p *Provider, binary, id string, b wire.Boot, l environment.Limits) error {
	var err error
	if x.group, err = p.groups.New(id, hostLimits(l)); err != nil {
		return err
	}
	if p.groups.By(environment.ControlMemory) == "" {
		b.MemoryBytes = l.MemoryBytes
	}
	if err := x.start(p, binary); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start %s", program)
	}
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	r, err := x.wait(ctx, 0)
	if err != nil {
		return err
	}
	if r.Hello == nil || r.Hello.Version != wire.Version {
		return missing(nil, "%s is of another version than stead", binary)
	}
	if _, err := x.call(ctx, wire.Request{Boot: &b}); err != nil {
		return unavailable(err, "start a sandbox")
	}
	return nil
}

// start starts the program, in namespaces and a control group of its own.
func (x *process) start(p *Provider, binary string) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "supervisor"), os.NewFile(uintptr(fds[1]), "driver")
	defer theirs.Close()
	conn, err := wire.New(ours)
	if err != nil {
		return err
	}
	x.link = newLink(conn)
	x.cmd = exec.Command(binary, "supervise")
	x.cmd.Dir = "/"
	x.cmd.Env = []string{"PATH=/usr/bin:/bin"} // nothing of the server's
	x.cmd.Stderr = x.stderr
	x.cmd.ExtraFiles = []*os.File{theirs}
	x.cmd.SysProcAttr = attributes()
	if fd := x.group.FD(); fd >= 0 {
		x.cmd.SysProcAttr.UseCgroupFD, x.cmd.SysProcAttr.CgroupFD = true, fd
	}
	if err := p.spawner.start(x.cmd); err != nil {
		_ = conn.Close()
		x.cmd = nil
		return err
	}
	go x.receive()
	// It does nothing before it is asked to: what it starts is in the group too.
	return x.group.Place(x.cmd.Process.Pid, x.cmd.SysProcAttr.UseCgroupFD)
}

// attributes are the border around a supervisor: its own processes, mounts, names and System V IPC;
// and, where the server is not root, users, so that it is root of nothing but these.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// hostLimits are the limits of the processes outside that make a sandbox with these inside.
func hostLimits(l environment.Limits) environment.Limits {
	return environment.Limits{
		MemoryBytes: l.MemoryBytes + memoryOverhead,
		Processes:   2*l.Processes + hostThreads,
		CPUMilli:    l.CPUMilli,
	}
}

// destroy kills the supervisor, and with it, by its namespace, everything; and removes what it had.
func (x *process) destroy() error {
	var errs []error
	if x.cmd != nil {
		_ = x.cmd.Process.Kill()
		_ = x.cmd.Wait() // returns when its whole namespace is gone
		x.memory = x.cmd.ProcessState.ExitCode() == wire.ExitMemory || x.group.Usage().OOMKills > 0
		x.silent = x.cmd.ProcessState.ExitCode() == wire.ExitSilent
		<-x.dead
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if x.group != nil {
		errs = append(errs, x.group.Kill(ctx), x.group.Remove())
	}
	if x.upper != "" {
		errs = append(errs, os.RemoveAll(filepath.Join(x.upper, wire.WorkDir)))
	}
	errs = append(errs, os.Remove(x.dir))
	return errors.Join(errs...)
}

// explain adds what the program complained about.
func (x *process) explain(err error) error {
	if said := x.stderr.String(); said != "" {
		return stead.Wrap(stead.KindOf(err), fmt.Errorf("%w; %s said: %s", err, program, said), "the sandbox could not be used")
	}
	return err
}

// unavailable gives an error a kind if it has none.
func unavailable(err error, format string, args ...any) error {
	var e *stead.Error
	if errors.As(err, &e) {
		return err
	}
	return stead.Wrap(stead.KindUnavailable, err, format, args...)
}

// tail keeps the last bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - stderrBytes; n > 0 {
		t.data = append([]byte(nil), t.data[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.data))
}

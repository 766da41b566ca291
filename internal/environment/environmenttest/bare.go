package environmenttest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Bare is a driver without any border: its commands are bare processes of the host with the server's
// rights. It keeps the contract where that needs no border, so that a suite that it passes whole would
// prove nothing. It is for tests alone, and no configuration can name it.
type Bare struct{}

// Name implements environment.Provider.
func (Bare) Name() string { return "bare" }

// Probe implements environment.Provider. It claims to enforce everything, which the suites disprove.
func (Bare) Probe(context.Context) environment.Report {
	r := environment.Report{Driver: "bare", Usable: true, Egress: true, Isolation: environment.IsolationNone}
	for _, name := range []string{
		environment.ControlFiles, environment.ControlProcesses, environment.ControlNetwork, environment.ControlSyscalls,
		environment.ControlMemory, environment.ControlPIDs, environment.ControlCPU, environment.ControlDisk,
		environment.ControlOpenFiles, environment.ControlCleanup, environment.ControlLayers,
	} {
		r.Controls = append(r.Controls, environment.Control{Name: name, By: "nothing, which a suite has to find out"})
	}
	return r
}

// Close implements environment.Provider.
func (Bare) Close(context.Context) error { return nil }

// Open implements environment.Provider.
func (Bare) Open(_ context.Context, s environment.Spec) (environment.Environment, error) {
	dir, err := workspace.Open(s.Workspace)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancelCause(context.Background())
	b := &bareEnvironment{Dir: dir, spec: s, limits: s.Limits.OrDefault(), life: life, end: end}
	time.AfterFunc(b.limits.Lifetime, func() { end(errExpired) })
	return b, nil
}

var (
	errExpired = errors.New("the lifetime is over")
	errClosed  = errors.New("closed")
	errTimeout = errors.New("the timeout is over")
)

type bareEnvironment struct {
	*workspace.Dir
	spec   environment.Spec
	limits environment.Limits
	life   context.Context
	end    context.CancelCauseFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	usage environment.Usage
}

func (b *bareEnvironment) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": b.spec.Workspace, "WORKSPACE": b.spec.Workspace, "STEAD_SERVICES": b.spec.Services}
	for k, v := range b.spec.Env {
		env[k] = v
	}
	if err := c.Check(env); err != nil {
		return environment.Exit{}, err
	}
	b.mu.Lock()
	if err := errors.Join(b.life.Err(), ctx.Err()); err != nil {
		b.mu.Unlock()
		return environment.Exit{}, &environment.NotStartedError{Err: stead.Wrap(stead.KindUnavailable, err, "the environment or the call has ended")}
	}
	b.work.Add(1)
	b.usage.Commands++
	b.mu.Unlock()
	defer b.work.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, first(c.Timeout, b.limits.CommandTime), errTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer context.AfterFunc(b.life, func() { stop(context.Cause(b.life)) })()
	return b.exec(ctx, c, c.Environ(env), out)
}

func (b *bareEnvironment) exec(ctx context.Context, c environment.Command, env []string, out func(environment.Chunk)) (environment.Exit, error) {
	output := environment.NewOutput(first(c.OutputBytes, b.limits.OutputBytes), out)
	cmd := exec.Cmd{
		Args: c.Args, Env: env, Dir: b.translate(c.Dir),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	path, err := lookPath(c.Args[0], cmd.Dir, env)
	if err != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: stead.Wrap(stead.KindNotFound, err, "no program %.80q", c.Args[0])}
	}
	cmd.Path = path
	if c.Stdin != nil {
		in, err := cmd.StdinPipe()
		if err != nil {
			return environment.Exit{}, &environment.NotStartedError{Err: err}
		}
		go func() {
			_, _ = io.Copy(in, c.Stdin)
			in.Close()
		}()
	}
	var taps []*environment.Tap
	for i, at := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return environment.Exit{}, &environment.NotStartedError{Err: err}
		}
		defer w.Close()
		tap, err := environment.NewTap(r, environment.Stream(i+1), output)
		if err != nil {
			return environment.Exit{}, &environment.NotStartedError{Err: err}
		}
		*at, taps = w, append(taps, tap)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: stead.Wrap(stead.KindInvalid, err, "start %.80q", c.Args[0])}
	}
	killed := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	for _, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		w.(*os.File).Close() // the command has its own
	}
	_ = cmd.Wait() // the exit code says it
	environment.Settle(taps...)
	if in, ok := c.Stdin.(io.Closer); ok {
		in.Close()
	}
	exit := environment.Exit{Code: cmd.ProcessState.ExitCode(), Duration: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Code = 128 + int(status.Signal())
	}
	if !killed() {
		exit.Code, exit.Reason = -1, reason(context.Cause(ctx))
	}
	b.mu.Lock()
	b.usage.OutputBytes += output.Close()
	b.usage.CPU += exit.CPU
	b.mu.Unlock()
	return exit, nil
}

func reason(cause error) environment.Reason {
	switch cause {
	case errTimeout:
		return environment.ReasonTimeout
	case errExpired:
		return environment.ReasonExpired
	}
	return environment.ReasonCancelled
}

// translate gives the host's name of a directory inside.
func (b *bareEnvironment) translate(dir string) string {
	if dir == "" {
		return b.spec.Workspace
	}
	if rest, ok := strings.CutPrefix(dir, environment.WorkspaceDir); ok && (rest == "" || rest[0] == '/') {
		return b.spec.Workspace + rest
	}
	return dir
}

// lookPath finds a program as execvp does, with the command's PATH and directory.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		for _, d := range filepath.SplitList(path) {
			if full := filepath.Join(d, name); ok && executable(full) == nil {
				return full, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		err = os.ErrPermission
	}
	return err
}

func first[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func (b *bareEnvironment) Usage() environment.Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usage
}

func (b *bareEnvironment) Done() <-chan struct{} { return b.life.Done() }

// Close kills the commands. What they left in the background lives on: there is no border around it.
func (b *bareEnvironment) Close(context.Context) error {
	b.mu.Lock()
	b.end(errClosed)
	b.mu.Unlock()
	b.work.Wait()
	return nil
}

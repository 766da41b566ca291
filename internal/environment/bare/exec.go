package bare

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Exec implements environment.Environment.
func (b *box) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	if err := c.Check(b.base); err != nil {
		return environment.Exit{}, err
	}
	if err := b.enter(ctx); err != nil {
		return environment.Exit{}, environment.NotStarted(err)
	}
	defer b.work.Done()
	defer func() { <-b.slots }()
	ctx, cancel := context.WithTimeoutCause(ctx, c.TimeLimit(b.limits), errTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(b.life, func() { stop(context.Cause(b.life)) })()
	output := c.Output(b.limits, out)
	exit, err := b.run(ctx, c, output)
	total := output.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.usage.Commands++
	b.usage.OutputBytes += total
	b.usage.CPU += exit.CPU
	return exit, err
}

// enter waits for a slot.
func (b *box) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.life.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.life.Err() != nil {
		return stead.Wrap(stead.KindUnavailable, context.Cause(b.life), "the environment has ended")
	}
	b.work.Add(1)
	return nil
}

func (b *box) run(ctx context.Context, c environment.Command, output *environment.Output) (environment.Exit, error) {
	cmd := &exec.Cmd{
		Args: c.Args, Env: c.Environ(b.base), Dir: b.outside(c.Dir), SysProcAttr: ownGroup(),
	}
	notStarted := func(err error) (environment.Exit, error) { return environment.Exit{}, environment.NotStarted(err) }
	var err error
	if cmd.Path, err = find(c.Args[0], cmd.Dir, c.Environ(b.base)); err != nil {
		return notStarted(err)
	}
	streams, err := environment.OpenStreams(c.Stdin != nil)
	if err != nil {
		return notStarted(err)
	}
	defer streams.Close() // a process in the background meets a closed pipe
	theirs := streams.Theirs()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	began := time.Now()
	if err := b.start(cmd); err != nil {
		return notStarted(stead.Wrap(stead.KindInvalid, err, "the program %.80q can't be started", c.Args[0]))
	}
	streams.CloseTheirs()
	unwatch := context.AfterFunc(ctx, func() { b.kill(cmd.Process.Pid) })
	unheard := streams.Start(c.Stdin, output)
	if unheard != nil {
		b.kill(cmd.Process.Pid)
	}
	_ = cmd.Wait() // the exit code says it
	streams.Finish(c.Stdin)
	killed := !unwatch()
	b.mu.Lock()
	delete(b.groups, cmd.Process.Pid)
	b.usage.MemoryBytes = max(b.usage.MemoryBytes, peakOf(cmd.ProcessState))
	b.mu.Unlock()
	if unheard != nil {
		return environment.Exit{}, unheard
	}
	exit := environment.Exit{Code: exitCode(cmd.ProcessState), Duration: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if killed {
		exit.Code, exit.Reason = -1, reason(context.Cause(ctx))
	}
	return exit, nil
}

// peakOf is the largest amount of memory, in bytes, that a command or one of the children it waited for
// had at once; 0: not known.
func peakOf(s *os.ProcessState) int64 {
	use, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return use.Maxrss // getrusage(2) there counts bytes, and kibibytes elsewhere
	}
	return use.Maxrss << 10
}

func exitCode(s *os.ProcessState) int {
	const signalled = 128
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalled + int(status.Signal())
	}
	return s.ExitCode()
}

// A group that is gone already is fine, so the error is of no use.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func reason(cause error) environment.Reason {
	switch cause {
	case errTimeout:
		return environment.ReasonTimeout
	case errExpired:
		return environment.ReasonExpired
	}
	return environment.ReasonCancelled
}

// start starts a command from the one thread whose end its first process would not survive, which so
// is that of this process.
func (b *box) start(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	b.starts <- func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		err := cmd.Start()
		if err == nil {
			b.groups[cmd.Process.Pid] = struct{}{}
		}
		started <- err
	}
	return <-started
}

func (b *box) startAll() {
	runtime.LockOSThread() // never unlocked: the thread ends with this function
	for start := range b.starts {
		start()
	}
}

// kill ends a command's process group, unless its number may belong to somebody else by now.
func (b *box) kill(pid int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ours := b.groups[pid]; ours {
		killGroup(pid)
	}
}

// find looks a program up as a shell does, with the command's own PATH and directory.
func find(name, dir string, env []string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, v := range env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(list) {
			if !filepath.IsAbs(d) {
				d = filepath.Join(dir, d)
			}
			if full := filepath.Join(d, name); executable(full) == nil {
				return full, nil
			}
		}
	}
	return "", stead.NotFound("program", name)
}

func executable(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stead.NotFound("program", name)
	case err != nil:
		return stead.Wrap(stead.KindInvalid, err, "the program %.80q can't be looked at", name)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return stead.Invalid("args", "%.80q is no program", name)
	}
	return nil
}

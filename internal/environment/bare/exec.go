package bare

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
		return environment.Exit{}, &environment.NotStartedError{Err: err}
	}
	defer b.work.Done()
	defer func() { <-b.slots }()
	timeout := c.Timeout
	if timeout == 0 {
		timeout = b.limits.CommandTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(b.life, func() { stop(context.Cause(b.life)) })()
	limit := c.OutputBytes
	if limit == 0 {
		limit = b.limits.OutputBytes
	}
	output := environment.NewOutput(limit, out)
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
	notStarted := func(err error) (environment.Exit, error) {
		return environment.Exit{}, &environment.NotStartedError{Err: err}
	}
	var err error
	if cmd.Path, err = find(c.Args[0], cmd.Dir, c.Environ(b.base)); err != nil {
		return notStarted(err)
	}
	taps, theirs, err := tapped(output)
	if err != nil {
		return notStarted(err)
	}
	defer func() {
		for _, t := range taps {
			t.Stop() // a process in the background meets a closed pipe
		}
	}()
	defer closeAll(theirs)
	cmd.Stdout, cmd.Stderr = theirs[0], theirs[1]
	var stdin io.WriteCloser
	if c.Stdin != nil {
		if stdin, err = cmd.StdinPipe(); err != nil {
			return notStarted(stead.Wrap(stead.KindUnavailable, err, "no pipe can be made"))
		}
	}
	began := time.Now()
	if err := b.start(cmd); err != nil {
		return notStarted(stead.Wrap(stead.KindInvalid, err, "the program %.80q can't be started", c.Args[0]))
	}
	if c.Stdin != nil {
		go func() {
			_, _ = io.Copy(stdin, c.Stdin) // ends with either side
			stdin.Close()
		}()
	}
	unwatch := context.AfterFunc(ctx, func() { b.kill(cmd.Process.Pid) })
	closeAll(theirs) // the command has its own
	_ = cmd.Wait()   // the exit code says it
	environment.Settle(taps...)
	killed := !unwatch()
	b.mu.Lock()
	delete(b.groups, cmd.Process.Pid)
	b.mu.Unlock()
	if closer, ok := c.Stdin.(io.Closer); ok {
		closer.Close() // a reader that blocks is abandoned
	}
	exit := environment.Exit{Code: exitCode(cmd.ProcessState), Duration: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if killed {
		exit.Code, exit.Reason = -1, reason(context.Cause(ctx))
	}
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

// tapped makes the pipes of a command's streams. theirs are the ends that it gets.
func tapped(output *environment.Output) (taps []*environment.Tap, theirs []*os.File, err error) {
	for _, stream := range []environment.Stream{environment.Stdout, environment.Stderr} {
		r, w, err := os.Pipe()
		if err == nil {
			theirs = append(theirs, w)
			var tap *environment.Tap
			if tap, err = environment.NewTap(r, stream, output); err == nil {
				taps = append(taps, tap)
				continue
			}
			_ = r.Close()
		}
		closeAll(theirs)
		return nil, nil, stead.Wrap(stead.KindUnavailable, err, "no pipe can be made")
	}
	return taps, theirs, nil
}

// closeAll closes files, of which some may be closed already.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
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

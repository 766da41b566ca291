//go:build amd64 || arm64

package landlock

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// execution is one command that runs.
type execution struct {
	box     *box
	number  uint32
	replies chan reply // started and exited
	started bool       // guarded by box.mu

	streams [2]*os.File // ends of ours of stdout and stderr; their taps close them
	taps    []*environment.Tap
	stdin   *os.File   // end of ours; nil: the command reads the null device
	theirs  []*os.File // the command's ends

	mu     sync.Mutex
	killed environment.Reason // the first reason for which it was killed
}

// Exec implements environment.Environment.
func (b *box) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	none := environment.Exit{}
	if err := c.Check(b.env); err != nil {
		return none, err
	}
	if ctx.Err() != nil {
		return none, notStarted(stead.Wrap(stead.KindUnavailable, ctx.Err(), "the call has ended"))
	}
	select {
	case b.parallel <- struct{}{}:
		defer func() { <-b.parallel }()
	default:
		return none, notStarted(stead.Errorf(stead.KindLimited, "%d commands run in this environment already", environment.MaxParallelCommands))
	}
	limit := c.OutputBytes
	if limit == 0 {
		limit = b.spec.Limits.OutputBytes
	}
	output := environment.NewOutput(limit, out)
	x := &execution{box: b, replies: make(chan reply, 2)}
	begin, kills := time.Now(), b.group.Usage().OOMKills
	err := x.pipes(c)
	if err == nil {
		err = x.begin(c)
	}
	for _, f := range x.theirs {
		_ = f.Close() // the command has its own
	}
	if err != nil {
		x.abandon()
		return none, err
	}
	b.commands.Add(1)
	if err := x.read(output); err != nil {
		b.end() // a command that runs unheard: this process is out of something
		x.abandon()
		return none, err
	}
	x.feed(c.Stdin)
	r, err := x.wait(ctx, c, begin)
	took := time.Since(begin)
	x.finish()
	if closer, ok := c.Stdin.(io.Closer); ok {
		_ = closer.Close() // it may still be read from: it is abandoned
	}
	b.output.Add(output.Close())
	if err != nil {
		return none, err
	}
	b.cpu.Add(max(r.CPU, 0))
	return x.exit(r, took, kills), nil
}

func notStarted(err error) error { return &environment.NotStartedError{Err: err} }

// pipes makes the pipes of a command.
func (x *execution) pipes(c environment.Command) error {
	in, err := os.Open(os.DevNull)
	if err == nil {
		x.theirs = append(x.theirs, in)
	}
	if c.Stdin != nil && err == nil {
		_ = in.Close()
		in, x.stdin, err = os.Pipe()
		x.theirs[0] = in
	}
	for i := range x.streams {
		var w *os.File
		if err == nil {
			if x.streams[i], w, err = os.Pipe(); err == nil {
				x.theirs = append(x.theirs, w)
			}
		}
	}
	if err != nil {
		return notStarted(stead.Wrap(stead.KindUnavailable, err, "make the pipes of a command"))
	}
	return nil
}

// abandon closes our ends of a command that did not start.
func (x *execution) abandon() {
	for _, f := range append(x.streams[:], x.stdin) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// begin asks the helper to start the command and waits for the answer.
func (x *execution) begin(c environment.Command) error {
	b := x.box
	dir := b.translate(c.Dir)
	if len(dir) > environment.MaxPathBytes+len(b.home) {
		return notStarted(stead.Invalid("dir", "a path has at most %d bytes", environment.MaxPathBytes))
	}
	b.mu.Lock()
	ended := b.ended
	b.last++
	x.number = b.last
	if !ended {
		b.running[x.number] = x
	}
	b.mu.Unlock()
	if ended {
		return notStarted(b.gone())
	}
	r := request{Exec: x.number, Dir: dir, Args: c.Args, Env: c.Environ(b.env)}
	if err := r.send(b.conn, x.theirs); err != nil {
		b.mu.Lock()
		delete(b.running, x.number)
		b.mu.Unlock()
		return notStarted(b.gone())
	}
	select {
	case r := <-x.replies:
		if r.failed() {
			return notStarted(cannotRun(r))
		}
		return nil
	case <-b.dead:
		return b.gone() // it may have run for a moment
	}
}

// translate gives the host's name of a directory inside.
func (b *box) translate(dir string) string {
	if dir == "" {
		return b.home
	}
	if rest, ok := strings.CutPrefix(dir, environment.WorkspaceDir); ok && (rest == "" || rest[0] == '/') {
		return b.home + rest
	}
	return dir
}

// gone is the error for an environment that has ended.
func (b *box) gone() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := stead.Errorf(stead.KindUnavailable, "the environment has ended")
	if b.expired {
		e.Message = "the environment's lifetime is over"
	}
	e.Err = b.why
	return e
}

// cannotRun is the error for a command that the helper could not start.
func cannotRun(r reply) error {
	e := stead.Errorf(stead.KindUnavailable, "can't %s", clip(r.Message))
	switch syscall.Errno(r.Errno) {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES, syscall.ENOEXEC, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EISDIR, syscall.EINVAL, syscall.EPERM:
		e.Kind, e.Param = stead.KindInvalid, "args"
		if strings.HasPrefix(r.Message, "enter ") {
			e.Param = "dir"
		}
	case syscall.E2BIG:
		e.Kind, e.Param = stead.KindTooLarge, "args"
	case syscall.EAGAIN, syscall.ENOMEM:
		e.Hint = "The environment's limit of processes or memory is reached: end some of its processes."
	}
	return e
}

// read passes on what both streams give, each to its end.
func (x *execution) read(output *environment.Output) error {
	for i, f := range x.streams {
		stream := environment.Stdout
		if i == 1 {
			stream = environment.Stderr
		}
		tap, err := environment.NewTap(f, stream, output)
		if err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "read what a command prints")
		}
		x.taps = append(x.taps, tap)
	}
	return nil
}

// feed copies the input to the command. A reader that blocks is left behind.
func (x *execution) feed(in io.Reader) {
	if x.stdin == nil {
		return
	}
	go func() {
		_, _ = io.Copy(x.stdin, in) // a command need not read its input
		_ = x.stdin.Close()
	}()
}

// wait waits for the end of the command, and kills it when its time is over.
func (x *execution) wait(ctx context.Context, c environment.Command, begin time.Time) (reply, error) {
	limit := c.Timeout
	if limit == 0 {
		limit = x.box.spec.Limits.CommandTime
	}
	timer := time.NewTimer(limit - time.Since(begin))
	defer timer.Stop()
	cancelled := ctx.Done()
	var overdue <-chan time.Time // it was killed, and should have ended
	for {
		select {
		case r := <-x.replies:
			return r, nil
		case <-x.box.dead:
			select {
			case r := <-x.replies: // it ended just before
				return r, nil
			default:
				return x.afterDeath()
			}
		case <-timer.C:
			overdue = x.kill(environment.ReasonTimeout)
		case <-cancelled:
			cancelled = nil
			overdue = x.kill(environment.ReasonCancelled)
		case <-overdue:
			x.box.end() // the helper does not do what it is told
			overdue = nil
		}
	}
}

// afterDeath is how a command ends whose environment died: expired, its last moment is known.
func (x *execution) afterDeath() (reply, error) {
	x.box.mu.Lock()
	expired := x.box.expired
	x.box.mu.Unlock()
	if expired {
		x.mark(environment.ReasonExpired)
		return reply{Status: int(syscall.SIGKILL)}, nil
	}
	return reply{}, x.box.gone()
}

// mark keeps the first reason.
func (x *execution) mark(r environment.Reason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.killed == "" {
		x.killed = r
	}
}

// kill has the command's group killed, and returns when that should be done.
func (x *execution) kill(r environment.Reason) <-chan time.Time {
	x.mark(r)
	if (request{Kill: x.number}).send(x.box.conn, nil) != nil {
		x.box.end()
	}
	return time.After(killTime)
}

// finish waits for the streams, but not for those who hold them open without being the command.
func (x *execution) finish() {
	if x.stdin != nil {
		_ = x.stdin.SetWriteDeadline(time.Now()) // its reader is gone, or not the command
	}
	environment.Settle(x.taps...)
	for _, tap := range x.taps {
		x.box.detach(tap)
	}
}

// detach leaves a stream to a process in the background: who writes on is not to die of it, so that
// somebody reads and drops.
func (b *box) detach(tap *environment.Tap) {
	select {
	case <-tap.Done():
		return
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.detached) >= maxDetached || b.ended {
		tap.Stop()
		return
	}
	b.detached[tap] = true
	go func() {
		<-tap.Done()
		b.mu.Lock()
		delete(b.detached, tap)
		b.mu.Unlock()
	}()
}

// exit says how the command ended. kills is how many processes the kernel had killed for memory before.
func (x *execution) exit(r reply, took time.Duration, kills int64) environment.Exit {
	status := syscall.WaitStatus(r.Status & 0xffff)
	e := environment.Exit{Code: max(status.ExitStatus(), 0), Duration: took, CPU: time.Duration(max(r.CPU, 0))}
	if status.Signaled() {
		e.Code = 128 + int(status.Signal())
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL
	switch {
	case killed && x.killed != "":
		e.Code, e.Reason = -1, x.killed
	case e.Code != 0 && x.box.group.Usage().OOMKills > kills:
		e.Reason = environment.ReasonMemory
		if killed {
			e.Code = -1
		}
	}
	return e
}

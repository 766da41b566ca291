package ns

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
	replies chan reply    // started and exited
	over    chan struct{} // closed when init has said that it ended, or did not start
	started bool          // guarded by box.mu

	streams [2]*os.File // ends of ours of stdout and stderr
	stdin   *os.File    // end of ours; nil: the command reads the null device
	taps    []*environment.Tap

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
	x, theirs, err := b.execution(c)
	if err != nil {
		return none, notStarted(err)
	}
	limit := c.OutputBytes
	if limit == 0 {
		limit = b.spec.Limits.OutputBytes
	}
	output := environment.NewOutput(limit, out)
	if limit == environment.Unbounded {
		output = environment.NewOutput(1<<62, out)
	}
	begin := time.Now()
	kills := b.group.Usage().OOMKills
	err = x.begin(ctx, c, theirs)
	for _, f := range theirs {
		_ = f.Close() // the command has its own
	}
	if err != nil {
		x.abandon()
		return none, err
	}
	b.commands.Add(1)
	select {
	case b.woken <- struct{}{}:
	default: // it knows
	}
	if err := x.read(output); err != nil {
		b.end() // the command runs, and nobody would hear it
		return none, err
	}
	x.feed(c.Stdin)
	r, err := x.wait(ctx, c, begin)
	took := time.Since(begin)
	x.finish()
	if closer, ok := c.Stdin.(io.Closer); ok && x.stdin != nil {
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

// execution makes the pipes of a command. theirs are the ends that it gets.
func (b *box) execution(c environment.Command) (x *execution, theirs []*os.File, err error) {
	x = &execution{box: b, replies: make(chan reply, 2), over: make(chan struct{})}
	var in *os.File
	if c.Stdin == nil {
		in, err = os.Open(os.DevNull)
	} else {
		in, x.stdin, err = os.Pipe()
	}
	if err == nil {
		theirs = append(theirs, in)
	}
	for i := range x.streams {
		var w *os.File
		if err == nil {
			if x.streams[i], w, err = os.Pipe(); err == nil {
				theirs = append(theirs, w)
			}
		}
	}
	if err != nil {
		for _, f := range theirs {
			_ = f.Close()
		}
		x.abandon()
		return nil, nil, stead.Wrap(stead.KindUnavailable, err, "make the pipes of a command")
	}
	return x, theirs, nil
}

// abandon closes our ends of a command that did not start.
func (x *execution) abandon() {
	for _, f := range append(x.streams[:], x.stdin) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// begin asks init to start the command and waits for the answer.
func (x *execution) begin(ctx context.Context, c environment.Command, theirs []*os.File) error {
	b := x.box
	dir := c.Dir
	if dir == "" {
		dir = environment.WorkspaceDir
	}
	if len(dir) > environment.MaxPathBytes {
		return notStarted(stead.Invalid("dir", "a path has at most %d bytes", environment.MaxPathBytes))
	}
	select {
	case <-b.dead:
		return notStarted(b.gone())
	default:
	}
	b.mu.Lock()
	b.last++
	x.number = b.last
	b.running[x.number] = x
	b.mu.Unlock()
	fds := make([]int, 0, len(theirs))
	for _, f := range theirs {
		fds = append(fds, int(f.Fd())) // which makes it block, as programs expect
	}
	if err := b.tell(request{Exec: x.number, Dir: dir, Args: c.Args, Env: c.Environ(b.env)}, fds); err != nil {
		b.end() // it is ending, or its init does not read
		return notStarted(b.gone())
	}
	return x.answer(ctx)
}

// answer waits until init says that the command runs. One for which nobody waits any more is killed
// once it does: see wait.
func (x *execution) answer(ctx context.Context) error {
	ended := ctx.Done()
	var overdue <-chan time.Time
	for {
		select {
		case r := <-x.replies:
			if r.Message != "" || r.Errno != 0 {
				return notStarted(cannotRun(r))
			}
			return nil
		case <-x.box.dead:
			return x.box.gone() // it may have run for a moment
		case <-ended:
			ended, overdue = nil, time.After(killTime)
		case <-overdue:
			x.box.end()
		}
	}
}

// gone is the error for a box that has ended.
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

// cannotRun is the error for a command that init could not start.
func cannotRun(r reply) error {
	errno := syscall.Errno(r.Errno)
	e := stead.Errorf(stead.KindUnavailable, "can't %s", clip(r.Message))
	switch errno {
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
	ended := ctx.Done()
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
			}
			return x.afterDeath()
		case <-timer.C:
			overdue = x.kill(environment.ReasonTimeout)
		case <-ended:
			ended = nil
			overdue = x.kill(environment.ReasonCancelled)
		case <-overdue:
			x.box.end() // init does not do what it is told
			overdue = nil
		}
	}
}

// afterDeath is how a command ends whose box died: expired or closed, its last moment is known.
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

// kill has the command's session killed, and returns when that should be done.
func (x *execution) kill(r environment.Reason) <-chan time.Time {
	x.mark(r)
	if err := x.box.tell(request{Kill: x.number}, nil); err != nil {
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
	select {
	case <-b.dead:
		tap.Stop()
		return
	default:
	}
	if len(b.detached) >= maxDetachedStreams {
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
	status := syscall.WaitStatus(r.Status & 0xffff) // of which no code is above 255, whatever init says
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

package ns

import (
	"context"
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
	args    []string
	replies chan reply    // started and exited
	over    chan struct{} // closed when init has said that it ended, or did not start
	started bool          // guarded by box.mu

	streams *environment.Streams

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
		return none, environment.NotStarted(stead.Wrap(stead.KindUnavailable, ctx.Err(), "the call has ended"))
	}
	select {
	case b.parallel <- struct{}{}:
		defer func() { <-b.parallel }()
	default:
		return none, environment.NotStarted(stead.Errorf(stead.KindLimited, "%d commands run in this environment already", environment.MaxParallelCommands))
	}
	streams, err := environment.OpenStreams(c.Stdin != nil)
	if err != nil {
		return none, environment.NotStarted(err)
	}
	output := c.Output(b.spec.Limits, out)
	begin := time.Now()
	kills := b.group.Usage().OOMKills
	var x *execution
	cleared, err := b.room.Start(ctx, func() error {
		x = &execution{box: b, args: c.Args, replies: make(chan reply, 2), over: make(chan struct{}), streams: streams}
		return x.begin(ctx, c)
	})
	streams.CloseTheirs()
	if err != nil {
		streams.Close()
		return none, err
	}
	b.commands.Add(1)
	select {
	case b.woken <- struct{}{}:
	default: // it knows
	}
	if cleared != "" {
		note := b.room.Cleared(cleared)
		output.Write(note.Stream, note.Data)
	}
	if err := streams.Start(c.Stdin, output); err != nil {
		b.end() // the command runs, and nobody would hear it
		streams.Close()
		return none, err
	}
	r, err := x.wait(ctx, c, begin)
	took := time.Since(begin)
	b.background.Keep(streams.Finish(c.Stdin))
	b.output.Add(output.Close())
	if err != nil {
		return none, err
	}
	b.cpu.Add(max(r.CPU, 0))
	environment.Highest(&b.held, r.Memory)
	return x.exit(r, took, kills), nil
}

// begin asks init to start the command and waits for the answer.
func (x *execution) begin(ctx context.Context, c environment.Command) error {
	b := x.box
	dir := c.Dir
	if dir == "" {
		dir = environment.WorkspaceDir
	}
	if len(dir) > environment.MaxPathBytes {
		return environment.NotStarted(stead.Invalid("dir", "a path has at most %d bytes", environment.MaxPathBytes))
	}
	select {
	case <-b.dead:
		return environment.NotStarted(b.gone())
	default:
	}
	b.mu.Lock()
	b.last++
	x.number = b.last
	b.running[x.number] = x
	b.mu.Unlock()
	if err := b.tell(request{Exec: x.number, Dir: dir, Args: c.Args, Env: c.Environ(b.env)}, x.streams.Theirs()); err != nil {
		b.end() // it is ending, or its init does not read
		return environment.NotStarted(b.gone())
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
			if r.failed() {
				return environment.CannotRun(r.Message, syscall.Errno(r.Errno))
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

// wait waits for the end of the command, and kills it when its time is over.
func (x *execution) wait(ctx context.Context, c environment.Command, begin time.Time) (reply, error) {
	timer := time.NewTimer(c.TimeLimit(x.box.spec.Limits) - time.Since(begin))
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

// exit says how the command ended. kills is how many processes the kernel had killed for memory before.
func (x *execution) exit(r reply, took time.Duration, kills int64) environment.Exit {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := environment.Exit{Duration: took, CPU: time.Duration(max(r.CPU, 0))}
	status := syscall.WaitStatus(r.Status & 0xffff) // of which no code is above 255, whatever the box says
	e.Code, e.Reason = environment.ExitOf(status, x.killed, func() bool { return x.box.group.Usage().OOMKills > kills })
	return e
}

//go:build amd64 || arm64

package landlock

import (
	"context"
	"os"
	"strconv"
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
	begin, kills := time.Now(), b.group.Usage().OOMKills
	var x *execution
	cleared, err := b.room.Start(ctx, func() error {
		x = &execution{box: b, replies: make(chan reply, 2), streams: streams}
		return x.begin(c)
	})
	streams.CloseTheirs()
	if err != nil {
		streams.Close()
		return none, err
	}
	b.commands.Add(1)
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

// makesRoom: see environment.Room. What earlier commands left behind can't be told from the others here,
// where the process list is the machine's.
func (b *box) makesRoom() *environment.Room {
	return &environment.Room{Limit: b.spec.Limits.Processes, Free: b.free, Kills: []func() string{func() string {
		b.killAll(environment.ReasonProcesses)
		return environment.ClearedAll
	}}}
}

// free is how many processes commands can still have: the helper is in the control group as well.
func (b *box) free() (n int, known bool) {
	own, err := os.ReadDir("/proc/" + strconv.Itoa(b.process.Pid) + "/task")
	all := b.group.Processes()
	if err != nil || all == 0 {
		return 0, false
	}
	return b.spec.Limits.Processes - (all - len(own)), true
}

// begin asks the helper to start the command and waits for the answer.
func (x *execution) begin(c environment.Command) error {
	b := x.box
	dir := b.translate(c.Dir)
	if len(dir) > environment.MaxPathBytes+len(b.home) {
		return environment.NotStarted(stead.Invalid("dir", "a path has at most %d bytes", environment.MaxPathBytes))
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
		return environment.NotStarted(b.gone())
	}
	r := request{Exec: x.number, Dir: dir, Args: c.Args, Env: c.Environ(b.env)}
	if err := r.send(b.conn, x.streams.Theirs()); err != nil {
		b.mu.Lock()
		delete(b.running, x.number)
		b.mu.Unlock()
		return environment.NotStarted(b.gone())
	}
	select {
	case r := <-x.replies:
		if r.failed() {
			return environment.CannotRun(r.Message, syscall.Errno(r.Errno))
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

// wait waits for the end of the command, and kills it when its time is over.
func (x *execution) wait(ctx context.Context, c environment.Command, begin time.Time) (reply, error) {
	timer := time.NewTimer(c.TimeLimit(x.box.spec.Limits) - time.Since(begin))
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

// exit says how the command ended. kills is how many processes the kernel had killed for memory before.
func (x *execution) exit(r reply, took time.Duration, kills int64) environment.Exit {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := environment.Exit{Duration: took, CPU: time.Duration(max(r.CPU, 0))}
	status := syscall.WaitStatus(r.Status & 0xffff) // of which no code is above 255, whatever the box says
	e.Code, e.Reason = environment.ExitOf(status, x.killed, func() bool { return x.box.group.Usage().OOMKills > kills })
	return e
}

package ns

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/packet"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// box is one environment. Its files are workspace.Dir's.
type box struct {
	*workspace.Dir
	*cell    // nil before it has one
	provider *Provider
	spec     environment.Spec
	env      map[string]string // of every command: ours under Spec.Env

	done    chan struct{} // Done: dead, and nothing of it is left
	closing sync.Once
	closed  error

	mu       sync.Mutex
	why      error                 // why it ended, if it was not closed
	expired  bool                  // Lifetime is over
	last     uint32                // number of the last command
	running  map[uint32]*execution // by number
	sweeping bool                  // init was told to sweep, and did not answer yet
	swept    []string              // the command that the last sweep killed; nil: none
	sweeps   chan reply            // its answers

	room *environment.Room

	background environment.Background

	parallel chan struct{} // a slot a running command
	woken    chan struct{} // tells watchDisk that a command has begun
	commands atomic.Int64
	output   atomic.Int64
	cpu      atomic.Int64 // nanoseconds, of commands that ended
	disk     atomic.Int64
	// The most that was seen of both where no control group counts them.
	spent, held atomic.Int64
}

var _ environment.Environment = (*box)(nil)

func newBox(p *Provider, spec environment.Spec) *box {
	b := &box{
		provider: p, spec: spec, env: variables(spec),
		done:    make(chan struct{}),
		running: map[uint32]*execution{}, sweeps: make(chan reply, 1),
		parallel: make(chan struct{}, environment.MaxParallelCommands), woken: make(chan struct{}, 1),
	}
	b.room = b.makesRoom()
	return b
}

// setUp tells init what to build and waits until it has.
func (b *box) setUp(ctx context.Context, s setup, files []*os.File) error {
	data, err := json.Marshal(s)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "describe an environment")
	}
	if len(data) > maxRequestBytes {
		return stead.Errorf(stead.KindTooLarge, "the paths of an environment take %d bytes, at most %d are possible", len(data), maxRequestBytes)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = b.conn.SetDeadline(deadline) // a unix socket takes it
	}
	stop := context.AfterFunc(ctx, func() { _ = b.conn.SetDeadline(time.Now()) })
	defer stop()
	if err := packet.Send(b.conn, data, files); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	r, err := readReply(b.conn, make([]byte, maxReplyBytes))
	switch {
	case err != nil && ctx.Err() != nil:
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the environment was not ready in time")
	case err != nil:
		return stead.Wrap(stead.KindUnavailable, err, "the environment died while it was set up")
	case !r.Ready:
		return refused(r)
	}
	stop()
	return b.conn.SetDeadline(time.Time{})
}

// refused is the error for a box that could not be built.
func refused(r reply) error {
	e := stead.Errorf(stead.KindUnavailable, "the environment could not be built: %s", environment.Quote(r.Message))
	if r.Errno != 0 {
		e.Err = syscall.Errno(r.Errno)
	}
	switch {
	case strings.HasPrefix(r.Message, "mount /proc") && r.Errno == int(syscall.EPERM):
		e.Hint = remedyProc
	case r.Errno == int(syscall.EPERM) || r.Errno == int(syscall.EACCES):
		e.Hint = remedy() // a clone that worked, and capabilities that are gone after it
	case r.Errno == int(syscall.ENOSYS):
		e.Hint = remedyKernel
	}
	return e
}

// readReply reads one message. Whatever is no message of ours is an error.
func readReply(c *net.UnixConn, buf []byte) (r reply, err error) {
	n, err := c.Read(buf)
	if err != nil {
		return r, err
	}
	if n == 0 {
		return r, net.ErrClosed
	}
	err = json.Unmarshal(buf[:n], &r)
	return r, err
}

// watch begins what goes on until the end: replies, the disk, the lifetime.
func (b *box) watch() {
	go b.listen()
	go b.watchDisk()
	expire := time.AfterFunc(b.spec.Limits.Lifetime, func() {
		b.mu.Lock()
		b.expired = true
		b.mu.Unlock()
		b.end()
	})
	go func() {
		<-b.dead
		expire.Stop()
		b.cleanUp()
	}()
}

// listen passes replies on to the commands they are for, and ends a box that says what makes no sense.
func (b *box) listen() {
	buf := make([]byte, maxReplyBytes)
	for {
		r, err := readReply(b.conn, buf)
		if err == nil {
			err = b.deliver(r)
		}
		if err != nil {
			b.mu.Lock()
			b.why = err
			b.mu.Unlock()
			b.end()
			return
		}
	}
}

func (b *box) deliver(r reply) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.running[max(r.Started, r.Exited)]
	switch {
	case r.Swept && b.sweeping:
		b.sweptOf(r)
		return nil
	case x == nil || r.Started != 0 && r.Exited != 0:
		return errors.New("the environment answered what was not asked")
	case r.Started != 0:
		if x.started {
			return errors.New("the environment started a command twice")
		}
		x.started = true
		if r.failed() {
			b.forgetExecution(x)
		}
	case !x.started:
		return errors.New("the environment ended a command that it did not start")
	default:
		b.forgetExecution(x)
	}
	x.replies <- r // there is room for both
	return nil
}

// forgetExecution takes an execution off the list, of which it is. b.mu is held.
func (b *box) forgetExecution(x *execution) {
	delete(b.running, x.number)
	close(x.over)
}

// tell sends a request to init, which reads them at once: one that does not is no init any more.
func (b *box) tell(r request, files []*os.File) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	_ = b.conn.SetWriteDeadline(time.Now().Add(killTime)) // fails when it is closed, as does what follows
	return packet.Send(b.conn, data, files)
}

// cleanUp gives back what the box had, once no process is left.
func (b *box) cleanUp() {
	_ = b.conn.Close() // the other end is gone
	b.background.End()
	b.discard()
	close(b.done)
}

// discard gives back what was taken so far; it is called once.
func (b *box) discard() {
	if b.cell != nil {
		b.closed = b.cell.discard()
	}
	if b.spec.Root.Upper != "" {
		b.closed = errors.Join(b.closed, removeWork(filepath.Join(b.spec.Root.Upper, workDir)))
	}
	b.provider.forget(b)
}

// removeWork removes an overlay's own bookkeeping: the layer is complete without. The kernel makes
// directories that not even their owner may list. The box never saw any of it.
func removeWork(dir string) error {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) // before it is listed; what fails shows below
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "remove what an overlay needed")
	}
	return nil
}

// Done implements environment.Environment.
func (b *box) Done() <-chan struct{} { return b.done }

// Close implements environment.Environment.
func (b *box) Close(ctx context.Context) error {
	b.end()
	select {
	case <-b.done:
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "processes of %s are still ending", b.spec.ID)
	}
	b.closing.Do(func() { b.closed = errors.Join(b.closed, b.Dir.Close()) })
	return b.closed
}

// Children is how many first processes are inside: of commands, and of what commands left behind.
func (b *box) Children() int { return environment.Children(b.init.Pid) }

// Usage implements environment.Environment.
func (b *box) Usage() environment.Usage {
	g := b.group.Usage()
	if g.CPU == 0 || g.MemoryBytes == 0 { // nobody counts them
		now := environment.Below(b.init.Pid)
		g.CPU = max(g.CPU, time.Duration(environment.Highest(&b.spent, b.cpu.Load()+int64(now.CPU))))
		g.MemoryBytes = max(g.MemoryBytes, environment.Highest(&b.held, now.MemoryBytes))
	}
	return environment.Usage{
		CPU: max(g.CPU, time.Duration(b.cpu.Load())), MemoryBytes: g.MemoryBytes,
		DiskBytes: b.disk.Load(), Commands: b.commands.Load(), OutputBytes: b.output.Load(),
	}
}

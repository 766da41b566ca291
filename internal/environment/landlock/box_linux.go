//go:build amd64 || arm64

package landlock

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/packet"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// box is one environment. Its files are workspace.Dir's.
type box struct {
	*workspace.Dir
	provider *Provider
	spec     environment.Spec
	home     string // the workspace, without links in its path
	scratch  string // TMPDIR
	tmp      *workspace.Dir
	env      map[string]string // of every command: ours under Spec.Env

	id      int // user of the commands; -1: the server's
	group   *cgroup.Group
	process *os.Process
	conn    *net.UnixConn

	dead    chan struct{} // the helper has been reaped
	done    chan struct{} // Done: and nothing is left
	closing sync.Once
	closed  error

	mu      sync.Mutex
	ended   bool  // somebody ended it
	expired bool  // Lifetime is over
	why     error // why it ended, if nobody did
	last    uint32
	running map[uint32]*execution // by number

	background environment.Background
	room       *environment.Room

	parallel chan struct{} // a slot a running command
	commands atomic.Int64
	output   atomic.Int64
	cpu      atomic.Int64 // nanoseconds, of commands that ended
	held     atomic.Int64 // bytes: the most that a process held
	disk     atomic.Int64
}

var _ environment.Environment = (*box)(nil)

func newBox(p *Provider, spec environment.Spec) *box {
	b := &box{
		provider: p, spec: spec, id: -1, dead: make(chan struct{}), done: make(chan struct{}),
		running:  map[uint32]*execution{},
		parallel: make(chan struct{}, environment.MaxParallelCommands),
	}
	b.room = b.makesRoom()
	return b
}

// variables are those of every command, under the Spec's.
func (b *box) variables() map[string]string {
	env := map[string]string{
		"PATH": defaultPath, "HOME": b.home, "USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh", "LANG": "C.UTF-8",
		"TMPDIR": b.scratch, "XDG_CACHE_HOME": b.scratch + "/.cache", // not into checkpoints
		workspaceVariable:     b.home,
		"GIT_CONFIG_NOSYSTEM": "1", // git gives up when there is an /etc/gitconfig that it can't read
	}
	if b.spec.Services != "" {
		env[servicesVariable] = b.spec.Services
	}
	maps.Copy(env, b.spec.Env)
	return env
}

// fork starts the helper and puts it into the control group.
func (b *box) fork() error {
	conn, child, err := packet.Pair(maxRequestBytes)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	defer child.Close()
	b.conn = conn
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=2", "GOTRACEBACK=none"}, // nothing of the server's own
		Files: []*os.File{null, null, null, child}, Sys: &syscall.SysProcAttr{Setsid: true},
	}
	done := make(chan struct{})
	b.provider.forks <- func() {
		defer close(done)
		b.process, err = os.StartProcess("/proc/self/exe", []string{Argv0}, attr)
	}
	<-done
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	go func() {
		if state, err := b.process.Wait(); err != nil || !state.Success() {
			b.sweep()
		}
		close(b.dead)
	}()
	return b.group.Place(b.process.Pid, false)
}

// sweep kills what a helper left behind that was killed itself: all processes of the environment's
// user. Where it has none of its own the control group is what is left to do it.
func (b *box) sweep() {
	if b.id < 0 {
		return
	}
	id := uint32(b.id)
	p, err := os.StartProcess("/proc/self/exe", []string{Argv0, sweepWord}, &os.ProcAttr{
		Dir: "/", Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}},
	})
	if err == nil {
		_, _ = p.Wait() // it is over, whatever came of it: the control group is killed next
	}
}

// setUp tells the helper what to do and waits until it is ready.
func (b *box) setUp(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		_ = b.conn.SetDeadline(deadline) // a unix socket takes it
	}
	stop := context.AfterFunc(ctx, func() { _ = b.conn.SetDeadline(time.Now()) })
	defer stop()
	if err := sendJSON(b.conn, b.setup()); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	r, err := readReply(b.conn, make([]byte, maxReplyBytes))
	switch {
	case err != nil && ctx.Err() != nil:
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the environment was not ready in time")
	case err != nil:
		return stead.Wrap(stead.KindUnavailable, err, "the environment died while it was set up")
	case !r.Ready:
		return unreachable(r)
	}
	stop()
	return b.conn.SetDeadline(time.Time{})
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
	return r, json.Unmarshal(buf[:n], &r)
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
		b.discard()
		close(b.done)
	}()
}

// listen passes replies on to the commands they are for.
func (b *box) listen() {
	buf := make([]byte, maxReplyBytes)
	for {
		r, err := readReply(b.conn, buf)
		if err == nil {
			err = b.deliver(r)
		}
		if err != nil {
			b.mu.Lock()
			if !b.ended {
				b.why = err
			}
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
	case x == nil || r.Started != 0 && r.Exited != 0, r.Started != 0 && x.started, r.Exited != 0 && !x.started:
		return errors.New("the helper said what makes no sense")
	case r.Started != 0:
		x.started = true
		if r.failed() {
			delete(b.running, r.Started)
		}
	default:
		delete(b.running, r.Exited)
	}
	x.replies <- r // there is room for both
	return nil
}

// end has everything inside killed: the helper does that when its connection ends. One that does not
// come to an end in time is killed itself, and the control group with it.
func (b *box) end() {
	b.mu.Lock()
	first := !b.ended
	b.ended = true
	b.mu.Unlock()
	if !first {
		return
	}
	_ = b.conn.CloseWrite() // an end that is read as such; replies can still come
	_ = b.conn.SetReadDeadline(time.Now().Add(killTime))
	overdue := time.AfterFunc(killTime, func() { _ = b.process.Kill() })
	go func() {
		<-b.dead
		overdue.Stop()
	}()
}

// discard gives back what was taken so far; it is called once.
func (b *box) discard() {
	if b.process != nil {
		b.end()
		<-b.dead
	}
	if b.conn != nil {
		_ = b.conn.Close()
	}
	b.background.End()
	if b.group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), killTime)
		b.closed = errors.Join(b.group.Kill(ctx), b.group.Remove())
		cancel()
	}
	if b.tmp != nil {
		b.closed = errors.Join(b.closed, b.tmp.Close())
	}
	if b.scratch != "" {
		removeScratch(b.scratch) // where the helper could not
	}
	if b.id >= 0 {
		b.provider.ids.release(b.id)
	}
	b.provider.forget(b)
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
func (b *box) Children() int { return environment.Children(b.process.Pid) }

// Usage implements environment.Environment.
func (b *box) Usage() environment.Usage {
	g := b.group.Usage()
	if g.MemoryBytes == 0 { // nobody counts it
		g.MemoryBytes = b.held.Load()
	}
	return environment.Usage{
		CPU: max(g.CPU, time.Duration(b.cpu.Load())), MemoryBytes: g.MemoryBytes,
		DiskBytes: b.disk.Load(), Commands: b.commands.Load(), OutputBytes: b.output.Load(),
	}
}

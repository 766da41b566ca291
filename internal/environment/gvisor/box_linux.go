package gvisor

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// box is one environment.
type box struct {
	*workspace.Dir
	p       *Provider
	process *process
	spec    environment.Spec
	env     map[string]string // of every command
	room    *environment.Room
	slots   chan struct{} // one element a command that runs
	done    chan struct{} // closed when everything is gone
	end     func() error

	mu       sync.Mutex
	reason   environment.Reason // why it was ended, for the commands that ran
	gaveUp   string             // what it did not do, so that it was ended
	crammed  bool               // when processes were last counted, hardly any could be had
	usage    environment.Usage
	commands map[uint64]*running
}

func newBox(p *Provider, x *process, files *workspace.Dir, spec environment.Spec) *box {
	b := &box{
		Dir: files, p: p, process: x, spec: spec, env: variables(spec),
		slots: make(chan struct{}, environment.MaxParallelCommands), done: make(chan struct{}), commands: map[uint64]*running{},
	}
	b.room = b.makesRoom()
	b.end = sync.OnceValue(func() error {
		err := b.process.end()
		close(b.done)
		return err
	})
	return b
}

// watch ends the environment when its sandbox has ended, or its time.
func (b *box) watch() {
	life := time.AfterFunc(b.spec.Limits.Lifetime, func() { _ = b.kill(environment.ReasonExpired) })
	go func() {
		<-b.process.dead
		life.Stop()
		_ = b.end()
		if why := b.WhyEnded(); why != "" {
			b.p.log.Warn("a sandbox ended", "environment", b.spec.ID, "why", why, "said", b.process.stderr.String())
		}
	}()
	go b.watchDisk()
}

// kill ends the environment, and tells commands that run why.
func (b *box) kill(why environment.Reason) error {
	b.mu.Lock()
	if b.reason == "" {
		b.reason = why
	}
	b.mu.Unlock()
	return b.end()
}

// variables are those that every command has, under the environment's own.
func variables(s environment.Spec) map[string]string {
	m := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": environment.WorkspaceDir,
		"LANG": "C.UTF-8", "USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh",
		"TMPDIR": "/tmp", "XDG_CACHE_HOME": "/tmp/.cache", // not into checkpoints
	}
	if s.AsRoot {
		m["HOME"], m["USER"], m["LOGNAME"] = "/tmp", "root", "root"
	}
	maps.Copy(m, environment.EgressVariables(s))
	maps.Copy(m, s.Env)
	return m
}

// Done implements environment.Environment.
func (b *box) Done() <-chan struct{} { return b.done }

// Close implements environment.Environment.
func (b *box) Close(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- b.end() }()
	select {
	case err := <-ended:
		_ = b.Dir.Close() // it was only read
		if err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "end the sandbox of %s", b.spec.ID)
		}
		return nil
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the sandbox of %s has not ended yet", b.spec.ID)
	}
}

// Usage implements environment.Environment.
func (b *box) Usage() environment.Usage {
	g := b.process.group.Usage()
	if g.CPU == 0 && !b.ended() {
		g.CPU = cpuBelow(b.process.cmd.Process.Pid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.usage.CPU = max(b.usage.CPU, g.CPU)
	b.usage.MemoryBytes = max(b.usage.MemoryBytes, g.MemoryBytes)
	return b.usage
}

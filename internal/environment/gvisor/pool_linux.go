package gvisor

import (
	"context"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// refillPause is how long the pool waits after a sandbox did not boot.
const refillPause = 10 * time.Second

// pool keeps booted sandboxes that nobody owns. It is filled after the first sandbox was asked for,
// by one goroutine, one at a time: a boot takes CPU that commands may want.
type pool struct {
	p    *Provider
	ctx  context.Context
	stop context.CancelFunc
	want chan struct{} // holds one element while there may be something to fill

	mu      sync.Mutex
	ready   []*process
	started bool
	filled  chan struct{} // closed when the filler has ended
}

func newPool(p *Provider) *pool {
	ctx, stop := context.WithCancel(context.Background())
	return &pool{p: p, ctx: ctx, stop: stop, want: make(chan struct{}, 1), filled: make(chan struct{})}
}

// take returns a sandbox that fits spec, which is the caller's from now on, or nil.
func (l *pool) take(spec environment.Spec) *process {
	defer l.refill()
	if !l.fits(spec) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) > 0 {
		x := l.ready[0]
		l.ready = l.ready[1:]
		select {
		case <-x.dead: // by accident, while it waited
			go func() { _ = x.end() }()
		default:
			return x
		}
	}
	return nil
}

// fits says whether a sandbox that was booted without knowing spec can be its environment.
func (l *pool) fits(s environment.Spec) bool {
	mine, its := l.p.config.PoolLimits, s.Limits
	return !s.AsRoot && s.Root.Image == "" && len(s.Root.Layers) == 0 && s.Root.Upper == "" && len(s.Mounts) == 0 &&
		its.MemoryBytes == mine.MemoryBytes && its.Processes == mine.Processes && its.CPUMilli == mine.CPUMilli && its.OpenFiles == mine.OpenFiles
}

// refill has the pool filled in the background.
func (l *pool) refill() {
	if l.p.config.Pool == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	if !l.started {
		l.started = true
		go l.fill()
	}
	select {
	case l.want <- struct{}{}:
	default:
	}
}

func (l *pool) fill() {
	defer close(l.filled)
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.want:
		}
		for l.short() {
			limits := l.p.config.PoolLimits
			x, err := l.p.launch(l.ctx, name("pool-"), bootWith(limits), limits)
			if err != nil {
				if l.ctx.Err() == nil {
					l.p.log.Warn("no sandbox for the pool", "error", err)
				}
				select {
				case <-l.ctx.Done():
				case <-time.After(refillPause):
				}
				continue
			}
			l.mu.Lock()
			l.ready = append(l.ready, x)
			l.mu.Unlock()
		}
	}
}

func (l *pool) short() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx.Err() == nil && len(l.ready) < l.p.config.Pool
}

// size is how many sandboxes wait.
func (l *pool) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ready)
}

// close ends the filler and what waits.
func (l *pool) close() {
	l.mu.Lock()
	l.stop()
	started := l.started
	l.mu.Unlock()
	if started {
		<-l.filled
	}
	l.mu.Lock()
	left := l.ready
	l.ready = nil
	l.mu.Unlock()
	for _, x := range left {
		_ = x.end() // a process that can't be killed is not ours to mend
	}
}

package gvisor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// refillPause is how long the pool waits after a sandbox did not boot.
const refillPause = 10 * time.Second

// pool keeps booted sandboxes that nobody owns. They have the root of the environment that was opened
// last: that of the next one is most likely the same. The pool is filled after a probe that went well
// or the first Open, by one goroutine, one at a time: a boot takes CPU that commands may want.
type pool struct {
	p    *Provider
	ctx  context.Context
	stop context.CancelFunc
	want chan struct{} // holds one element while there may be something to fill

	mu      sync.Mutex
	root    environment.Root // of those that are booted from now on
	key     string           // of root
	ready   []*process       // all with that root
	started bool
	filled  chan struct{} // closed when the filler has ended
	ending  sync.WaitGroup
}

func newPool(p *Provider) *pool {
	ctx, stop := context.WithCancel(context.Background())
	return &pool{p: p, ctx: ctx, stop: stop, want: make(chan struct{}, 1), filled: make(chan struct{}), key: rootKey(environment.Root{})}
}

// take returns a sandbox that fits spec, which is the caller's from now on, or nil.
func (l *pool) take(spec environment.Spec) *process {
	if !l.fits(spec) {
		return nil
	}
	defer l.refill()
	key := rootKey(spec.Root)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil
	}
	if key != l.key {
		old := l.ready
		l.ending.Go(func() { endAll(old) })
		l.root, l.key, l.ready = spec.Root, key, nil
	}
	for len(l.ready) > 0 {
		x := l.ready[0]
		l.ready = l.ready[1:]
		select {
		case <-x.dead: // by accident, while it waited
			l.ending.Go(func() { endAll([]*process{x}) })
		default:
			return x
		}
	}
	return nil
}

// fits says whether a sandbox that was booted without knowing spec, but for its root, can be its
// environment.
func (l *pool) fits(s environment.Spec) bool {
	mine, its := l.p.config.PoolLimits, s.Limits
	return !s.AsRoot && s.Root.Upper == "" && len(s.Mounts) == 0 &&
		its.MemoryBytes == mine.MemoryBytes && its.Processes == mine.Processes && its.CPUMilli == mine.CPUMilli && its.OpenFiles == mine.OpenFiles
}

// rootKey names a root: directories that were removed and made again under the same names are others.
func rootKey(r environment.Root) string {
	var key strings.Builder
	for _, dir := range append([]string{r.Image}, r.Layers...) {
		var st unix.Stat_t
		_ = unix.Stat(dir, &st) // what is not there has the number 0, and fails to boot
		fmt.Fprintf(&key, "%q %d %d\n", dir, st.Dev, st.Ino)
	}
	return key.String()
}

func endAll(list []*process) {
	for _, x := range list {
		_ = x.end() // a process that can't be killed is not ours to mend
	}
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
			x, key, err := l.boot()
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
			if !l.add(x, key) {
				_ = x.end() // another root is wanted meanwhile
			}
		}
	}
}

// boot boots a sandbox with the root that is wanted now.
func (l *pool) boot() (x *process, key string, err error) {
	l.mu.Lock()
	root, key := l.root, l.key
	l.mu.Unlock()
	limits := l.p.config.PoolLimits
	x, err = l.p.launch(l.ctx, name("pool-"), bootOf(environment.Spec{Root: root, Limits: limits}), limits)
	return x, key, err
}

func (l *pool) add(x *process, key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if key == l.key {
		l.ready = append(l.ready, x)
	}
	return key == l.key
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
	endAll(left)
	l.ending.Wait()
}

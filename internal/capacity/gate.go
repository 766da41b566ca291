package capacity

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Pool is a shared pool. It is safe for concurrent use.
type Pool struct {
	mu    sync.Mutex
	pool  *pool
	now   func() time.Time
	timer *time.Timer
	// changed is closed when the limits change, and another one stands here then.
	changed chan struct{}
}

// New makes a pool; now nil is time.Now.
func New(cfg Config, now func() time.Time) *Pool {
	if now == nil {
		now = time.Now
	}
	return &Pool{pool: newPool(cfg, now()), now: now, changed: make(chan struct{})}
}

// Change gives the pool other limits, which hold at once for those that wait as well. What runs counts on, and buckets keep
// their level, above zero or below, as far as the new size holds it. Nobody is sent away for a queue that is shorter now.
func (p *Pool) Change(cfg Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pool.change(p.now(), cfg)
	p.arm()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Retire lifts the limits of a pool that is no more: those that wait go out, and so does who still comes.
func (p *Pool) Retire() {
	p.mu.Lock()
	name := p.pool.cfg.Name
	p.mu.Unlock()
	p.Change(Config{Name: name})
}

// Enter waits for the turn of a call, with the clocks of its silence standing still: nobody has been asked anything yet.
// leave must be called exactly once, with the tokens that the call used, -1 when that is not known. Errors are *model.Error;
// ctx's end is one as well, also when the call is let in at that very moment: nobody waits for it any more.
func (p *Pool) Enter(ctx context.Context, project stead.ProjectID, tier Tier, tokens int64) (leave func(used int64), err *model.Error) {
	p.mu.Lock()
	t, again := p.pool.enter(p.now(), project, tier, tokens)
	p.arm()
	p.mu.Unlock()
	if t == nil {
		return nil, p.refusal("its queue is full", again)
	}
	defer model.Queued(ctx)()
	timeout := time.NewTimer(DefaultWait)
	defer timeout.Stop()
	for {
		most, left, changed := p.patience(t)
		timeout.Reset(left)
		select {
		case <-t.ready:
		case <-changed:
			continue
		case <-timeout.C:
			if p.giveUp(t) {
				return nil, p.refusal(fmt.Sprintf("the call waited %s", most), p.again())
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			if !p.giveUp(t) {
				p.leaver(t)(0)
			}
			return nil, &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled while it waited for capacity", Err: context.Cause(ctx)}
		}
		return p.leaver(t), nil // at its turn, or it was let in at the very moment when it gave up
	}
}

// patience is how long a call may wait, how much of that is left to this one, and what is closed when it changes.
func (p *Pool) patience(t *ticket) (most, left time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most = p.pool.cfg.Wait
	return most, t.since.Add(most).Sub(p.now()), p.changed
}

// giveUp takes the ticket out of the queue; false when it has been let in meanwhile.
func (p *Pool) giveUp(t *ticket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.in {
		return false
	}
	p.pool.leave(p.now(), t, 0)
	return true
}

func (p *Pool) again() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pool.again(p.now())
}

func (p *Pool) refusal(why string, again time.Duration) *model.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &model.Error{Code: model.CodeRateLimit, Status: 429, Retry: true, RetryAfter: again, Own: true, Stay: p.pool.cfg.Stay,
		Message: fmt.Sprintf("the capacity of pool %s is taken: %s", p.pool.cfg.Name, why)}
}

func (p *Pool) leaver(t *ticket) func(int64) {
	var once sync.Once
	return func(used int64) {
		once.Do(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.pool.leave(p.now(), t, used)
			p.arm()
		})
	}
}

// arm sees to it that somebody looks when time alone lets the next call in.
func (p *Pool) arm() {
	d := p.pool.wakes(p.now())
	if d == 0 {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pool.admit(p.now())
		p.arm()
	})
}

// Status says how the pool stands.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pool.status()
}

// words say what the next call finds: a place, a queue, or neither.
func (p *Pool) words() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, waiting := p.pool.cfg.Name, p.pool.waiting
	switch {
	case waiting == 0 && p.pool.free(p.now()):
		return fmt.Sprintf("pool %s: free", name)
	case waiting < p.pool.cfg.Queue:
		return fmt.Sprintf("pool %s: taken, %d wait", name, waiting)
	}
	return fmt.Sprintf("pool %s: full, %d wait", name, waiting)
}

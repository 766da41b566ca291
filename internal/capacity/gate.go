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
}

// New makes a pool; now nil is time.Now.
func New(cfg Config, now func() time.Time) *Pool {
	if now == nil {
		now = time.Now
	}
	return &Pool{pool: newPool(cfg, now()), now: now}
}

// Enter waits for the turn of a call. leave must be called exactly once, with the tokens that the
// call used, -1 when that is not known. Errors are *model.Error; ctx's end is one as well.
func (p *Pool) Enter(ctx context.Context, project stead.ProjectID, tier Tier, tokens int64) (leave func(used int64), err *model.Error) {
	p.mu.Lock()
	t, again := p.pool.enter(p.now(), project, tier, tokens)
	p.arm()
	p.mu.Unlock()
	if t == nil {
		return nil, p.refusal("its queue is full", again)
	}
	timeout := time.NewTimer(p.pool.cfg.Wait)
	defer timeout.Stop()
	select {
	case <-t.ready:
		return p.leaver(t), nil
	case <-timeout.C:
		if p.giveUp(t) {
			return nil, p.refusal(fmt.Sprintf("the call waited %s", p.pool.cfg.Wait), p.again())
		}
	case <-ctx.Done():
		if p.giveUp(t) {
			return nil, &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled while it waited for capacity", Err: context.Cause(ctx)}
		}
	}
	return p.leaver(t), nil // it was let in at that very moment
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

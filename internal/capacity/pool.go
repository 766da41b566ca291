package capacity

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/stead-dev/stead"
)

// pool decides who is next. It is pure: the time is an argument, and nothing waits in it.
type pool struct {
	cfg      Config
	tokens   bucket
	requests bucket
	running  int
	waiting  int
	refused  int64
	clock    float64 // virtual time: the start tag of the call that was let in last
	factor   float64 // by what calls use more than is estimated of them, at least 1
	serial   uint64
	projects map[stead.ProjectID]*project
}

// project is a flow of the pool.
type project struct {
	id      stead.ProjectID
	weight  float64
	finish  float64 // virtual time at which what it has taken is paid for
	queue   []*ticket
	running int
	tokens  int64
	calls   int64
	seen    time.Time
}

// ticket is one call.
type ticket struct {
	project  *project
	tier     Tier
	estimate int64 // tokens, by the request
	tokens   int64 // by what calls of the pool use of their estimates
	serial   uint64
	since    time.Time
	in       bool
	ready    chan struct{} // closed when it may go out
}

func newPool(cfg Config, now time.Time) *pool {
	return &pool{
		cfg: cfg.whole(), factor: 1, projects: map[stead.ProjectID]*project{},
		tokens: newBucket(cfg.TokensPerMinute, now), requests: newBucket(cfg.RequestsPerMinute, now),
	}
}

// whole is a configuration with its defaults.
func (c Config) whole() Config {
	c.Queue, c.Wait = cmp.Or(c.Queue, DefaultQueue), cmp.Or(c.Wait, DefaultWait)
	return c
}

// change takes other limits, and lets in whoever may go by them.
func (p *pool) change(now time.Time, cfg Config) {
	p.cfg = cfg.whole()
	p.tokens.change(cfg.TokensPerMinute, now)
	p.requests.change(cfg.RequestsPerMinute, now)
	for id, f := range p.projects {
		f.weight = cfg.weight(id)
	}
	p.admit(now)
}

func (c Config) weight(id stead.ProjectID) float64 { return float64(max(c.Weights[id], 1)) }

// enter queues a call. It returns nil, and after what time to come again, when the queue is full.
func (p *pool) enter(now time.Time, id stead.ProjectID, tier Tier, tokens int64) (*ticket, time.Duration) {
	f := p.flow(now, id)
	p.serial++
	t := &ticket{project: f, tier: tier, estimate: max(tokens, 1), tokens: p.likely(max(tokens, 1)), serial: p.serial, since: now, ready: make(chan struct{})}
	f.queue = append(f.queue, t)
	p.waiting++
	p.admit(now)
	if t.in || p.waiting <= max(p.cfg.Queue, 0) {
		return t, 0
	}
	p.drop(t)
	p.refused++
	return nil, p.again(now)
}

func (p *pool) flow(now time.Time, id stead.ProjectID) *project {
	f := p.projects[id]
	if f == nil {
		p.forget(now)
		f = &project{id: id, weight: p.cfg.weight(id)}
		p.projects[id] = f
	}
	f.seen = now
	return f
}

// forget drops projects that have had no calls for long.
func (p *pool) forget(now time.Time) {
	for id, f := range p.projects {
		if f.running == 0 && len(f.queue) == 0 && now.Sub(f.seen) > idleProject {
			delete(p.projects, id)
		}
	}
}

// admit lets in whoever may go now, in order.
func (p *pool) admit(now time.Time) {
	for p.free(now) {
		t := p.next()
		if t == nil {
			return
		}
		f := t.project
		start := max(p.clock, f.finish)
		p.clock, f.finish = start, start+float64(t.tokens)/f.weight
		p.drop(t)
		t.in = true
		f.running++
		f.calls++
		p.running++
		p.tokens.take(t.tokens)
		p.requests.take(1)
		close(t.ready)
	}
}

func (p *pool) free(now time.Time) bool {
	p.tokens.fill(now)
	p.requests.fill(now)
	return (p.cfg.Concurrent == 0 || p.running < p.cfg.Concurrent) && p.tokens.open() && p.requests.open()
}

// next is the ticket whose turn it is: by tier, by its project's start tag, by age.
func (p *pool) next() *ticket {
	var best *ticket
	var tag float64
	for _, f := range p.projects {
		t := f.first()
		if t == nil {
			continue
		}
		start := max(p.clock, f.finish)
		if best == nil || cmp.Or(cmp.Compare(best.tier, t.tier), cmp.Compare(start, tag), cmp.Compare(t.serial, best.serial)) < 0 {
			best, tag = t, start
		}
	}
	return best
}

// first is the project's most urgent call, the oldest of those.
func (f *project) first() *ticket {
	var best *ticket
	for _, t := range f.queue {
		if best == nil || t.tier > best.tier {
			best = t
		}
	}
	return best
}

// drop takes a ticket out of its queue.
func (p *pool) drop(t *ticket) {
	if i := slices.Index(t.project.queue, t); i >= 0 {
		t.project.queue = slices.Delete(t.project.queue, i, i+1)
		p.waiting--
	}
}

// leave takes a ticket back: with what the call used when it was let in, -1 when that is not known.
func (p *pool) leave(now time.Time, t *ticket, used int64) {
	if !t.in {
		p.drop(t)
		p.refused++
		return
	}
	f := t.project
	if used < 0 {
		used = t.tokens
	} else if used > 0 { // else it failed
		p.learn(used, t.estimate)
	}
	p.running--
	f.running--
	f.tokens += used
	f.seen = now
	f.finish += float64(used-t.tokens) / f.weight
	p.tokens.take(used - t.tokens)
	p.admit(now)
}

// learnShare is how much of what one call teaches is believed, and maxFactor the most that a pool learns.
const (
	learnShare = 0.2
	maxFactor  = 1000
)

// learn takes over by how much a call has used more than was estimated of it.
func (p *pool) learn(used, estimate int64) {
	p.factor += (min(float64(used)/float64(estimate), maxFactor) - p.factor) * learnShare
	p.factor = max(p.factor, 1)
}

// likely is what a call of an estimate uses.
func (p *pool) likely(estimate int64) int64 { return int64(float64(estimate) * p.factor) }

// again is when a bucket opens at the latest, for Retry-After: at least a second.
func (p *pool) again(now time.Time) time.Duration {
	d := max(p.tokens.opens(now), p.requests.opens(now), time.Second)
	return d.Round(time.Second)
}

// wakes is when the next call may be let in by the passing of time alone; 0: not at all.
func (p *pool) wakes(now time.Time) time.Duration {
	if p.waiting == 0 || p.cfg.Concurrent > 0 && p.running >= p.cfg.Concurrent {
		return 0
	}
	return max(p.tokens.opens(now), p.requests.opens(now))
}

func (p *pool) status() Status {
	s := Status{
		Name: p.cfg.Name, TokensPerMinute: p.cfg.TokensPerMinute, RequestsPerMinute: p.cfg.RequestsPerMinute, Concurrent: p.cfg.Concurrent,
		Running: p.running, Waiting: p.waiting, Refused: p.refused, Projects: []ProjectStatus{},
	}
	for _, f := range p.projects {
		s.Projects = append(s.Projects, ProjectStatus{f.id, int(f.weight), f.running, len(f.queue), f.tokens, f.calls})
	}
	slices.SortFunc(s.Projects, func(a, b ProjectStatus) int { return cmp.Compare(a.Project, b.Project) })
	return s
}

// bucket fills by a rate and may go below zero: calls begin while it is above, and pay what they
// turn out to cost. A rate of 0 is no limit.
type bucket struct {
	perMinute float64
	level     float64
	at        time.Time
}

func newBucket(perMinute int64, now time.Time) bucket {
	b := bucket{perMinute: float64(perMinute), at: now}
	b.level = b.size()
	return b
}

// change goes on at another rate with what the bucket holds or owes. Without a rate nobody counted: one that gets its first
// begins full.
func (b *bucket) change(perMinute int64, now time.Time) {
	if b.perMinute == 0 {
		*b = newBucket(perMinute, now)
		return
	}
	b.fill(now)
	b.perMinute = float64(perMinute)
	b.level = min(b.level, b.size())
}

func (b *bucket) size() float64 { return max(b.perMinute/bucketShare, 1) }

func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.level = min(b.size(), b.level+b.perMinute*passed.Minutes())
		b.at = now
	}
}

func (b *bucket) open() bool { return b.perMinute == 0 || b.level > 0 }

func (b *bucket) take(n int64) {
	if b.perMinute > 0 {
		b.level = min(b.size(), b.level-float64(n))
	}
}

// opens is how long it takes until the bucket is above zero.
func (b *bucket) opens(now time.Time) time.Duration {
	b.fill(now)
	if b.open() {
		return 0
	}
	return time.Duration(math.Ceil(-b.level/b.perMinute*float64(time.Minute))) + time.Millisecond
}

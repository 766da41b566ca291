package capacity

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world plays calls against a pool in a time of its own.
type world struct {
	t    *testing.T
	pool *pool
	rng  *rand.Rand
	now  time.Time
	ends ends
	open []*ticket

	used  map[stead.ProjectID]int64
	begun map[stead.ProjectID][]time.Time
	spent []spent // tokens by when their calls began
}

type spent struct {
	at     time.Time
	tokens int64
}

type end struct {
	at   time.Time
	t    *ticket
	used int64
}

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newWorld(t *testing.T, seed uint64, cfg Config) *world {
	return &world{t: t, pool: newPool(cfg, start), rng: rand.New(rand.NewPCG(seed, 1)), now: start,
		used: map[stead.ProjectID]int64{}, begun: map[stead.ProjectID][]time.Time{}}
}

func (w *world) call(id stead.ProjectID, tier Tier, estimate int64) *ticket {
	t, _ := w.pool.enter(w.now, id, tier, estimate)
	if t != nil {
		w.open = append(w.open, t)
	}
	w.begin()
	return t
}

// begin notices the calls that were let in: each takes its time, and more or less than was thought.
func (w *world) begin() {
	waiting := w.open[:0]
	for _, t := range w.open {
		if !t.in {
			waiting = append(waiting, t)
			continue
		}
		used := max(1, t.tokens/2+w.rng.Int64N(t.tokens+1))
		w.used[t.project.id] += used
		w.begun[t.project.id] = append(w.begun[t.project.id], w.now)
		w.spent = append(w.spent, spent{w.now, used})
		heap.Push(&w.ends, end{w.now.Add(time.Duration(50+w.rng.IntN(400)) * time.Millisecond), t, used})
	}
	w.open = waiting
	if c := w.pool.cfg.Concurrent; c > 0 && (w.pool.running > c || len(w.ends) > c) {
		w.t.Fatalf("%d calls at once, the limit is %d", len(w.ends), c)
	}
}

// pass lets time pass up to a moment.
func (w *world) pass(d time.Duration) {
	until := w.now.Add(d)
	for {
		next := until
		if len(w.ends) > 0 && w.ends[0].at.Before(next) {
			next = w.ends[0].at
		}
		if wake := w.pool.wakes(w.now); wake > 0 && w.now.Add(wake).Before(next) {
			next = w.now.Add(wake)
		}
		w.now = next
		for len(w.ends) > 0 && !w.ends[0].at.After(w.now) {
			e := heap.Pop(&w.ends).(end)
			w.pool.leave(w.now, e.t, e.used)
		}
		w.pool.admit(w.now)
		w.begin()
		if !w.now.Before(until) {
			return
		}
	}
}

func TestSharesAreFair(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, Config{TokensPerMinute: 600_000, RequestsPerMinute: 6_000, Concurrent: 20, Weights: map[stead.ProjectID]int{"b": 3}})
			for w.now.Before(start.Add(10 * time.Minute)) {
				// Each of them wants more than it can have; a sends many small calls, b and c few large ones.
				for id, size := range map[stead.ProjectID]int64{"a": 200, "b": 2_000, "c": 2_000} {
					for w.pool.flow(w.now, id).waiting() < 20 {
						w.call(id, TierDefault, size/2+w.rng.Int64N(size))
					}
				}
				w.pass(200 * time.Millisecond)
			}
			sum := float64(w.used["a"] + w.used["b"] + w.used["c"])
			for id, want := range map[stead.ProjectID]float64{"a": 0.2, "b": 0.6, "c": 0.2} {
				if got := float64(w.used[id]) / sum; math.Abs(got-want) > 0.05*want+0.005 {
					t.Errorf("project %s had %.3f of the tokens, want %.3f within 5 %%", id, got, want)
				}
			}
			w.checkRate()
		})
	}
}

func (f *project) waiting() int { return len(f.queue) }

// checkRate: no minute takes more than the rate, a bucket and the calls that were under way.
func (w *world) checkRate() {
	rate := float64(w.pool.cfg.TokensPerMinute)
	sum, from := 0.0, 0
	for _, s := range w.spent {
		sum += float64(s.tokens)
		for s.at.Sub(w.spent[from].at) >= time.Minute {
			sum -= float64(w.spent[from].tokens)
			from++
		}
		if sum > rate*(1+1.0/bucketShare)+20*6_000 {
			w.t.Fatalf("a minute took %.0f tokens, the rate is %.0f", sum, rate)
		}
	}
}

func TestTheRateIsUsedUp(t *testing.T) {
	w := newWorld(t, 1, Config{TokensPerMinute: 60_000})
	for w.now.Before(start.Add(5 * time.Minute)) {
		for w.pool.flow(w.now, "a").waiting() < 5 {
			w.call("a", TierDefault, 500)
		}
		w.pass(time.Second)
	}
	if got := float64(w.used["a"]) / 5; got < 57_000 || got > 63_000 {
		t.Errorf("%.0f tokens a minute, want 60000", got)
	}
}

func TestBorrowAndReclaim(t *testing.T) {
	w := newWorld(t, 3, Config{Concurrent: 10})
	for range 40 {
		w.call("busy", TierDefault, 100)
	}
	if w.pool.running != 10 {
		t.Fatalf("%d of 10 run: what others leave is for whoever wants it", w.pool.running)
	}
	w.call("late", TierDefault, 100)
	w.pass(500 * time.Millisecond) // the first of the ten end
	if len(w.begun["late"]) != 1 {
		t.Error("the other project's call waited behind the borrower's queue")
	}
}

func TestTiersGoFirst(t *testing.T) {
	w := newWorld(t, 4, Config{Concurrent: 1})
	first := w.call("a", TierFlex, 10)
	flex, plain, fast := w.call("a", TierFlex, 10), w.call("b", TierDefault, 10), w.call("c", TierUltrafast, 10)
	order := []*ticket{first}
	for range 3 {
		w.pass(500 * time.Millisecond)
		for _, t := range []*ticket{flex, plain, fast} {
			if t.in && t != order[len(order)-1] && len(order) < 4 && !contains(order, t) {
				order = append(order, t)
			}
		}
	}
	want := []*ticket{first, fast, plain, flex}
	for i := range want {
		if i >= len(order) || order[i] != want[i] {
			t.Fatalf("place %d is not the tier's: %v", i, order)
		}
	}
}

func contains(list []*ticket, t *ticket) bool {
	for _, x := range list {
		if x == t {
			return true
		}
	}
	return false
}

func TestAFullQueueSaysWhenToComeAgain(t *testing.T) {
	p := newPool(Config{TokensPerMinute: 60, Queue: 1}, start)
	if t1, _ := p.enter(start, "a", TierDefault, 126); t1 == nil || !t1.in {
		t.Fatal("the first call does not go out at once")
	}
	if t2, _ := p.enter(start, "a", TierDefault, 1); t2 == nil || t2.in {
		t.Fatal("the second call does not wait")
	}
	t3, again := p.enter(start, "a", TierDefault, 1)
	if t3 != nil || again != 2*time.Minute { // 126 of a bucket of 6: 120 tokens of debt, at 60 a minute
		t.Fatalf("the third call: %v, again after %s", t3, again)
	}
	if s := p.status(); s.Refused != 1 || s.Waiting != 1 || s.Running != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestNoQueueAtAll(t *testing.T) {
	p := newPool(Config{Concurrent: 1, Queue: -1}, start)
	t1, _ := p.enter(start, "a", TierDefault, 1)
	if t2, again := p.enter(start, "a", TierDefault, 1); t2 != nil || again != time.Second {
		t.Errorf("%v, %s: nothing waits in a pool without a queue", t2, again)
	}
	p.leave(start, t1, 1)
	if t3, _ := p.enter(start, "a", TierDefault, 1); t3 == nil || !t3.in {
		t.Error("the place that was left is not given again")
	}
}

func TestIdleProjectsAreForgotten(t *testing.T) {
	p := newPool(Config{}, start)
	for i := range 100 {
		ticket, _ := p.enter(start, stead.ProjectID(fmt.Sprint(i)), TierDefault, 1)
		p.leave(start, ticket, 1)
	}
	p.enter(start.Add(2*idleProject), "new", TierDefault, 1)
	if len(p.projects) != 1 {
		t.Errorf("%d projects are remembered", len(p.projects))
	}
}

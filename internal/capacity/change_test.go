package capacity

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// What runs is at the upstream whatever the configuration says: it counts by the new limit.
func TestRunningCallsCountByTheNewLimit(t *testing.T) {
	p := newPool(Config{Concurrent: 2}, start)
	a, _ := p.enter(start, "a", TierDefault, 1)
	b, _ := p.enter(start, "a", TierDefault, 1)
	c, _ := p.enter(start, "a", TierDefault, 1)
	p.change(start, Config{Concurrent: 1, Wait: time.Minute})
	if p.leave(start, a, 1); c.in {
		t.Error("one runs still, and one is the limit")
	}
	if p.leave(start, b, 1); !c.in || p.running != 1 {
		t.Errorf("the next call is in: %v, and %d run", c.in, p.running)
	}
}

// Those that wait see the new limits at once: nobody need come or go first.
func TestACallThatWaitsIsLetInByTheNewLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Concurrent: 1, Wait: time.Minute}, nil)
		if _, err := p.Enter(t.Context(), "a", TierDefault, 1); err != nil {
			t.Fatal(err)
		}
		in := make(chan *model.Error, 1)
		go func() {
			_, err := p.Enter(t.Context(), "a", TierDefault, 1)
			in <- err
		}()
		synctest.Wait()
		p.Change(Config{Concurrent: 2, Wait: time.Minute})
		synctest.Wait()
		select {
		case err := <-in:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("it waits by the old limit")
		}
	})
}

// How long a call waits is by the limits of now, counted from when it came.
func TestPatienceChangesUnderWay(t *testing.T) {
	for name, tc := range map[string]struct{ now, want time.Duration }{
		"shorter":          {20 * time.Second, 20 * time.Second},
		"longer":           {time.Minute, time.Minute},
		"over before this": {time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(Config{Concurrent: 1, Wait: 30 * time.Second}, nil)
				if _, err := p.Enter(t.Context(), "a", TierDefault, 1); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				time.AfterFunc(10*time.Second, func() { p.Change(Config{Concurrent: 1, Wait: tc.now}) })
				_, err := p.Enter(t.Context(), "a", TierDefault, 1)
				if err == nil || err.Code != model.CodeRateLimit || time.Since(begin) != tc.want {
					t.Errorf("%v after %s, want a refusal after %s", err, time.Since(begin), tc.want)
				}
			})
		})
	}
}

// A bucket keeps what it holds and what it owes; a smaller one holds no more than its size.
func TestBucketsKeepTheirLevel(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to    int64
		taken, want float64
	}{
		"a debt stays":                 {6000, 12_000, 5000, -4400},
		"a level stays":                {6000, 12_000, 100, 500},
		"clamped to the new size":      {6000, 600, 100, 60},
		"no limit before: begins full": {0, 6000, 5000, 600},
	} {
		b := newBucket(tc.from, start)
		b.take(int64(tc.taken))
		if b.change(tc.to, start); b.level != tc.want {
			t.Errorf("%s: the level is %v, want %v", name, b.level, tc.want)
		}
	}
	b := newBucket(600, start)
	b.take(160) // 60 are there, and 100 owed
	b.change(6000, start.Add(5*time.Second))
	if b.level != -50 || b.opens(start.Add(5*time.Second)).Round(100*time.Millisecond) != 500*time.Millisecond {
		t.Errorf("the level is %v: what had passed counts by the old rate, what is to come by the new one", b.level)
	}
}

// Weights hold for the projects that are there already, and for what waits of theirs.
func TestWeightsChange(t *testing.T) {
	p := newPool(Config{Concurrent: 1}, start)
	var open []*ticket
	for range 40 {
		for _, id := range []stead.ProjectID{"a", "b"} {
			ticket, _ := p.enter(start, id, TierDefault, 100)
			open = append(open, ticket)
		}
	}
	p.change(start, Config{Concurrent: 1, Weights: map[stead.ProjectID]int{"b": 3}})
	begun := map[stead.ProjectID]int{}
	for range 40 {
		i := slices.IndexFunc(open, func(t *ticket) bool { return t.in })
		begun[open[i].project.id]++
		p.leave(start, open[i], 100)
		open = slices.Delete(open, i, i+1)
	}
	if begun["b"] < 28 || begun["b"] > 31 {
		t.Errorf("of 40 calls %v, want a quarter and three quarters", begun)
	}
}

// A pool that is taken away lets go whom it holds, without a word of error, and those that run leave as ever.
func TestARetiredPoolHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Name: "p", Concurrent: 1, TokensPerMinute: 600}, nil)
		leave, err := p.Enter(t.Context(), "a", TierDefault, 5000)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			go func() {
				leave, err := p.Enter(t.Context(), "a", TierDefault, 1)
				if err != nil {
					t.Errorf("a call that waited: %v", err)
					return
				}
				leave(1)
			}()
		}
		synctest.Wait()
		p.Retire()
		synctest.Wait()
		leave(5000)
		if s := p.Status(); s.Running != 0 || s.Waiting != 0 || s.Projects[0].Calls != 6 || s.Refused != 0 {
			t.Errorf("%+v", s)
		}
	})
}

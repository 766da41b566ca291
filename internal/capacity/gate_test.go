package capacity_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capacity"
	"github.com/stead-dev/stead/internal/model"
)

func TestCallsTakeTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := capacity.New(capacity.Config{Name: "gpu", Concurrent: 2}, nil)
		var running, most atomic.Int64
		var all sync.WaitGroup
		begin := time.Now()
		for range 10 {
			all.Go(func() {
				leave, err := p.Enter(t.Context(), "a", capacity.TierDefault, 10)
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Second)
				running.Add(-1)
				leave(10)
				leave(10) // a second time changes nothing
			})
		}
		all.Wait()
		if most.Load() != 2 || time.Since(begin) != 5*time.Second {
			t.Errorf("%d at once, all in %s; want 2 and 5s", most.Load(), time.Since(begin))
		}
		if s := p.Status(); s.Running != 0 || s.Waiting != 0 || s.Projects[0].Tokens != 100 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestARateLetsCallsInAsTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := capacity.New(capacity.Config{RequestsPerMinute: 60, Wait: time.Hour}, nil)
		begin := time.Now()
		for range 66 {
			leave, err := p.Enter(t.Context(), "a", capacity.TierDefault, 1)
			if err != nil {
				t.Fatal(err)
			}
			leave(1)
		}
		if took := time.Since(begin); took < 59*time.Second || took > 61*time.Second {
			t.Errorf("66 requests took %s, want a minute: a bucket holds six", took)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := capacity.New(capacity.Config{Name: "gpu", Concurrent: 1, Wait: 10 * time.Second}, nil)
		leave, _ := p.Enter(t.Context(), "a", capacity.TierDefault, 1)
		_, err := p.Enter(t.Context(), "a", capacity.TierDefault, 1)
		if err == nil || err.Code != model.CodeRateLimit || err.Status != 429 || err.RetryAfter == 0 || !err.Retry {
			t.Errorf("a wait that is too long: %+v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Enter(ctx, "a", capacity.TierDefault, 1)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that went: %v", err)
		}
		leave(1)
		if _, err := p.Enter(t.Context(), "a", capacity.TierDefault, 1); err != nil {
			t.Errorf("the place that was left: %v", err)
		}
	})
}

// slow is a model that answers in parts, or fails.
type slow struct{ fail bool }

func (s slow) Generate(context.Context, model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		if s.fail {
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection})
			return
		}
		if yield(model.Delta{Kind: model.TextDelta, Text: "x"}, nil) {
			yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 40, OutputTokens: 2}}, nil)
		}
	}
}

func TestAModelsCallsAreSettledByWhatTheyUsed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		model slow
		most  int // deltas that are taken
		want  int64
	}{
		{"finished", slow{}, 9, 42},
		{"failed before a word", slow{fail: true}, 9, 0},
		{"given up", slow{}, 1, 1000}, // the estimate stands
	} {
		p := capacity.New(capacity.Config{}, nil)
		m := capacity.Limit(tc.model, func(upstream string) *capacity.Pool {
			if upstream == "limited" {
				return p
			}
			return nil
		})
		for _, upstream := range []string{"limited", "other"} {
			n := 0
			for range m.Generate(t.Context(), model.Request{Model: upstream, Caller: model.Caller{Project: "a"}}) {
				if n++; n == tc.most {
					break
				}
			}
		}
		if s := p.Status(); s.Projects[0].Tokens != tc.want || s.Projects[0].Calls != 1 || s.Running != 0 {
			t.Errorf("%s: %+v, want %d tokens", tc.name, s, tc.want)
		}
		if _, ok := m.(model.Forwarder); ok {
			t.Error("the model forwards now, which it could not before")
		}
	}
}

// A call whose caller has gone is not made, also where there is a place for it; the place stays free.
func TestNobodyEntersForACallerWhoHasGone(t *testing.T) {
	p := capacity.New(capacity.Config{Name: "p", Concurrent: 1}, nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Enter(gone, "a", capacity.TierDefault, 1); err == nil || err.Own {
		t.Errorf("let in, or refused as by a full pool: %v", err)
	}
	leave, err := p.Enter(t.Context(), "a", capacity.TierDefault, 1)
	if err != nil {
		t.Fatal(err)
	}
	leave(1)
}

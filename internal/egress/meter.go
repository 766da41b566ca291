package egress

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// meter holds an environment to its limits.
type meter struct {
	limits   Limits
	up, down atomic.Int64
	upRate   bucket
	downRate bucket
	perMin   bucket
}

func newMeter(l Limits, now time.Time) *meter {
	m := &meter{limits: l}
	m.upRate.fill(float64(l.BytesPerSecond), float64(l.BytesPerSecond), now)
	m.downRate.fill(float64(l.BytesPerSecond), float64(l.BytesPerSecond), now)
	m.perMin.fill(float64(l.PerMinute)/60, float64(l.PerMinute), now)
	return m
}

// direction is where bytes go.
type direction bool

const (
	up   direction = true
	down direction = false
)

// errSpent ends a connection when a limit of bytes is reached.
var errSpent = errors.New("the environment's limit of bytes is reached")

// count adds bytes and says how long to wait for the rate; errSpent means that they may not pass.
func (m *meter) count(d direction, n int, now time.Time) (time.Duration, error) {
	total, most, rate := &m.down, m.limits.DownBytes, &m.downRate
	if d == up {
		total, most, rate = &m.up, m.limits.UpBytes, &m.upRate
	}
	if total.Add(int64(n)) > most {
		total.Add(-int64(n))
		return 0, errSpent
	}
	return rate.owe(float64(n), now), nil
}

// admit takes one decision from the limit per minute, and looks whether bytes are left.
func (m *meter) admit(now time.Time) *refusal {
	for _, l := range []struct {
		spent, most int64
		name, words string
	}{
		{m.up.Load(), m.limits.UpBytes, "up_bytes", "sent"},
		{m.down.Load(), m.limits.DownBytes, "down_bytes", "received"},
	} {
		if l.spent >= l.most {
			return limited(RuleLimits+"."+l.name, 0, "this environment has %s all of the %d bytes that it may", l.words, l.most)
		}
	}
	if wait := m.perMin.take(now); wait > 0 {
		return limited(RuleLimits+".per_minute", wait, "this environment may make %d connections and requests a minute", m.limits.PerMinute)
	}
	return nil
}

func limited(rule string, retry time.Duration, format string, args ...any) *refusal {
	out := refuse(rule, format, args...)
	out.status, out.retry, out.limited, out.flood = http.StatusTooManyRequests, retry, true, true
	return out
}

// bucket is a token bucket: rate tokens a second, burst at most.
type bucket struct {
	mu          sync.Mutex
	rate, burst float64
	tokens      float64
	last        time.Time
}

func (b *bucket) fill(rate, burst float64, now time.Time) {
	b.rate, b.burst, b.tokens, b.last = rate, burst, burst, now
}

func (b *bucket) refill(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = math.Min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.last = now
	}
}

// take takes one token, or says how long until there is one.
func (b *bucket) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / b.rate * float64(time.Second))
	}
	b.tokens--
	return 0
}

// owe takes n tokens, on credit if need be, and says how long to wait until the debt is paid.
func (b *bucket) owe(n float64, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.tokens -= n
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

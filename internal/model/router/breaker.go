package router

import (
	"time"

	"github.com/stead-dev/stead/internal/model"
)

// breaker keeps calls away from a route that fails.
type breaker struct {
	failures int // in a row
	until    time.Time
	trying   bool // one call tries whether the route is back
}

// closed reports whether calls are kept away: it is open, or somebody is trying already.
func (b *breaker) closed(now time.Time) bool {
	return b.failures >= BreakAfter && (now.Before(b.until) || b.trying)
}

// The states of a breaker, in words.
const (
	BreakerClosed   = "closed"    // calls pass
	BreakerOpen     = "open"      // calls are kept away
	BreakerHalfOpen = "half_open" // one call tries, or may
)

func (b *breaker) state(now time.Time) string {
	switch {
	case b == nil || b.failures < BreakAfter:
		return BreakerClosed
	case b.trying || !now.Before(b.until):
		return BreakerHalfOpen
	}
	return BreakerOpen
}

// begin notes that a call goes out on a route. probe: it is the one that tries whether an open route
// is back.
func (s *State) begin(r Route) (probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.breakers[r.Name()]
	if b == nil || b.failures < BreakAfter || b.trying {
		return false
	}
	b.trying = true
	return true
}

// ended notes how it went; failed only for what is the route's fault. What calls tell that began before
// the breaker opened is old news.
func (s *State) ended(r Route, failed *model.Error, probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.breakers[r.Name()]
	if b != nil && b.failures >= BreakAfter && !probe {
		return
	}
	if failed == nil {
		delete(s.breakers, r.Name())
		return
	}
	if b == nil {
		b = &breaker{}
		s.breakers[r.Name()] = b
	}
	b.failures++
	b.trying = false
	wait := max(OpenFor, min(failed.RetryAfter, MaxOpen))
	if b.failures >= BreakAfter {
		b.until = s.now().Add(wait)
	}
}

// given notes that a call ended by nobody's fault: whoever tried the route tells nothing.
func (s *State) given(r Route, probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.breakers[r.Name()]; b != nil && probe {
		b.trying = false
	}
}

// budget counts an alias's calls, and the second attempts among them.
type budget struct {
	since        time.Time
	calls, extra int
}

func (s *State) called(alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window(alias).calls++
}

// again reports whether a call of the alias may try another route, and counts it.
func (s *State) again(alias string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.window(alias)
	if b.extra >= ExtraFree && float64(b.extra) >= ExtraShare*float64(b.calls) {
		return false
	}
	b.extra++
	return true
}

func (s *State) window(alias string) *budget {
	now := s.now()
	b := s.extra[alias]
	if b == nil || now.Sub(b.since) >= ExtraWindow {
		b = &budget{since: now}
		s.extra[alias] = b
	}
	return b
}

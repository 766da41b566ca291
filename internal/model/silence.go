package model

import (
	"context"
	"sync"
	"time"
)

// Silence is a clock of how long a call's upstream has said nothing. It stands still while the call waits for its turn in a
// queue of ours, where no upstream could say anything. Those who bound silence (the door, the runner, a router's first
// word, a hedge) and the queue are far apart: the clocks are in the context of the call, each with those around it.
// It is safe for concurrent use.
type Silence struct {
	most   time.Duration
	around *Silence // of the contexts that this one's is made of; nil: none

	mu      sync.Mutex
	timer   *time.Timer
	waits   int // queues that the call, or one of its attempts, is in
	stopped bool
}

type silenceKey struct{}

// WithSilence is a context whose calls are under a clock: late is called, once, when the upstream has said nothing for
// most. The caller stops the clock at the call's end.
func WithSilence(ctx context.Context, most time.Duration, late func()) (context.Context, *Silence) {
	s := &Silence{most: most}
	s.around, _ = ctx.Value(silenceKey{}).(*Silence)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(most, func() {
		if s.due() {
			late()
		}
	})
	return context.WithValue(ctx, silenceKey{}, s), s
}

// due reports whether the silence counts; it is for the timer, which may fire at the moment in which it is stopped.
func (s *Silence) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.waits > 0 {
		return false
	}
	s.stopped = true
	return true
}

// Heard begins the silence anew: the upstream has said something.
func (s *Silence) Heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped && s.waits == 0 {
		s.timer.Reset(s.most)
	}
}

// Stop ends the clock.
func (s *Silence) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.timer.Stop()
}

// Queued stops the clocks of a call that waits for its turn, until it is let in, or gives up.
func Queued(ctx context.Context) (in func()) {
	first, _ := ctx.Value(silenceKey{}).(*Silence)
	for s := first; s != nil; s = s.around {
		s.wait(1)
	}
	return func() {
		for s := first; s != nil; s = s.around {
			s.wait(-1)
		}
	}
}

func (s *Silence) wait(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits += n
	switch {
	case s.stopped:
	case s.waits == 0:
		s.timer.Reset(s.most)
	case n > 0:
		s.timer.Stop()
	}
}

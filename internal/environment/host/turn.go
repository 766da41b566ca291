package host

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
)

// turns are whose turn it is at each of many things of one kind. The zero turns are nobody's.
type turns[K comparable] struct {
	mu   sync.Mutex
	held map[K]*turn
}

// turn is whose turn it is at one thing.
type turn struct {
	free chan struct{} // has one value while nobody has it
	want int           // who has it or waits for it, under turns.mu
}

// take waits until nobody else has a thing, or until ctx ends (KindUnavailable); release lets it go.
func (t *turns[K]) take(ctx context.Context, key K) (release func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[K]*turn{}
	}
	one := t.held[key]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.held[key] = one
	}
	one.want++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.want--; one.want == 0 {
			delete(t.held, key)
		}
	}
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, stead.Wrap(stead.KindUnavailable, ctx.Err(), "the request has ended")
	}
}

// hold waits until nobody else changes a session's place; release lets it go. An old residence ends, a
// new one begins and a workspace is read one after the other.
func (h *Host) hold(key stead.SessionKey) (release func()) {
	release, _ = h.places.take(context.Background(), key) // which has no end
	return release
}

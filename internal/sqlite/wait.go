package sqlite

import (
	"context"

	"github.com/stead-dev/stead"
)

// topic is a session that somebody waits for.
type topic struct {
	changed chan struct{} // closed at the session's next change
	waiters int
}

// Wait implements journal.Store.
func (s *Store) Wait(ctx context.Context, key stead.SessionKey, after stead.Seq) (stead.Seq, error) {
	for {
		t, changed, err := s.watch(key)
		if err != nil {
			return 0, err
		}
		tail, err := s.tail(ctx, key)
		if err == nil && tail <= after {
			select {
			case <-changed:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		s.unwatch(key, t)
		if ctx.Err() != nil && err != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if tail > after {
			return tail, nil
		}
	}
}

// watch must come before the look at the tail, so that no change falls between the two.
func (s *Store) watch(key stead.SessionKey) (*topic, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return nil, nil, errClosed()
	default:
	}
	t := s.topics[key]
	if t == nil {
		t = &topic{changed: make(chan struct{})}
		s.topics[key] = t
	}
	t.waiters++
	return t, t.changed, nil
}

func (s *Store) unwatch(key stead.SessionKey, t *topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.waiters--
	if t.waiters == 0 && s.topics[key] == t {
		delete(s.topics, key)
	}
}

// notify wakes the waiters of a session. s.mu is held.
func (s *Store) notify(key stead.SessionKey) {
	if t := s.topics[key]; t != nil {
		close(t.changed)
		delete(s.topics, key)
	}
}

func (s *Store) tail(ctx context.Context, key stead.SessionKey) (stead.Seq, error) {
	s.mu.Lock()
	h := s.heads[key]
	s.mu.Unlock()
	if h != nil && !h.stale {
		return h.tail, nil
	}
	found, err := s.Head(ctx, key)
	return found.Tail, err
}

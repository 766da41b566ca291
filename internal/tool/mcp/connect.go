package mcp

import (
	"context"
	"errors"
	"time"

	"github.com/stead-dev/stead"
)

var (
	errClosed   = errors.New("the tool servers are shut down")
	errIdle     = errors.New("the connection was idle")
	errReplaced = errors.New("the configuration of the server has changed")
)

// dial is one attempt to connect, shared by all who wait for it.
type dial struct {
	done chan struct{} // closed when err is set
	err  error
}

// acquire returns a link to the server, connecting if there is none, and holds it until release.
func (m *Manager) acquire(ctx context.Context, to target) (*link, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, errClosed
		}
		if l := m.links[to.identity]; l != nil {
			l.holders++
			l.idle.Stop()
			m.mu.Unlock()
			return l, nil
		}
		d := m.dials[to.identity]
		if d == nil {
			if err := m.makeRoomLocked(); err != nil {
				m.mu.Unlock()
				return nil, err
			}
			d = &dial{done: make(chan struct{})}
			m.dials[to.identity] = d
			m.work.Go(func() { m.dial(to, d) })
		}
		m.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// dial connects on the manager's time, not on that of the caller who happened to be first.
func (m *Manager) dial(to target, d *dial) {
	l, err := m.connect(to)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.dials, to.identity)
	d.err = err
	if err == nil {
		m.links[to.identity] = l
		m.open[l] = struct{}{}
		l.idle = time.AfterFunc(m.config.IdleTimeout, func() { m.dropIdle(l) })
		if to.command != nil {
			l.idle.Stop()
		}
		m.work.Go(func() { m.watch(l) })
		if m.closed {
			m.dropLocked(l, errClosed)
		}
	}
	close(d.done)
}

// makeRoomLocked ends the connection that was longest unused when there are too many.
func (m *Manager) makeRoomLocked() error {
	if len(m.open)+len(m.dials) < m.config.MaxConnections {
		return nil
	}
	var oldest *link
	for _, l := range m.links {
		if l.holders == 0 && (oldest == nil || l.released.Before(oldest.released)) {
			oldest = l
		}
	}
	if oldest == nil {
		return &stead.Error{
			Kind: stead.KindUnavailable, Code: "too_many_tool_servers",
			Message: "too many tool servers are in use at once; try again later", RetryAfter: time.Second,
		}
	}
	m.dropLocked(oldest, errIdle)
	return nil
}

func (m *Manager) release(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.holders--
	l.released = time.Now()
	switch {
	case l.holders > 0:
	case l.dropped:
		m.finishLocked(l, errIdle)
	case l.target.command != nil: // what it keeps in memory is the environment's, and lasts as long
	default:
		l.idle.Reset(m.config.IdleTimeout)
	}
}

func (m *Manager) dropIdle(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.holders == 0 {
		m.dropLocked(l, errIdle)
	}
}

// drop forgets a link, so that the next use connects anew. Calls that are under way on it may
// still get their answers; the link ends with the last of them.
func (m *Manager) drop(l *link, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(l, why)
}

func (m *Manager) dropLocked(l *link, why error) {
	if m.links[l.target.identity] == l {
		delete(m.links, l.target.identity)
	}
	l.idle.Stop()
	l.dropped = true
	if l.holders == 0 {
		m.finishLocked(l, why)
	}
}

func (m *Manager) finishLocked(l *link, why error) {
	if _, open := m.open[l]; !open {
		return
	}
	delete(m.open, l)
	m.log.Debug("tool server connection ends", "server", l.target.label, "reason", why)
	l.endCalls(why)
	m.work.Go(l.farewell)
}

// connected returns a held link that answers. A dead one is replaced, once.
func (m *Manager) connected(ctx context.Context, to target) (*link, error) {
	var lastErr error
	for range 2 {
		l, err := m.acquire(ctx, to)
		if err != nil {
			return nil, err
		}
		if lastErr = l.alive(ctx); lastErr == nil {
			return l, nil
		}
		m.drop(l, lastErr)
		m.release(l)
	}
	return nil, lastErr
}

// watch drops a link whose connection broke.
func (m *Manager) watch(l *link) {
	err := l.session.Wait()
	if err == nil {
		err = errors.New("the server closed the connection")
	}
	m.drop(l, bare(err))
}

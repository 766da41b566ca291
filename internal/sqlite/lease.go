package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Work implements journal.Store. There is one channel: nodes that share a Store share its signals.
func (s *Store) Work() <-chan struct{} { return s.work }

func (s *Store) signalWork() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// lives reports whether a node has beaten in time.
func (s *Store) lives(id stead.NodeID) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[id]
	return n != nil && n.until.After(now)
}

// Lives implements journal.Store. A process owns a database alone: no node of one before lives.
func (s *Store) Lives(_ context.Context, id stead.NodeID) (bool, error) { return s.lives(id), nil }

// Heartbeat implements journal.Store. It touches no disk.
func (s *Store) Heartbeat(ctx context.Context, id stead.NodeID, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "heartbeat of node %s", id)
	}
	select {
	case <-s.done:
		return errClosed()
	default:
	}
	now := s.now()
	s.mu.Lock()
	n := s.nodes[id]
	if n == nil {
		n = &node{held: map[stead.SessionKey]struct{}{}}
		s.nodes[id] = n
	}
	n.until = now.Add(max(ttl, 0))
	orphans := len(n.held)
	if ttl <= 0 && orphans == 0 {
		delete(s.nodes, id)
	}
	s.mu.Unlock()
	if ttl <= 0 && orphans > 0 {
		s.signalWork()
	}
	return nil
}

// Acquire implements journal.Store. It runs between two transactions and writes nothing: until the
// holder's first append a session stays due on disk, which is what it must be after a crash.
func (s *Store) Acquire(ctx context.Context, id stead.NodeID, limit int) (leases []journal.Lease, next time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	// A caller that left early would hold leases without knowing of them, as long as its node lives.
	err = s.do(context.WithoutCancel(ctx), &op{after: func(c *committer) (err error) {
		leases, next, err = c.acquire(id, limit)
		return err
	}})
	if err != nil {
		return nil, time.Time{}, err
	}
	return leases, next, nil
}

// candidate is a session that may be leased.
type candidate struct {
	key stead.SessionKey
	due int64 // Unix milliseconds
}

func (c *committer) acquire(id stead.NodeID, limit int) ([]journal.Lease, time.Time, error) {
	now := c.s.now()
	if !c.s.lives(id) {
		next, err := c.nextDue(id, now)
		return nil, next, err
	}
	found := c.orphans(now)
	found, err := c.dueRows(found, now, limit)
	if err != nil {
		return nil, time.Time{}, err
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.key.Session, b.key.Session))
	})
	var leases []journal.Lease
	for _, f := range found[:min(len(found), max(limit, 0))] {
		lease, ok, err := c.grant(f.key, id)
		if err != nil && len(leases) > 0 {
			return leases, now, nil // what is granted must reach its holder; the rest is still due
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		if ok {
			leases = append(leases, lease)
		}
	}
	next, err := c.nextDue(id, now)
	if err != nil && len(leases) > 0 {
		return leases, now, nil
	}
	return leases, next, err
}

// orphans are the sessions that dead nodes hold and have appended to; they are due since the death.
func (c *committer) orphans(now time.Time) []candidate {
	var found []candidate
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.nodes {
		if n.until.After(now) {
			continue
		}
		if len(n.held) == 0 { // dead, and nothing is left of it
			delete(s.nodes, id)
		}
		for key := range n.held {
			if h := s.heads[key]; h.due < 0 || h.stale {
				found = append(found, candidate{key, n.until.UnixMilli()})
			}
		}
	}
	return found
}

// dueRows adds what the index over due sessions has, except for what a live node holds.
func (c *committer) dueRows(found []candidate, now time.Time, limit int) ([]candidate, error) {
	rows, err := c.st.due.Query(now.UnixMilli())
	if err != nil {
		return nil, translate(err, "find due sessions")
	}
	defer rows.Close()
	stale := map[stead.SessionKey]bool{} // orphans that may stand in the index as well
	for _, f := range found {
		stale[f.key] = true
	}
	for n := 0; n < limit && rows.Next(); {
		var f candidate
		if err := rows.Scan(&f.key.Project, &f.key.Session, &f.due); err != nil {
			return nil, translate(err, "find due sessions")
		}
		if stale[f.key] || c.heldLive(f.key, now) {
			continue
		}
		found = append(found, f)
		n++
	}
	return found, translate(rows.Err(), "find due sessions")
}

func (c *committer) heldLive(key stead.SessionKey, now time.Time) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heads[key]
	return h != nil && h.holder != "" && s.nodes[h.holder].until.After(now)
}

// grant raises the epoch. The database learns it with the holder's first append; an epoch that
// never appended needs no memory, because a restart ends every lease.
func (c *committer) grant(key stead.SessionKey, id stead.NodeID) (journal.Lease, bool, error) {
	h, err := c.committedHead(key)
	if err != nil {
		return journal.Lease{}, false, err
	}
	if h == nil {
		return journal.Lease{}, false, nil
	}
	own := *h
	own.holder = id
	own.epoch++
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[id] == nil { // it was released a moment ago
		return journal.Lease{}, false, nil
	}
	s.setHead(key, &own)
	return journal.Lease{Key: key, Epoch: own.epoch, Node: id, Tail: own.tail}, true, nil
}

// nextDue is when the earliest session that is not due becomes so: by its wake time, or because
// another node that holds some falls silent.
func (c *committer) nextDue(id stead.NodeID, now time.Time) (time.Time, error) {
	var next time.Time
	rows, err := c.st.nextDue.Query(now.UnixMilli())
	if err != nil {
		return next, translate(err, "find the next due session")
	}
	defer rows.Close()
	if rows.Next() {
		var at int64
		if err := rows.Scan(&at); err != nil {
			return next, translate(err, "find the next due session")
		}
		next = time.UnixMilli(at)
	}
	if err := rows.Err(); err != nil {
		return next, translate(err, "find the next due session")
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, n := range s.nodes {
		if other != id && len(n.held) > 0 && n.until.After(now) && (next.IsZero() || n.until.Before(next)) {
			next = n.until
		}
	}
	return next, nil
}

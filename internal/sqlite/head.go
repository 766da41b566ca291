package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// maxHeads is how many heads of sessions that nobody holds stay in memory: about 3 MB.
const maxHeads = 16_384

// head is what the committer knows of a session. A published head is never changed, only replaced.
type head struct {
	id     int64
	tail   stead.Seq
	epoch  stead.Epoch
	holder stead.NodeID // "": nobody
	due    int64        // as the column due_at; 0 is NULL
	made   string       // the idempotency key of its creation
	stale  bool         // only holder and epoch are known: read the rest again

	// Of a staged head only.
	gone    bool // deleted
	dirty   bool // due or the epoch must be written
	listing *journal.Listing
}

// node is one process that beats, or one that is dead and whose sessions nobody has taken over.
type node struct {
	until time.Time // it lives until then
	held  map[stead.SessionKey]struct{}
}

// head returns the group's own copy of a session's head, for changing; nil when there is no such
// session.
func (g *group) head(key stead.SessionKey) (*head, error) {
	if h, ok := g.staged[key]; ok {
		if h.gone {
			return nil, nil
		}
		return h, nil
	}
	h, err := g.c.committedHead(key)
	if h == nil || err != nil {
		return nil, err
	}
	own := *h
	g.staged[key] = &own
	return &own, nil
}

// committedHead looks in the cache, then in the database. The result must not be changed.
func (c *committer) committedHead(key stead.SessionKey) (*head, error) {
	c.s.mu.Lock()
	cached := c.s.heads[key]
	c.s.mu.Unlock()
	if cached != nil && !cached.stale {
		return cached, nil
	}
	h := &head{}
	var last, epoch sql.NullInt64
	err := c.st.head.QueryRow(string(key.Project), string(key.Session)).Scan(&h.id, &h.epoch, &h.due, &h.made, &last, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err, "read session "+key.String())
	}
	h.tail = stead.Seq(last.Int64)
	h.epoch = max(h.epoch, stead.Epoch(epoch.Int64))
	c.s.mu.Lock()
	c.s.recent[h.id].raise(&h.tail, &h.epoch)
	c.s.mu.Unlock()
	if cached != nil {
		h.holder, h.epoch = cached.holder, max(h.epoch, cached.epoch)
	}
	return h, nil
}

// setHead publishes a head. s.mu is held.
func (s *Store) setHead(key stead.SessionKey, h *head) {
	if old := s.heads[key]; old != nil && old.holder != "" && (h.gone || h.holder != old.holder) {
		n := s.nodes[old.holder]
		delete(n.held, key)
		if len(n.held) == 0 && !n.until.After(s.now()) {
			delete(s.nodes, old.holder)
		}
	}
	if h.gone {
		delete(s.heads, key)
		return
	}
	s.heads[key] = h
	if h.holder != "" {
		s.nodes[h.holder].held[key] = struct{}{}
	}
}

// trimHeads keeps the cache bounded. Which ones go does not matter much: a map's order is as good
// as any, and a head that is missed is one indexed read. s.mu is held.
func (s *Store) trimHeads() {
	if len(s.heads) <= 2*maxHeads {
		return
	}
	free := 0
	for key, h := range s.heads {
		if h.holder != "" {
			continue
		}
		if free++; free > maxHeads {
			delete(s.heads, key)
		}
	}
}

func encodeMetadata(m map[string]string) ([]byte, error) {
	if len(m) == 0 {
		return []byte("{}"), nil
	}
	return json.Marshal(m)
}

package journaltest

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Rewrite implements journal.Redactor.
func (m *Memory) Rewrite(ctx context.Context, key stead.SessionKey, changes []journal.Change) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	s := m.sessions[key]
	if s == nil {
		return stead.NotFound("session", string(key.Session))
	}
	rw, err := journal.NewRewriting(changes)
	if err != nil {
		return err
	}
	events := slices.Clone(s.events) // readers share the old ones
	if _, err := rw.In(events); err != nil {
		return err
	}
	if err := rw.Done(); err != nil {
		return err
	}
	s.events, s.snapshotSeq, s.snapshot = events, max(s.snapshotSeq, s.head.Tail), nil
	return nil
}

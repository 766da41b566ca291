package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/session"
)

// sweep removes blobs of a session that no event names: what was stored for a checkpoint that never
// came into the journal. See package blob for why that loses nothing, whoever does it.
func (r *Runner) sweep(ctx context.Context, key stead.SessionKey) error {
	olderThan := r.cfg.Now().Add(-blob.Grace)
	events, err := r.allEvents(ctx, key, nil)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, digest := range session.Named(events) {
		named[digest] = true
	}
	waits, err := session.StoredApart(key, events)
	if err != nil {
		return err
	}
	for _, digest := range waits {
		named[digest] = true
	}
	swept, err := r.cfg.Blobs.Sweep(ctx, key, func(digest string) bool { return named[digest] }, olderThan)
	if err == nil && swept.Removed > 0 {
		r.log.Info("blobs that no event names were removed", "session", key.Session, "blobs", swept.Removed, "bytes", swept.RemovedBytes)
	}
	return err
}

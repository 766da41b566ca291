package runner

import (
	"context"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Strays are blobs of a session that there is not: an import, a fork or a creation stores them first, and whoever
// did that was killed before the session was there, or after it was deleted. Nothing names them, so nobody would
// ever look for them: each node does, at its start and now and then.
const (
	// StrayAge is the least age of a blob that is removed as a stray. No making of a session takes that long from
	// its first blob to the append of its events, nor do clocks differ by what is left: MaxImportTime bounds the
	// longest, which somebody else's network may make as slow as it likes.
	StrayAge = 24 * time.Hour
	// StraysEvery is the time between two looks of a node.
	StraysEvery = 6 * time.Hour
	// MaxStrays is by how many there may be more strays than sessions with blobs. Beyond that the
	// database is taken for another one's than the blobs', or an older copy, and nothing is removed.
	MaxStrays = 16
)

// sweepStrays looks for strays until the node stops.
func (r *Runner) sweepStrays() {
	for {
		if err := r.removeStrays(r.ctx); err != nil && r.ctx.Err() == nil {
			r.log.Warn("blobs of sessions that are not there could not be looked for", "err", err)
		}
		timer := time.NewTimer(StraysEvery)
		select {
		case <-r.drain:
			timer.Stop()
			return
		case <-r.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// removeStrays looks once. What is old enough is decided before the journal is asked, and each blob's age is
// looked at as it is removed: see package blob.
func (r *Runner) removeStrays(ctx context.Context) error {
	olderThan := r.cfg.Now().Add(-StrayAge)
	known := 0
	var strays []stead.SessionKey
	err := r.cfg.Blobs.Sessions(ctx, func(key stead.SessionKey) error {
		if !strings.HasPrefix(string(key.Session), stead.SessionPrefix) {
			return nil // bytes that a document owns: package asset
		}
		if r.draining() {
			return context.Canceled
		}
		switch _, err := r.cfg.Store.Head(ctx, key); stead.KindOf(err) {
		case "":
			known++
		case stead.KindNotFound:
			strays = append(strays, key)
		default:
			return err
		}
		return nil
	})
	if err != nil {
		if r.draining() {
			return nil
		}
		return err
	}
	if len(strays) > known+MaxStrays {
		r.log.Error("most blobs are of sessions that are not in the database: is it the one that belongs to this data directory? They are kept",
			"sessions", known, "unknown", len(strays))
		return nil
	}
	for _, key := range strays {
		swept, err := r.cfg.Blobs.Prune(ctx, key, olderThan)
		if err != nil {
			return err
		}
		if swept.Removed > 0 {
			r.log.Info("blobs of a session that is not there were removed", "session", key.Session, "blobs", swept.Removed, "bytes", swept.RemovedBytes)
		}
	}
	return nil
}

package runner

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

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
	// MaxStrays is how many strays are believed to be some of any database, and in a row: see foreign.
	MaxStrays = 16
	// StraysPer is how many sessions with blobs make one more stray believed.
	StraysPer = 20
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

// found is what a look finds. A session's time is that of its id; one whose id has none is in no row.
type found struct {
	known, unknown []time.Time // of ids that have one, in no order
	sessions       int         // how many are in the database
	strays         []stead.SessionKey
}

// removeStrays looks once. What is old enough is decided before the journal is asked, and each blob's age is
// looked at as it is removed: see package blob.
func (r *Runner) removeStrays(ctx context.Context) error {
	olderThan := r.cfg.Now().Add(-StrayAge)
	f, err := r.lookForStrays(ctx, olderThan)
	if err != nil {
		if r.draining() {
			return nil
		}
		return err
	}
	if row := f.row(); f.foreign(row) {
		r.log.Error("too many blobs are of sessions that are not in the database: is it another one's than this data directory's, or an older copy? They are kept",
			"sessions", f.sessions, "unknown", len(f.strays), "in_a_row", row)
		return nil
	}
	return r.prune(ctx, f.strays, olderThan)
}

// lookForStrays asks the journal for whoever has blobs.
func (r *Runner) lookForStrays(ctx context.Context, olderThan time.Time) (f found, err error) {
	err = r.cfg.Blobs.Sessions(ctx, func(key stead.SessionKey) error {
		if !strings.HasPrefix(string(key.Session), stead.SessionPrefix) {
			return nil // bytes that a document owns: package asset
		}
		if r.draining() {
			return context.Canceled
		}
		at, timed := madeAt(key.Session)
		switch _, err := r.cfg.Store.Head(ctx, key); {
		case err == nil:
			f.sessions++
			if timed {
				f.known = append(f.known, at)
			}
		case stead.KindOf(err) != stead.KindNotFound:
			return err
		case timed && !at.Before(olderThan):
			// It may be in the making, and has no blob that is old enough.
		default:
			f.strays = append(f.strays, key)
			if timed {
				f.unknown = append(f.unknown, at)
			}
		}
		return nil
	})
	return f, err
}

// foreign reports whether the database is taken for another one's than the blobs', or an older copy: everything
// that was made since would be lost for good.
//
// Of another one's, no session is known: strays are more than a small share. Of an older copy, all that was made
// from when it was copied to when it was put back is not known, and stands in a row by the time of its id, whatever is
// made later; a kill leaves strays among sessions that are known. But a kill may leave several, and they may be the
// newest: so a row of MaxStrays is believed. Of an older copy since which no more sessions with blobs were made
// than that, their blobs are lost, those that are older than StrayAge.
func (f found) foreign(row int) bool {
	return len(f.strays) > f.sessions/StraysPer+MaxStrays || row > MaxStrays
}

// row is the most strays that were made one after the other, with no session in between that is known.
func (f found) row() int {
	slices.SortFunc(f.known, time.Time.Compare)
	slices.SortFunc(f.unknown, time.Time.Compare)
	longest, row, next := 0, 0, 0
	for _, at := range f.unknown {
		for ; next < len(f.known) && f.known[next].Before(at); next++ {
			row = 0
		}
		row++
		longest = max(longest, row)
	}
	return longest
}

// madeAt is when a session got its id: see newID.
func madeAt(id stead.SessionID) (at time.Time, ok bool) {
	u, err := uuid.Parse(strings.TrimPrefix(string(id), stead.SessionPrefix))
	if err != nil || u.Version() != idVersion {
		return time.Time{}, false
	}
	return time.Unix(u.Time().UnixTime()), true
}

// idVersion is that of UUIDs that begin with their time, in milliseconds: RFC 9562, 5.7.
const idVersion = 7

// prune removes what is old of strays.
func (r *Runner) prune(ctx context.Context, strays []stead.SessionKey, olderThan time.Time) error {
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

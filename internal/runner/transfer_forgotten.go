package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/held"
	"github.com/stead-dev/stead/internal/session"
)

// A copy takes along what checkpoints need, and nothing that was dropped. A workspace that was being stored while files were taken out of the
// checkpoints before it comes into the journal later, and needs what was dropped until its checkpoint is replaced as well (see unshowFiles). Whoever
// copies the session does not wait for that: it is done first.

// maxSettles is how often a session is read for a copy while others write checkpoints that have what is forgotten.
const maxSettles = 8

// copyable are all events of a session, of which each checkpoint has what it needs among what a copy takes along. KindConflict where that can't
// be said now.
func (r *Runner) copyable(ctx context.Context, key stead.SessionKey, lease *held.Lease) ([]stead.Event, error) {
	for range maxSettles {
		events, err := r.allEvents(ctx, key, lease)
		if err != nil || !session.Drops(events) {
			return events, err
		}
		whole, err := r.settle(ctx, key, events)
		if err == nil && whole {
			return events, nil
		}
		if err != nil && stead.KindOf(err) != stead.KindConflict { // of what was read something is another one by now
			return nil, err
		}
		lease.Release()
	}
	e := stead.Errorf(stead.KindConflict, "files that are forgotten are being taken out of the checkpoints of session %s", key.Session)
	e.Hint = "try again in a moment"
	return nil, e
}

// settle has checkpoints that came late replaced as those before them were, for whoever had that done; true: none of the events is another one then.
func (r *Runner) settle(ctx context.Context, key stead.SessionKey, events []stead.Event) (whole bool, err error) {
	if r.cfg.Environments == nil || r.cfg.Memory == nil {
		return false, looksThroughNone()
	}
	pass := newFilePass()
	for _, e := range events {
		if err := pass.look(e); err != nil {
			return false, err
		}
	}
	if !pass.onRecord() {
		return false, stead.Errorf(stead.KindConflict, "it is not on record yet what was taken out of the checkpoints of session %s", key.Session)
	}
	pass.eraser, pass.copying = pass.by, true
	pass.forgets(pass.taken)
	changes, event, err := r.withoutFiles(ctx, key, pass)
	if stead.KindOf(err) == stead.KindForbidden { // by now, to whoever took files out before
		return false, stead.Wrap(stead.KindConflict, err, "policies keep files in session %s that were taken out of it", key.Session)
	}
	if err != nil || len(changes)+len(event) == 0 {
		return err == nil, err
	}
	return false, r.unshow(ctx, key, changes, event)
}

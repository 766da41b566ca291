package runner

import (
	"context"
	"maps"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// What is left once checkpoints are without what is forgotten: on the disk, and in the blobs of those that were replaced.

// droppedFiles ends it: what is left on this disk goes, and, when nobody can build on them any more, the blobs of the checkpoints that were
// replaced.
func (r *Runner) droppedFiles(ctx context.Context, v *session.View, p *filePass) (later time.Duration, err error) {
	if p.left() && v.Environment.Status != session.EnvironmentConnectedNow {
		if err := r.cfg.Environments.Evict(ctx, v.Key, func() (bool, error) { return r.unopened(ctx, v) }); err != nil {
			return 0, err
		}
	}
	young, dropped := int64(0), map[string]bool{}
	for _, s := range p.stored {
		young = max(young, s.Dropped.At)
		for _, b := range s.Dropped.Blobs {
			dropped[b.Digest] = true
		}
	}
	if young == 0 {
		return r.removeApart(ctx, v.Key, p)
	}
	if later = time.UnixMilli(young).Add(youngFor).Sub(r.cfg.Now()); later > 0 {
		return later, nil
	}
	if gone, err := r.removeDropped(ctx, v.Key, dropped); err != nil || !gone {
		return youngFor, err
	}
	if err := r.undrop(ctx, v.Key, p); err != nil {
		return 0, err
	}
	return r.removeApart(ctx, v.Key, p)
}

// unopened reports whether nobody has opened an environment since it was looked at, or is about to.
func (r *Runner) unopened(ctx context.Context, was *session.View) (bool, error) {
	v, err := r.view(ctx, was.Key)
	if err != nil {
		return false, err
	}
	e := v.Environment
	return e.Status != session.EnvironmentConnectedNow && e.Action == "" && e.Residence == was.Environment.Residence && (v.Failed != nil || !e.Unstocked()), nil
}

// removeDropped removes blobs that were dropped, but for those that something needs all the same; false: some are too young for that.
func (r *Runner) removeDropped(ctx context.Context, key stead.SessionKey, dropped map[string]bool) (gone bool, err error) {
	olderThan := r.cfg.Now().Add(-blob.Grace)
	events, err := r.allEvents(ctx, key, nil)
	if err != nil {
		return false, err
	}
	for _, d := range session.Digests(events) {
		delete(dropped, d)
	}
	if _, err := r.cfg.Blobs.Sweep(ctx, key, func(d string) bool { return !dropped[d] }, olderThan); err != nil {
		return false, err
	}
	for d := range dropped {
		switch b, err := r.cfg.Blobs.Open(ctx, key, d); {
		case err == nil:
			b.Close()
			return false, nil
		case stead.KindOf(err) != stead.KindNotFound:
			return false, err
		}
	}
	return true, nil
}

// undrop has the events name them no more.
func (r *Runner) undrop(ctx context.Context, key stead.SessionKey, p *filePass) error {
	var changes []journal.Change
	var events []session.RedactedEvent
	for _, s := range p.stored {
		if s.Dropped.At == 0 {
			continue
		}
		with := s.Stored
		with.Dropped = session.Dropped{}
		next, err := session.WithStored(s.event, with)
		if err != nil {
			return err
		}
		changes = append(changes, journal.Change{Seq: s.event.Seq, Old: s.event.Data, New: next.Data})
		events = append(events, session.RedactedEvent{Seq: s.event.Seq, Bytes: len(s.event.Data), SHA256: digestOf(next.Data)})
	}
	event, err := r.withoutEvent(asServer(key), p, events, 0, 0) // that nothing of it is named is nobody's decision
	if err != nil {
		return err
	}
	return r.unshow(ctx, key, changes, []stead.Event{event})
}

// removeApart removes what was stored apart and not kept.
func (r *Runner) removeApart(ctx context.Context, key stead.SessionKey, p *filePass) (later time.Duration, err error) {
	apart := map[string]bool{}
	for _, s := range p.stored {
		for _, b := range s.Blobs {
			apart[b.Digest] = apart[b.Digest] || s.Apart
		}
	}
	maps.DeleteFunc(apart, func(_ string, is bool) bool { return !is })
	if len(apart) == 0 {
		return 0, nil
	}
	if gone, err := r.removeDropped(ctx, key, apart); err != nil || !gone {
		return youngFor, err
	}
	return 0, nil
}

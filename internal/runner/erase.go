package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Delete implements session.Service.
func (r *Runner) Delete(ctx context.Context, p stead.Principal, id stead.SessionID) error {
	_, err := r.Erase(ctx, p, id)
	return err
}

// Erase implements session.Service. Memories go first: a session that is gone has left none, whatever fails in
// between, and to delete it again goes on. They go once more behind it, since a write may have been under way.
func (r *Runner) Erase(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error) {
	key := keyOf(p, id)
	if err := r.allowDelete(ctx, p, key, "", false); err != nil {
		return session.Erased{}, err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.Erased{}, err
	}
	if v.Turn != nil {
		e := stead.Errorf(stead.KindConflict, "session %s has a turn in progress", id)
		e.Hint = "cancel the turn first"
		return session.Erased{}, e
	}
	if r.cfg.Memory == nil {
		return session.Erased{}, r.remove(ctx, key, v)
	}
	before, err := r.cfg.Memory.Forget(ctx, p, key, "")
	if err != nil {
		return before, err
	}
	if err := r.remove(ctx, key, v); err != nil {
		return before, err
	}
	late, err := r.cfg.Memory.Forget(ctx, p, key, "")
	before.Removed, before.Changed = before.Removed+late.Removed, before.Changed+late.Changed
	return before, err
}

// Holdings counts what a session has, for whoever may delete it.
func (r *Runner) Holdings(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Holdings, error) {
	key, out := keyOf(p, id), session.Holdings{Session: id}
	if err := r.allowDelete(ctx, p, key, "", true); err != nil {
		return out, err // a refusal is recorded; the deletion itself is, when it is asked for
	}
	sum, blobs := sha256.New(), map[string]bool{}
	err := r.eachEvent(ctx, key, func(e stead.Event) error {
		fmt.Fprintf(sum, "%d %d %s %d\n", e.Seq, e.At, e.Kind, len(e.Data))
		sum.Write(e.Data)
		out.Events, out.Bytes = out.Events+1, out.Bytes+int64(len(e.Data))
		if e.Kind == session.KindEnvironmentCheckpointed {
			out.Checkpoints++
		}
		for _, d := range session.EveryDigest([]stead.Event{e}) {
			blobs[d] = true
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	out.Journal, out.Blobs = hex.EncodeToString(sum.Sum(nil)), len(blobs)
	sum.Reset()
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		fmt.Fprintln(sum, d)
	}
	out.BlobDigests = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// Scour removes what a deletion that was cut off left of a session that is gone, and reports whether it is.
func (r *Runner) Scour(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error) {
	key, out := keyOf(p, id), session.Erased{}
	if _, err := r.cfg.Store.Head(ctx, key); stead.KindOf(err) != stead.KindNotFound {
		if err == nil {
			err = stead.Errorf(stead.KindConflict, "session %s is there", id)
		}
		return out, err
	}
	r.forget(key)
	if r.cfg.Memory != nil {
		var err error
		if out, err = r.cfg.Memory.Forget(ctx, p, key, ""); err != nil {
			return out, err
		}
	}
	if r.cfg.Environments != nil {
		if err := r.cfg.Environments.Forget(ctx, key); err != nil {
			return out, err
		}
	}
	return out, r.cfg.Blobs.DeleteAll(ctx, key)
}

// remove deletes what is the session's own.
func (r *Runner) remove(ctx context.Context, key stead.SessionKey, v *session.View) error {
	if err := r.cfg.Store.Delete(ctx, key); err != nil {
		return err
	}
	r.forget(key)
	r.arrived(key) // if it is held: whatever is resident ends
	if r.cfg.Environments != nil && v.Environment != nil {
		if err := r.cfg.Environments.Forget(ctx, key); err != nil {
			r.log.Warn("a deleted session's environment is left on this node", "session", key.Session, "err", err)
		}
	}
	return r.cfg.Blobs.DeleteAll(ctx, key)
}

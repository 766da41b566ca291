package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
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
	if err := r.allow(ctx, p, policy.SessionDelete, key, ""); err != nil {
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

package runner

import (
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// What is forgotten of memory stores that are files goes from the workspace, from what is left of it on this disk, and from its checkpoints.
//
//	the workspace may hold it ─▶ input.checkpoint: its holder takes the files out and stores it
//	checkpoints have it       ─▶ others take their places: events are written anew, and still name the old blobs, apart
//	an hour later             ─▶ nobody builds on the old ones any more: they are removed, and then named no more
//
// A node that dies in between leaves the mark of what is forgotten due, and each step finds what the one before has done.

// forgetAgain is when a workspace that could not be stored is asked for once more.
const forgetAgain = 5 * time.Minute

// forgetting is what a host is told of files that must be forgotten; nil: there are none.
func (r *Runner) forgetting(f *session.ForgetFiles) *environment.Forgetting {
	if f == nil || r.cfg.Memory == nil {
		return nil
	}
	out := &environment.Forgetting{Dirs: f.Dirs}
	out.MaxBytes, out.Is = r.cfg.Memory.Forgotten(f.Memories)
	return out
}

// unshowFiles does so with the files of memories. later is when blobs will be old enough to be removed.
func (r *Runner) unshowFiles(ctx context.Context, key stead.SessionKey, what Unshowing) (later time.Duration, err error) {
	for asked := false; ; {
		v, err := r.view(ctx, key)
		if err == nil {
			err = atRest(v)
		}
		if err != nil || !v.Environment.Hosted() || v.Environment.Gone() || r.cfg.Memory == nil {
			return 0, err
		}
		pass, err := r.fileShowing(ctx, key, what.Names)
		pass.eraser, pass.wait = what.Eraser, what.Wait
		if err != nil || len(pass.files.Memories) == 0 {
			return 0, err
		}
		if v.Environment.Action != "" {
			return 0, stead.Errorf(stead.KindConflict, "the environment of session %s is being opened, or stored", key.Session)
		}
		if v.Environment.Apart != nil { // what is asked about is what was shown
			return 0, stead.Errorf(stead.KindConflict, "the workspace of session %s is stored apart, until somebody approves or denies that it is kept", key.Session)
		}
		if r.cfg.Environments == nil {
			return 0, looksThroughNone()
		}
		if wants, err := r.storeWithout(ctx, v, pass, asked); err != nil {
			return 0, err
		} else if wants {
			asked = true
			continue
		}
		if pass.done() {
			return r.droppedFiles(ctx, v, pass)
		}
		changes, event, err := r.withoutFiles(ctx, key, pass)
		if err != nil {
			return 0, err
		}
		if len(changes)+len(event) == 0 {
			if !pass.drops() {
				return r.droppedFiles(ctx, v, pass)
			}
			if event, err = r.lookedThrough(key, pass); err != nil {
				return 0, err
			}
		}
		if err := r.unshow(ctx, key, changes, event); err != nil {
			return 0, err
		}
	}
}

// storeWithout has the workspace stored without the files where it is open, or was left with what no checkpoint has; of one that is at
// rest it notes that they go before anything runs in it again. It reports whether that was asked for.
func (r *Runner) storeWithout(ctx context.Context, v *session.View, p *filePass, asked bool) (bool, error) {
	e := v.Environment
	if e.Residence == 0 || v.Failed != nil || !p.left() {
		return false, nil // nothing ran in it, or will; or that was done
	}
	open := e.Status == session.EnvironmentConnectedNow || e.Unstocked()
	pending := e.Forget != nil && !slices.ContainsFunc(p.files.Memories, func(name string) bool { return !p.forgot[name] && !slices.Contains(e.Forget.Memories, name) })
	if !open && pending {
		return false, nil
	}
	if asked || open && pending && r.now()-p.askedAt < forgetAgain.Milliseconds() {
		return false, stead.Errorf(stead.KindConflict, "the workspace of session %s is not stored yet without what is forgotten", v.Key.Session)
	}
	if _, err := r.mayUnshow(ctx, v.Key, p.eraser); err != nil {
		return false, err
	}
	ev, err := session.NewEvent(r.now(), session.KindInputCheckpoint, session.CheckpointInput{Forget: &p.files})
	if err != nil {
		return false, err
	}
	if _, err := r.cfg.Store.Send(ctx, v.Key, journal.Input{Events: []stead.Event{ev}, If: v.Tail, Quiet: !open}); err != nil {
		if stead.KindOf(err) == stead.KindTail {
			err = stead.Wrap(stead.KindConflict, err, "session %s is in use", v.Key.Session)
		}
		return false, err
	}
	r.arrived(v.Key)
	if !open {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	if err := r.untilStored(ctx, v.Key); err != nil {
		return false, stead.Wrap(stead.KindConflict, err, "the workspace of session %s could not be stored without what is forgotten", v.Key.Session)
	}
	return true, nil
}

// looksThroughNone is the error of a node that can't do what others can.
func looksThroughNone() error {
	return stead.Errorf(stead.KindUnavailable, "this node has no environments, and can't look through checkpoints")
}

package runner

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// Workspaces are stored at the ends of turns. Beside that, they are when processes in the background
// have changed one, and before a copy of a session is made. Both are an event that asks for it; the core
// then has it done as always.

// storeFirstTime is how long a fork or an export waits for the checkpoint that it asks for. Without it,
// the copy begins with the one before, and its agent is told what may be missing.
const storeFirstTime = 20 * time.Second

// maxBackgroundRunes is how much of a command in the background the journal keeps.
const maxBackgroundRunes = 160

// shortened are commands as events name them.
func shortened(commands []string) []string {
	var out []string
	for _, c := range commands {
		out = append(out, session.Shorten(c, maxBackgroundRunes))
	}
	return out
}

// environmentChanged asks for a checkpoint, unless one comes anyway: at the end of the turn that runs,
// or because the workspace is waiting to be stored already.
func (a *actor) environmentChanged() pending {
	idle := len(a.flights) == 0 // no turn, or one that waits for somebody
	return pending{kind: session.KindEnvironmentChanged, make: func(s *session.State) (any, error) {
		e := s.Environment
		if !e.Resident(a.r.cfg.Node) || !idle || e.Unsaved || e.Asked > 0 || e.Wanted > 0 {
			return nil, nil
		}
		return session.EnvironmentChanged{Node: a.r.cfg.Node}, nil
	}}
}

// storeFirst has a workspace stored that may differ from its last checkpoint, wherever it is resident, or
// was: it is opened for that if need be. What can't be stored in time is logged, and told to the agent of
// whatever is made of the checkpoint before.
func (r *Runner) storeFirst(ctx context.Context, key stead.SessionKey) {
	ctx, cancel := context.WithTimeout(ctx, storeFirstTime)
	defer cancel()
	v, err := r.view(ctx, key)
	if err != nil || !r.unstored(v) {
		return // who asked finds out himself what is wrong
	}
	ev, err := session.NewEvent(r.now(), session.KindInputCheckpoint, session.CheckpointInput{})
	if err == nil {
		_, err = r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{ev}, If: -1})
		r.arrived(key)
	}
	if err == nil {
		err = r.untilStored(ctx, key)
	}
	if err != nil {
		r.log.Warn("a session is copied without a fresh checkpoint of its workspace", "session", key.Session, "err", err)
	}
}

// unstored reports whether a copy of the session would lack something. What runs in the background of an
// environment is known on its own node alone.
func (r *Runner) unstored(v *session.View) bool {
	e := v.Environment
	switch {
	case !e.Hosted() || v.Failed != nil:
		return false
	case e.Unstocked():
		return true
	case e.Resident(r.cfg.Node):
		return len(r.cfg.Environments.Background(v.Key)) > 0
	}
	return e.Status == session.EnvironmentConnectedNow
}

// untilStored waits until nobody waits for a checkpoint any more.
func (r *Runner) untilStored(ctx context.Context, key stead.SessionKey) error {
	for {
		v, err := r.view(ctx, key)
		if err != nil {
			return err
		}
		e := v.Environment
		switch {
		case e.Wanted > 0:
		case e.Unstored != nil:
			return stead.Errorf(stead.KindUnavailable, "%s", e.Unstored.Error.Message)
		case e.Status != session.EnvironmentConnectedNow && e.Unstocked():
			return stead.Errorf(stead.KindUnavailable, "the environment ended while its workspace was stored")
		default:
			return nil
		}
		if _, err := r.cfg.Store.Wait(ctx, key, v.Tail); err != nil {
			return err
		}
	}
}

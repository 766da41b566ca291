package runner

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Workspaces are stored at the ends of turns. Beside that, they are when processes in the background
// have changed one, and before a copy of a session is made whose environment is resident here. Both are
// an event that asks for it; the core then has it done as always.

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
	return pending{session.KindEnvironmentChanged, func(s *session.State) (any, error) {
		e := s.Environment
		if !e.Resident(a.r.cfg.Node) || !idle || e.Unsaved || e.Asked > 0 {
			return nil, nil
		}
		return session.EnvironmentChanged{Node: a.r.cfg.Node}, nil
	}}
}

// storeFirst has a workspace stored that is resident here and may differ from its last checkpoint. What
// can't be stored in time is logged, and told to the agent of whatever is made of the checkpoint before.
func (r *Runner) storeFirst(ctx context.Context, key stead.SessionKey) {
	r.mu.Lock()
	a := r.actors[key]
	r.mu.Unlock()
	v, err := r.view(ctx, key)
	if a == nil || err != nil || !v.Environment.Resident(r.cfg.Node) {
		return // who asked finds out himself what is wrong
	}
	if v.Environment.Touched == 0 && len(r.cfg.Environments.Background(key)) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeFirstTime)
	defer cancel()
	if err = a.note(ctx, session.KindEnvironmentChanged, session.EnvironmentChanged{Node: r.cfg.Node}); err == nil {
		err = r.untilStored(ctx, key)
	}
	if err != nil {
		r.log.Warn("a session is copied without a fresh checkpoint of its workspace", "session", key.Session, "err", err)
	}
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
		case e.Unstored != nil && e.Asked == 0:
			return stead.Errorf(stead.KindUnavailable, "%s", e.Unstored.Error.Message)
		case e.Asked == 0:
			return nil
		}
		if _, err := r.cfg.Store.Wait(ctx, key, v.Tail); err != nil {
			return err
		}
	}
}

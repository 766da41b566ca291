package docker

import (
	"context"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// diskWatch measures a workspace again and again. It is on a disk of this machine, wherever the engine is: else there
// would be nothing to mount. What grows above a limit, or while that disk is short of what the server needs, has all its
// processes killed; between two measurements it is looked whether the disk's inodes run out: see workspace.Dir.Lookout.
type diskWatch struct {
	box    *Environment
	before *environment.Occupied // what was measured last; nil: not yet, or what was made since then is not the next command's doing
	due    time.Time             // when it is measured next
}

// look looks once, and says how long the next look may wait.
func (w *diskWatch) look(ctx context.Context) time.Duration {
	e := w.box
	if left := time.Until(w.due); left > 0 && w.before != nil {
		grew, wait := e.Lookout(*w.before)
		if grew {
			e.client.Interrupt(ctx, environment.ReasonNodeFiles)
			w.before = nil
		}
		return min(left, wait)
	}
	begin := time.Now()
	now, err := e.Measure(e.limits.MostFiles())
	rest := max(WatchEvery, e.limits.Rest(time.Since(begin), now))
	w.due = time.Now().Add(rest)
	if err != nil {
		return rest // on its way out
	}
	e.mu.Lock()
	e.seen.DiskBytes = now.Bytes
	e.mu.Unlock()
	if why := e.limits.Outgrown(now, w.before); why != "" {
		e.client.Interrupt(ctx, why)
		w.before = nil
		return rest
	}
	w.before = &now
	_, wait := e.Lookout(now)
	return min(rest, wait)
}

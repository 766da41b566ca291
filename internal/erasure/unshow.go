package erasure

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

const (
	// laterWait is when an erasure is gone on with that waits for sessions that are in use: the later, the longer it has waited, up to lateWait.
	laterWait = 10 * time.Second
	lateWait  = 5 * time.Minute
	// heldWait is when policies are asked again that keep all of the sessions that are left.
	heldWait = time.Hour
	// unshowAtOnce is of how many sessions it is taken out in one step, and unshowAwaited while somebody waits.
	unshowAtOnce  = 500
	unshowAwaited = 8
)

// Unshown is what was taken out of the journals of sessions that were shown what an erasure takes away.
type Unshown struct {
	Items []session.Redaction // of which it was taken out, session by session
	Left  map[string]int      // in how many sessions it still stands, by why: see memory.Why
}

// Kept is why it stands in sessions that a policy keeps; other reasons are for people alone.
const Kept = "kept by a policy"

// Unshowing asks for that.
type Unshowing struct {
	By      stead.Principal // who wants the answers to go
	Erasure string
	Most    int  // sessions at most that are looked through
	Awaited bool // somebody waits for it
	Answers bool // with what agents said there since they were shown it
}

// waiting is that an erasure waits for something that ends by itself; it is gone on with then.
type waiting struct{ why string }

func (w *waiting) Error() string { return w.why }

// unshow takes what is erased out of the journals of sessions that were shown it, and counts that, once.
func (s *Service) unshow(ctx context.Context, e *Erasure) error {
	if s.cfg.Unshow == nil || e.Counted {
		return nil
	}
	most := unshowAtOnce
	if e.awaited {
		most = unshowAwaited
	}
	var done Unshown
	err := s.holding(ctx, e, func(ctx context.Context) (err error) {
		done, err = s.cfg.Unshow(ctx, Unshowing{By: e.Principal, Erasure: e.ID, Most: most, Awaited: e.awaited, Answers: e.So.Answers})
		return err
	})
	if err != nil {
		return err
	}
	if len(done.Left) > 0 {
		var why []string
		for what, n := range done.Left {
			why = append(why, fmt.Sprintf("%d that are %s", n, what))
		}
		slices.Sort(why)
		e.Problem = "what was erased still stands in sessions that were shown it: " + strings.Join(why, ", ")
		e.Held = done.Left[Kept] > 0 && len(done.Left) == 1
		waited := s.cfg.Now().Sub(time.UnixMilli(e.So.RequestedAt))
		if e.later = min(max(waited/4, laterWait), lateWait); e.Held {
			e.later = heldWait
			e.Problem += " (session.delete is refused to this server and to who erases: it is asked again every hour)"
		}
		err := s.save(ctx, e)
		if e.later = 0; err != nil {
			return err
		}
		return &waiting{e.Problem}
	}
	if err := e.So.addShown(done.Items); err != nil {
		return err
	}
	e.Counted, e.Held, e.Problem = true, false, ""
	return s.save(ctx, e)
}

package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Stream implements session.Service. The watcher pulls: from the journal what is durable, from
// memory the text that is being streamed on this node. On another node text comes in the pieces in
// which it is journaled.
func (r *Runner) Stream(ctx context.Context, p stead.Principal, id stead.SessionID, from *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
	key := keyOf(p, id)
	if err := r.allow(ctx, p, policy.SessionRead, key, ""); err != nil {
		return err
	}
	cursor, err := r.startOf(ctx, key, from)
	if err != nil {
		return err
	}
	v, err := r.viewAt(ctx, key, cursor.Seq)
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watcher{r: r, key: key, projector: session.NewProjector(v, cursor, r.texts(ctx, key)), yield: yield}
	return w.follow(ctx)
}

// startOf is the cursor to start from; nil means the session's tail.
func (r *Runner) startOf(ctx context.Context, key stead.SessionKey, from *stead.Cursor) (stead.Cursor, error) {
	head, err := r.cfg.Store.Head(ctx, key)
	if err != nil {
		return stead.Cursor{}, err
	}
	if from == nil {
		return stead.Cursor{Seq: head.Tail}, nil
	}
	if from.Seq > head.Tail {
		return stead.Cursor{}, stead.Invalid("after", "the cursor %s is beyond the session's %d events", from, head.Tail)
	}
	return *from, nil
}

type watcher struct {
	r         *Runner
	key       stead.SessionKey
	projector *session.Projector
	yield     func(session.StreamEvent) error
}

// follow reads the journal only when it has grown: while text streams, most wake-ups are for what is
// in memory.
func (w *watcher) follow(ctx context.Context) error {
	tails := w.watchTail(ctx)
	grown := true
	for {
		if grown {
			n, err := w.durable(ctx)
			if err != nil {
				return err
			}
			grown = n == stead.MaxReadEvents
			if grown {
				continue
			}
		}
		changed, n, err := w.live()
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-tails:
			if err != nil {
				return err
			}
			grown = true
		case <-changed:
		}
	}
}

// durable yields what the journal has beyond the projector.
func (w *watcher) durable(ctx context.Context) (int, error) {
	events, err := w.r.cfg.Store.Read(ctx, w.key, journal.ReadOptions{After: w.projector.Tail()})
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		out, err := w.projector.Step(e)
		if err != nil {
			return 0, err
		}
		if err := w.send(out); err != nil {
			return 0, err
		}
	}
	return len(events), nil
}

// live yields text that is not journaled yet; changed is closed when there is more.
func (w *watcher) live() (changed <-chan struct{}, n int, err error) {
	t := w.r.live.get(w.key)
	if t == nil {
		return nil, 0, nil
	}
	call, segments, changed := t.snapshot()
	out := w.projector.Live(call, segments)
	if t.done() {
		changed = nil
	}
	return changed, len(out), w.send(out)
}

func (w *watcher) send(events []session.StreamEvent) error {
	for _, e := range events {
		if err := w.yield(e); err != nil {
			return err
		}
	}
	return nil
}

// watchTail tells when the journal has grown, or why it can't be watched any more.
func (w *watcher) watchTail(ctx context.Context) <-chan error {
	out := make(chan error, 1)
	tail := w.projector.Tail()
	go func() {
		for {
			next, err := w.r.cfg.Store.Wait(ctx, w.key, tail)
			if stead.KindOf(err) == stead.KindUnavailable {
				err = nil // reading will say so, or go on when it is back
			} else {
				tail = next
			}
			select {
			case out <- err:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

package runner

import (
	"context"

	"github.com/stead-dev/stead"
)

// note is a fact of an effect in flight that somebody waits to be durable: a connection that is about
// to be made, a call that code in the environment asks for.
type note struct {
	pending
	call *codeCall     // whose result is waited for; nil: none
	done chan struct{} // closed once it is durable
}

// note puts a fact into the journal and returns when it is durable. It fails with KindUnavailable
// when the session is not held any more: then it is not known whether it was stored.
func (a *actor) note(ctx context.Context, kind string, data any) error {
	return a.submit(ctx, note{pending: happened(kind, data)})
}

func (a *actor) submit(ctx context.Context, n note) error {
	n.done = make(chan struct{})
	select {
	case a.notes <- n:
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the session's journal did not answer in time")
	case <-a.ctx.Done():
		return stead.Wrap(stead.KindUnavailable, a.ctx.Err(), "the session is not held here any more")
	}
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the session's journal did not answer in time")
	case <-a.ctx.Done():
		return stead.Wrap(stead.KindUnavailable, a.ctx.Err(), "the session is not held here any more")
	}
}

// maxNotes is how many notes one append takes.
const maxNotes = 256

// takeNote accepts a note, and those that wait behind it: they share a flush.
func (a *actor) takeNote(n note) {
	for {
		a.pending = append(a.pending, n.pending)
		a.acks = append(a.acks, n.done)
		if n.call != nil {
			a.asked = append(a.asked, n.call)
		}
		if len(a.acks) == maxNotes {
			return
		}
		select {
		case n = <-a.notes:
		default:
			return
		}
	}
}

// acknowledge tells those who wait that their notes are durable.
func (a *actor) acknowledge() {
	for _, done := range a.acks {
		close(done)
	}
	a.acks = nil
}

package erasure

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
)

// beginItem plans the redaction of an item. Where its session is in use, nothing is begun.
func (s *Service) beginItem(ctx context.Context, p stead.Principal, e *Erasure) error {
	id, ok := stead.SessionOf(e.So.Subject.ID)
	if !ok {
		return stead.NotFound("item", e.So.Subject.ID)
	}
	plan, err := s.cfg.Sessions.Redacting(ctx, p, id, e.So.Subject.ID)
	if err != nil {
		return err
	}
	e.Redaction = &plan
	return s.allowSession(ctx, p, id, e.So.Subject.ID)
}

// itemIn is what an item is called in a copy of its session: the same place has the same name.
func itemIn(id stead.SessionID, item string) (string, bool) {
	of, ok := stead.SessionOf(item)
	if !ok {
		return "", false
	}
	prefix, seq, index, ok := stead.ParseDerivedID(of, item)
	return stead.DerivedID(prefix, id, seq, index), ok
}

// item redacts an item, in its session and then in each copy that has it. A copy that is in use, and texts that are too young, hold up
// nothing else.
func (s *Service) item(ctx context.Context, e *Erasure) error {
	busy := 0 // copies at the end of the queue that are in use
	var held error
	for {
		if e.Redaction != nil {
			if err := s.redact(ctx, e); err != nil {
				return err
			}
			busy = 0
		}
		if len(e.Queue) == 0 {
			if err := s.refill(ctx, e); err != nil {
				return err
			}
		}
		if len(e.Queue) == 0 {
			return s.aged(ctx, e)
		}
		if busy >= len(e.Queue) {
			return held
		}
		switch err := s.nextCopy(ctx, e, busy == 0); {
		case stead.KindOf(err) == stead.KindConflict:
			e.Queue = append(e.Queue[1:], e.Queue[0])
			busy, held = busy+1, err
		case err != nil:
			return err
		}
	}
}

// aged removes texts that were too young when they were redacted. Those that are still make the error.
func (s *Service) aged(ctx context.Context, e *Erasure) error {
	young := 0
	for len(e.Waiting) > 0 && young < len(e.Waiting) {
		done, gone, err := s.cfg.Sessions.Redact(ctx, e.Principal, e.Waiting[0])
		if e.So.addGone(gone); err != nil && stead.KindOf(err) != stead.KindNotFound {
			return err
		}
		e.Waiting = e.Waiting[1:]
		if err == nil && len(done.Unnamed) > 0 {
			e.Waiting = append(e.Waiting, done)
			young++
		} else if err == nil {
			err = e.So.addItem(done)
			if err != nil {
				return err
			}
		}
		if err := s.save(ctx, e); err != nil {
			return err
		}
	}
	if young > 0 {
		return stead.Errorf(stead.KindUnavailable, "texts beside the journal of %d sessions are removed when they are an hour old", young)
	}
	return nil
}

// nextCopy plans the redaction in a copy, where that has the item. patient: it waits for one that is in use.
func (s *Service) nextCopy(ctx context.Context, e *Erasure, patient bool) error {
	id := e.Queue[0]
	item, ok := itemIn(id, e.So.Subject.ID)
	if !ok {
		return stead.Errorf(stead.KindInternal, "the item %s is no session's", e.So.Subject.ID)
	}
	look := func() error {
		plan, err := s.cfg.Sessions.Redacting(ctx, e.Principal, id, item)
		if err == nil {
			e.Redaction = &plan
		}
		return err
	}
	err := error(nil)
	if patient {
		err = s.atRest(ctx, look)
	} else {
		err = look()
	}
	if err != nil && stead.KindOf(err) != stead.KindNotFound { // the copy is of what came before it, or it is gone
		return err
	}
	e.Queue = e.Queue[1:]
	if err != nil {
		e.Gone = append(e.Gone, id)
	}
	return s.save(ctx, e)
}

// redact does what was planned, until nothing of it is left.
func (s *Service) redact(ctx context.Context, e *Erasure) error {
	id := e.Redaction.Session
	err := s.atRest(ctx, func() error {
		done, gone, err := s.cfg.Sessions.Redact(ctx, e.Principal, *e.Redaction)
		e.So.addGone(gone)
		if stead.KindOf(err) != stead.KindNotFound {
			e.Redaction = &done
		}
		return err
	})
	switch {
	case stead.KindOf(err) == stead.KindNotFound: // somebody deleted the session, and all of it
	case err != nil:
		return err
	case len(e.Redaction.Unnamed) > 0:
		e.Waiting = append(e.Waiting, *e.Redaction)
	default:
		if err := e.So.addItem(*e.Redaction); err != nil {
			return err
		}
	}
	e.Gone, e.Redaction = append(e.Gone, id), nil
	return s.save(ctx, e)
}

// atRest repeats what can't be done while a session is in use.
func (s *Service) atRest(ctx context.Context, do func() error) error {
	for end := s.cfg.Now().Add(WaitForTurn); ; {
		err := do()
		if stead.KindOf(err) != stead.KindConflict || s.cfg.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the erasure was interrupted")
		case <-time.After(turnPoll):
		}
	}
}

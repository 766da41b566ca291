package erasure

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
)

// empty notes that nothing of an erasure is left but bytes.
func (s *Service) empty(ctx context.Context, e *Erasure) error {
	if err := s.unshow(ctx, e); err != nil {
		return err
	}
	if err := s.unask(ctx, e, slices.Collect(maps.Keys(e.gone()))); err != nil {
		return err
	}
	if s.cfg.Purges == nil {
		return s.certify(ctx, e)
	}
	e.Emptied, e.Problem = s.cfg.Now().UnixMilli(), ""
	if err := s.save(ctx, e); err != nil {
		return err
	}
	if err := s.cfg.Purges.emptied(ctx, e); err != nil {
		return err // Sweep finds it, and notes it then
	}
	wake(s.owed)
	return nil
}

// Purge makes the purge that is owed, by marks and to erasures, and certifies those that nothing was left of when it began. It is called
// again and again, beside Sweep.
func (s *Service) Purge(ctx context.Context) error {
	p := s.cfg.Purges
	if p == nil {
		return nil
	}
	if p.wait() > 0 {
		return s.giveUp(ctx)
	}
	due, err := p.owed(ctx) // before the purge: what comes while it runs is the next one's
	if err != nil || len(due.marks)+len(due.erasures) == 0 {
		return err
	}
	t, err := p.turn(ctx)
	if err != nil || t == nil {
		return err
	}
	var pause time.Duration
	p.holding(ctx, t, func() {
		var how string
		if how, pause, err = p.run(ctx, t); ctx.Err() != nil {
			return
		}
		if err != nil && len(due.marks) > 0 {
			due.marks = due.marks[1:] // one is as good as all
		}
		p.drop(ctx, due.marks)
		s.conclude(ctx, due.erasures, how, err)
	})
	p.outcome(p.now().Add(pause), err)
	p.hold(context.WithoutCancel(ctx), t, pause)
	return err
}

// giveUp certifies what has waited for too long for a purge that fails, while this node waits for the next try.
func (s *Service) giveUp(ctx context.Context) error {
	failed := s.cfg.Purges.problem()
	if failed == nil {
		return nil
	}
	waited := s.cfg.Now().Add(-purgeWithin).UnixMilli()
	due, err := s.cfg.Documents.ExpiredDocuments(ctx, emptiedKind, waited, marksAtOnce)
	s.conclude(ctx, due, "", failed)
	return err
}

// conclude certifies erasures that a purge was owed to; or it leaves them for later, and says why.
func (s *Service) conclude(ctx context.Context, due []document.Document, how string, failed error) {
	for _, m := range due {
		if ctx.Err() != nil {
			return
		}
		if err := s.purged(ctx, m, how, failed); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("an erasure did not get to its end; it is tried again", "erasure", m.ID, "err", err)
		}
	}
}

// purged does so for the erasure of a mark.
func (s *Service) purged(ctx context.Context, mark document.Document, how string, failed error) error {
	e, err := s.held(ctx, mark)
	if err != nil {
		return err
	}
	if e != nil && e.Status == Running {
		if now := s.cfg.Now(); how != "" {
			e.So.Bytes = &Bytes{Database: how, At: now.UnixMilli()}
		} else if now.Sub(time.UnixMilli(e.Emptied)) >= purgeWithin {
			e.So.Bytes = &Bytes{Database: BytesLeft, At: now.UnixMilli(), Problem: message(failed)}
		} else if e.Problem == message(failed) {
			return nil
		} else {
			e.Problem, e.marked = message(failed), true
			return s.save(ctx, e)
		}
		if err := s.certify(ctx, e); err != nil {
			return err
		}
	}
	if err := s.cfg.Documents.DeleteDocument(ctx, mark.Key, 0); stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	return nil
}

// held reads the erasure of a mark, and sees to it that no Sweep takes it for a while; nil: there is none any more.
func (s *Service) held(ctx context.Context, mark document.Document) (*Erasure, error) {
	for {
		d, err := s.cfg.Documents.GetDocument(ctx, s.key(mark.Project, mark.ID))
		if stead.KindOf(err) == stead.KindNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		e, err := decode(d)
		if err != nil || e.Status != Running || d.ExpiresAt > s.cfg.Now().Add(turnHold).UnixMilli() {
			return &e, err
		}
		e.marked = true
		if err := s.save(ctx, &e); stead.KindOf(err) != stead.KindConflict { // else one has just taken it: for an hour
			return &e, err
		}
	}
}

// certify signs, records the digest of what it signed, and completes the erasure.
func (s *Service) certify(ctx context.Context, e *Erasure) error {
	now := s.cfg.Now().UnixMilli()
	e.So.CompletedAt = cmp.Or(e.Emptied, now)
	note, err := e.So.note(s.cfg.Signer)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(note))
	e.SHA256, e.Certificate = hex.EncodeToString(sum[:]), note
	of := e.So.Subject
	err = s.cfg.Record(ctx, audit.Record{
		At: now, Project: e.So.Project, Principal: e.So.By, Action: audit.ActErase, Resource: e.ID,
		Decision: audit.Allow, By: "erasure", Detail: of.Kind + " " + of.ID + ", certificate " + e.SHA256,
	})
	if err == nil {
		e.Status, e.Problem = Completed, ""
		err = s.save(ctx, e)
	}
	if err != nil {
		e.Status, e.Certificate, e.SHA256 = Running, "", ""
	}
	return err
}

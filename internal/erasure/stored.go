package erasure

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/document"
)

// An erasure is a document, which is due when somebody is to go on with it.

func decode(d document.Document) (Erasure, error) {
	var e Erasure
	if err := json.Unmarshal(d.Data, &e); err != nil {
		return e, stead.Wrap(stead.KindInternal, err, "the erasure %s can't be read", d.ID)
	}
	e.ID, e.version, e.created = d.ID, d.Version, d.CreatedAt
	return e, nil
}

func (s *Service) document(e *Erasure) (document.Document, error) {
	e.Node = s.cfg.Node
	data, err := json.Marshal(e)
	if err != nil {
		return document.Document{}, stead.Wrap(stead.KindInternal, err, "an erasure can't be written")
	}
	now := s.cfg.Now()
	d := document.Document{Key: s.key(e.Principal.Project, e.ID), Version: e.version + 1, CreatedAt: e.created, UpdatedAt: now.UnixMilli(), Tag: e.Status, Data: data}
	switch {
	case e.Status == Running && e.marked:
		d.ExpiresAt = now.Add(purgeWithin).UnixMilli() // when somebody looks whether the mark is still there
	case e.Status == Running && e.later > 0:
		d.ExpiresAt = now.Add(e.later).UnixMilli()
	case e.Status == Running:
		d.ExpiresAt = now.Add(holdFor).UnixMilli() // when another node may go on
	}
	return d, nil
}

func (s *Service) create(ctx context.Context, e *Erasure, key, digest string) error {
	e.Approved = approval.Granted(ctx)
	d, err := s.document(e)
	if err == nil && e.Current == nil {
		d.ExpiresAt = s.cfg.Now().UnixMilli() // nobody works on it yet
	}
	if err != nil {
		return err
	}
	if d, err = s.cfg.Documents.CreateDocument(ctx, d, key, digest); err == nil {
		*e, err = decode(d)
	}
	return err
}

// save writes down how far it has got; KindConflict: another node has it by now.
func (s *Service) save(ctx context.Context, e *Erasure) error {
	d, err := s.document(e)
	if err == nil {
		d, err = s.cfg.Documents.UpdateDocument(ctx, d)
	}
	if err == nil {
		e.version, e.saved = d.Version, s.cfg.Now()
	}
	return err
}

// stay keeps an erasure this node's in the middle of a long step.
func (s *Service) stay(ctx context.Context, e *Erasure) error {
	if s.cfg.Now().Sub(e.saved) < holdFor/4 {
		return nil
	}
	return s.save(ctx, e)
}

// holding keeps an erasure this node's for as long as a step takes, which does not touch it. Where it could not be kept, the step is cut off: another
// node has it.
func (s *Service) holding(ctx context.Context, e *Erasure, step func(context.Context) error) error {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	over, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(holdFor / 4)
		defer tick.Stop()
		for {
			select {
			case <-over:
				failed <- nil
				return
			case <-tick.C:
			}
			if err := s.save(ctx, e); stead.KindOf(err) == stead.KindConflict { // other failures may pass until the hold ends
				cut(err)
				failed <- err
				return
			}
		}
	}()
	err := step(ctx)
	close(over)
	if lost := <-failed; lost != nil {
		return lost
	}
	return err
}

package consent

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// tell tells a session how its consent ended. What fails, Sweep does again.
func (s *Service) tell(ctx context.Context, k document.Key, c stored) {
	waited, err := s.cfg.Tell(ctx, Outcome{Session: c.Session, Consent: k.ID, Status: c.Status, Reason: c.Reason, By: c.For})
	over := s.now() >= c.EndedAt+tellFor.Milliseconds()
	if err == nil {
		_, _, err = s.change(ctx, k, func(c *stored, _ *private) error { c.Told = waited || over; return nil })
	}
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		s.cfg.Log.Warn("a session can't be told of a consent; it is told later", "consent", k.ID, "session", c.Session.Session, "err", err)
	}
}

// share ends the other consents of the user that are for the same server and vault: the token is theirs too.
func (s *Service) share(ctx context.Context, k document.Key, given stored) {
	docs, err := s.alike(ctx, k, given)
	for _, d := range docs {
		data, _, err := s.change(ctx, d.Key, func(c *stored, p *private) error {
			if !c.open(s.now()) {
				return unknown()
			}
			c.finish(p, Given, "", s.now())
			return nil
		})
		if err == nil {
			s.tell(ctx, d.Key, data)
		}
	}
	if err != nil {
		s.cfg.Log.Warn("other sessions of a user can't be told of a consent; they ask for themselves", "consent", k.ID, "err", err)
	}
}

// alike are the other consents of a user for the same server and vault.
func (s *Service) alike(ctx context.Context, k document.Key, of stored) ([]document.Document, error) {
	var out []document.Document
	q := document.Query{Project: k.Project, Kind: kind, Tag: of.tag(), Limit: stead.MaxPageSize}
	for len(out) < maxShared {
		docs, err := s.cfg.Documents.ListDocuments(ctx, q)
		if err != nil {
			return out, err
		}
		for _, d := range docs {
			if q.After = d.ID; d.ID != k.ID {
				out = append(out, d)
			}
		}
		if len(docs) < q.Limit {
			break
		}
	}
	return out, nil
}

// Sweep ends what dead nodes began, tells sessions that were not told, and forgets what is long over. It says how many it
// looked at. One that can't be ended for now keeps it from none of the others.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	docs, err := s.cfg.Documents.ExpiredDocuments(ctx, kind, s.now(), stead.MaxPageSize)
	if err != nil {
		return 0, err
	}
	for _, d := range docs {
		if failed := s.tend(ctx, d); failed != nil && stead.KindOf(failed) != stead.KindNotFound && stead.KindOf(failed) != stead.KindConflict {
			err = failed
		}
	}
	return len(docs), err
}

// stopped is why a consent is asked for again whose node died with its code.
const stopped = "The server was stopped while it redeemed the code, which is used up."

func (s *Service) tend(ctx context.Context, d document.Document) error {
	data, _, err := s.read(d)
	switch {
	case err == nil && data.Status == Redeeming:
		_, err := s.end(ctx, name{Project: d.Project, ID: d.ID}, data, Again, stopped)
		return err
	case err == nil && data.ended() && !data.Told:
		s.tell(ctx, d.Key, data)
		return nil
	}
	return s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version) // over, or sealed with a key that is gone
}

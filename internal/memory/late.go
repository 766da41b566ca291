package memory

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// A write that was under way when its session was deleted may come behind the forgetting, and the node that would undo it may die.
// So each deletion leaves a note first, and for as long as such a write may come it is looked again, by any node.

// forgetKind are notes of sessions that are being deleted, whose ids are theirs; they expire when it is looked again.
const forgetKind document.Kind = "session to forget"

// The times at which it is looked again, after the deletion and after that.
const (
	forgetSoon = 20 * time.Second
	forgetLate = 10 * time.Minute
)

// forgetAgain leaves the note.
func (s *Service) forgetAgain(ctx context.Context, project stead.ProjectID, session string) error {
	if s.cfg.Gone == nil {
		return nil
	}
	now := s.cfg.Now()
	_, err := s.cfg.Documents.CreateDocument(ctx, document.Document{Key: document.Key{Project: project, Kind: forgetKind, ID: session},
		CreatedAt: milli(now), UpdatedAt: milli(now), ExpiresAt: milli(now.Add(forgetSoon)), Data: []byte("{}")}, "", "")
	if stead.KindOf(err) == stead.KindConflict {
		return nil // it is there
	}
	return err
}

// SweepForgotten forgets what came late from sessions that were deleted, and says of how many it looked.
func (s *Service) SweepForgotten(ctx context.Context) (int, error) {
	if s.cfg.Gone == nil {
		_, err := s.follow(ctx, embedPrincipal(""), "", nil)
		return 0, err
	}
	due, err := s.cfg.Documents.ExpiredDocuments(ctx, forgetKind, milli(s.cfg.Now()), sweepLimit)
	for i, d := range due {
		gone, err := s.cfg.Gone(ctx, d.Project, stead.SessionID(d.ID))
		if err == nil && gone {
			by := embedPrincipal(d.Project) // nobody asked for it but the one who deleted the session
			_, err = s.forgetFrom(ctx, by, origin{session: d.ID})
		}
		if err == nil && gone && d.Version == 1 {
			d.Version, d.ExpiresAt = 2, milli(s.cfg.Now().Add(forgetLate))
			_, err = s.cfg.Documents.UpdateDocument(ctx, d)
		} else if err == nil {
			err = s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)
		}
		if k := stead.KindOf(err); err != nil && k != stead.KindNotFound && k != stead.KindConflict { // another node does it
			return i, err
		}
	}
	if err != nil {
		return len(due), err
	}
	_, err = s.follow(ctx, embedPrincipal(""), "", nil)
	return len(due), err
}

package erasure

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/session"
)

// Sweep goes on with erasures that no node works on, and says with how many. It is called again and again.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	due, err := s.cfg.Documents.ExpiredDocuments(ctx, kind, s.cfg.Now().UnixMilli(), sweepLimit)
	if err == nil {
		var left []document.Document
		left, err = s.orphans(ctx)
		due = append(due, left...)
	}
	done := 0
	for _, d := range due {
		e, failed := decode(d)
		if failed == nil {
			failed = s.take(ctx, &e)
		}
		if stead.KindOf(failed) == stead.KindConflict {
			continue // it is another node's
		}
		if failed == nil && e.Emptied == 0 {
			failed = s.resume(ctx, &e)
		}
		if failed != nil {
			s.cfg.Log.Warn("an erasure did not get to its end; it is tried again", "erasure", e.ID, "err", failed)
			err = failed
			continue
		}
		done++
	}
	return done, err
}

// orphans are erasures whose node is dead, though they are its own for a while yet.
func (s *Service) orphans(ctx context.Context) (out []document.Document, err error) {
	if s.cfg.Lives == nil {
		return nil, nil
	}
	lives := map[stead.NodeID]bool{"": true, s.cfg.Node: true} // of one from before nodes were written down nobody knows
	err = document.Each(ctx, s.cfg.Documents, kind, Running, func(d document.Document) error {
		dead, err := s.orphan(ctx, d, lives)
		if dead {
			out = append(out, d)
		}
		return err
	})
	return out, err
}

// orphan reports whether an erasure is a dead node's. What is due anyway is not meant, nor what waits for a purge, which is nobody's own.
func (s *Service) orphan(ctx context.Context, d document.Document, lives map[stead.NodeID]bool) (bool, error) {
	if d.ExpiresAt <= s.cfg.Now().UnixMilli() || d.ExpiresAt-d.UpdatedAt > holdFor.Milliseconds() {
		return false, nil
	}
	e, err := decode(d)
	if err != nil {
		return false, err
	}
	is, known := lives[e.Node]
	if !known {
		if is, err = s.cfg.Lives(ctx, e.Node); err != nil {
			return false, err
		}
		lives[e.Node] = is
	}
	return !is, nil
}

// take makes an erasure this node's from now on. Of one that waits for a purge it makes sure that this is noted: whoever emptied it may have
// died then, or it waits for very long.
func (s *Service) take(ctx context.Context, e *Erasure) error {
	waits := e.Emptied > 0 && s.cfg.Purges != nil
	e.marked = waits
	if err := s.save(ctx, e); err != nil || !waits {
		return err
	}
	defer wake(s.owed)
	return s.cfg.Purges.emptied(ctx, e)
}

// resume runs an erasure behind the request that asked for it.
func (s *Service) resume(ctx context.Context, e *Erasure) error {
	err := s.run(approval.Under(ctx, e.Approved), e)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		s.cfg.Log.Info("a deletion was not made: its session is in use", "session", e.So.Subject.ID, "err", refused.err)
		return s.withdraw(ctx, e)
	}
	if waits, ok := errors.AsType[*waiting](err); ok { // it said so itself
		s.cfg.Log.Info("an erasure waits", "erasure", e.ID, "for", waits.why)
		return nil
	}
	e.Problem, e.Held = message(err), false
	if saved := s.save(ctx, e); saved != nil {
		return saved
	}
	return err
}

// message is what an error tells people.
func message(err error) string {
	if e, ok := err.(*stead.Error); ok {
		return e.Message
	}
	return "an internal error"
}

// run takes an erasure to its end. Each step is saved before the next.
func (s *Service) run(ctx context.Context, e *Erasure) error {
	if s.cfg.Because != nil {
		ctx = s.cfg.Because(ctx, e.ID)
	}
	if kind := e.So.Subject.Kind; kind == OfMemory || kind == OfScope {
		if err := s.cfg.Entries(ctx, e.Principal, e.So.Subject.ID, slices.Clone(e.Meant), slices.Clone(e.Made), s.book(ctx, e)); err != nil {
			return err
		}
		return s.empty(ctx, e)
	}
	if e.So.Subject.Kind == OfItem {
		if err := s.item(ctx, e); err != nil {
			return err
		}
		return s.empty(ctx, e)
	}
	if e.Current != nil {
		if err := s.erase(ctx, e); err != nil {
			return err
		}
	}
	for {
		if err := s.sessions(ctx, e); err != nil {
			return err
		}
		if e.So.Subject.Kind != OfUser {
			break
		}
		found, err := s.rest(ctx, e)
		if err == nil && !found {
			err = s.refill(ctx, e) // what was made meanwhile
		}
		if err != nil {
			return err
		}
		if !found && len(e.Queue) == 0 {
			break
		}
	}
	return s.empty(ctx, e)
}

// book writes down which memories are about to go, before they do, and then that they went.
func (s *Service) book(ctx context.Context, e *Erasure) Book {
	return Book{
		Means: func(ids []string) error {
			e.Meant = ids
			return s.save(ctx, e)
		},
		Went: func(ids []string) error {
			for _, id := range ids {
				e.So.addEntry(id)
			}
			e.So.Erased.Memories += int64(len(ids))
			e.Meant = nil
			return s.save(ctx, e)
		},
		Counting: s.counting(ctx, e),
	}
}

// counting does so of memories that are counted, and not listed.
func (s *Service) counting(ctx context.Context, e *Erasure) Counting {
	return Counting{
		Makes: func(ids []string) error {
			e.Made = ids
			return s.save(ctx, e)
		},
		Made: func(n int) error {
			e.So.Erased.Memories += int64(n)
			e.Made = nil
			return s.save(ctx, e)
		},
	}
}

// sessions erases those that there are, until there are none.
func (s *Service) sessions(ctx context.Context, e *Erasure) error {
	for {
		if len(e.Queue) == 0 {
			if err := s.refill(ctx, e); err != nil {
				return err
			}
		}
		if len(e.Queue) == 0 {
			return nil
		}
		if err := s.next(ctx, e); err != nil {
			return err
		}
	}
}

// gone are the sessions that were erased, or in which the item was redacted.
func (e *Erasure) gone() map[stead.SessionID]bool {
	out := make(map[stead.SessionID]bool, len(e.So.Sessions)+len(e.Gone))
	for _, h := range e.So.Sessions {
		out[h.Session] = true
	}
	for _, id := range e.Gone {
		out[id] = true
	}
	return out
}

// refill looks for sessions that are still there: a user's, or copies of the session where they go too.
func (s *Service) refill(ctx context.Context, e *Erasure) error {
	q := session.ListQuery{PageQuery: session.PageQuery{Limit: stead.MaxPageSize}}
	if e.So.Subject.Kind == OfUser {
		q.User = e.So.Subject.ID
	} else if !e.So.Forks {
		return nil
	}
	gone := e.gone()
	for {
		page, err := s.cfg.Sessions.List(ctx, e.Principal, q)
		if err != nil {
			return err
		}
		for _, found := range page.Data {
			q.After = string(found.ID)
			of := found.ForkedFrom
			if q.User != "" || of != nil && of.How == session.OriginFork && gone[of.Session] && !gone[found.ID] {
				e.Queue = append(e.Queue, found.ID)
			}
		}
		if !page.HasMore || len(e.Queue) >= stead.MaxPageSize {
			return nil
		}
		if err := s.stay(ctx, e); err != nil {
			return err
		}
	}
}

// next takes a session from the queue: it is counted, and that is written down, before it goes.
func (s *Service) next(ctx context.Context, e *Erasure) error {
	h, err := s.cfg.Sessions.Holdings(ctx, e.Principal, e.Queue[0])
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	id := e.Queue[0]
	e.Queue = e.Queue[1:]
	if err != nil { // somebody else deleted it, which has a certificate of its own; or was about to
		_, err = s.cfg.Sessions.Scour(ctx, e.Principal, id)
		return err
	}
	e.Current = &h
	if err := s.save(ctx, e); err != nil {
		return err
	}
	return s.erase(ctx, e)
}

// quiet ends a turn that is in progress.
func (s *Service) quiet(ctx context.Context, p stead.Principal, id stead.SessionID) error {
	asked := false
	for end := s.cfg.Now().Add(WaitForTurn); ; {
		found, err := s.cfg.Sessions.Get(ctx, p, id)
		if err != nil || found.Status == session.StatusIdle || found.Status == session.StatusFailed {
			return err
		}
		if !asked {
			if err := s.cfg.Sessions.Send(ctx, p, id, session.SendRequest{Inputs: []session.Input{{Cancel: true}}}); err != nil {
				return err
			}
			asked = true
		}
		if s.cfg.Now().After(end) {
			return stead.Errorf(stead.KindConflict, "the turn of session %s does not end", id)
		}
		select {
		case <-ctx.Done():
			return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the erasure was interrupted")
		case <-time.After(turnPoll):
		}
	}
}

// settle ends the current session's turn, and counts again what it has then.
func (s *Service) settle(ctx context.Context, e *Erasure) error {
	err := s.quiet(ctx, e.Principal, e.Current.Session)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := s.cfg.Sessions.Holdings(ctx, e.Principal, e.Current.Session)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && h == *e.Current {
		return nil
	}
	if err != nil {
		return err
	}
	e.Current = &h
	return s.save(ctx, e)
}

// erase deletes the current session, or what an earlier try left of it.
func (s *Service) erase(ctx context.Context, e *Erasure) error {
	id := e.Current.Session
	if !e.Asked {
		if err := s.settle(ctx, e); err != nil {
			return err
		}
	} else if err := s.unused(ctx, e); err != nil {
		return err
	}
	gone, err := s.cfg.Sessions.Erase(ctx, e.Principal, id)
	switch kind := stead.KindOf(err); {
	case err == nil, kind == stead.KindNotFound:
	case e.Asked && (kind == stead.KindConflict || kind == stead.KindForbidden):
		return &refusal{err}
	default:
		return err
	}
	late, err := s.cfg.Sessions.Scour(ctx, e.Principal, id)
	if err != nil {
		return err
	}
	gone.Removed, gone.Changed = gone.Removed+late.Removed, gone.Changed+late.Changed
	if gone.Texts, err = s.texts(ctx, e, audit.TextQuery{Session: id}); err != nil {
		return err
	}
	listed := len(e.So.Sessions)
	if err := e.So.addSession(*e.Current, gone); err != nil {
		return err
	}
	if (e.So.Forks || e.So.Subject.Kind == OfUser) && len(e.So.Sessions) == listed {
		e.Gone = append(e.Gone, id)
	}
	if e.Current = nil; e.So.Subject.Kind == OfUser && len(e.Gone) >= MaxListed { // an erasure is a document, which has its limit
		if err := s.unask(ctx, e, e.Gone); err != nil {
			return err
		}
		e.Gone = nil
	}
	return s.save(ctx, e)
}

// millis of a second, by which a session says when it was used.
const millis = 1000

// unused refuses what was used since Before.
func (s *Service) unused(ctx context.Context, e *Erasure) error {
	if e.Before == 0 {
		return nil
	}
	found, err := s.cfg.Sessions.Get(ctx, e.Principal, e.Current.Session)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil // it is gone; what is left of it goes now
	}
	if err == nil && (found.LastActiveAt+1)*millis > e.Before {
		err = &refusal{stead.Errorf(stead.KindConflict, "session %s is in use again", found.ID)}
	}
	return err
}

// rest removes what a user has beside sessions, and reports whether there was anything.
func (s *Service) rest(ctx context.Context, e *Erasure) (found bool, err error) {
	user := e.So.Subject.ID
	if s.cfg.Memories != nil {
		before := e.So.Erased.Memories
		err := s.cfg.Memories(ctx, e.Principal, user, slices.Clone(e.Made), s.counting(ctx, e))
		if found = e.So.Erased.Memories > before; err != nil {
			return found, err
		}
	}
	if s.cfg.Credentials != nil {
		n, err := s.cfg.Credentials(ctx, e.Principal.Project, user)
		e.So.Erased.Credentials += int64(n)
		if found = found || n > 0; err != nil {
			return found, err
		}
	}
	n, err := s.texts(ctx, e, audit.TextQuery{Person: user})
	e.So.Erased.Texts += int64(n)
	if found = found || n > 0; err != nil {
		return found, err
	}
	if s.cfg.Sources != nil {
		n, err := s.cfg.Sources(ctx, e.Principal.Project, user)
		if found = found || n > 0; err != nil {
			return found, err
		}
	}
	if err := s.stay(ctx, e); err != nil {
		return found, err
	}
	files, err := s.cfg.Files(ctx, e.Principal, user)
	for _, f := range files {
		e.So.addFile(f.ID, f.Bytes)
	}
	if err != nil {
		return found, err
	}
	return found || len(files) > 0, s.save(ctx, e)
}

// texts removes what people wrote into audit records.
func (s *Service) texts(ctx context.Context, e *Erasure, of audit.TextQuery) (int, error) {
	if s.cfg.Texts == nil {
		return 0, nil
	}
	return s.cfg.Texts(ctx, e.So.Project, of)
}

// unask takes what was said about sessions out of requests for approval: they show what would have been done. What was answered to them meanwhile
// goes from the audit log.
func (s *Service) unask(ctx context.Context, e *Erasure, sessions []stead.SessionID) error {
	if s.cfg.Questions == nil {
		return nil
	}
	gone := make(map[stead.SessionID]bool, len(sessions))
	for _, id := range sessions {
		gone[id] = true
	}
	err := s.cfg.Questions(ctx, e.So.Project, func(id stead.SessionID, user string) bool {
		return id != "" && gone[id] || e.So.Subject.Kind == OfUser && user == e.So.Subject.ID
	})
	if err != nil || e.So.Subject.Kind != OfUser && e.So.Subject.Kind != OfSession {
		return err
	}
	late := []audit.TextQuery{}
	for id := range gone {
		late = append(late, audit.TextQuery{Session: id})
	}
	if e.So.Subject.Kind == OfUser {
		late = append(late, audit.TextQuery{Person: e.So.Subject.ID})
	}
	for _, of := range late {
		n, err := s.texts(ctx, e, of)
		if e.So.Erased.Texts += int64(n); err != nil {
			return err
		}
	}
	return nil
}

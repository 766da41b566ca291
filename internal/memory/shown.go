package memory

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stead-dev/stead"
)

// What a model says may repeat what it was shown. So it is known which memories, and documents, a session was shown, and since which
// place of its journal: when one of them is forgotten, what was made in the session since then is forgotten as well, and so on, with
// what others made of that. What a user said stays.
//
//	shown (before the model sees it) ─▶ forgotten: marked, in the transaction that forgets ─▶ followed: what was made of it goes
//	                                                                                       ─▶ looked again, for what was under way
//	                                                  └─▶ taken out of the session's journal: see unshow.go

// Ref names a record: a memory, or a file of a vector store.
type Ref struct{ Store, ID string }

// Showing is that a session was shown a record that is forgotten by now.
type Showing struct {
	Ref
	Project   stead.ProjectID
	Session   string
	At        int64  // the session's last event when it was shown first
	Forgotten int64  // Unix milliseconds
	Due       int64  // Unix milliseconds: when it is followed next
	Unshow    int64  // Unix milliseconds: when it is taken out of the session's journal; 0: that is done
	Cause     string // the erasure for which it was forgotten; "": none. See Because
}

// Showings keep what sessions were shown.
type Showings interface {
	// ShowMemories notes that a session was shown records, each once: the first time counts. One that is not there any more is
	// marked as forgotten at now.
	ShowMemories(ctx context.Context, project stead.ProjectID, session string, at, now int64, refs []Ref) error
	// DueShowings are those of forgotten records, of all projects or ("" is all) one, that are to be followed by a time, the first ones first.
	DueShowings(ctx context.Context, project stead.ProjectID, now int64, limit int) ([]Showing, error)
	// FollowedShowing sets when one that was followed is due again (0: never), unless it was followed by somebody else meanwhile.
	FollowedShowing(ctx context.Context, followed Showing, due int64) error
	// StaleSince is the first place of a session's journal at which it was shown what is forgotten by now; false: there is none.
	StaleSince(ctx context.Context, project stead.ProjectID, session string) (int64, bool, error)
	// DropShowings removes what is known of a session.
	DropShowings(ctx context.Context, project stead.ProjectID, session string) error
	// DueUnshowings are those that are to be taken out of journals by a time, of all projects, the first ones first.
	DueUnshowings(ctx context.Context, now int64, limit int) ([]Showing, error)
	// CausedShowings are those of an erasure that come after one, in the order of their sessions, stores and ids.
	CausedShowings(ctx context.Context, project stead.ProjectID, cause string, after Showing, limit int) ([]Showing, error)
	// Unshown sets when one is due to be taken out next (0: it was), unless it was forgotten once more meanwhile, or somebody else set that.
	Unshown(ctx context.Context, o Showing, due int64) error
	// CopyShowings notes of a copy of a session that it was shown the same. A second time those that are forgotten are due again.
	CopyShowings(ctx context.Context, project stead.ProjectID, from, to string) error
}

// MaxShowings is the most of them that are read at once.
const MaxShowings = 100

// Show notes that the session in the name of which the service acts is about to be shown records. What can't be noted must not be shown.
func (s *Service) Show(ctx context.Context, refs []Ref) error {
	return s.within.Show(ctx, s.cfg.Store, milli(s.cfg.Now()), refs)
}

// Show is Service.Show of whatever keeps them.
func (by *For) Show(ctx context.Context, in Showings, now int64, refs []Ref) error {
	if by == nil || by.Session.Session == "" || len(refs) == 0 {
		return nil
	}
	return in.ShowMemories(ctx, by.Session.Project, string(by.Session.Session), int64(cmp.Or(by.Since, by.At)), now, refs)
}

// Refs are those of what a search found.
func (f *Found) Refs() []Ref {
	var out []Ref
	for _, h := range f.Hits {
		out = append(out, Ref{h.Store, h.ID})
		for _, n := range h.Around {
			out = append(out, Ref{n.Store, n.ID})
		}
	}
	return out
}

// Follow forgets what was made of what is forgotten in a project, as every forgetting does: for what is kept by others, such as files.
func (s *Service) Follow(ctx context.Context, project stead.ProjectID) error {
	_, err := s.follow(ctx, embedPrincipal(project), project, nil)
	return err
}

// Copied notes that a session is a copy of another one, which knows what that one was shown.
func (s *Service) Copied(ctx context.Context, project stead.ProjectID, from, to stead.SessionID) error {
	return s.cfg.Store.CopyShowings(ctx, project, string(from), string(to))
}

// follow forgets what was made of what is forgotten in a project ("": in all of them), until there is nothing left that is due.
func (s *Service) follow(ctx context.Context, p stead.Principal, project stead.ProjectID, count *Counting) (Forgotten, error) {
	var out Forgotten
	defer s.wakeUnshow()
	for {
		now := milli(s.cfg.Now())
		due, err := s.cfg.Store.DueShowings(ctx, project, now, MaxShowings)
		if err != nil || len(due) == 0 {
			return out, err
		}
		slices.SortStableFunc(due, func(a, b Showing) int {
			return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Cause, b.Cause))
		})
		for len(due) > 0 { // what a session made is looked through once for all that it was shown
			by, session, cause := p, due[0].Session, due[0].Cause
			by.Project = due[0].Project
			n := slices.IndexFunc(due, func(o Showing) bool { return o.Project != by.Project || o.Session != session || o.Cause != cause })
			if n < 0 {
				n = len(due)
			}
			did, err := s.forgetSession(Because(ctx, cause), by, origin{session: session, made: due[:n]}, nil, count)
			out = out.and(did)
			for _, one := range due[:n] {
				if err == nil {
					err = s.cfg.Store.FollowedShowing(ctx, one, one.again(now))
				}
			}
			if err != nil {
				return out, err
			}
			due = due[n:]
		}
	}
}

// again is when it is followed next, for what was under way: as with sessions that were deleted.
func (o *Showing) again(now int64) int64 {
	for _, wait := range []time.Duration{forgetSoon, forgetLate} {
		if at := o.Forgotten + wait.Milliseconds(); at > now {
			return at
		}
	}
	return 0
}

// made reports whether what an entry says of a source was made by whoever had been shown it.
func (o *Showing) made(e *Entry, src Source) bool {
	if src.Session != o.Session {
		return false
	}
	place, told := src.madeAt(e)
	return place > o.At && (!told || e.CreatedAt <= o.Forgotten)
}

// wrote reports whether an edit was made by whoever had been shown it.
func (o *Showing) wrote(x Edit) bool {
	return x.Session == o.Session && (x.Seen == 0 || x.Seen > o.At) && x.At <= o.Forgotten
}

// madeAt is the last event of its session that whoever made an entry of a source may have seen; 0: it says what somebody said. told: an
// agent was told to write it down, so that what it writes later than the forgetting is a memory of its own.
func (src *Source) madeAt(e *Entry) (at int64, told bool) {
	switch {
	case src.Item == "" && writtenIn(e.WrittenBy) == src.Session:
		if src.Seen == 0 {
			return math.MaxInt64, true
		}
		return src.Seen, true
	case src.Seen > 0:
		return src.Seen, false
	case src.Item == "" || e.ID != itemMemory(*src) || slices.Contains([]string{"", stead.RoleUser, stead.RoleSystem, stead.RoleDeveloper}, src.Author):
		return 0, false
	}
	if _, seq, _, ok := stead.ParseDerivedID(stead.SessionID(src.Session), src.Item); ok {
		return int64(seq), false
	}
	return math.MaxInt64, false
}

// stale says from where on a session's model may repeat what is forgotten.
type stale map[string]int64

// staleOf looks sessions up.
func (s *Service) staleOf(ctx context.Context, project stead.ProjectID, sessions ...string) (stale, error) {
	out := stale{}
	for _, session := range sessions {
		if _, known := out[session]; known || session == "" {
			continue
		}
		at, is, err := s.cfg.Store.StaleSince(ctx, project, session)
		if err != nil {
			return nil, err
		}
		if out[session] = math.MaxInt64; is {
			out[session] = at
		}
	}
	return out, nil
}

// of reports whether an entry that is about to be made may repeat what is forgotten.
func (s stale) of(e *Entry) bool {
	return slices.ContainsFunc(append(slices.Clone(e.Sources), e.Source), func(src Source) bool {
		since, known := s[src.Session]
		at, told := src.madeAt(e)
		return known && !told && at > since
	})
}

// staleMeanwhile follows what was forgotten while something was written that may repeat it.
func (s *Service) staleMeanwhile(ctx context.Context, p stead.Principal, before stale) error {
	now, err := s.staleOf(ctx, p.Project, slices.Collect(maps.Keys(before))...)
	if err != nil {
		return err
	}
	for session, at := range now {
		if at < before[session] {
			made := Showing{Project: p.Project, Session: session, At: at, Forgotten: milli(s.cfg.Now())}
			if _, err := s.forgetSession(ctx, p, origin{session: session, made: []Showing{made}}, nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Quotes reports whether a text has no word that was not said: who repeats a user adds nothing.
func Quotes(text string, said []string) bool {
	known := map[string]bool{}
	for _, w := range []string{"user", "users", "s", "their", "they", "them", "is", "are", "was", "has", "have", "that"} {
		known[w] = true
	}
	for _, t := range said {
		for _, w := range wordsOf(t) {
			known[w] = true
		}
	}
	return !slices.ContainsFunc(wordsOf(text), func(w string) bool { return !known[w] })
}

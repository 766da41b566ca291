package memory

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// What was taken out of a conversation comes together here with what is known: the same said again merges, another
// value of the same subject supersedes, all else is new. One transaction a call, and ids that derive from where it was
// found: a second time changes nothing.

const (
	// MaxLessons is the most that one Learn writes.
	MaxLessons = 64
	// MaxSources is how many places an entry cites; of what is said more often the first ones stay.
	MaxSources = 64
	// MetaSubject is the key of an entry's metadata that says what it is about.
	MetaSubject = "subject"
	// clocks is how far, in milliseconds, those of nodes may be apart: what another one says is true from then on is known here too.
	clocks = 60_000
	// nearHits is how many entries a lesson is compared with, besides those of its subject.
	nearHits = 30
)

// Lesson is what was found. Its Sources are where.
type Lesson struct {
	Content
	Subject string // "" for what has no other value
}

// Taught is what became of lessons.
type Taught struct {
	Added, Merged, Superseded int
	Refused                   []Untaught
}

// Untaught is a lesson that may not be written. What it says is not among it.
type Untaught struct {
	Kind Kind
	Why  string
}

// Learn writes lessons that were found at a place of a session's journal.
//
// What a person wrote is never superseded by what an agent found: both stay, and the one says untrusted. Nor does it change when a
// session says the same: it is known. Lessons with other labels are entries of their own, which neither merge nor supersede: who may not see
// the one is not to lose the other by it.
func (s *Service) Learn(ctx context.Context, p stead.Principal, store string, session stead.SessionID, at stead.Seq, lessons []Lesson) (Taught, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return Taught{}, err
	}
	if len(lessons) > MaxLessons {
		return Taught{}, stead.Errorf(stead.KindTooLarge, "%d lessons at once: at most %d", len(lessons), MaxLessons)
	}
	var err error
	for try := range maxTries {
		l := lecture{s: s, look: s.sight(ctx, p, store), place: Place{p.Project, store}, by: p, now: milli(s.cfg.Now()), work: map[string]*draft{}}
		if try < maxTries-1 { // a store that is written all the time gets it all the same, and perhaps something twice
			seen, err := s.shelves.Revision(ctx, l.place)
			if err != nil {
				return Taught{}, err
			}
			l.since = seen + 1
		}
		if l.old, err = s.staleOf(ctx, p.Project, string(session)); err != nil {
			return Taught{}, err
		}
		if err = l.prepare(ctx, session, at, lessons); err != nil {
			return Taught{}, err
		}
		if err = l.write(ctx); stead.KindOf(err) == stead.KindConflict || stead.KindOf(err) == stead.KindNotFound {
			continue // somebody changed, or forgot, what it is about
		}
		if err == nil {
			err = s.stillThere(ctx, p, store)
		}
		if err == nil {
			err = s.staleMeanwhile(ctx, p, l.old)
		}
		return l.taught, err
	}
	return Taught{}, err
}

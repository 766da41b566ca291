package memory

import (
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
)

// What sessions were shown stands in their journals. When it is forgotten it is taken out there as well, behind the forgetting: the
// mark that is made with that stays due until it was.
//
//	shown ─▶ forgotten: due ─▶ the session is at rest: taken out ─▶ done
//	                       ─▶ it is in use, or kept by a policy: due again, later

// Unshowing is what is to be taken out of one session's journal.
type Unshowing struct {
	Project stead.ProjectID
	Session stead.SessionID
	By      stead.Principal // who erases what is taken out; the zero one: nobody has asked for that
	Since   int64           // the session's last event when it was shown the first of them
	Refs    []Ref
}

// Unshow takes it out; doing so again changes nothing. later is when bytes that stand beside the journal will be old enough to be
// removed; 0: there are none. KindConflict: the session is in use; KindForbidden: a policy keeps it, from who erases too; KindNotFound: it is not there.
type Unshow func(ctx context.Context, u Unshowing) (later time.Duration, err error)

const (
	// unshowLook is how often a node looks for what is due.
	unshowLook = 3 * time.Second
	// unshowSoon and unshowLate bound when it is tried again what could not be taken out: the later, the longer ago it was forgotten.
	unshowSoon, unshowLate = time.Second, 2 * time.Minute
	unshowTurn             = 10 * time.Second
	// unshowKept is when a policy that keeps a session is asked again.
	unshowKept = time.Hour
	// MaxUnshowings is how many of them are read at once.
	MaxUnshowings = 1000
)

type causeKey struct{}

// Because makes what is forgotten under a context forgotten for an erasure, which then finds who was shown it; "": for none.
func Because(ctx context.Context, cause string) context.Context {
	return context.WithValue(ctx, causeKey{}, cause)
}

// CauseOf is the erasure of Because; "": none.
func CauseOf(ctx context.Context) string {
	cause, _ := ctx.Value(causeKey{}).(string)
	return cause
}

// wakeUnshow has RunUnshow look at once.
func (s *Service) wakeUnshow() {
	select {
	case s.unshows <- struct{}{}:
	default:
	}
}

// RunUnshow takes what is forgotten out of journals until ctx ends.
func (s *Service) RunUnshow(ctx context.Context, failed func(error)) {
	for tick := time.NewTicker(unshowLook); ; {
		if err := s.Unshow(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-s.unshows:
		case <-tick.C:
		}
	}
}

// Unshow does so with all that is due.
func (s *Service) Unshow(ctx context.Context) error {
	for s.cfg.Unshow != nil {
		due, err := s.cfg.Store.DueUnshowings(ctx, milli(s.cfg.Now()), MaxUnshowings)
		if err != nil || len(due) == 0 {
			return err
		}
		if _, err := s.unshowAll(ctx, stead.Principal{}, bySession(due)); err != nil {
			return err // what failed is due later
		}
	}
	return nil
}

// Caused is what became of what was forgotten for an erasure.
type Caused struct {
	Shown []Unshowing // sessions that were shown it
	Left  map[Why]int // in how many of them it still stands
}

// Why something is left in a journal.
type Why string

// Reasons why it is.
const (
	WhyInUse  Why = "in use"
	WhyKept   Why = "kept by a policy"
	WhyYoung  Why = "too young"
	WhyFailed Why = "failed"
	WhyLater  Why = "not looked through yet"
)

// UnshowFor takes out of the journals of at most so many sessions what is left in them of what was forgotten for somebody's erasure, and says of
// all that was how it stands.
func (s *Service) UnshowFor(ctx context.Context, by stead.Principal, cause string, most int) (Caused, error) {
	out, project := Caused{Left: map[Why]int{}}, by.Project
	if s.cfg.Unshow == nil {
		return out, nil
	}
	if _, err := s.follow(ctx, embedPrincipal(project), project, nil); err != nil {
		return out, err
	}
	var all []Showing
	for after := (Showing{}); ; {
		page, err := s.cfg.Store.CausedShowings(ctx, project, cause, after, MaxUnshowings)
		if err != nil {
			return out, err
		}
		all = append(all, page...)
		if len(page) < MaxUnshowings {
			break
		}
		after = page[len(page)-1]
	}
	left := bySession(slices.DeleteFunc(slices.Clone(all), func(o Showing) bool { return o.Unshow == 0 }))
	if later := len(left) - most; later > 0 {
		out.Left[WhyLater], left = later, left[:most]
		s.wakeUnshow() // which goes on with them
	}
	why, err := s.unshowAll(ctx, by, left)
	if err != nil && len(why) == 0 {
		return out, err
	}
	for _, because := range why {
		out.Left[because]++
	}
	for _, of := range bySession(all) {
		out.Shown = append(out.Shown, unshowing(of))
	}
	return out, nil
}

// unshowAll does so with what is given, session by session, and says where and why it could not. A session that fails holds up no other.
func (s *Service) unshowAll(ctx context.Context, by stead.Principal, sessions [][]Showing) (left map[stead.SessionID]Why, failed error) {
	left = map[stead.SessionID]Why{}
	for _, of := range sessions {
		u := unshowing(of)
		u.By = by
		later, err := s.cfg.Unshow(ctx, u)
		if ctx.Err() != nil {
			return left, err
		}
		switch stead.KindOf(err) {
		case stead.KindConflict:
			left[u.Session] = WhyInUse
		case stead.KindForbidden:
			left[u.Session], later = WhyKept, unshowKept
		case stead.KindNotFound: // deleted, or a copy that is being made: that says when it is there
			later = unshowKept
		default:
			if err != nil {
				left[u.Session], failed = WhyFailed, err
			} else if later > 0 {
				left[u.Session] = WhyYoung
			}
		}
		for _, o := range of {
			if err := s.cfg.Store.Unshown(ctx, o, o.unshowAgain(s.cfg.Now(), later, err)); err != nil {
				return left, err
			}
		}
	}
	return left, failed
}

// unshowAgain is when it is due again; 0: it is done.
func (o *Showing) unshowAgain(now time.Time, later time.Duration, err error) int64 {
	switch ago := now.Sub(time.UnixMilli(o.Forgotten)); {
	case later > 0:
	case err == nil:
		return 0
	case o.Forgotten <= 1: // by an agent, in its turn
		later = unshowTurn
	default:
		later = min(max(ago/4, unshowSoon), unshowLate)
	}
	return milli(now.Add(later))
}

func unshowing(of []Showing) Unshowing {
	u := Unshowing{Project: of[0].Project, Session: stead.SessionID(of[0].Session), Since: of[0].At}
	for _, o := range of {
		u.Since = min(u.Since, o.At)
		u.Refs = append(u.Refs, o.Ref)
	}
	return u
}

// bySession parts them by their sessions.
func bySession(all []Showing) [][]Showing {
	type key struct {
		project stead.ProjectID
		session string
	}
	at, out := map[key]int{}, [][]Showing(nil)
	for _, o := range all {
		k := key{o.Project, o.Session}
		i, known := at[k]
		if !known {
			i, out = len(out), append(out, nil)
			at[k] = i
		}
		out[i] = append(out[i], o)
	}
	return out
}

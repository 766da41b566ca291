package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"
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
	Wait    time.Duration // for something else to be done with the session first; 0: none
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
	// MaxUnshowingSessions is of how many sessions something is taken out at a time: most of it is waiting for workspaces.
	MaxUnshowingSessions = 8
	// unshowWait is how long one of them waits for its workspace to be stored, and unshowAwaited where somebody waits for all of it.
	unshowWait, unshowAwaited = 20 * time.Second, 2 * time.Second
	// unshowTurns is for how long sessions are begun with: then others have their turn.
	unshowTurns, unshowAwaitedTurns = time.Minute, 5 * time.Second
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
		if _, err := s.unshowAll(ctx, stead.Principal{}, bySession(due), paceOf(false)); err != nil {
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

// Unshowable asks UnshowFor.
type Unshowable struct {
	By      stead.Principal // whose erasure it is
	Cause   string          // its id
	Most    int             // sessions that are looked through
	Awaited bool            // somebody waits
}

// UnshowFor takes out of the journals of at most so many sessions what is left in them of what was forgotten for somebody's erasure, and says of
// all that was how it stands.
func (s *Service) UnshowFor(ctx context.Context, ask Unshowable) (Caused, error) {
	out, project := Caused{Left: map[Why]int{}}, ask.By.Project
	if s.cfg.Unshow == nil {
		return out, nil
	}
	if _, err := s.follow(ctx, embedPrincipal(project), project, nil); err != nil {
		return out, err
	}
	var all []Showing
	for after := (Showing{}); ; {
		page, err := s.cfg.Store.CausedShowings(ctx, project, ask.Cause, after, MaxUnshowings)
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
	if later := len(left) - ask.Most; later > 0 {
		out.Left[WhyLater], left = later, left[:ask.Most]
	}
	why, err := s.unshowAll(ctx, ask.By, left, paceOf(ask.Awaited))
	if err != nil && len(why) == 0 {
		return out, err
	}
	for _, because := range why {
		out.Left[because]++
	}
	if out.Left[WhyLater] > 0 {
		s.wakeUnshow() // which goes on with them
	}
	for _, of := range bySession(all) {
		out.Shown = append(out.Shown, asUnshowing(of))
	}
	return out, nil
}

// pace is how long each session waits for its workspace, and for how long sessions are begun with.
type pace struct{ wait, turns time.Duration }

func paceOf(awaited bool) pace {
	if awaited {
		return pace{unshowAwaited, unshowAwaitedTurns}
	}
	return pace{unshowWait, unshowTurns}
}

// unshowAll does so with what is given, some sessions at a time, and says where and why it could not. A session that fails holds up no other, and of
// those that were not begun with in time nothing is changed.
func (s *Service) unshowAll(ctx context.Context, by stead.Principal, sessions [][]Showing, at pace) (left map[stead.SessionID]Why, failed error) {
	var mu sync.Mutex // of what is returned
	left = map[stead.SessionID]Why{}
	say := func(of []Showing, why Why, err error) {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = err
		}
		if why != "" {
			left[stead.SessionID(of[0].Session)] = why
		}
	}
	var all sync.WaitGroup
	places, begun := make(chan struct{}, MaxUnshowingSessions), s.cfg.Now()
	for _, of := range sessions {
		places <- struct{}{}
		if ctx.Err() != nil || s.cfg.Now().Sub(begun) >= at.turns {
			say(of, WhyLater, ctx.Err())
			<-places
			continue
		}
		all.Go(func() {
			why, err := s.unshowOne(ctx, by, of, at)
			say(of, why, err)
			<-places
		})
	}
	all.Wait()
	return left, failed
}

// unshowOne does so with one session, and says why it could not.
func (s *Service) unshowOne(ctx context.Context, by stead.Principal, of []Showing, at pace) (why Why, failed error) {
	u := asUnshowing(of)
	u.By, u.Wait = by, at.wait
	later, err := s.cfg.Unshow(ctx, u)
	if ctx.Err() != nil {
		return WhyLater, cmp.Or(err, ctx.Err())
	}
	switch stead.KindOf(err) {
	case stead.KindConflict:
		why = WhyInUse
	case stead.KindForbidden:
		why, later = WhyKept, unshowKept
	case stead.KindNotFound: // deleted, or a copy that is being made: that says when it is there
		later = unshowKept
	default:
		if err != nil {
			why, failed = WhyFailed, err
		} else if later > 0 {
			why = WhyYoung
		}
	}
	for _, o := range of {
		if err := s.cfg.Store.Unshown(ctx, o, o.unshowAgain(s.cfg.Now(), later, err)); err != nil {
			return WhyFailed, err
		}
	}
	return why, failed
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

func asUnshowing(of []Showing) Unshowing {
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

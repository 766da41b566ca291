package killswitch

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Authorizer denies what is stopped, and lets another one decide about the rest.
type Authorizer struct {
	switches *Switches
	next     policy.Authorizer
}

// NewAuthorizer puts switches before an authorizer.
func NewAuthorizer(s *Switches, next policy.Authorizer) *Authorizer { return &Authorizer{s, next} }

// Decide implements policy.Authorizer.
func (a *Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	stopped, err := a.switches.stopped(ctx, req)
	if err != nil {
		return policy.Decision{By: "kill_switch"}, stead.Wrap(stead.KindUnavailable, err, "the kill switches can't be read")
	}
	if stopped != nil {
		return policy.Decision{By: "kill_switch", Reason: stopped.toldOf(req, a.switches.reach), Quotes: cmp.Or(stopped.By, policy.QuotesSomebody), About: stopped.About(), Policies: []string{stopped.ID}}, nil
	}
	return a.next.Decide(ctx, req)
}

// Foresee implements policy.Foreseer.
func (a *Authorizer) Foresee(ctx context.Context, req policy.Request) bool {
	all, err := a.switches.of(ctx, req.Principal.Project)
	if err != nil {
		return false
	}
	for _, sw := range all {
		if sw.stops(req, a.switches.reach) || req.Effect == policy.ToolCall && req.Resource == "" && sw.Scope == Tool {
			return false
		}
	}
	return policy.Foresee(ctx, a.next, req)
}

// toldOf is told, of a call that is stopped for what it offers with the name of that.
func (s Switch) toldOf(req policy.Request, r Reach) string {
	if s.Scope == Tool && req.Effect == policy.ModelCall {
		for _, o := range req.Offers {
			if s.stopsOffer(o, r) {
				return fmt.Sprintf("it offers the tool %.80s, which was stopped: %s (kill switch %s)", o.Resource, s.Reason, s.ID)
			}
		}
	}
	return s.told()
}

// told is what somebody who is stopped reads.
func (s Switch) told() string {
	if s.Scope == Project {
		return "the project was stopped: " + s.Reason
	}
	return "the " + string(s.Scope) + " was stopped: " + s.Reason
}

// About is the id of whom the reason is about; "": it is nobody in particular.
func (s Switch) About() string {
	if s.Scope == User {
		return s.Of
	}
	return ""
}

// stopped returns the switch that stops a request; nil: none does.
func (s *Switches) stopped(ctx context.Context, req policy.Request) (*Switch, error) {
	if !Acts(req.Effect) {
		return nil, nil
	}
	all, err := s.of(ctx, req.Principal.Project)
	if err != nil {
		return nil, err
	}
	for _, sw := range all {
		if sw.stops(req, s.reach) {
			return &sw, nil
		}
	}
	return nil, nil
}

// Code is that of the error of who was stopped, as a caller of the API.
const Code = "kill_switch"

// Call returns the switch that stops a principal as a caller of the API; nil: none does. What others may do is for effects to ask.
func (s *Switches) Call(ctx context.Context, p stead.Principal) (*Switch, error) {
	all, err := s.of(ctx, p.Project)
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the kill switches can't be read")
	}
	for _, sw := range all {
		if sw.Scope == User && sw.of(p) {
			return &sw, nil
		}
	}
	return nil, nil
}

// Err is what a caller is told that a switch stops.
func (s Switch) Err() error {
	e := stead.Errorf(stead.KindForbidden, "this is not allowed: %s", s.told())
	e.Code, e.Hint = Code, "An owner or operator can lift it: stead kill-switches lift "+s.ID+"."
	return e
}

// underway is an effect that has begun.
type underway struct {
	req policy.Request
	end context.CancelCauseFunc
}

// Watch returns a context for an effect that was allowed: it ends, with a cause of KindForbidden, when a switch is set
// that stops it. The caller calls done at the effect's end.
func (s *Switches) Watch(ctx context.Context, req policy.Request) (watched context.Context, done func()) {
	watched, end := context.WithCancelCause(ctx)
	forget := s.WatchBy(end, req)
	return watched, func() { forget(); end(nil) }
}

// WatchBy is Watch for an effect whose context is there already: it is ended by end.
func (s *Switches) WatchBy(end context.CancelCauseFunc, req policy.Request) (done func()) {
	u := &underway{req, end}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underway[u] = true
	if !s.watching {
		s.watching = true
		go s.watch()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.underway, u)
	}
}

// watch looks for as long as anything is under way, so that an idle node asks its database nothing.
func (s *Switches) watch() {
	for {
		time.Sleep(CacheFor)
		s.mu.Lock()
		if len(s.underway) == 0 {
			s.watching = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), lookTime)
		s.look(ctx)
		cancel()
	}
}

// lookTime bounds one look at all projects with something under way.
const lookTime = 5 * time.Second

// look ends what is stopped. What it can't find out it leaves: the next effect asks again, and is refused.
func (s *Switches) look(ctx context.Context) {
	s.mu.Lock()
	all := make([]*underway, 0, len(s.underway))
	for u := range s.underway {
		all = append(all, u)
	}
	s.mu.Unlock()
	for _, u := range all {
		stopped, err := s.stopped(ctx, u.req)
		if err == nil && stopped != nil {
			u.end(stead.Errorf(stead.KindForbidden, "%s was ended: %s", u.req.Effect, stopped.toldOf(u.req, s.reach)))
		}
	}
}

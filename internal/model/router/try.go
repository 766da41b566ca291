package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead/internal/model"
)

// planned is Plan for a call that is about to be made, without what it tried already; an error when no
// route fits it.
func (a *Alias) planned(caller model.Caller) ([]Considered, error) {
	planned := slices.DeleteFunc(a.Plan(caller, a.State.key(affinity(caller))), func(c Considered) bool {
		return slices.ContainsFunc(caller.Tried, func(t string) bool { return strings.HasPrefix(t, c.Route.Name()+": ") })
	})
	if len(planned) == 0 || planned[0].Place == 0 {
		return nil, a.nowhere(planned)
	}
	return planned, nil
}

// affinity is what calls have in common that go one way, so that prompt caches are hit.
func affinity(caller model.Caller) string {
	return cmp.Or(string(caller.Session), caller.Affinity, caller.Key)
}

// repeatable says of a call that it may be made twice.
func repeatable() bool { return true }

// attempted is a call on a route, while it is made.
type attempted struct {
	Route
	ctx   context.Context // of this attempt
	where *model.Route
	probe bool
	// later: a success is not one yet. Whoever made the call says by tell how it ended.
	later bool
	tell  func(error) // the route's breaker; tells once
}

// try makes a call on one route after the other. call reports whether anything was handed out, after
// which there is no other try; tier, what the caller asks for; twice, whether a call may be made again that a route has perhaps done.
func try(a *Alias, ctx context.Context, planned []Considered, tried []string, tier string, twice func() bool, call func(*attempted) (bool, error)) error {
	if len(tried) == 0 {
		a.State.called(a.Name)
	}
	tried = slices.Clone(tried)
	var lost []*model.Hedged
	over := "" // the route that took as long as a call may
	for i, c := range planned {
		place := where(planned, c, tried, tier)
		place.Lost = slices.Clone(lost)
		within, tally := model.Attempt(ctx)
		begun, err := a.attempt(within, c.Route, place, call)
		if err == nil {
			return nil
		}
		failed, again := a.failure(err, place, planned)
		if codeOf(failed) == model.CodeDialect && !begun && i+1 < len(planned) && planned[i+1].Place > 0 {
			continue // nothing was asked of it
		}
		last := i+1 >= len(planned) || len(tried)+1 >= MaxAttempts || planned[i+1].Place == 0
		if begun || last || !again || ctx.Err() != nil || perhapsDone(codeOf(failed)) && !twice() || !own(failed) && !a.State.again(a.Name) {
			return final(failed, over)
		}
		if model.Overtime(failed) != nil {
			over = c.Route.Name()
		}
		tried = append(tried, c.Route.Name()+": "+codeOf(failed))
		lost = withLost(lost, place, tally)
	}
	return a.nowhere(planned) // cannot be: the last one returns
}

// final is the failure of the last route of a call. Where one before it took as long as a call may, the whole call is
// not worth another try: that route would take as long again.
func final(err error, over string) error {
	e, ok := errors.AsType[*model.Error](err)
	if over == "" || !ok || !e.Retry {
		return err
	}
	own := *e
	own.Retry = false
	own.Message += "; " + over + " took longer before than limits.model_call_seconds allow"
	return &own
}

// What an answer says of the routes that it did not come from: of so many, and so much of each.
const (
	maxConsidered = 8
	maxWhyBytes   = 120
)

// others are the routes of a plan that are not c's, and what is not said elsewhere of them.
func others(planned []Considered, c Considered, tried []string) []string {
	var out []string
	for _, o := range planned {
		name := o.Route.Name()
		if name == c.Route.Name() || slices.ContainsFunc(tried, func(t string) bool { return strings.HasPrefix(t, name+": ") }) {
			continue
		}
		if len(out) == maxConsidered {
			return append(out, "and more")
		}
		out = append(out, strings.ToValidUTF8((name + ": " + o.Why)[:min(len(name)+len(": ")+len(o.Why), maxWhyBytes)], ""))
	}
	return out
}

// where is a considered route in the words of an answer; tier is what the caller asks for.
func where(planned []Considered, c Considered, tried []string, tier string) *model.Route {
	r := c.Route
	return &model.Route{Considered: others(planned, c, tried), Provider: r.Provider, Model: r.Upstream, Region: r.Region, Tier: model.AskedTier(r.Tier, tier), Why: c.Why, Tried: tried, Price: r.Price}
}

// withLost adds an attempt that failed, if its upstream may charge for it.
func withLost(lost []*model.Hedged, place *model.Route, tally *model.Tally) []*model.Hedged {
	told, charged := tally.Used()
	if !charged {
		return lost
	}
	return append(lost, &model.Hedged{
		Provider: place.Provider, Model: place.Model, Region: place.Region, Tier: place.Tier, Usage: told, Unknown: told == nil, Price: place.Price,
	})
}

// failure is what is told of an attempt that failed, and whether another route may do better. Where one might
// have, and a rule left it out, the error names the rule.
func (a *Alias) failure(err error, place *model.Route, planned []Considered) (named error, again bool) {
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err, false
	}
	own := *e
	again = !e.Stay && elsewhere(e)
	for _, c := range planned {
		if again && c.Kept {
			own.Message += "; " + c.Route.Name() + " is not tried instead: " + c.Why
		}
	}
	own.Route, own.Message = place, a.noticed(own.Message)
	return &own, again
}

// attempt makes a call on a route, and tells its breaker how it went, even when the adapter panics.
func (a *Alias) attempt(ctx context.Context, r Route, where *model.Route, call func(*attempted) (bool, error)) (begun bool, err error) {
	probe := a.State.begin(r)
	returned := false
	defer func() {
		if !returned {
			a.State.given(r, probe)
		}
	}()
	t := &attempted{Route: r, ctx: ctx, where: where, probe: probe, tell: a.teller(ctx, r, probe)}
	begun, err = call(t)
	returned = true
	if err != nil || !t.later {
		t.tell(err)
	}
	return begun, err
}

// teller is told for one attempt: what is said of it first counts.
func (a *Alias) teller(ctx context.Context, r Route, probe bool) func(error) {
	var once sync.Once
	return func(err error) { once.Do(func() { a.told(ctx, r, probe, err) }) }
}

// told tells a route's breaker how an attempt went.
func (a *Alias) told(ctx context.Context, r Route, probe bool, err error) {
	failure, ok := errors.AsType[*model.Error](err)
	given := ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) // the caller went; else it was too slow
	switch {
	case err == nil:
		a.State.ended(r, nil, probe)
	case ok && !given && faults(failure):
		a.State.ended(r, failure, probe)
	default:
		a.State.given(r, probe)
	}
}

// faults reports whether a failure says that its route is not well. A rate limit says so as well: it
// is kept away from for as long as the upstream asks.
func faults(e *model.Error) bool {
	if e.Own {
		return false
	}
	switch e.Code {
	case model.CodeRateLimit, model.CodeOverloaded, model.CodeServer, model.CodeConnection, model.CodeTimeout, model.CodeAuthentication, model.CodeUsageLimit:
		return true
	}
	return false
}

// perhapsDone reports whether a call that failed so may have been done all the same.
func perhapsDone(code string) bool {
	return code == model.CodeServer || code == model.CodeConnection || code == model.CodeTimeout
}

// own reports whether a failure is a refusal of ours, a full pool's: nothing was sent, so that going on elsewhere is no
// second attempt, and multiplies no outage.
func own(err error) bool {
	e, ok := errors.AsType[*model.Error](err)
	return ok && e.Own
}

// elsewhere reports whether another route may do better.
func elsewhere(e *model.Error) bool { return faults(e) || e.Own || e.Code == model.CodeNotFound }

// nowhere is the error of a call that no route fits.
func (a *Alias) nowhere(planned []Considered) error {
	var why []string
	for _, c := range planned {
		why = append(why, c.Route.Name()+": "+c.Why)
	}
	return &model.Error{Code: model.CodeNotFound, Message: a.noticed(fmt.Sprintf("no route of the model %s fits this call (%s)", a.Name, strings.Join(why, "; ")))}
}

// noticed adds the alias's notice to an error's message.
func (a *Alias) noticed(message string) string {
	if a.Notice == "" {
		return message
	}
	return message + " (" + a.Notice + ")"
}

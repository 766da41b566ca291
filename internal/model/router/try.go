package router

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stead-dev/stead/internal/model"
)

// planned is Plan for a call that is about to be made; an error when no route fits it.
func (a *Alias) planned(caller model.Caller, key string) ([]Considered, error) {
	planned := a.Plan(caller, a.State.key(key))
	if planned[0].Place == 0 {
		return nil, a.nowhere(planned)
	}
	return planned, nil
}

// repeatable says of a call that it may be made twice.
func repeatable() bool { return true }

// try makes a call on one route after the other. call reports whether anything was handed out, after
// which there is no other try; twice, whether a call may be made again that a route has perhaps done.
func try(a *Alias, ctx context.Context, planned []Considered, twice func() bool, call func(Route, *model.Route) (bool, error)) error {
	a.State.called(a.Name)
	var tried []string
	for i, c := range planned {
		place := where(c, tried)
		begun, err := a.attempt(ctx, c.Route, place, call)
		if err == nil {
			return nil
		}
		failed, again := a.failure(err, place)
		last := i+1 >= len(planned) || i+1 >= MaxAttempts || planned[i+1].Place == 0
		if begun || last || !again || ctx.Err() != nil || perhapsDone(codeOf(failed)) && !twice() || !a.State.again(a.Name) {
			return failed
		}
		tried = append(tried, c.Route.Name()+": "+codeOf(failed))
	}
	return a.nowhere(planned) // cannot be: the last one returns
}

// where is a considered route in the words of an answer.
func where(c Considered, tried []string) *model.Route {
	r := c.Route
	return &model.Route{Provider: r.Provider, Model: r.Upstream, Region: r.Region, Tier: r.Tier, Why: c.Why, Tried: tried, Price: r.Price}
}

// failure is what is told of an attempt that failed, and whether another route may do better.
func (a *Alias) failure(err error, place *model.Route) (named error, again bool) {
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err, false
	}
	own := *e
	own.Route, own.Message = place, a.noticed(e.Message)
	return &own, !e.Stay && elsewhere(e)
}

// attempt makes a call on a route, and tells its breaker how it went, even when the adapter panics.
func (a *Alias) attempt(ctx context.Context, r Route, where *model.Route, call func(Route, *model.Route) (bool, error)) (begun bool, err error) {
	probe := a.State.begin(r)
	returned := false
	defer func() {
		if !returned {
			a.State.given(r, probe)
		}
	}()
	begun, err = call(r, where)
	returned = true
	a.told(ctx, r, probe, err)
	return begun, err
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

package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/model"
)

// Generate implements model.Model.
func (a *Alias) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		key := cmp.Or(string(req.Caller.Session), req.Caller.Key, req.CacheKey, req.User)
		_, err := try(a, ctx, req.Caller, key, func(r Route, where *model.Route) (begun bool, err error) {
			out := req
			out.Model, out.ServiceTier = r.Upstream, cmp.Or(r.Tier, req.ServiceTier)
			within, heard, end := r.patience(ctx)
			defer end()
			ended := false
			for d, err := range r.Model.Generate(within, out) {
				if err != nil {
					return begun, silent(within, err)
				}
				heard()
				begun = true
				if d.Kind == model.Done {
					d.Route, ended = where, true
				}
				if !yield(d, nil) {
					return begun, errStopped
				}
			}
			if !ended {
				return begun, silent(within, &model.Error{Code: model.CodeConnection, Message: "the model's stream ended too early", Retry: true})
			}
			return begun, nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(model.Delta{}, err)
		}
	}
}

// errStopped: the consumer wants no more. errSilent: the route said nothing for too long.
var (
	errStopped = errors.New("the consumer stopped")
	errSilent  = errors.New("the route said nothing")
)

// patience bounds how long a route may take to say its first word, where it has a bound. heard ends
// the watch, end the context.
func (r Route) patience(ctx context.Context) (within context.Context, heard, end func()) {
	if r.FirstWord == 0 {
		return ctx, func() {}, func() {}
	}
	within, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.FirstWord, func() { cancel(errSilent) })
	return within, func() { timer.Stop() }, func() { timer.Stop(); cancel(nil) }
}

// silent names the silence that ended a call.
func silent(within context.Context, err error) error {
	if context.Cause(within) != errSilent {
		return err
	}
	return &model.Error{Code: model.CodeTimeout, Message: "the route said nothing for too long", Retry: true, Err: err}
}

// Forward implements model.Forwarder. Whoever can't forward ends it: the door translates then, and
// that call plans anew.
func (a *Alias) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	var answer *model.Answer
	_, err := try(a, ctx, req.Caller, req.Caller.Key, func(r Route, where *model.Route) (bool, error) {
		f, ok := r.Model.(model.Forwarder)
		if !ok {
			return true, &model.Error{Code: model.CodeDialect, Message: "the route " + r.Name() + " does not forward"}
		}
		out := req
		out.Model, out.Tier = r.Upstream, cmp.Or(r.Tier, req.Tier)
		var err error
		if answer, err = f.Forward(ctx, out); err == nil {
			answer.Route = where
		}
		return false, err
	})
	return answer, err
}

// Embed implements model.Embedder.
func (a *Alias) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	var reply model.EmbedReply
	_, err := try(a, ctx, req.Caller, req.User, func(r Route, where *model.Route) (bool, error) {
		e, ok := r.Model.(model.Embedder)
		if !ok {
			return true, &model.Error{Code: model.CodeInvalid, Message: "the provider " + r.Provider + " makes no embeddings"}
		}
		out := req
		out.Model = r.Upstream
		var err error
		if reply, err = e.Embed(ctx, out); err == nil {
			reply.Route = where
		}
		return false, err
	})
	return reply, err
}

// try makes a call on one route after the other. call reports whether anything was handed out, after
// which there is no other try.
func try(a *Alias, ctx context.Context, caller model.Caller, key string, call func(Route, *model.Route) (bool, error)) (Route, error) {
	planned := a.Plan(caller, a.State.key(key))
	if planned[0].Place == 0 {
		return Route{}, a.nowhere(planned)
	}
	a.State.called(a.Name)
	var tried []string
	for i, c := range planned {
		where := &model.Route{Provider: c.Route.Provider, Model: c.Route.Upstream, Region: c.Route.Region, Tier: c.Route.Tier, Why: c.Why, Tried: tried, Price: c.Route.Price}
		begun, err := a.attempt(ctx, c.Route, where, call)
		if err == nil {
			return c.Route, nil
		}
		failure, ok := errors.AsType[*model.Error](err)
		if !ok {
			return c.Route, err
		}
		named := *failure
		named.Route, named.Message = where, a.noticed(failure.Message)
		last := i+1 >= len(planned) || i+1 >= MaxAttempts || planned[i+1].Place == 0
		if begun || last || failure.Stay || ctx.Err() != nil || !elsewhere(failure) || !a.State.again(a.Name) {
			return c.Route, &named
		}
		tried = append(tried, c.Route.Name()+": "+failure.Code)
	}
	return Route{}, a.nowhere(planned) // cannot be: the last one returns
}

// attempt makes a call on a route, and tells its breaker how it went, even when the adapter panics.
func (a *Alias) attempt(ctx context.Context, r Route, where *model.Route, call func(Route, *model.Route) (bool, error)) (begun bool, err error) {
	probe := a.State.begin(r)
	told := false
	defer func() {
		if !told {
			a.State.given(r, probe)
		}
	}()
	begun, err = call(r, where)
	failure, ok := errors.AsType[*model.Error](err)
	given := ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) // the caller went; else it was too slow
	switch {
	case err == nil:
		a.State.ended(r, nil, probe)
		told = true
	case ok && !given && faults(failure):
		a.State.ended(r, failure, probe)
		told = true
	}
	return begun, err
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

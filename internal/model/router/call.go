package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/stead-dev/stead/internal/model"
)

// Generate implements model.Model.
func (a *Alias) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		key := cmp.Or(string(req.Caller.Session), req.CacheKey, req.User)
		_, err := try(a, ctx, req.Caller, key, func(r Route, where *model.Route) (begun bool, err error) {
			out := req
			out.Model, out.ServiceTier = r.Upstream, cmp.Or(r.Tier, req.ServiceTier)
			for d, err := range r.Model.Generate(ctx, out) {
				if err != nil {
					return begun, err
				}
				begun = true
				if d.Kind == model.Done {
					d.Route = where
				}
				if !yield(d, nil) {
					return begun, errStopped
				}
			}
			return begun, nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(model.Delta{}, err)
		}
	}
}

// errStopped: the consumer wants no more.
var errStopped = errors.New("the consumer stopped")

// Forward implements model.Forwarder. Whoever can't forward ends it: the door translates then, and
// that call plans anew.
func (a *Alias) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	var answer *model.Answer
	_, err := try(a, ctx, req.Caller, "", func(r Route, where *model.Route) (bool, error) {
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
		a.State.begin(c.Route)
		begun, err := call(c.Route, where)
		failure, ok := errors.AsType[*model.Error](err)
		switch {
		case err == nil:
			a.State.ended(c.Route, nil)
			return c.Route, nil
		case !ok || ctx.Err() != nil || !faults(failure):
			a.State.given(c.Route)
		default:
			a.State.ended(c.Route, failure)
		}
		if !ok {
			return c.Route, err
		}
		named := *failure
		named.Route = where
		last := i+1 >= len(planned) || i+1 >= MaxAttempts || planned[i+1].Place == 0
		if begun || last || failure.Stay || ctx.Err() != nil || !elsewhere(failure) || !a.State.again(a.Name) {
			return c.Route, &named
		}
		tried = append(tried, c.Route.Name()+": "+failure.Code)
	}
	return Route{}, a.nowhere(planned) // cannot be: the last one returns
}

// faults reports whether a failure says that its route is not well. A rate limit says so as well: it
// is kept away from for as long as the upstream asks.
func faults(e *model.Error) bool {
	switch e.Code {
	case model.CodeRateLimit, model.CodeOverloaded, model.CodeServer, model.CodeConnection, model.CodeTimeout, model.CodeAuthentication, model.CodeUsageLimit:
		return true
	}
	return false
}

// elsewhere reports whether another route may do better.
func elsewhere(e *model.Error) bool { return faults(e) || e.Code == model.CodeNotFound }

// nowhere is the error of a call that no route fits.
func (a *Alias) nowhere(planned []Considered) error {
	var why []string
	for _, c := range planned {
		why = append(why, c.Route.Name()+": "+c.Why)
	}
	return &model.Error{Code: model.CodeNotFound, Message: fmt.Sprintf("no route of the model %s fits this call (%s)", a.Name, strings.Join(why, "; "))}
}

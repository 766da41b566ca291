package router

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// errStopped: the consumer wants no more. errSilent: the route said nothing for too long.
var (
	errStopped = errors.New("the consumer stopped")
	errSilent  = errors.New("the route said nothing")
)

// tooEarly is a stream that ends without Done and without an error.
func tooEarly() error {
	return &model.Error{Code: model.CodeConnection, Message: "the model's stream ended too early", Retry: true}
}

// Generate implements model.Model.
func (a *Alias) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		planned, err := a.planned(req.Caller)
		switch {
		case err != nil:
		case a.hedge(planned) > 0:
			err = a.raceStreams(ctx, req, planned, yield)
		default:
			err = try(a, ctx, planned, req.Caller.Tried, req.ServiceTier, repeatable, func(t *attempted) (begun bool, err error) {
				return t.stream(t.ctx, req, t.where, yield)
			})
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(model.Delta{}, err)
		}
	}
}

// stream hands a route's stream on, and reports whether anything was handed out.
func (r Route) stream(ctx context.Context, req model.Request, where *model.Route, yield func(model.Delta, error) bool) (begun bool, err error) {
	within, heard, end := r.patience(ctx)
	defer end()
	ended := false
	for d, err := range r.Model.Generate(within, r.request(req)) {
		if err != nil {
			return begun, silent(within, err)
		}
		heard()
		if !begun { // from the first word on it is known where it went, if it is cut off
			d.Route = where
		}
		if d.Kind == model.Done {
			d.Route = served(where, d.Tier)
		}
		begun, ended = true, ended || d.Kind == model.Done
		if !yield(d, nil) {
			return begun, errStopped
		}
	}
	if !ended {
		return begun, silent(within, tooEarly())
	}
	return begun, nil
}

// served is a route with the tier that it served, if its upstream says it. Whoever heard of the route before may read it
// still: it is another one then.
func served(where *model.Route, tier string) *model.Route {
	if tier == "" {
		return where
	}
	own := *where
	own.Tier = tier
	return &own
}

// request is the call as this route wants it.
func (r Route) request(req model.Request) model.Request {
	req.Model, req.ServiceTier = r.Upstream, cmp.Or(r.Tier, req.ServiceTier)
	return req
}

// spoken is a stream of which the first delta is there.
type spoken struct {
	first model.Delta
	next  func() (model.Delta, error, bool)
	stop  func()
}

// raceStreams makes a hedged call.
func (a *Alias) raceStreams(ctx context.Context, req model.Request, planned []Considered, yield func(model.Delta, error) bool) error {
	w, err := (&race[*spoken]{a: a, ctx: ctx, planned: planned, tried: req.Caller.Tried, tier: req.ServiceTier, after: a.hedge(planned), drop: drained, open: func(ctx context.Context, r Route) (*spoken, error) {
		within, heard, end := r.patience(ctx)
		s := &spoken{}
		s.next, s.stop = iter.Pull2(r.Model.Generate(within, r.request(req)))
		d, err, ok := s.next()
		if heard(); ok && err == nil {
			stop := s.stop
			s.first, s.stop = d, func() { stop(); end() }
			return s, nil
		}
		s.stop()
		defer end()
		if !ok {
			err = tooEarly()
		}
		return nil, silent(within, err)
	}}).run()
	if err != nil {
		return err
	}
	defer w.cancel(nil)
	defer w.value.stop()
	told := false
	defer func() {
		if !told { // a panic of the adapter or the consumer
			a.State.given(w.route, w.probe)
		}
	}()
	w.value.first.Route = w.early()
	for d, ok := w.value.first, true; ; d, err, ok = w.value.next() {
		if !ok {
			err = tooEarly()
		}
		if err != nil {
			told = true
			a.told(ctx, w.route, w.probe, err)
			w.settle()
			err, _ = a.failure(err, w.where, nil)
			return err
		}
		if d.Kind != model.Done {
			if !yield(d, nil) {
				return errStopped
			}
			continue
		}
		told = true
		a.told(ctx, w.route, w.probe, nil)
		w.settle()
		d.Route = served(w.where, d.Tier)
		yield(d, nil)
		return nil
	}
}

// drained is what a stream that was given up says at its end that it used.
func drained(s *spoken) *stead.Usage {
	defer s.stop()
	for d, err, ok := s.first, error(nil), true; ok && err == nil; d, err, ok = s.next() {
		if d.Kind == model.Done {
			return d.Usage
		}
	}
	return nil
}

// patience bounds how long a route may take to say its first word, where it has a bound; what the call waits in a queue
// before it is made does not count. heard ends the watch, end the context.
func (r Route) patience(ctx context.Context) (within context.Context, heard, end func()) {
	if r.FirstWord == 0 {
		return ctx, func() {}, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	within, silence := model.WithSilence(ctx, r.FirstWord, func() { cancel(errSilent) })
	return within, silence.Stop, func() { silence.Stop(); cancel(nil) }
}

// silent names the silence that ended a call.
func silent(within context.Context, err error) error {
	if context.Cause(within) != errSilent {
		return err
	}
	return &model.Error{Code: model.CodeTimeout, Message: "the route said nothing for too long", Retry: true, Err: err}
}

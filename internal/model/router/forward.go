package router

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Forward implements model.Forwarder. Whoever can't forward ends it, unless the call asks for those who
// can: the door translates then, and that call goes on behind what was tried. The first word of an
// answer that passes by is the first byte of its body; how its route did shows at its end.
func (a *Alias) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	planned, err := a.planned(req.Caller)
	if err != nil {
		return nil, err
	}
	req.Makers = a.makers() > 1
	if after := a.hedge(planned); after > 0 && !req.Effects() && !req.Only {
		req.Loan.Take() // for good: what is given up reads on when this has returned
		w, err := (&race[*model.Answer]{a: a, ctx: ctx, planned: planned, tried: req.Caller.Tried, tier: req.Tier, after: after, drop: closed, open: func(ctx context.Context, r Route) (*model.Answer, error) {
			req := req
			req.Again = r.Provider != planned[0].Route.Provider
			return r.forward(ctx, req, true)
		}}).run()
		if err != nil {
			return nil, err
		}
		w.settle()
		answer, tell := w.value, a.teller(ctx, w.route, w.probe)
		if answer.Route = w.where; w.probe {
			tell(nil)
		}
		follow(answer, tell, func() { w.cancel(nil) })
		return answer, nil
	}
	var answer *model.Answer
	var failed error // before those who don't speak the dialect
	err = try(a, ctx, planned, req.Caller.Tried, req.Tier, func() bool { return !req.Effects() }, func(t *attempted) (bool, error) {
		var err error
		req.Again = slices.ContainsFunc(t.where.TriedBefore(), func(b model.Tried) bool { return b.Provider != t.Provider })
		if answer, err = t.forward(t.ctx, req, t.FirstWord > 0); err == nil {
			answer.Route, t.later = t.where, !t.probe // others wait for what a probe finds
			follow(answer, t.tell, func() {})
			return true, nil
		}
		if codeOf(err) != model.CodeDialect {
			failed = err
			return false, err
		}
		return !req.Only, err
	})
	if e, ok := errors.AsType[*model.Error](err); ok && e.Code == model.CodeDialect {
		e.Err = failed
	}
	return answer, err
}

// makers is how many providers the alias has routes at.
func (a *Alias) makers() int {
	names := map[string]bool{}
	for _, r := range a.Routes {
		names[r.Provider] = true
	}
	return len(names)
}

// follow lets an answer's end tell its route's breaker how it went, once. An answer that is closed without
// a word ended by nobody's fault.
func follow(answer *model.Answer, tell func(error), end func()) {
	answer.Ended = tell
	answer.Body = &ending{answer.Body, func() { tell(errStopped); end() }}
}

// forward makes the call on one route; with listen it returns when the body has begun.
func (r Route) forward(ctx context.Context, req model.Forward, listen bool) (*model.Answer, error) {
	f, ok := r.Model.(model.Forwarder)
	if !ok {
		return nil, &model.Error{Code: model.CodeDialect, Message: "the route " + r.Name() + " does not forward"}
	}
	within, heard, end := r.patience(ctx)
	req.Model, req.Tier = r.Upstream, cmp.Or(r.Tier, req.Tier)
	answer, err := f.Forward(within, req)
	if err == nil && listen {
		err = begun(answer)
	}
	heard()
	if err != nil {
		defer end()
		return nil, silent(within, err)
	}
	answer.Body = &ending{answer.Body, end}
	return answer, nil
}

// firstBytes is how much of a body is looked at for its first word.
const firstBytes = 4 << 10

// begun waits for the first bytes of an answer's body, and puts them back.
func begun(answer *model.Answer) error {
	buf := make([]byte, firstBytes)
	n, err := answer.Body.Read(buf)
	if n == 0 && err != nil && err != io.EOF {
		_ = answer.Body.Close() // it is broken already
		if over := model.Overtime(err); over != nil {
			return over
		}
		return &model.Error{Code: model.CodeConnection, Message: "the model's answer broke off", Retry: true, Err: err}
	}
	rest := io.Reader(answer.Body)
	if err != nil {
		rest = failing{err}
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(buf[:n]), rest), answer.Body}
	return nil
}

// failing is a reader that is at its end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// ending is a body whose Close also ends something else.
type ending struct {
	io.ReadCloser
	end func()
}

func (b *ending) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// closed gives an answer up. Nobody says any more what it used.
func closed(answer *model.Answer) *stead.Usage {
	_ = answer.Body.Close() // it is not wanted
	return nil
}

// Embed implements model.Embedder.
func (a *Alias) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	planned, err := a.planned(req.Caller)
	if err != nil {
		return model.EmbedReply{}, err
	}
	if after := a.hedge(planned); after > 0 {
		w, err := (&race[model.EmbedReply]{a: a, ctx: ctx, planned: planned, tried: req.Caller.Tried, after: after, drop: used, open: func(ctx context.Context, r Route) (model.EmbedReply, error) {
			return r.embed(ctx, req)
		}}).begin()
		if err != nil {
			return model.EmbedReply{}, err
		}
		defer w.cancel(nil)
		w.settle()
		w.value.Route = w.where
		return w.value, nil
	}
	var reply model.EmbedReply
	err = try(a, ctx, planned, req.Caller.Tried, "", repeatable, func(t *attempted) (bool, error) {
		var err error
		if reply, err = t.embed(t.ctx, req); err == nil {
			reply.Route = t.where
		}
		return false, err
	})
	return reply, err
}

func used(reply model.EmbedReply) *stead.Usage { return reply.Usage }

func (r Route) embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	e, ok := r.Model.(model.Embedder)
	if !ok {
		return model.EmbedReply{}, &model.Error{Code: model.CodeInvalid, Message: "the provider " + r.Provider + " makes no embeddings"}
	}
	req.Model = r.Upstream
	return e.Embed(ctx, req)
}

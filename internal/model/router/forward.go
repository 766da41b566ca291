package router

import (
	"bytes"
	"cmp"
	"context"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Forward implements model.Forwarder. Whoever can't forward ends it: the door translates then, and
// that call plans anew. The first word of an answer that passes by is the first byte of its body.
func (a *Alias) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	planned, err := a.planned(req.Caller, req.Caller.Key)
	if err != nil {
		return nil, err
	}
	if after := a.hedge(planned); after > 0 && !req.Effects() {
		w, err := (&race[*model.Answer]{a: a, ctx: ctx, planned: planned, after: after, drop: closed, open: func(ctx context.Context, r Route) (*model.Answer, error) {
			return r.forward(ctx, req, true)
		}}).begin()
		if err != nil {
			return nil, err
		}
		w.settle()
		answer := w.value
		answer.Route, answer.Body = w.where, &ending{answer.Body, func() { w.cancel(nil) }}
		return answer, nil
	}
	var answer *model.Answer
	err = try(a, ctx, planned, func() bool { return !req.Effects() }, func(r Route, where *model.Route) (bool, error) {
		var err error
		if answer, err = r.forward(ctx, req, r.FirstWord > 0); err == nil {
			answer.Route = where
		}
		return codeOf(err) == model.CodeDialect, err
	})
	return answer, err
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
	planned, err := a.planned(req.Caller, req.User)
	if err != nil {
		return model.EmbedReply{}, err
	}
	if after := a.hedge(planned); after > 0 {
		w, err := (&race[model.EmbedReply]{a: a, ctx: ctx, planned: planned, after: after, drop: used, open: func(ctx context.Context, r Route) (model.EmbedReply, error) {
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
	err = try(a, ctx, planned, repeatable, func(r Route, where *model.Route) (bool, error) {
		var err error
		if reply, err = r.embed(ctx, req); err == nil {
			reply.Route = where
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

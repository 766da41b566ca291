package capacity

import (
	"cmp"
	"context"
	"io"
	"iter"
	"sync"

	"github.com/stead-dev/stead/internal/model"
)

// Estimates of a call's tokens before it is made: a request's bytes, its pictures as package model counts them, and its answer.
const (
	bytesPerToken = 4
	// answerTokens is assumed of an answer without a limit of its own.
	answerTokens = 1_000
)

// Limit makes the calls of a provider take their turns. choose finds the pool of an upstream model,
// nil for none. What the provider can (Forward, Embed) the result can.
func Limit(m model.Model, choose func(upstream string) *Pool) model.Model {
	l := limited{m, choose}
	f, forwards := m.(model.Forwarder)
	e, embeds := m.(model.Embedder)
	switch {
	case forwards && embeds:
		return struct {
			limited
			forwarding
			embedding
		}{l, forwarding{l, f}, embedding{l, e}}
	case forwards:
		return struct {
			limited
			forwarding
		}{l, forwarding{l, f}}
	case embeds:
		return struct {
			limited
			embedding
		}{l, embedding{l, e}}
	}
	return l
}

type limited struct {
	model  model.Model
	choose func(string) *Pool
}

// Generate implements model.Model.
func (l limited) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		pool := l.choose(req.Model)
		if pool == nil {
			l.model.Generate(ctx, req)(yield)
			return
		}
		leave, refused := pool.Enter(ctx, req.Caller.Project, TierOf(req.ServiceTier), estimate(req.InputBytes(), int64(req.MaxOutputTokens)))
		if refused != nil {
			yield(model.Delta{}, refused)
			return
		}
		used := int64(0) // a call that fails before it says anything costs nothing
		defer func() { leave(used) }()
		for d, err := range l.model.Generate(ctx, req) {
			if err == nil && used == 0 {
				used = -1 // it has begun: the estimate stands until the upstream says what it was
			}
			if d.Kind == model.Done && d.Usage != nil {
				used = d.Usage.Total()
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// CountInput implements model.Counter as far as the model does. Counting takes nothing of a pool.
func (l limited) CountInput(ctx context.Context, req model.Request) (int64, error) {
	return model.CountInput(ctx, l.model, req)
}

// Pool implements model.Pooled.
func (l limited) Pool(upstream string) string {
	if pool := l.choose(upstream); pool != nil {
		return pool.words()
	}
	return ""
}

// estimate is what a call may cost, in tokens: of an input so large, and of an answer that may have so many tokens.
func estimate(inputBytes int, mostOutput int64) int64 {
	return int64(inputBytes/bytesPerToken) + answer(mostOutput)
}

// answer is what the answer of a call may cost that allows it a number of tokens; 0: it does not say. A limit is
// far above what most answers need: a pool learns by how much calls use more than this.
func answer(most int64) int64 {
	if most > 0 {
		return min(most, answerTokens)
	}
	return answerTokens
}

type forwarding struct {
	limited
	forwarder model.Forwarder
}

// Forward implements model.Forwarder. The call ends when the answer is closed: with what its reader found that it used,
// else the estimate stands. Its place in the queue is by the tier that it goes out with. What the upstream does not
// speak is no call: it would wait once here, and once more when it is translated.
func (f forwarding) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	pool := f.choose(req.Model)
	s, says := f.forwarder.(model.Speaker)
	if pool == nil || says && !s.Speaks(req.Dialect) {
		return f.forwarder.Forward(ctx, req)
	}
	leave, refused := pool.Enter(ctx, req.Caller.Project, TierOf(req.Tier), estimate(cmp.Or(req.InputBytes, len(req.Body)), req.MostOutput))
	if refused != nil {
		return nil, refused
	}
	out, err := f.forwarder.Forward(ctx, req)
	if err != nil {
		leave(0)
		return nil, err
	}
	out.Body = &leaving{ReadCloser: out.Body, leave: sync.OnceFunc(func() {
		if out.Used != nil {
			leave(out.Used.Total())
			return
		}
		leave(-1)
	})}
	return out, nil
}

// leaving gives the ticket back when the answer is closed.
type leaving struct {
	io.ReadCloser
	leave func()
}

// Close implements io.Closer.
func (l *leaving) Close() error {
	defer l.leave()
	return l.ReadCloser.Close()
}

type embedding struct {
	limited
	embedder model.Embedder
}

// Embed implements model.Embedder.
func (e embedding) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	pool := e.choose(req.Model)
	if pool == nil {
		return e.embedder.Embed(ctx, req)
	}
	n := 0
	for _, t := range req.Texts {
		n += len(t)
	}
	leave, refused := pool.Enter(ctx, req.Caller.Project, TierDefault, int64(n/bytesPerToken))
	if refused != nil {
		return model.EmbedReply{}, refused
	}
	reply, err := e.embedder.Embed(ctx, req)
	used := int64(-1)
	if err != nil {
		used = 0
	} else if reply.Usage != nil {
		used = reply.Usage.Total()
	}
	leave(used)
	return reply, err
}

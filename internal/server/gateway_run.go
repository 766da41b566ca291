package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

// errIdle ends a call whose upstream has said nothing for too long.
var errIdle = errors.New("idle timeout")

// began notes the answer's first byte or delta.
func (c *call) began() {
	if c.meter.First == 0 {
		c.meter.First = time.Since(c.meter.Began)
	}
}

// idle is how long an upstream may say nothing.
func (c *call) idle() time.Duration {
	if c.s.ModelIdleTimeout > 0 {
		return c.s.ModelIdleTimeout
	}
	return stead.ModelIdleTimeout
}

// watched is a context that ends with errIdle unless touch is called often enough.
func (c *call) watched(parent context.Context) (ctx context.Context, touch, stop func()) {
	ctx, cancel := context.WithCancelCause(model.WithTally(parent, &c.tally))
	done := func() {}
	if c.s.Watch != nil {
		done = c.s.Watch(cancel, policy.Request{Principal: c.by, Effect: policy.ModelCall, Resource: c.name, Labels: c.meter.Caller.Labels, Offers: c.offers})
	}
	ctx, silence := model.WithSilence(ctx, c.idle(), func() { cancel(errIdle) })
	return ctx, silence.Heard, func() { silence.Stop(); cancel(nil); done() }
}

// blame says what an error of a call was: the client that went, or the upstream that was silent.
func (c *call) blame(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, errClientGone):
		return err
	case errors.Is(context.Cause(ctx), errIdle):
		return &model.Error{Code: model.CodeTimeout, Message: "the model said nothing for " + c.idle().String(), Retry: true}
	case ctx.Err() != nil:
		if e, stopped := errors.AsType[*stead.Error](context.Cause(ctx)); stopped {
			return e
		}
		return errClientGone
	}
	return err
}

// generate runs a translated call and hands each delta but the last to each, once guardrails and
// policies have seen what they must see.
func (c *call) generate(parent context.Context, req model.Request, each func(model.Delta) error) (model.Delta, error) {
	run := c.listen
	if c.checks.Any(guardrail.Output, guardrail.ToolCall) {
		run = c.generateHeld
	}
	if !c.decides {
		return run(parent, req, each)
	}
	held := heldCalls{each: each}
	done, err := run(parent, req, held.delta)
	if err == nil {
		err = c.settle(parent, &held, &done)
	}
	return done, err
}

// listen is generate without guardrails.
func (c *call) listen(parent context.Context, req model.Request, each func(model.Delta) error) (model.Delta, error) {
	ctx, touch, stop := c.watched(parent)
	defer stop()
	req.Model, req.Caller = c.info.Upstream, c.meter.Caller
	for d, err := range c.model.Generate(ctx, req) {
		touch()
		if err != nil {
			return d, c.blame(ctx, err)
		}
		c.began()
		c.said.Delta(d)
		if d.Route != nil {
			c.meter.Route = d.Route
			c.head(routeHeader, routeWords(d.Route))
		}
		if d.Kind == model.Done {
			c.meter.Usage, c.meter.Route, c.meter.Finish, c.served = d.Usage, d.Route, d.Finish, d.Tier
			c.meter.Whole = true
			return d, nil
		}
		if err := each(d); err != nil {
			return d, err
		}
	}
	return model.Delta{}, c.blame(ctx, &model.Error{Code: model.CodeConnection, Message: "the model's stream ended too early", Retry: true})
}

// collect runs a translated call to its end, for an answer in one piece.
func (c *call) collect(ctx context.Context, req model.Request) ([]stead.Item, model.Delta, error) {
	items := map[int]stead.Item{}
	done, err := c.generate(ctx, req, func(d model.Delta) error {
		if d.Kind == model.ItemDone {
			items[d.Index] = *d.Item
		}
		return nil
	})
	out := make([]stead.Item, 0, len(items))
	for _, i := range slices.Sorted(maps.Keys(items)) {
		out = append(out, items[i])
	}
	return out, done, err
}

// gatewayError is what a client is told of a failed model call. What is wrong between this server and
// the upstream (its key was refused) is no fault of the client, and none that trying again mends.
func gatewayError(err error) error {
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	out := &stead.Error{Code: e.Code, Message: e.Message, Param: e.Param, RetryAfter: e.RetryAfter, Err: e}
	switch e.Code {
	case model.CodeRateLimit, model.CodeUsageLimit:
		out.Kind = stead.KindLimited
	case model.CodeContextLength, model.CodeInvalid, model.CodePolicy, model.CodeMaxOutput:
		out.Kind = stead.KindInvalid
	case model.CodeNotFound:
		out.Kind, out.Code = stead.KindNotFound, "model_not_found"
	case model.CodeAuthentication:
		out.Kind, out.Message = stead.KindUpstream, "the model provider refused this server's credentials"
		out.Hint = "The operator must look at the provider's key."
	default:
		out.Kind = stead.KindUnavailable
		if !e.Retry {
			out.Kind = stead.KindUpstream
		}
	}
	return out
}

// stream counts an open stream; the error says that there are too many.
func (s *server) countStream(by stead.Principal) (done func(), err error) {
	if s.Authenticate == nil {
		return s.metrics.openStream(nil)
	}
	return s.metrics.openStream(&by)
}

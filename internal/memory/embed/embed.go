// Package embed turns memories into vectors by a configured model: it asks policies, reserves in budgets, calls, and
// tells the meter, as the stateless doors do.
//
// Shape: Embed(who, labels, texts) ─▶ policy ─▶ budgets ─▶ one call ─▶ meter ─▶ a vector a text
//
// A space is the model's name, what it resolves to and the dimensions: a model that is configured anew is another
// space, of which nothing is embedded yet. Routes of one name must lead to the same model, since their vectors are
// compared.
//
// Units and limits: those of package memory, which makes the batches; the time is the caller's.
//
// Errors: KindForbidden by policy; KindLimited when a budget is used up; KindNotFound without such a model; KindInvalid
// when the model refuses the texts; KindUnavailable for all that may pass. Nothing is tried again here.
package embed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// LabelMemory is the key under which a call has the labels of the memories that it is about, as sessions have them.
const LabelMemory = "memory"

// Call is a call that was made, for whoever meters it.
type Call struct {
	Caller model.Caller
	Model  string // as it is configured
	Info   model.Info
	Route  *model.Route // nil when there was but one way
	Usage  *stead.Usage // nil when the upstream did not say
	Guess  stead.Usage
	Sent   bool // an upstream had the request
	Hold   string
	Began  time.Time
	Took   time.Duration
	Err    error
}

// Budgets are asked before a call.
type Budgets interface {
	Reserve(ctx context.Context, ask usage.Ask) (usage.Grant, error)
	Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error
}

// Config is what an Embedder stands on.
type Config struct {
	Model      string
	Dimensions int // 0: the model's own
	Models     model.Catalog
	Policy     policy.Authorizer
	// Watch ends calls under way by kill switches; nil: nobody does.
	Watch   func(ctx context.Context, req policy.Request) (context.Context, func())
	Budgets Budgets // nil: there are none
	Prices  *usage.Book
	NewID   func(prefix string) string
	// Meter is told of each call that was made, once; it reports whether it settles the call's hold.
	Meter func(Call) bool
	Now   func() time.Time
}

// Embedder implements memory.Embedder. It is safe for concurrent use.
type Embedder struct{ cfg Config }

// New makes one.
func New(c Config) *Embedder { return &Embedder{c} }

// Space implements memory.Embedder.
func (e *Embedder) Space() (string, error) {
	info, _, err := e.cfg.Models.Resolve(e.cfg.Model, model.Caller{Project: stead.DefaultProject})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s=%s/%s#%d", e.cfg.Model, info.Provider, info.Upstream, e.cfg.Dimensions), nil
}

// Embed implements memory.Embedder.
func (e *Embedder) Embed(ctx context.Context, by stead.Principal, labels, texts []string) ([][]float32, error) {
	caller := model.Caller{Project: by.Project, User: by.ID}
	if len(labels) > 0 {
		caller.Labels = stead.Labels{LabelMemory: labels}
	}
	info, m, err := e.cfg.Models.Resolve(e.cfg.Model, caller)
	if err != nil {
		return nil, err
	}
	embedder, ok := m.(model.Embedder)
	if !ok {
		return nil, stead.Errorf(stead.KindUnavailable, "the model %.80q makes no embeddings", e.cfg.Model)
	}
	ask := policy.Request{Principal: by, Effect: policy.ModelCall, Resource: e.cfg.Model, Labels: caller.Labels}
	if _, err := policy.Check(ctx, e.cfg.Policy, ask); err != nil {
		return nil, err
	}
	if e.cfg.Watch != nil {
		watched, done := e.cfg.Watch(ctx, ask)
		defer done()
		ctx = watched
	}
	call := Call{Caller: caller, Model: e.cfg.Model, Info: info, Guess: stead.Usage{InputTokens: tokens(texts)}, Began: e.cfg.Now()}
	if call.Hold, err = e.reserve(ctx, &call); err != nil {
		return nil, err
	}
	var tally model.Tally
	reply, err := embedder.Embed(model.WithTally(ctx, &tally), model.EmbedRequest{Model: info.Upstream, Texts: texts, Dimensions: e.cfg.Dimensions, Caller: caller})
	if err == nil {
		err = e.fits(reply, len(texts))
	}
	call.Usage, call.Route, call.Err, call.Took = reply.Usage, reply.Route, err, e.cfg.Now().Sub(call.Began)
	if me, ok := errors.AsType[*model.Error](err); ok && me.Route != nil {
		call.Route = me.Route
	}
	told, sent := tally.Used()
	if call.Sent = sent; call.Usage == nil {
		call.Usage = told
	}
	if !e.cfg.Meter(call) {
		e.giveBack(ctx, &call)
	}
	if err != nil {
		return nil, failure(ctx, err)
	}
	return reply.Vectors, nil
}

// fits checks what an upstream sent: it is not trusted.
func (e *Embedder) fits(reply model.EmbedReply, n int) error {
	if len(reply.Vectors) != n {
		return stead.Errorf(stead.KindUnavailable, "the embedding model sent %d vectors for %d texts", len(reply.Vectors), n)
	}
	for _, v := range reply.Vectors {
		if len(v) == 0 || len(v) != len(reply.Vectors[0]) || e.cfg.Dimensions > 0 && len(v) != e.cfg.Dimensions {
			return stead.Errorf(stead.KindUnavailable, "the embedding model sent a vector of %d dimensions that can't be compared with the others", len(v))
		}
	}
	return nil
}

// failure says what an error means for whoever asked.
func failure(ctx context.Context, err error) error {
	if stopped := context.Cause(ctx); stopped != nil && ctx.Err() != nil {
		return stead.Wrap(stead.KindUnavailable, stopped, "the embedding call was ended")
	}
	me, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	switch me.Code {
	case model.CodeInvalid, model.CodeContextLength, model.CodePolicy:
		return stead.Wrap(stead.KindInvalid, err, "the embedding model refused")
	}
	return stead.Wrap(stead.KindUnavailable, err, "the embedding model failed")
}

// reserve holds what a call may use, and says under which name; "": no budget is about it.
func (e *Embedder) reserve(ctx context.Context, c *Call) (string, error) {
	if e.cfg.Budgets == nil {
		return "", nil
	}
	const heldMillis = 60_000
	now := e.cfg.Now().UnixMilli()
	price := e.cfg.Prices.Dearest(usage.Sale{At: now, Model: c.Info.Name, Provider: c.Info.Provider, Upstream: c.Info.Upstream}, highest(c.Info))
	calls := int64(1)
	if c.Info.Hedged { // the call may be on two routes at once
		calls = 2
	}
	ask := usage.Ask{Subject: usage.Subject{Project: c.Caller.Project, User: c.Caller.User}, Hold: e.cfg.NewID(usage.HoldPrefix), At: now,
		Amount: usage.Amount{Cost: calls * price.Cost(c.Guess), Tokens: calls * c.Guess.InputTokens, Calls: calls, Millis: heldMillis}}
	grant, err := e.cfg.Budgets.Reserve(ctx, ask)
	switch {
	case err != nil:
		return "", err
	case grant.Refused != nil:
		return "", stead.Errorf(stead.KindLimited, "%s", grant.Exhausted())
	case len(grant.Counters) > 0:
		return ask.Hold, nil
	}
	return "", nil
}

func highest(i model.Info) *model.Price {
	if i.Highest != nil {
		return i.Highest
	}
	return i.Price
}

// giveBack settles the hold of a call that leaves no record. What fails is left for the sweep of package budget.
func (e *Embedder) giveBack(ctx context.Context, c *Call) {
	if c.Hold == "" {
		return
	}
	const settleTime = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	_ = e.cfg.Budgets.Settle(ctx, c.Caller.Project, []usage.Settlement{{Hold: c.Hold}})
}

// tokens estimates what texts have, three bytes each: a budget holds rather more than less.
func tokens(texts []string) int64 {
	const bytesPerToken = 3
	n := int64(0)
	for _, t := range texts {
		n += int64(len(t)/bytesPerToken + 1)
	}
	return n
}

package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/usage"
)

// Purse holds what a stateless call may use in the budgets that are about it: see package budget.
type Purse interface {
	Reserve(ctx context.Context, ask usage.Ask) (usage.Grant, error)
	Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error
}

// What a call reserves where nobody says it.
const (
	// heldOutput is the output of a model whose limit is not known.
	heldOutput = 8192
	// heldMillis is the time that a call holds; it is not cut off after it.
	heldMillis = 60_000
	// heldBytesPerToken is how many bytes of a request are taken for a token of input.
	heldBytesPerToken = 3
	// settleTimeout bounds the giving back of what was held for a call that was not made.
	settleTimeout = 10 * time.Second
)

// Counted reports whether the call used something that is to be recorded: one that no upstream had, or that was
// refused, did not.
func (m *Metered) Counted() bool {
	return m.Usage != nil || m.Outcome == OutcomeDone || m.First > 0 || m.Sent
}

// Charged reports whether the call leaves a record: its own, or that of an attempt that was given up beside it.
// Whoever records it settles its hold.
func (m *Metered) Charged() bool {
	return m.Counted() || slices.ContainsFunc(m.Route.Beside(), (*model.Hedged).Charged)
}

// reserve holds what the call may use; KindLimited with the code insufficient_quota when a budget is
// used up. Without a reservation there is no call.
func (c *call) reserve(ctx context.Context, req request) error {
	if c.s.Purse == nil {
		return nil
	}
	now := time.Now().UnixMilli()
	ask := usage.Ask{
		Subject: usage.Subject{Project: c.meter.Caller.Project, User: c.meter.Caller.User},
		Hold:    newID(usage.HoldPrefix), At: now, Amount: c.estimate(req, now),
	}
	grant, err := c.s.Purse.Reserve(ctx, ask)
	switch {
	case err != nil:
		return err
	case grant.Refused != nil:
		return &stead.Error{Kind: stead.KindLimited, Code: "insufficient_quota", Message: grant.Exhausted()}
	case len(grant.Counters) > 0:
		c.meter.Hold = ask.Hold
	}
	return nil
}

// estimate is the most that the call should use.
func (c *call) estimate(req request, now int64) usage.Amount {
	output := c.mostOutput(req)
	if c.door == model.DialectEmbeddings {
		output = 0
	}
	u := stead.Usage{InputTokens: c.input(), OutputTokens: output}
	c.estimated = u.Total()
	factor := c.s.learned.factor(learnedKey{c.meter.Caller.Project, c.name})
	u.InputTokens, u.OutputTokens = scaled(u.InputTokens, factor), scaled(u.OutputTokens, factor)
	price := c.s.Prices.Dearest(usage.Sale{
		At: now, Model: c.info.Name, Provider: c.info.Provider, Upstream: c.info.Upstream, Tier: c.asked,
	}, cmp.Or(c.info.Highest, c.info.Price))
	calls := int64(1)
	if c.info.Hedged { // the call may be on two routes at once
		calls = 2
	}
	return usage.Amount{Cost: calls * price.Cost(u), Tokens: calls * (u.InputTokens + u.OutputTokens), Calls: calls, Millis: heldMillis}
}

// scaled is n times a factor, of what is believed of one call.
func scaled(n int64, factor float64) int64 { return int64(min(float64(n)*factor, model.MaxTokens)) }

// input estimates the tokens of the request, its pictures and files as sessions count them.
func (c *call) input() int64 {
	s := c.size()
	return int64(s.text/heldBytesPerToken + s.media/bytesPerToken + 1)
}

// size is how large a request's input is, in bytes of text: budgets and pools estimate its tokens by it.
type size struct {
	text  int // the request as it came, without the pictures in it
	media int // what its pictures and files weigh
}

// size measures the request, once.
func (c *call) size() size {
	if c.measured == nil {
		weight, inline := media(c.body)
		c.measured = &size{text: max(len(c.body)-inline, 0), media: weight}
	}
	return *c.measured
}

// limit is the most that the answers may have together, by the door's own fields: of two that say it an upstream may heed
// either, and a field of another API it does not heed. 0: they do not say it.
func (c *call) limit(req request) int64 {
	const most = 1 << 30
	names := []string{"max_output_tokens"}
	if c.door == model.DialectChat {
		names = []string{"max_tokens", "max_completion_tokens"}
	}
	output := int64(0)
	for _, name := range names {
		if n, ok, err := req.Int(name, 1, most); ok && err == nil {
			output = max(output, n)
		}
	}
	return output * choices(req)
}

// choices is how many choices a request asks for.
func choices(req request) int64 {
	if n, ok, err := req.Int("n", 1, 1<<10); ok && err == nil {
		return n
	}
	return 1
}

// mostOutput is limit, or what the model is known for.
func (c *call) mostOutput(req request) int64 {
	return cmp.Or(c.limit(req), int64(cmp.Or(c.info.MaxOutputTokens, heldOutput))*choices(req))
}

// close gives back what was held if the call was not made, or used nothing. Else the meter settles it,
// with the record of what was used.
func (c *call) close() {
	if c.meter.Hold == "" || c.ended && c.meter.Charged() && c.s.Meter != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := c.s.Purse.Settle(ctx, c.meter.Caller.Project, []usage.Settlement{{Hold: c.meter.Hold}}); err != nil {
		c.s.Log.Warn("what a call held in budgets is left for the sweep", "err", err)
	}
}

package main

import (
	"context"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/budget"
	"github.com/stead-dev/stead/internal/usage/stateless"
)

// statelessMeter records the calls of the stateless doors.
type statelessMeter struct {
	recorder *stateless.Recorder
	prices   *usage.Book
}

// catchUp bounds how long a call that a budget has no room for waits until what ended before it is counted.
const catchUp = 2 * time.Second

// purse are the budgets, for which the calls of the stateless doors are counted up to stateless.FlushEvery after they
// have ended: a caller that makes one call after the other would find no room, and nobody who uses it.
type purse struct {
	*budget.Service
	recorder *stateless.Recorder
}

// Reserve asks a second time before it refuses, if something is held and calls that have ended were still to be counted.
// Those of other nodes are not known here.
func (p purse) Reserve(ctx context.Context, ask usage.Ask) (usage.Grant, error) {
	pending := p.recorder.Pending() // before: it may be written in between
	grant, err := p.Service.Reserve(ctx, ask)
	if err != nil || grant.Refused == nil || grant.Have.Held == (usage.Amount{}) || !pending && !p.recorder.Pending() {
		return grant, err
	}
	within, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	p.recorder.CatchUp(within)
	return p.Service.Reserve(ctx, ask)
}

// Metered implements server.Meter. A call that was not answered makes no record but those of the routes that
// failed, and of the attempt that was given up beside it.
func (m statelessMeter) Metered(c server.Metered) {
	m.failures(c)
	r, ended := m.record(c), c.Began.Add(c.Took).UnixMilli()
	beside := m.beside(c, r, ended)
	switch {
	case c.Counted():
		m.recorder.Add(r, c.Caller.Key, beside...)
	case len(beside) > 0:
		m.recorder.Add(beside[0], "", beside[1:]...)
	}
}

// record is the record of a call.
func (m statelessMeter) record(c server.Metered) usage.Record {
	r := usage.Record{
		Project: c.Caller.Project, Kind: usage.ModelCall, User: c.Caller.User, Hold: c.Hold,
		Model: c.Model, Provider: c.Info.Provider, Upstream: c.Info.Upstream, Region: c.Info.Region,
	}
	price := c.Info.Price
	if t := c.Route; t != nil {
		r.Provider, r.Upstream, r.Region, r.Tier = t.Provider, t.Model, t.Region, t.Tier
		if t.Price != nil {
			price = t.Price
		}
	}
	ended := c.Began.Add(c.Took).UnixMilli()
	if p := m.prices.Price(usage.Sale{At: ended, Model: c.Model, Provider: r.Provider, Upstream: r.Upstream, Tier: r.Tier}); p != nil {
		price = p
	}
	r.Calls, r.Millis = 1, c.Took.Milliseconds()
	if !c.Whole {
		r.Millis = max(r.Millis, 1) // an attempt that was given up for another has none
	}
	if c.First > 0 {
		r.First = max(c.First.Milliseconds(), 1)
	}
	if f := c.Finish; f != model.FinishStop && f != model.FinishToolCalls {
		r.Outcome = string(f)
	}
	used, guessed := c.Used()
	if guessed {
		r.Outcome = usage.Estimated
	}
	r.SetTokens(used)
	r.Cost = price.Cost(used)
	if price != nil {
		r.Prices = price.Version
	}
	return r
}

// beside are the records of the attempts that were given up beside that of a record or broke off before it, and used
// something. They are of the same hold.
func (m statelessMeter) beside(c server.Metered, r usage.Record, ended int64) []usage.Record {
	used, _ := c.Used()
	m.prices.PriceBeside(c.Route, usage.Sale{At: ended, Model: c.Model}, used, c.Guess.InputTokens)
	var all []usage.Record
	for _, h := range c.Route.Beside() {
		if h.Usage == nil {
			continue
		}
		r.Provider, r.Upstream, r.Region, r.Tier, r.Cost, r.Prices, r.Millis = h.Provider, h.Model, h.Region, h.Tier, h.Cost, h.Prices, 0
		r.SetTokens(*h.Usage)
		r.First, r.Outcome = 0, usage.OutcomeBeside(h) // the other record has its time
		all = append(all, r)
	}
	return all
}

// failures notes the routes that failed: those that were tried before, and the last one.
func (m statelessMeter) failures(c server.Metered) {
	note := usage.Record{Project: c.Caller.Project, Kind: usage.ModelFailure, User: c.Caller.User, Model: c.Model}
	for _, t := range c.Route.TriedBefore() {
		r := note
		r.Provider, r.Upstream, r.Outcome, r.Name = t.Provider, t.Model, t.Code, usage.FailedOver
		m.recorder.Add(r, "")
	}
	note.Outcome = c.Failure()
	if note.Outcome == "" {
		return
	}
	note.Provider, note.Upstream, note.Region = c.Info.Provider, c.Info.Upstream, c.Info.Region
	if t := c.Route; t != nil {
		note.Provider, note.Upstream, note.Region, note.Tier = t.Provider, t.Model, t.Region, t.Tier
	} else if note.Outcome == model.CodeNotFound && len(c.Info.Card.Versions) > 1 {
		return // no route fitted
	}
	m.recorder.Add(note, "")
}

package main

import (
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/stateless"
)

// statelessMeter records the calls of the stateless doors.
type statelessMeter struct {
	recorder *stateless.Recorder
	prices   *usage.Book
}

// Metered implements server.Meter. A call of which nobody knows what it used makes no record.
func (m statelessMeter) Metered(c server.Metered) {
	if !c.Counted() {
		return
	}
	r := usage.Record{
		Project: c.Caller.Project, Kind: usage.ModelCall, User: c.Caller.User, Hold: c.Hold,
		Model: c.Model, Provider: c.Info.Provider, Upstream: c.Info.Upstream,
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
	if c.Usage != nil {
		r.SetTokens(*c.Usage)
		r.Cost = price.Cost(*c.Usage)
	}
	if price != nil {
		r.Prices = price.Version
	}
	m.recorder.Add(r)
	if c.Route != nil && c.Route.Hedged != nil && c.Route.Hedged.Usage != nil { // both attempts used something
		h := c.Route.Hedged
		m.prices.PriceHedged(h, usage.Sale{At: ended, Model: c.Model})
		r.Provider, r.Upstream, r.Region, r.Tier, r.Cost, r.Prices, r.Millis = h.Provider, h.Model, h.Region, h.Tier, h.Cost, h.Prices, 0
		r.SetTokens(*h.Usage)
		r.Hold = "" // the other record settles it
		m.recorder.Add(r)
	}
}

package runner

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// meter puts the usage records of an event that was just applied into the plan: they are stored with
// it, or not at all. held are the holds from before it: those that are gone now have ended with it.
func (a *actor) meter(p *plan, held []*session.Hold, records []usage.Record) error {
	if len(records) > 0 {
		rows, err := usage.Rows(records)
		if err != nil {
			return err
		}
		p.usage = append(p.usage, rows...)
	}
	if len(held) > 0 {
		p.follow(held, a.state.Holds(), records)
	}
	return nil
}

// provider is who answered, and in which region, where the route does not say it.
func (c *modelCall) provider(r *reply) (provider, region string) {
	if r.route != nil {
		return "", ""
	}
	return c.info.Provider, c.info.Region
}

// only is the route of a call for which there was but one way.
func (c *modelCall) only(tier string) *model.Route {
	return &model.Route{Provider: c.info.Provider, Model: c.info.Upstream, Region: c.info.Region, Tier: tier}
}

// price is what the call costs: by the price book, else by the route that was taken, else by the model.
// nil: nobody has priced it.
func (c *modelCall) price(r *reply) *model.Price {
	c.priceHedged(r.route, r.usage)
	return c.priceOn(r.route)
}

// priceOn is the price of a call that went by a route; nil: there was but one way.
func (c *modelCall) priceOn(route *model.Route) *model.Price {
	sale := usage.Sale{At: c.a.r.now(), Model: c.info.Name, Provider: c.info.Provider, Upstream: c.info.Upstream, Tier: c.spec.ServiceTier}
	if route != nil {
		sale.Provider, sale.Upstream, sale.Tier = route.Provider, route.Model, route.Tier
	}
	switch p := c.a.r.cfg.Prices.Price(sale); {
	case p != nil:
		return p
	case route != nil && route.Price != nil:
		return route.Price
	}
	return c.info.Price
}

// priceHedged says what the attempts cost that were given up beside a call or broke off before it, if any were.
func (c *modelCall) priceHedged(route *model.Route, won stead.Usage) {
	if route != nil {
		c.a.r.cfg.Prices.PriceBeside(route, usage.Sale{At: c.a.r.now(), Model: c.info.Name}, won, c.input)
	}
}

// version names the price book's edition.
func version(p *model.Price) string {
	if p == nil {
		return ""
	}
	return p.Version
}

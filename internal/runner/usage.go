package runner

import (
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

// provider is who answered, where the route does not say it.
func (c *modelCall) provider(r *reply) string {
	if r.route != nil {
		return ""
	}
	return c.info.Provider
}

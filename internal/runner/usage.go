package runner

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// meter puts the usage records of an event that is about to be applied into the plan: they are stored
// with it, or not at all.
func (a *actor) meter(p *plan, e stead.Event) error {
	records, err := meter.Follow(&a.state.View, e)
	if err != nil || len(records) == 0 {
		return err
	}
	rows, err := usage.Rows(records)
	p.usage = append(p.usage, rows...)
	return err
}

// provider is who answered, where the route does not say it.
func (c *modelCall) provider(r *reply) string {
	if r.route != nil {
		return ""
	}
	return c.info.Provider
}

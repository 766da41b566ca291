package catalog

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/model/router"
)

// Answers reports whether a call of the model asked for may be answered by of, by whatever way of its routes, or has no way but those of the model that of
// names. of is a name as callers use it, PROVIDER/MODEL, or MODEL as a provider knows it.
func (c *Catalog) Answers(asked, of string) bool {
	e, ok := c.find(asked)
	if !ok && c.fallback != "" && !strings.Contains(asked, "/") {
		e, ok = c.find(c.fallback)
	}
	if !ok {
		return asked == of
	}
	has := func(r router.Route) bool { return r.Upstream == of || r.Name() == of }
	if asked == of || e.Name == of || slices.ContainsFunc(ways(e), has) {
		return true
	}
	stopped, ok := c.find(of)
	return ok && !slices.ContainsFunc(ways(e), func(r router.Route) bool {
		return !slices.ContainsFunc(ways(stopped), func(s router.Route) bool { return s.Name() == r.Name() })
	})
}

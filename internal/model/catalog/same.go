package catalog

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
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

// Knows reports whether a name leads to a model that a project is shown: one of the configuration's, PROVIDER/MODEL of a provider, or the name that a provider
// knows one of them by. Names that the fallback answers only because they are nobody's are not known.
func (c *Catalog) Knows(project stead.ProjectID, name string) bool {
	if e, ok := c.find(name); ok && e.Card.Shown(project) {
		return true
	}
	for _, e := range c.entries {
		has := func(r router.Route) bool { return r.Upstream == name || r.Name() == name }
		if e.Card.Shown(project) && slices.ContainsFunc(ways(e), has) {
			return true
		}
	}
	return false
}

// Leads reports whether calls by a name go to a model at all, whoever makes them.
func (c *Catalog) Leads(name string) bool {
	if _, ok := c.find(name); ok {
		return true
	}
	return c.fallback != "" && name != "" && !strings.Contains(name, "/")
}

// Names are those of the models that a project is shown, as callers and as providers know them.
func (c *Catalog) Names(project stead.ProjectID) (all []string) {
	for _, e := range c.entries {
		if !e.Card.Shown(project) {
			continue
		}
		all = append(all, e.Name)
		for _, r := range ways(e) {
			all = append(all, r.Name())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

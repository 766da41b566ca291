package main

import (
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/catalog"
	"github.com/stead-dev/stead/internal/model/router"
	"github.com/stead-dev/stead/internal/model/sim"
)

// catalogs is the catalog in use, which a reload replaces whole. Calls that have begun keep theirs.
type catalogs struct {
	now atomic.Pointer[catalog.Catalog]
}

// Resolve implements model.Catalog.
func (c *catalogs) Resolve(name string, by model.Caller) (model.Info, model.Model, error) {
	return c.now.Load().Resolve(name, by)
}

// Answers says what a kill switch about a model stops.
func (c *catalogs) Answers(asked, of string) bool { return c.now.Load().Answers(asked, of) }

// List implements model.Catalog.
func (c *catalogs) List(project stead.ProjectID) []model.Info { return c.now.Load().List(project) }

// Explain says which routes a call would take.
func (c *catalogs) Explain(name string, call model.Caller) ([]router.Considered, error) {
	return c.now.Load().Explain(name, call)
}

// models makes the catalog of a configuration. state outlives it.
func models(cfg *config.Config, throughput *pools, state *router.State, keys keyring) (*catalog.Catalog, error) {
	c := catalog.Config{Sim: sim.New(sim.Options{}), State: state}
	for _, p := range cfg.Providers {
		m, err := provider(p, cfg.ModelCallTimeout(), keys)
		if err != nil {
			return nil, err
		}
		c.Providers = append(c.Providers, catalog.Provider{Name: p.Name, Model: throughput.limit(p.Name, m), Region: p.Region})
	}
	for _, m := range cfg.Models {
		e := catalog.Entry{Name: m.Name, ContextWindow: m.ContextWindow, MaxOutputTokens: m.MaxOutputTokens, Price: priceOf(m.Price), Hedge: m.Hedge.After(), Card: cardOf(m)}
		for _, r := range m.Routes {
			e.Routes = append(e.Routes, routeOf(r))
		}
		c.Models = append(c.Models, e)
	}
	for _, r := range cfg.Residency {
		c.Residency = append(c.Residency, router.Residency{Project: stead.ProjectID(r.Project), Labels: r.Labels, Regions: r.Regions})
	}
	return catalog.New(c)
}

func routeOf(r config.Route) router.Route {
	out := router.Route{
		Provider: r.Provider, Upstream: r.Model, Region: r.Region, Tier: r.Tier, Weight: r.Weight, Priority: r.Priority, Price: priceOf(r.Price),
		FirstWord: time.Duration(r.FirstSeconds) * time.Second,
		When:      router.Condition{Calls: r.When.Calls, Labels: r.When.Labels},
		Hedge:     r.Hedge.After(),
		Version:   r.Version, Adapter: r.Adapter, Deployment: r.Deployment,
	}
	for _, p := range r.When.Projects {
		out.When.Projects = append(out.When.Projects, stead.ProjectID(p))
	}
	for _, a := range r.When.Agents {
		out.When.Agents = append(out.When.Agents, stead.AgentID(a))
	}
	return out
}

func priceOf(p *config.Price) *model.Price {
	if p == nil {
		return nil
	}
	cached := p.Input
	if p.CachedInput != nil {
		cached = *p.CachedInput
	}
	return &model.Price{
		Input: config.MicroCents(p.Input), CachedInput: config.MicroCents(cached), CacheWrite: config.MicroCents(p.CacheWrite),
		Output: config.MicroCents(p.Output), Reasoning: config.MicroCents(p.Reasoning),
	}
}

// cardOf is what the registry knows of a model.
func cardOf(m config.Model) model.Card {
	card := model.Card{
		Base: m.Base, Adapter: m.Adapter, Deployment: m.Deployment, Owner: m.Owner, Purpose: m.Purpose,
		Lifecycle: model.Lifecycle(m.Lifecycle), Successor: m.Successor,
	}
	for _, p := range m.Projects {
		card.Projects = append(card.Projects, stead.ProjectID(p))
	}
	for _, a := range m.Agents {
		card.Agents = append(card.Agents, stead.AgentID(a))
	}
	return card
}

// openModels makes the node's first catalog.
func (n *node) openModels() error {
	n.models, n.routes = &catalogs{}, router.NewState(nil)
	throughput := newPools(n.cfg, nil)
	first, err := models(n.cfg, throughput, n.routes, n.providerKey)
	if err != nil {
		return err
	}
	n.throughput.Store(throughput)
	n.models.now.Store(first)
	return nil
}

package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"
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

// reload reads the configuration again and takes its providers, models, residency, pools, prices, budgets,
// settlement, commitments and policies. A bad one
// is refused whole, and everything stays as it is. What else has changed needs a restart, and is named in the log.
func (n *node) reload(ctx context.Context, load func() (*config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	before := n.throughput.Load()
	throughput := newPools(cfg, before)
	next, err := models(cfg, throughput, n.routes, n.providerKey)
	if err != nil {
		return err
	}
	rules, err := policySet(cfg)
	if err != nil {
		return err
	}
	if err := n.recordConfig(ctx, cfg, rules); err != nil {
		return err
	}
	n.throughput.Store(throughput)
	n.models.now.Store(next)
	throughput.take(before)
	n.policies.Replace(rules)
	n.metering.prices.Replace(priceEditions(cfg))
	n.metering.account.Replace(terms(cfg))
	if err := n.metering.budgets.Replace(ctx, fixedBudgets(cfg)); err != nil {
		n.log.Warn("turns that wait for a budget are not told that it has changed; they look by themselves", "err", err)
	}
	if rest := untaken(n.cfg, cfg); len(rest) > 0 {
		n.log.Warn("these parts of the configuration have changed, and are taken at a restart", "parts", rest)
	}
	n.log.Info("the configuration was read again", "providers", len(cfg.Providers), "models", len(cfg.Models))
	return nil
}

// untaken are the parts of a configuration that differ from the one that the node began with, and that no reload takes.
func untaken(began, now *config.Config) []string {
	was, is := *began, *now
	was.Limits.ModelCallSeconds = is.Limits.ModelCallSeconds // providers are made anew with it
	taken := []string{"providers", "models", "residency", "capacity", "prices", "budgets", "settlement", "commitments", "policies"}
	var out []string
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("yaml")
		if name == "" || name == "-" || slices.Contains(taken, name) {
			continue
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, name)
		}
	}
	return out
}

// watchReload reloads at each SIGHUP for as long as ctx lasts.
func (n *node) watchReload(ctx context.Context, load func() (*config.Config, error)) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := n.reload(ctx, load); err != nil {
				n.log.Error("the configuration was not taken: everything stays as it was", "err", err)
			}
		}
	}
}

package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"

	"github.com/stead-dev/stead/internal/config"
)

// reload reads the configuration again and takes the sections that config.Reloaded lists. A bad one is refused whole, and
// everything stays as it is; so is one that lacks what is not given up by leaving it out (see config.Replaces). What it takes
// away is named in the log, and what has changed and needs a restart.
func (n *node) reload(ctx context.Context, load func() (*config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	if err := cfg.Replaces(n.taken); err != nil {
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
	rails, err := guardrailSet(cfg)
	if err != nil {
		return err
	}
	if err := checkJudges(cfg, next); err != nil {
		return err
	}
	allow, deny, err := certificateRules(cfg.ClientCertificates)
	if err != nil {
		return err
	}
	meant, err := declaredModels(cfg)
	if err != nil {
		return err
	}
	if err := n.meaning.Check(meant); err != nil {
		return err
	}
	keys, err := n.nextKeys(ctx, cfg)
	if err != nil {
		return err
	}
	if err := n.recordConfig(ctx, cfg, inForce{rules, rails, meant, keys.configKey}); err != nil {
		return err
	}
	n.takeKeys(keys)
	n.throughput.Store(throughput)
	n.models.now.Store(next)
	throughput.take(before)
	n.policies.Replace(rules)
	n.doubt(rules)
	n.guardrails.Replace(rails)
	n.meaning.Replace(meant)
	n.tools.Replace(toolServers(cfg))
	n.places.Store(serverPlaces(cfg))
	n.consents.Replace(consentClients(cfg))
	if n.workloads != nil {
		n.workloads.Replace(identifiedServers(cfg))
	}
	if n.clients != nil {
		n.clients.Replace(allow, deny)
	}
	n.metering.prices.Replace(priceEditions(cfg))
	n.metering.account.Replace(terms(cfg))
	if err := n.metering.budgets.Replace(ctx, fixedBudgets(cfg)); err != nil {
		n.log.Warn("turns that wait for a budget are not told that it has changed; they look by themselves", "err", err)
	}
	if lost := cfg.Lost(n.taken); len(lost) > 0 {
		var said []any
		for _, l := range lost {
			said = append(said, l.Section, l.String())
		}
		n.log.Warn("the configuration was read again, and took away", said...)
	}
	n.taken = cfg
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
	var out []string
	if !reflect.DeepEqual(was.Semantic.Databases, is.Semantic.Databases) {
		out = append(out, "semantic.databases") // others read them too
	}
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("yaml")
		if name == "" || name == "-" || slices.Contains(config.Reloaded(), name) {
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

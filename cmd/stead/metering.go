package main

import (
	"context"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
	"github.com/stead-dev/stead/internal/usage/budget"
	"github.com/stead-dev/stead/internal/usage/stateless"
)

// sweepEvery is how often a node looks for what a crash left held in budgets.
const sweepEvery = time.Minute

// metering is what counts and limits usage.
type metering struct {
	prices  *usage.Book
	account *account.Service
	budgets *budget.Service
	// stateless records calls without a journal.
	stateless statelessMeter
	// purse is where calls reserve in budgets.
	purse purse
}

// openMetering needs whom to tell that a budget was changed: the turns that wait for it.
func (n *node) openMetering(store database, authorizer policy.Authorizer, changed func(context.Context, stead.ProjectID, string) error) *metering {
	ctx, cancel := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	tell := func(project stead.ProjectID, id string) {
		if err := changed(ctx, project, id); err != nil && ctx.Err() == nil {
			n.log.Warn("turns that wait for a budget are not told that it has changed; they look by themselves", "budget", id, "err", err)
		}
	}
	m := &metering{
		prices:  usage.NewBook(priceEditions(n.cfg)),
		account: account.New(account.Config{Store: store, Policy: authorizer, Terms: terms(n.cfg), Now: time.Now}),
		budgets: budget.New(budget.Config{Store: store, Documents: store, Policy: authorizer, Fixed: fixedBudgets(n.cfg), Now: time.Now, CallLife: n.cfg.ModelCallTimeout(),
			Changed: func(project stead.ProjectID, id string) { telling.Go(func() { tell(project, id) }) }}),
	}
	n.metering = m
	m.stateless = statelessMeter{stateless.New(stateless.Config{Store: store, Log: n.log, Settle: m.budgets.Settle}), m.prices}
	m.purse = purse{m.budgets, m.stateless.recorder}
	n.onStop(m.stateless.recorder.Close) // after the door has closed, before the store does
	if n.cfg.Database == "" {            // nobody else has calls under way, and this process none yet
		if orphans, err := m.budgets.Orphans(ctx); err != nil {
			n.log.Warn("what stateless calls held when the server was killed is left for the sweep", "err", err)
		} else if orphans > 0 {
			n.log.Warn("stateless calls were under way when the server was killed: they count what they held", "calls", orphans)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.sweepBudgets(ctx, m.budgets)
	}()
	n.onStop(func(context.Context) error {
		cancel()
		<-done
		telling.Wait()
		return nil
	})
	return m
}

func (n *node) sweepBudgets(ctx context.Context, budgets *budget.Service) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		swept, err := budgets.Sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			n.log.Warn("sweep budgets", "err", err)
		case swept > 0:
			n.log.Info("holds that a crash left in budgets are settled", "holds", swept)
		}
	}
}

// fixedBudgets are those of the configuration.
func fixedBudgets(cfg *config.Config) []usage.Budget {
	const millis = 1000
	var out []usage.Budget
	for _, b := range cfg.Budgets {
		out = append(out, usage.Budget{
			ID: budget.PrefixConfig + b.Name, Name: b.Name, Scope: usage.Scope(b.Scope), Of: b.Of, Period: usage.Period(b.Period),
			Limit:   usage.Amount{Cost: int64(b.Limit.USD), Tokens: b.Limit.Tokens, Calls: b.Limit.Calls, Millis: b.Limit.Seconds * millis},
			OnLimit: usage.OnLimitOf(b.OnLimit),
		})
	}
	return out
}

// terms are what the configuration says of settlement and commitments.
func terms(cfg *config.Config) account.Terms {
	return account.Terms{Rules: settlementRules(cfg), Commitments: commitments(cfg)}
}

// priceEditions are those of the configuration.
func priceEditions(cfg *config.Config) []usage.Edition {
	var editions []usage.Edition
	for _, p := range cfg.Prices {
		e := usage.Edition{Version: p.Version, From: p.From.UnixMilli()}
		for _, l := range p.Entries {
			cached := l.Input
			if l.CachedInput != nil {
				cached = *l.CachedInput
			}
			e.Prices = append(e.Prices, usage.PriceLine{Provider: l.Provider, Model: l.Model, Tier: l.Tier, Price: model.Price{
				Input: int64(l.Input), CachedInput: int64(cached), CacheWrite: int64(l.CacheWrite), Output: int64(l.Output), Reasoning: int64(l.Reasoning),
			}})
		}
		for _, t := range p.Tools {
			e.Tools = append(e.Tools, usage.ToolPrice{Name: t.Name, Call: int64(t.Call)})
		}
		e.Rates = usage.Rates{Hour: int64(p.Environments.Hour), Month: int64(p.Environments.Month), Egress: int64(p.Environments.Egress)}
		editions = append(editions, e)
	}
	return editions
}

// settlementRules are those of the configuration.
func settlementRules(cfg *config.Config) *usage.Rules {
	rules := &usage.Rules{Rest: cfg.Settlement.RestParty()}
	for _, r := range cfg.Settlement.Rules {
		rule := usage.Rule{Name: r.Name, Match: map[usage.Dimension]string{}}
		for d, value := range r.Match {
			rule.Match[usage.Dimension(d)] = value
		}
		for _, s := range r.Shares {
			rule.Shares = append(rule.Shares, usage.Share{Party: s.Party, BasisPoints: s.BasisPoints, Unit: s.Unit, PerUnit: s.MicroCentsPerUnit})
		}
		rules.All = append(rules.All, rule)
	}
	return rules
}

package main

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capacity"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
)

// pools are a node's pools of throughput.
type pools struct {
	all []pooled
	by  map[[2]string]*capacity.Pool // provider and its model, "" for all others
}

// pooled is a pool, whose it is, and the limits that the configuration gives it.
type pooled struct {
	*capacity.Pool
	provider string
	limits   capacity.Config
}

// newPools makes the pools of a configuration. A pool of before that has the same name and provider goes on; its limits
// change with take alone, for a configuration may still be refused.
func newPools(cfg *config.Config, before *pools) *pools {
	p := &pools{by: map[[2]string]*capacity.Pool{}}
	for _, c := range cfg.Capacity {
		x := pooled{before.find(c.Name, c.Provider), c.Provider, limitsOf(c)}
		if x.Pool == nil {
			x.Pool = capacity.New(x.limits, nil)
		}
		p.all = append(p.all, x)
		for _, m := range c.Models {
			p.by[[2]string{c.Provider, m}] = x.Pool
		}
		if len(c.Models) == 0 {
			p.by[[2]string{c.Provider, ""}] = x.Pool
		}
	}
	return p
}

func limitsOf(c config.Pool) capacity.Config {
	out := capacity.Config{
		Name: c.Name, TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute, Concurrent: c.Concurrent,
		Wait: time.Duration(c.WaitSeconds) * time.Second, Weights: map[stead.ProjectID]int{}, Stay: c.Spill != nil && !*c.Spill,
	}
	if c.Queue != nil {
		out.Queue = cmp.Or(*c.Queue, -1)
	}
	for project, w := range c.Weights {
		out.Weights[stead.ProjectID(project)] = w
	}
	return out
}

// find is the pool of a name at a provider; nil for none. p may be nil.
func (p *pools) find(name, provider string) *capacity.Pool {
	if p == nil {
		return nil
	}
	for _, x := range p.all {
		if x.limits.Name == name && x.provider == provider {
			return x.Pool
		}
	}
	return nil
}

// take puts the limits of the configuration in force in the pools that go on, and lifts those of the pools of before that
// are no more: calls that wait there go out.
func (p *pools) take(before *pools) {
	for _, x := range p.all {
		x.Change(x.limits)
	}
	for _, x := range before.all {
		if p.find(x.limits.Name, x.provider) != x.Pool {
			x.Retire()
		}
	}
}

// limit makes the calls of a provider that has pools take their turns.
func (p *pools) limit(provider string, m model.Model) model.Model {
	for key := range p.by {
		if key[0] == provider {
			return capacity.Limit(m, func(upstream string) *capacity.Pool {
				return cmp.Or(p.by[[2]string{provider, upstream}], p.by[[2]string{provider, ""}])
			})
		}
	}
	return m
}

// status says how all of them stand.
func (p *pools) status() []capacity.Status {
	out := make([]capacity.Status, len(p.all))
	for i, pool := range p.all {
		out[i] = pool.Status()
	}
	return out
}

func (a *app) capacityCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "capacity",
		Short: "Show the pools of model throughput of the node that answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			pools, err := c.Pools(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, p := range pools {
				rows = append(rows, []string{p.Name, strconv.Itoa(p.Running), strconv.Itoa(p.Waiting), strconv.FormatInt(p.Refused, 10),
					limitText(p.TokensPerMinute), limitText(p.RequestsPerMinute), limitText(p.Concurrent)})
				raw = append(raw, p.Raw)
			}
			header := []string{"POOL", "RUNNING", "WAITING", "REFUSED", "TOKENS/MIN", "REQUESTS/MIN", "AT ONCE"}
			return a.table(raw, "There are no pools: write them under \"capacity\" in stead.yaml.", header, rows)
		},
	}
	c.AddCommand(a.commitmentsCmd())
	return c
}

func limitText(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

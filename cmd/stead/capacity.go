package main

import (
	"cmp"
	"encoding/json"
	"reflect"
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
	all  []*capacity.Pool
	made []config.Pool                // what they were made of, in the same order
	by   map[[2]string]*capacity.Pool // provider and its model, "" for all others
}

// newPools makes the pools of a configuration. Those that are as they were in before go on.
func newPools(cfg *config.Config, before *pools) *pools {
	p := &pools{by: map[[2]string]*capacity.Pool{}, made: cfg.Capacity}
	for _, c := range cfg.Capacity {
		own := capacity.Config{
			Name: c.Name, TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute, Concurrent: c.Concurrent,
			Wait: time.Duration(c.WaitSeconds) * time.Second, Weights: map[stead.ProjectID]int{}, Stay: c.Spill != nil && !*c.Spill,
		}
		if c.Queue != nil {
			own.Queue = cmp.Or(*c.Queue, -1)
		}
		for project, w := range c.Weights {
			own.Weights[stead.ProjectID(project)] = w
		}
		pool := before.same(c)
		if pool == nil {
			pool = capacity.New(own, nil)
		}
		p.all = append(p.all, pool)
		for _, m := range c.Models {
			p.by[[2]string{c.Provider, m}] = pool
		}
		if len(c.Models) == 0 {
			p.by[[2]string{c.Provider, ""}] = pool
		}
	}
	return p
}

// same is the pool that was made of the same lines; nil for none.
func (p *pools) same(c config.Pool) *capacity.Pool {
	if p == nil {
		return nil
	}
	for i, made := range p.made {
		if reflect.DeepEqual(made, c) {
			return p.all[i]
		}
	}
	return nil
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

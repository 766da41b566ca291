package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/usage"
)

// commitments are those of the configuration. A pool that names no models has all that no other pool
// of its provider has.
func commitments(cfg *config.Config) []usage.Commitment {
	var out []usage.Commitment
	for _, c := range cfg.Commitments {
		begins, err := c.Begins()
		if err != nil {
			continue // the check of the configuration has refused it
		}
		own := usage.Commitment{
			Name: c.Name, Provider: c.Provider, Pool: c.Pool, Start: begins, Months: c.Months(), Periods: c.Periods,
			Cost: int64(c.USD), Tokens: c.Tokens, Shortfall: int64(c.Shortfall),
		}
		if i := slices.IndexFunc(cfg.Capacity, func(p config.Pool) bool { return p.Name == c.Pool }); c.Pool != "" && i >= 0 {
			own.Provider, own.Models = cfg.Capacity[i].Provider, cfg.Capacity[i].Models
			for _, p := range cfg.Capacity {
				if p.Provider == own.Provider && p.Name != c.Pool {
					own.Others = append(own.Others, p.Models...)
				}
			}
		}
		out = append(out, own)
	}
	return out
}

func (a *app) commitmentsCmd() *cobra.Command {
	var at string
	var csv bool
	c := &cobra.Command{
		Use: "commitments", Short: "Say how the commitments of stead.yaml stand against what was used, of all projects", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			q := url.Values{}
			if at != "" {
				q.Set("at", at)
			}
			if csv {
				q.Set("format", "csv")
				return c.UsageText(cmd.Context(), "/v1/capacity/commitments", q, a.out)
			}
			all, err := c.Commitments(cmd.Context(), q)
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, s := range all {
				rows = append(rows, commitmentRow(s))
				raw = append(raw, s.Raw)
			}
			header := []string{"COMMITMENT", "PERIOD", "COMMITTED", "USED", "SHARE", "ELAPSED", "PROJECTED", "REMAINING", "SHORTFALL (USD)"}
			return a.table(raw, "There are no commitments: write them under \"commitments\" in stead.yaml.", header, rows)
		},
	}
	c.Flags().StringVar(&at, "at", "", "as of this day or time (UTC), instead of now")
	c.Flags().BoolVar(&csv, "csv", false, "print CSV")
	return c
}

func commitmentRow(s client.Commitment) []string {
	amount := func(n int64) string { return fmt.Sprint(n) }
	if s.Unit == "microcents" {
		amount = func(n int64) string { return "$" + usage.Dollars(n) }
	}
	date := func(n int64) string { return time.Unix(n, 0).UTC().Format(time.DateOnly) }
	percent := func(n int64) string { return fmt.Sprintf("%d.%02d%%", n/100, n%100) }
	return []string{printable(s.Name), date(s.PeriodStart) + "–" + date(s.PeriodEnd), amount(s.Committed), amount(s.Used), percent(s.Share), percent(s.Elapsed),
		amount(s.Projected), amount(s.Remaining), usage.Dollars(s.Shortfall)}
}

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
)

func (a *app) modelsFigures() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use: "figures [MODEL]", Short: "Compare what the versions of a model have done: errors, money, times, quality", Args: cobra.MaximumNArgs(1),
		Long: "Figures come from the usage records of your project: they are the same at every node, and outlive restarts. The\n" +
			"state of a breaker is of the node that answers. Quantiles are within 3 %; SCORE is the mean of the feedback that\n" +
			"applications post, CUT the answers that a limit or a filter cut off.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			all, err := c.ModelFigures(cmd.Context(), name, from, to)
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, f := range all {
				rows = append(rows, figuresRow(f))
				raw = append(raw, f.Raw)
			}
			return a.table(raw, "No calls are on record.", []string{"MODEL", "VERSION", "ROUTE", "WEIGHT", "BREAKER", "CALLS", "ERRORS", "MOVED ON", "TOKENS", "COST", "FIRST p50/p95", "TOTAL p50/p95", "REFUSED", "CUT", "SCORE"}, rows)
		},
	}
	c.Flags().StringVar(&from, "from", "", "from this moment on: 2026-11, 2026-11-26 or a time of RFC 3339")
	c.Flags().StringVar(&to, "to", "", "up to this moment")
	return c
}

func figuresRow(f client.ModelFigures) []string {
	const perDollar = 100 * 1_000_000
	weight, score := "-", "-"
	if f.Weight != nil {
		weight = strconv.Itoa(*f.Weight)
	}
	if f.Score != nil {
		score = fmt.Sprintf("%.2f of %d", *f.Score, f.Scores)
	}
	failures := strconv.FormatInt(f.Failures, 10)
	var errors []string
	for _, code := range slices.Sorted(maps.Keys(f.Errors)) {
		errors = append(errors, fmt.Sprintf("%s %d", code, f.Errors[code]))
	}
	if len(errors) > 0 {
		failures += " (" + strings.Join(errors, ", ") + ")"
	}
	return []string{
		f.Model, orDash(f.Version), f.Route, weight, orDash(f.Breaker), strconv.FormatInt(f.Calls, 10), failures, strconv.FormatInt(f.FailedOver, 10),
		fmt.Sprintf("%d+%d", f.Input, f.Output), fmt.Sprintf("$%.4f", float64(f.Cost)/perDollar), timing(f.First), timing(f.Total),
		share(f.Refused, f.Calls), share(f.Truncated+f.Filtered, f.Calls), score,
	}
}

func timing(t *client.ModelTiming) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f/%.0f ms", t.P50, t.P95)
}

// share is a part in percent.
func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

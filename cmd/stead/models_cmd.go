package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
)

func (a *app) modelsCmd() *cobra.Command {
	return group("models", "List and show models, and say where their calls go", a.modelsList(), a.modelsGet(), a.modelsFigures(), a.modelsExplain())
}

func (a *app) modelsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the models that you can ask for by name", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			models, err := c.Models(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, m := range models {
				rows = append(rows, []string{m.ID, m.OwnedBy, stage(m), orDash(m.Base), strconv.Itoa(m.ContextWindow), orDash(m.Purpose)})
				raw = append(raw, m.Raw)
			}
			return a.table(raw, "There are no models.", []string{"MODEL", "BY", "LIFECYCLE", "BASE", "CONTEXT", "PURPOSE"}, rows)
		},
	}
}

// stage says a model's lifecycle, and what to use instead of a deprecated one.
func stage(m client.Model) string {
	if m.Successor != "" {
		return m.Lifecycle + ": use " + m.Successor
	}
	return m.Lifecycle
}

func (a *app) modelsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL", Short: "Show a model: what it is made of, whose it is, and where it runs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			m, err := c.Model(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object(m.Raw, func(w io.Writer) { writeModel(w, m) })
		},
	}
}

func writeModel(w io.Writer, m client.Model) {
	fmt.Fprintf(w, "%s  %s, by %s, %d tokens of context\n", m.ID, stage(m), m.OwnedBy, m.ContextWindow)
	for _, f := range [][2]string{{"base", m.Base}, {"adapter", m.Adapter}, {"deployment", m.Deployment}, {"owner", m.Owner}, {"purpose", m.Purpose}, {"price", priceText(m.Price)}} {
		if f[1] != "" {
			fmt.Fprintf(w, "  %-10s  %s\n", f[0], f[1])
		}
	}
	if m.Restricted {
		fmt.Fprintln(w, "  restricted  not everybody may use it")
	}
	if len(m.Versions) == 0 {
		return
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, v := range m.Versions {
		price := v.Price
		if price == nil {
			price = m.Price
		}
		rows = append(rows, []string{orDash(v.Version), v.Provider + "/" + v.Model, orDash(v.Region), strconv.Itoa(v.Priority), strconv.Itoa(v.Weight), orDash(v.Adapter), orDash(v.Deployment), orDash(priceText(price))})
	}
	writeTable(w, "", []string{"VERSION", "ROUTE", "REGION", "PRIORITY", "WEIGHT", "ADAPTER", "DEPLOYMENT", "PRICE"}, rows)
}

// priceText is a price in US dollars per million tokens.
func priceText(p *client.ModelPrice) string {
	if p == nil {
		return ""
	}
	const perDollar = 100 * 1_000_000
	return fmt.Sprintf("$%g in, $%g cached, $%g out", float64(p.Input)/perDollar, float64(p.CachedInput)/perDollar, float64(p.Output)/perDollar)
}

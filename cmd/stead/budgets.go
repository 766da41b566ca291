package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/usage"
)

func (a *app) budgetsCmd() *cobra.Command {
	return group("budgets", "See what budgets have left and who waits for one, and make, raise and delete them",
		a.budgetsList(), a.budgetsCreate(), a.budgetsSet(), a.budgetsDelete())
}

func (a *app) budgetsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the budgets with their limit, what is spent, held and left, and how many turns wait", Args: cobra.NoArgs,
		Long: "A budget without an owner is one for each agent, session or user: it has no figures of its own.\n" +
			"Let a waiting turn go on with: stead approvals approve REQUEST, or raise its budget with: stead budgets set BUDGET --usd N",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.Budgets(cmd.Context())
			if err != nil {
				return err
			}
			waiting, err := c.Approvals(cmd.Context())
			if err != nil {
				return err
			}
			who := map[string][]string{} // budget → requests
			for _, w := range waiting {
				if w.Action.Type == client.ActionBudget {
					who[w.Action.BudgetID] = append(who[w.Action.BudgetID], w.ID)
				}
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, b := range all {
				rows = append(rows, budgetRow(b, who[b.ID]))
				raw = append(raw, b.Raw)
			}
			header := []string{"BUDGET", "FOR", "PERIOD", "LIMIT", "SPENT", "HELD", "LEFT", "AT LIMIT", "WAITING"}
			return a.table(raw, "There are no budgets: make one with stead budgets create, or write it under \"budgets\" in stead.yaml.", header, rows)
		},
	}
}

// mostWaiting is how many waiting requests a row names.
const mostWaiting = 3

func budgetRow(b client.Budget, waiting []string) []string {
	of := b.Scope
	switch {
	case b.Of != nil:
		of += " " + *b.Of
	case b.Scope != "project":
		of = "each " + b.Scope
	}
	spent, held, left := "-", "-", "-"
	if b.Used != nil && b.Held != nil {
		spent, held, left = amounts(b.Limit, *b.Used), amounts(b.Limit, *b.Held), amounts(b.Limit, remaining(b))
	}
	who := "-"
	if n := len(waiting); n > 0 {
		who = strings.Join(waiting[:min(n, mostWaiting)], ", ")
		if n > mostWaiting {
			who += fmt.Sprintf(" and %d more", n-mostWaiting)
		}
	}
	return []string{b.ID, printable(of), b.Period, amounts(b.Limit, b.Limit), spent, held, left, b.OnLimit, who}
}

// amounts says of an amount what the limit limits.
func amounts(limit, n client.Amount) string {
	var parts []string
	say := func(limit, n *int64, format func(int64) string) {
		if limit != nil && n != nil {
			parts = append(parts, format(*n))
		}
	}
	say(limit.Cost, n.Cost, func(n int64) string { return "$" + usage.Dollars(n) })
	say(limit.Tokens, n.Tokens, func(n int64) string { return fmt.Sprintf("%d tokens", n) })
	say(limit.Calls, n.Calls, func(n int64) string { return fmt.Sprintf("%d calls", n) })
	say(limit.Millis, n.Millis, func(n int64) string { return (time.Duration(n) * time.Millisecond).String() })
	return strings.Join(parts, ", ")
}

// remaining is what is neither spent nor held; nothing, where there is more of that than the limit.
func remaining(b client.Budget) client.Amount {
	left := func(limit, used, held *int64) *int64 {
		if limit == nil || used == nil || held == nil {
			return nil
		}
		n := max(*limit-*used-*held, 0)
		return &n
	}
	l, u, h := b.Limit, *b.Used, *b.Held
	return client.Amount{Cost: left(l.Cost, u.Cost, h.Cost), Tokens: left(l.Tokens, u.Tokens, h.Tokens), Calls: left(l.Calls, u.Calls, h.Calls), Millis: left(l.Millis, u.Millis, h.Millis)}
}

// limitFlags are the flags of a limit.
type limitFlags struct {
	usd           string
	tokens, calls int64
	time          time.Duration
}

func (f *limitFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.usd, "usd", "", "US dollars, of everything that has a price")
	c.Flags().Int64Var(&f.tokens, "tokens", 0, "tokens of models, input and output")
	c.Flags().Int64Var(&f.calls, "calls", 0, "calls of models")
	c.Flags().DurationVar(&f.time, "time", 0, "time of model calls, as 10m")
}

func (f *limitFlags) amount() (client.Amount, error) {
	var out client.Amount
	if f.usd != "" {
		var d config.Dollars
		if err := d.UnmarshalYAML([]byte(f.usd)); err != nil {
			return out, err
		}
		n := int64(d)
		out.Cost = &n
	}
	set := func(to **int64, n int64) {
		if n != 0 {
			*to = &n
		}
	}
	set(&out.Tokens, f.tokens)
	set(&out.Calls, f.calls)
	set(&out.Millis, f.time.Milliseconds())
	if out == (client.Amount{}) {
		return out, stead.Invalid("limit", "say how much: --usd, --tokens, --calls or --time")
	}
	return out, nil
}

func (a *app) budgetsCreate() *cobra.Command {
	var p client.BudgetParams
	var limit limitFlags
	c := &cobra.Command{
		Use: "create", Short: "Make a budget", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if p.Limit, err = limit.amount(); err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			b, err := c.CreateBudget(cmd.Context(), p)
			return a.budget(b, err)
		},
	}
	limit.add(c)
	f := c.Flags()
	f.StringVar(&p.Scope, "scope", "project", "whose use it limits: project, agent, session or user")
	f.StringVar(&p.Of, "of", "", "the agent, session or user; without it each one has a budget of its own")
	f.StringVar(&p.Period, "period", "total", "when it begins anew: total (never), day or month")
	f.StringVar(&p.Name, "name", "", "what it is for")
	f.StringVar(&p.OnLimit, "on-limit", "fail", "what becomes of a turn: fail or wait")
	return c
}

func (a *app) budgetsSet() *cobra.Command {
	var limit limitFlags
	c := &cobra.Command{
		Use: "set BUDGET", Short: "Change a budget's limit; turns that wait for it try again at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			amount, err := limit.amount()
			if err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			b, err := c.UpdateBudget(cmd.Context(), args[0], client.BudgetParams{Limit: amount})
			return a.budget(b, err)
		},
	}
	limit.add(c)
	return c
}

func (a *app) budget(b client.Budget, err error) error {
	if err != nil {
		return err
	}
	return a.object(b.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", b.ID, amounts(b.Limit, b.Limit)) })
}

func (a *app) budgetsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete BUDGET", Short: "Delete a budget: turns that wait for it go on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteBudget(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "deleted") })
		},
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/usage"
)

func (a *app) usageCmd() *cobra.Command {
	return group("usage", "What was used, what it cost, and whether that is right",
		a.usageReport(), a.usageRecords(), a.usageVerify(), a.usageStatement())
}

// usageFlags are the filters that usage commands have in common, by their name on the wire.
type usageFlags struct{ values map[string]*string }

func (f *usageFlags) register(c *cobra.Command) {
	f.values = map[string]*string{}
	add := func(flag, wire, usage string) { f.values[wire] = c.Flags().String(flag, "", usage) }
	add("from", "from", "from this day, month or time on (UTC)")
	add("to", "to", "before this day, month or time (UTC)")
	add("kind", "kind", "only model_call, tool_call, environment, egress or storage")
	add("session", "session_id", "only of this session")
	add("agent", "agent_id", "only of this agent")
	add("user", "user", "only of this principal")
	add("provider", "provider", "only of this provider")
	add("model", "model", "only of this model")
}

func (f *usageFlags) query() url.Values {
	q := url.Values{}
	for name, v := range f.values {
		if *v != "" {
			q.Set(name, *v)
		}
	}
	return q
}

func (a *app) usageReport() *cobra.Command {
	var filter usageFlags
	var by string
	var csv, every bool
	c := &cobra.Command{
		Use: "report", Short: "Add up what was used, by any dimensions", Args: cobra.NoArgs,
		Long: "Add up what was used. --by takes dimensions by commas:\n" +
			"project, agent, session, turn, subagent, user, kind, model, upstream, provider, region, tier, name, prices, day, month.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			q := filter.query()
			q.Set("group_by", by)
			inEvery(q, every)
			if csv {
				q.Set("format", "csv")
				return c.UsageText(cmd.Context(), "/v1/usage", q, a.out)
			}
			report, raw, err := c.UsageReport(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.object(raw, func(w io.Writer) { writeReport(w, report) })
		},
	}
	filter.register(c)
	c.Flags().StringVar(&by, "by", "kind", "dimensions, by commas")
	c.Flags().BoolVar(&csv, "csv", false, "print CSV")
	everyFlag(c, &every)
	return c
}

// everyFlag is the flag of what the root key may ask about every project.
func everyFlag(c *cobra.Command, every *bool) {
	c.Flags().BoolVar(every, "all-projects", false, "of every project, with the root key")
}

func inEvery(q url.Values, every bool) {
	if every {
		q.Set("project", "*")
	}
}

func writeReport(w io.Writer, r client.UsageReport) {
	var header []string
	for _, d := range r.GroupBy {
		header = append(header, strings.ToUpper(d))
	}
	header = append(header, "RECORDS", "CALLS", "INPUT", "CACHED", "OUTPUT", "SECONDS", "COST (USD)")
	line := func(key []string, row client.UsageRow) []string {
		cost := usage.Dollars(row.CostMicroCents)
		if row.Capped {
			cost += " (capped)"
		}
		return append(key, fmt.Sprint(row.Records), fmt.Sprint(row.Calls), fmt.Sprint(row.InputTokens), fmt.Sprint(row.CachedTokens),
			fmt.Sprint(row.OutputTokens), fmt.Sprintf("%.1f", float64(row.DurationMS)/1000), cost)
	}
	var rows [][]string
	for _, row := range r.Data {
		var key []string
		for _, d := range r.GroupBy {
			key = append(key, orDash(row.Key[d]))
		}
		rows = append(rows, line(key, row))
	}
	if len(r.GroupBy) > 0 && len(rows) > 0 {
		total := make([]string, len(r.GroupBy))
		total[0] = "total"
		rows = append(rows, line(total, r.Total))
	}
	writeTable(w, "Nothing was used.", header, rows)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

func (a *app) usageRecords() *cobra.Command {
	var filter usageFlags
	var limit int
	c := &cobra.Command{
		Use: "records", Short: "List what was used, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			list, err := c.UsageRecords(cmd.Context(), filter.query(), limit)
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, r := range list {
				raw = append(raw, r.Raw)
				rows = append(rows, []string{r.ID, ago(r.CreatedAt, now), r.Kind, orDash(deref(r.Model) + deref(r.Name)), measure(r), usage.Dollars(r.CostMicroCents)})
			}
			return a.table(raw, "Nothing was used.", []string{"RECORD", "SINCE", "KIND", "WHAT", "HOW MUCH", "COST (USD)"}, rows)
		},
	}
	filter.register(c)
	c.Flags().IntVar(&limit, "limit", 20, "how many; 0 for all")
	return c
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// measure says how much a record is of, in its kind's own unit.
func measure(r client.UsageRecord) string {
	switch r.Kind {
	case "model_call":
		return fmt.Sprintf("%d in (%d cached), %d out", r.InputTokens, r.CachedTokens, r.OutputTokens)
	case "egress":
		return fmt.Sprintf("%d bytes out, %d in", r.SentBytes, r.ReceivedBytes)
	case "storage":
		return fmt.Sprintf("%d MB s", r.MegabyteSeconds)
	case "environment":
		return fmt.Sprintf("%.1f s, %d commands, %.2f s of CPU", float64(r.DurationMS)/1000, r.Commands, float64(r.CPUMS)/1000)
	}
	return fmt.Sprintf("%.1f s", float64(r.DurationMS)/1000)
}

func (a *app) usageVerify() *cobra.Command {
	var repair, every bool
	c := &cobra.Command{
		Use: "verify", Short: "Fold every journal anew and compare what it makes with the records", Args: cobra.NoArgs,
		Long: "Fold every journal anew and compare what it makes with the stored records, one by one and in their sums.\n" +
			"Differences are printed, and the exit code is 1 if there are any. --repair stores records that are missing:\n" +
			"those of sessions from before records were kept.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			q := url.Values{}
			inEvery(q, every)
			v, raw, err := c.VerifyUsage(cmd.Context(), q.Get("project"), repair)
			if err != nil {
				return err
			}
			if err := a.object(raw, func(w io.Writer) { writeVerification(w, v) }); err != nil || v.OK {
				return err
			}
			e := stead.Errorf(stead.KindConflict, "the usage records differ from the journals in %d places", v.Count-v.Repaired)
			e.Hint = "stead usage verify --repair stores what is missing. What is different or surplus was not written by Stead: look for who did."
			return e
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "store the records that are missing")
	everyFlag(c, &every)
	return c
}

func writeVerification(w io.Writer, v client.UsageVerification) {
	var rows [][]string
	for _, t := range v.Totals {
		for _, side := range []struct {
			name string
			row  client.UsageRow
		}{{"journal", t.Journal}, {"records", t.Store}} {
			rows = append(rows, []string{t.Kind, side.name, fmt.Sprint(side.row.Records), fmt.Sprint(side.row.InputTokens), fmt.Sprint(side.row.OutputTokens),
				fmt.Sprint(side.row.DurationMS), usage.Dollars(side.row.CostMicroCents)})
		}
	}
	writeTable(w, "The journals used nothing.", []string{"KIND", "BY", "RECORDS", "INPUT", "OUTPUT", "MS", "COST (USD)"}, rows)
	for _, d := range v.Differences {
		fmt.Fprintf(w, "%s %s\n", d.What, d.ID)
		for _, side := range []struct {
			name string
			raw  json.RawMessage
		}{{"journal", d.Journal}, {"record ", d.Store}} {
			if len(side.raw) > 0 && string(side.raw) != "null" {
				fmt.Fprintf(w, "  %s %s\n", side.name, side.raw)
			}
		}
	}
	fmt.Fprintf(w, "%d sessions, %d differences, %d repaired. Not verifiable: %d records of deleted sessions, %d of stateless calls.\n",
		v.Sessions, v.Count, v.Repaired, v.Kept.Records, v.Stateless.Records)
}

func (a *app) usageStatement() *cobra.Command {
	var from, to, capped string
	var csv, every bool
	c := &cobra.Command{
		Use: "statement [MONTH]", Short: "Say who gets what of a month's usage, to the cent, by settlement: in stead.yaml", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			q := url.Values{"from": {from}, "to": {to}}
			if len(args) == 1 {
				q = url.Values{"month": {args[0]}}
			}
			inEvery(q, every)
			if capped != "" {
				q.Set("capped", capped)
			}
			if csv {
				q.Set("format", "csv")
				return c.UsageText(cmd.Context(), "/v1/usage/statement", q, a.out)
			}
			st, raw, err := c.UsageStatement(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.object(raw, func(w io.Writer) {
				var rows [][]string
				for _, l := range st.Lines {
					rows = append(rows, []string{printable(l.Rule), printable(l.Party), l.Exact, cents(l.Cents)})
				}
				rows = append(rows, []string{"total", "", fmt.Sprint(st.Total.CostMicroCents), cents(st.TotalCents)})
				writeTable(w, "", []string{"RULE", "PARTY", "EXACT (MICRO-CENTS)", "USD"}, rows)
				writeCapped(w, st)
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "from this day or time on (UTC), instead of a month")
	c.Flags().StringVar(&to, "to", "", "before this day or time (UTC)")
	c.Flags().StringVar(&capped, "capped", "", "records that say what can't be: leave_out lists them and settles the rest, at_bound counts them at their bound (default refuse)")
	c.Flags().BoolVar(&csv, "csv", false, "print CSV")
	everyFlag(c, &every)
	return c
}

// writeCapped lists the records of a statement that say what can't be.
func writeCapped(w io.Writer, st client.UsageStatement) {
	if st.CappedCount == 0 {
		return
	}
	what := "left out, to be settled by hand"
	if st.Capped == "at_bound" {
		what = "counted at their bound"
	}
	fmt.Fprintf(w, "%d records say what can't be; they are %s:\n", st.CappedCount, what)
	var rows [][]string
	for _, r := range st.CappedRecords {
		rows = append(rows, []string{r.ID, r.Kind, orDash(deref(r.Model) + deref(r.Name)), measure(r), fmt.Sprint(r.CostMicroCents)})
	}
	writeTable(w, "", []string{"RECORD", "KIND", "WHAT", "HOW MUCH", "COST (MICRO-CENTS)"}, rows)
}

// cents writes whole cents as dollars.
func cents(n int64) string { return usage.Dollars(n * 1_000_000) }

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

func (a *app) modelsExplain() *cobra.Command {
	var q client.RouteQuery
	var stateful bool
	var labels []string
	var file nodeFlags
	c := &cobra.Command{
		Use: "explain MODEL", Short: "Say which routes a call would take, in which order, and why", Args: cobra.ExactArgs(1),
		Long: "Explain asks the running server, whose breakers may keep calls away from a route; with --config it reads the\n" +
			"file alone, as if every route were well. Nothing is called.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Model, q.Calls = args[0], router.CallsStateless
			if stateful {
				q.Calls = router.CallsStateful
			}
			q.Labels = map[string]string{}
			for _, l := range labels {
				key, value, ok := strings.Cut(l, "=")
				if !ok {
					return stead.Invalid("label", "write --label KEY=VALUE, not %q", l)
				}
				q.Labels[key] = value
			}
			routes, err := a.routes(cmd, q, file)
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, r := range routes {
				place := "-"
				if r.Place > 0 {
					place = fmt.Sprint(r.Place)
				}
				why := r.Why
				if r.HedgeMS > 0 {
					why += fmt.Sprintf("; begins as well when the first has said nothing for %d ms", r.HedgeMS)
				}
				rows = append(rows, []string{place, r.Provider + "/" + r.Model, orDash(r.Region), r.Breaker, why})
				raw = append(raw, r.Raw)
			}
			return a.table(raw, "There are no routes.", []string{"TRY", "ROUTE", "REGION", "BREAKER", "WHY"}, rows)
		},
	}
	f := c.Flags()
	f.BoolVar(&stateful, "stateful", false, "of a session's turn, instead of a stateless call")
	f.StringVar(&q.Project, "project", "", "of this project; a running server answers for the key's own alone")
	f.StringVar(&q.Agent, "agent", "", "of this agent")
	f.StringVar(&q.Session, "session", "", "of this session: weights are drawn by it")
	f.StringArrayVar(&labels, "label", nil, "KEY=VALUE that the session is labelled with; may be repeated")
	f.StringVar(&file.config, "config", "", "read this file instead of asking a server")
	return c
}

// routes asks the server, or the file that was named.
func (a *app) routes(cmd *cobra.Command, q client.RouteQuery, file nodeFlags) ([]client.Route, error) {
	if file.config == "" {
		c, err := a.dial()
		if err != nil {
			return nil, err
		}
		return c.Routes(cmd.Context(), q)
	}
	cfg, err := file.load(a.env)
	if err != nil {
		return nil, err
	}
	catalog, err := models(cfg, newPools(cfg, nil), nil, nil)
	if err != nil {
		return nil, err
	}
	project := stead.ProjectID(q.Project)
	if project == "" {
		project = stead.DefaultProject
	}
	found, err := catalog.Explain(q.Model, model.Caller{
		Stateful: q.Calls == router.CallsStateful, Project: project, Agent: stead.AgentID(q.Agent), Session: stead.SessionID(q.Session), Labels: stead.LabelsOf(q.Labels),
	})
	var out []client.Route
	for _, c := range found {
		r := client.Route{Place: c.Place, Provider: c.Route.Provider, Model: c.Route.Upstream, Region: c.Route.Region, Why: c.Why, Breaker: c.Breaker, HedgeMS: c.Hedge.Milliseconds()}
		if r.Raw, err = json.Marshal(r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, err
}

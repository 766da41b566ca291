package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/trace"
)

func (a *app) sessionsTrace() *cobra.Command {
	var turn string
	var limit int
	c := &cobra.Command{
		Use: "trace SESSION", Short: "Show where the time of a session's turns went, the newest turn last; with -o json as OTLP", Args: cobra.ExactArgs(1),
		Example: "  stead sessions trace sess_0123 --limit 1\n  stead sessions trace sess_0123 -o json | curl --json @- http://localhost:4318/v1/traces",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			most := limit
			if turn != "" {
				most = 0
			}
			found, err := c.Traces(cmd.Context(), args[0], most)
			if err != nil {
				return err
			}
			if turn != "" {
				if found = slices.DeleteFunc(found, func(t client.Trace) bool { return t.ID != turn }); len(found) == 0 {
					return stead.NotFound("turn", turn)
				}
			}
			slices.Reverse(found)
			return a.showTraces(found)
		},
	}
	c.Flags().StringVar(&turn, "turn", "", "id of one turn (default: all, up to --limit)")
	c.Flags().IntVar(&limit, "limit", 5, "most turns to show, 0 for all")
	return c
}

// showTraces prints traces as trees, or as one request of OTLP.
func (a *app) showTraces(found []client.Trace) error {
	all := trace.ExportRequest{ResourceSpans: []trace.ResourceSpans{}}
	for i, t := range found {
		var one trace.ExportRequest
		if err := json.Unmarshal(t.OTLP, &one); err != nil {
			return fmt.Errorf("read the trace of turn %s: %w", t.ID, err)
		}
		all.ResourceSpans = append(all.ResourceSpans, one.ResourceSpans...)
		if a.json() {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "%s  %s\n", t.ID, time.Unix(t.CreatedAt, 0).Format(time.DateTime))
		var spans []trace.Span
		for _, r := range one.ResourceSpans {
			for _, s := range r.ScopeSpans {
				spans = append(spans, s.Spans...)
			}
		}
		var tree strings.Builder
		if err := trace.Tree(&tree, spans); err != nil {
			return err
		}
		fmt.Fprint(a.out, printable(tree.String())) // names of tools are what models and servers make them
	}
	if a.json() {
		return a.object(all, nil)
	}
	if len(found) == 0 {
		fmt.Fprintln(a.out, "No traces: nothing of a turn has ended yet.")
	}
	return nil
}

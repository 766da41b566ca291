package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
)

func (a *app) memoryList() *cobra.Command {
	var limit int
	var asOf string
	var filter memoryFilter
	c := &cobra.Command{
		Use: "list STORE", Short: "List what a store holds, the newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := filter.query(asOf)
			if err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.Memories(cmd.Context(), args[0], query, limit)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			for _, m := range found {
				raw = append(raw, m.Raw)
			}
			return a.object(map[string]any{"data": raw}, func(w io.Writer) { writeMemories(w, found, a.width(), time.Now()) })
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "most memories, 0 for all")
	c.Flags().StringVar(&asOf, "as-of", "", "only what is valid then; else all there is"+momentForms)
	filter.register(c)
	return c
}

func (a *app) memorySearch() *cobra.Command {
	var limit, around, tokens int
	var explain, superseded bool
	var asOf string
	var filter memoryFilter
	c := &cobra.Command{
		Use: "search STORE QUERY", Short: "Find memories by what they say", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			filters, err := filter.body()
			if err != nil {
				return err
			}
			if superseded {
				filters["superseded"] = true
			}
			body := map[string]any{"query": args[1], "limit": limit, "explain": explain, "filters": filters}
			if asOf != "" {
				if body["as_of"], err = moment("as-of", asOf); err != nil {
					return err
				}
			}
			if around != 0 {
				body["context"] = around
			}
			if tokens != 0 {
				body["token_budget"] = tokens
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.SearchMemory(cmd.Context(), args[0], body)
			if err != nil {
				return err
			}
			raw := []any{}
			for _, h := range found.Hits {
				one := map[string]any{"memory": h.Memory.Raw, "score": h.Score}
				if h.Excerpt {
					one["excerpt"] = true
				}
				if around > 0 {
					near := []any{}
					for _, n := range h.Context {
						near = append(near, map[string]any{"memory": n.Memory.Raw, "context_of": n.ContextOf, "place": n.Place, "excerpt": n.Excerpt})
					}
					one["context"] = near
				}
				if h.Explain != nil {
					one["explain"] = h.Explain
				}
				raw = append(raw, one)
			}
			return a.object(map[string]any{"method": found.Method, "method_reason": found.Why, "data": raw, "left_out": found.LeftOut}, func(w io.Writer) {
				writeHits(w, found.Hits, a.width(), explain)
				if found.LeftOut > 0 {
					fmt.Fprintf(w, "%d more had no room.\n", found.LeftOut)
				}
				if found.Why != nil {
					fmt.Fprintf(w, "By words alone: %s.\n", printable(*found.Why))
				}
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", 10, "most memories, up to 100")
	c.Flags().IntVar(&around, "context", 0, "memories before and after each in its conversation, up to 10")
	c.Flags().IntVar(&tokens, "token-budget", 0, "how long all of it may be, in tokens; 0: as long as it is")
	c.Flags().BoolVar(&explain, "explain", false, "say why each was found")
	c.Flags().StringVar(&asOf, "as-of", "", "as if it were then: what is valid, and what \"last week\" means"+momentForms)
	c.Flags().BoolVar(&superseded, "superseded", false, "also what is not valid any more, or not yet")
	filter.register(c)
	return c
}

// versionShown is how much of an earlier version is shown: characters.
const versionShown = 60

func (a *app) memoryShow() *cobra.Command {
	return &cobra.Command{
		Use: "show STORE MEMORY", Short: "Show a memory: what it says, where it comes from, when it is valid, its versions", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			m, err := c.Memory(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			var versions []client.Memory
			if !a.json() && m.Version > 1 {
				if versions, err = c.MemoryVersions(cmd.Context(), args[0], args[1]); err != nil {
					return err
				}
			}
			return a.object(m.Raw, func(w io.Writer) {
				writeMemory(w, m)
				if len(versions) > 0 {
					fmt.Fprintln(w)
					writeVersions(w, versions, time.Now())
				}
			})
		},
	}
}

func (a *app) memoryVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions STORE MEMORY", Short: "List the versions of a memory, the newest first: the last 100 are kept", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			versions, err := c.MemoryVersions(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			for _, v := range versions {
				raw = append(raw, v.Raw)
			}
			return a.object(map[string]any{"data": raw}, func(w io.Writer) { writeVersions(w, versions, time.Now()) })
		},
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
)

// maxMemoryLine is how much of a memory a list shows: characters.
const maxMemoryLine = 90

func (a *app) memoryCmd() *cobra.Command {
	stores := group("stores", "Memory stores: list, create, delete", a.memoryStoresList(), a.memoryStoresCreate(), a.memoryStoresDelete())
	return group("memory", "What agents remember: stores, and what is in them", stores, a.memoryAdd(), a.memoryList(), a.memorySearch(), a.memoryIngest(), a.memoryForget())
}

func (a *app) memoryStoresList() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List memory stores, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.MemoryStores(cmd.Context(), limit)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			var rows [][]string
			for _, s := range found {
				raw = append(raw, s.Raw)
				rows = append(rows, []string{s.ID, oneLine(printable(s.Name), lineRoom(a.width(), len(s.ID)+len("  ")*2+len("100d"))), ago(s.CreatedAt, time.Now())})
			}
			return a.table(raw, "No memory stores. Make one: stead memory stores create NAME", []string{"STORE", "NAME", "AGE"}, rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "most stores")
	return c
}

func (a *app) memoryStoresCreate() *cobra.Command {
	var description string
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a memory store", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.CreateMemoryStore(cmd.Context(), map[string]string{"name": args[0], "description": description})
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s created\nAdd to it: stead memory add %s \"…\"\n", made.ID, made.ID)
			})
		},
	}
	c.Flags().StringVar(&description, "description", "", "what it is for; agents are told")
	return c
}

func (a *app) memoryStoresDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete STORE", Short: "Forget a store with everything in it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteMemoryStore(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s and everything in it is forgotten\n", args[0]) })
		},
	}
}

func (a *app) memoryAdd() *cobra.Command {
	var kind, user, supersedes, ttl string
	var labels []string
	c := &cobra.Command{
		Use: "add STORE TEXT", Short: "Add a memory", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			body := map[string]any{"content": args[1], "kind": kind, "labels": labels}
			if user != "" {
				body["scope"] = map[string]string{"type": "user", "id": user}
			}
			if supersedes != "" {
				body["supersedes"] = supersedes
			}
			if ttl != "" {
				d, err := time.ParseDuration(ttl)
				if err != nil || d < time.Second {
					return fmt.Errorf("--ttl must be a duration such as 24h, not %q", ttl)
				}
				body["ttl_seconds"] = int64(d / time.Second)
			}
			made, err := c.AddMemory(cmd.Context(), args[0], body)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s added\n", made.ID) })
		},
	}
	c.Flags().StringVar(&kind, "kind", "fact", "fact, preference, episode, procedure or passage")
	c.Flags().StringVar(&user, "user", "", "the user whom it is about; else the project")
	c.Flags().StringVar(&supersedes, "supersedes", "", "memory that is not valid any more from now on")
	c.Flags().StringSliceVar(&labels, "label", nil, "label; may be given several times")
	c.Flags().StringVar(&ttl, "ttl", "", "how long until it is forgotten, such as 720h")
	return c
}

func (a *app) memoryList() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list STORE", Short: "List what a store holds, the newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			found, err := c.Memories(cmd.Context(), args[0], limit)
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
	c.Flags().IntVar(&limit, "limit", 100, "most memories")
	return c
}

func (a *app) memorySearch() *cobra.Command {
	var limit, around, tokens int
	var explain bool
	var labels []string
	c := &cobra.Command{
		Use: "search STORE QUERY", Short: "Find memories by what they say", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			body := map[string]any{"query": args[1], "limit": limit, "explain": explain, "filters": map[string]any{"labels": labels}}
			if around != 0 {
				body["context"] = around
			}
			if tokens != 0 {
				body["token_budget"] = tokens
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
	c.Flags().StringSliceVar(&labels, "label", nil, "only with this label; may be given several times")
	return c
}

// Of a line of a terminal: what stands in front of a memory's content in a list and in what a search found, and the least of it that is
// worth having in that line. Where there is less, it has a line of its own.
const (
	memoryColumns = 36 + 2 + 10 + 2 + 4 + 2
	hitColumns    = 6 + 2 + 36 + 2
	minMemoryLine = 24
)

// lineRoom is how many characters have room in a line beside others, at least minMemoryLine. width 0: of no terminal.
func lineRoom(width, beside int) int {
	if width == 0 {
		return maxMemoryLine
	}
	return min(maxMemoryLine, max(minMemoryLine, width-beside))
}

// writeMemories lists memories: a line each, or two in a terminal that is too narrow.
func writeMemories(w io.Writer, list []client.Memory, width int, now time.Time) {
	if width == 0 || width >= memoryColumns+minMemoryLine || len(list) == 0 {
		var rows [][]string
		for _, m := range list {
			rows = append(rows, []string{m.ID, m.Kind, ago(m.CreatedAt, now), oneLine(printable(m.Content), lineRoom(width, memoryColumns))})
		}
		writeTable(w, "Nothing is remembered.", []string{"MEMORY", "KIND", "AGE", "CONTENT"}, rows)
		return
	}
	for _, m := range list {
		fmt.Fprintf(w, "%s\n  %s\n", m.ID, oneLine(m.Kind+" · "+ago(m.CreatedAt, now)+" · "+printable(m.Content), max(minMemoryLine, width-len("  "))))
	}
}

func writeHits(w io.Writer, hits []client.MemoryHit, width int, explain bool) {
	if len(hits) == 0 {
		fmt.Fprintln(w, "Nothing found.")
	}
	for _, h := range hits {
		after := slices.IndexFunc(h.Context, func(n client.MemoryNeighbour) bool { return n.Place > 0 })
		if after < 0 {
			after = len(h.Context)
		}
		writeNear(w, h.Context[:after], width, explain)
		writeHit(w, fmt.Sprintf("%6.2f", h.Score), h.Memory, width)
		writeWhy(w, h.Explain)
		writeNear(w, h.Context[after:], width, explain)
	}
}

// writeHit shows a memory that was found, or stands near one: a line, or two in a terminal that is too narrow.
func writeHit(w io.Writer, mark string, m client.Memory, width int) {
	text := printable(m.Content)
	if m.Source.Author != "" {
		text = printable(m.Source.Author) + ": " + text
	}
	if width == 0 || width >= hitColumns+minMemoryLine {
		fmt.Fprintf(w, "%6s  %s  %s\n", mark, m.ID, oneLine(text, lineRoom(width, hitColumns)))
		return
	}
	fmt.Fprintf(w, "%s  %s\n  %s\n", strings.TrimSpace(mark), m.ID, oneLine(text, max(minMemoryLine, width-len("  "))))
}

// writeNear shows what stands around a hit.
func writeNear(w io.Writer, near []client.MemoryNeighbour, width int, explain bool) {
	for _, n := range near {
		writeHit(w, "·", n.Memory, width)
		if explain {
			where := "before"
			if n.Place > 0 {
				where = "behind"
			}
			fmt.Fprintf(w, "        context of %s, %d %s it in their conversation\n", n.ContextOf, max(n.Place, -n.Place), where)
		}
	}
}

// writeWhy shows why a memory was found.
func writeWhy(w io.Writer, e *client.MemoryExplanation) {
	if e == nil {
		return
	}
	var terms []string
	for _, t := range slices.Sorted(maps.Keys(e.Terms)) {
		terms = append(terms, fmt.Sprintf("%s %.2f", t, e.Terms[t]))
	}
	near := ""
	if e.Near > 0 {
		near = fmt.Sprintf(", near %.2f (cosine %.2f)", e.Near, e.Similarity)
	}
	fmt.Fprintf(w, "        words %.2f (%s), neighbours %.2f, session %.2f%s × tells %.2f, author %.2f, time %.2f, importance %.2f, recency %.2f\n",
		e.Words, strings.Join(terms, ", "), e.Neighbours, e.Session, near, e.Tells, e.Author, e.Time, e.Importance, e.Recency)
}

func (a *app) memoryIngest() *cobra.Command {
	return &cobra.Command{
		Use: "ingest STORE SESSION", Short: "Make each message of a session a memory, once", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			n, err := c.IngestSession(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.object(map[string]any{"session_id": args[1], "added": n}, func(w io.Writer) { fmt.Fprintf(w, "%d messages are new\n", n) })
		},
	}
}

func (a *app) memoryForget() *cobra.Command {
	return &cobra.Command{
		Use: "forget STORE MEMORY", Short: "Delete a memory with all of its versions", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.ForgetMemory(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[1], "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s is forgotten\n", args[1]) })
		},
	}
}

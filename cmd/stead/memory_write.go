package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

func (a *app) memoryAdd() *cobra.Command {
	var fields memoryFields
	var supersedes, ttl string
	c := &cobra.Command{
		Use: "add STORE TEXT", Short: "Add a memory", Args: cobra.ExactArgs(2),
		Long:    "Add a memory. Without --scope or --user it is the project's.",
		Example: "  stead memory add STORE \"The deploy window is on Tuesdays\" --scope team:sre --label ops --valid-until 2026-12-31",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := fields.body(cmd)
			if err != nil {
				return err
			}
			body["content"] = args[1]
			if supersedes != "" {
				body["supersedes"] = supersedes
			}
			if ttl != "" {
				if body["ttl_seconds"], err = lifeOf(ttl); err != nil {
					return err
				}
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.AddMemory(cmd.Context(), args[0], body)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s added\n", made.ID) })
		},
	}
	fields.register(c)
	c.Flags().StringVar(&supersedes, "supersedes", "", "memory that is not valid any more from now on, or from --valid-from")
	c.Flags().StringVar(&ttl, "ttl", "", "how long until it is forgotten, such as 720h")
	return c
}

// lifeOf reads how long a memory is kept, in seconds.
func lifeOf(ttl string) (int64, error) {
	d, err := time.ParseDuration(ttl)
	if err != nil || d < time.Second {
		return 0, stead.Invalid("ttl", "--ttl must be a duration of a second and more, such as 24h, not %.40q", ttl)
	}
	return int64(d / time.Second), nil
}

func (a *app) memoryUpdate() *cobra.Command {
	var fields memoryFields
	var version int64
	var ttl string
	c := &cobra.Command{
		Use: "update STORE MEMORY [TEXT]", Short: "Make the next version of a memory", Args: cobra.RangeArgs(2, 3),
		Long: "Make the next version of a memory: what is not given stays as it is. --label, --metadata and the flags of its source replace all\n" +
			"there is of that; an empty --label, --metadata, --valid-from, --valid-until or --ttl takes it away. If the world has changed, and not\n" +
			"the wording, add a memory that --supersedes it.",
		Example: "  stead memory update STORE MEMORY \"The deploy window is on Tuesdays at 14:00\" --version 1",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := fields.body(cmd)
			if err != nil {
				return err
			}
			if len(args) > 2 {
				body["content"] = args[2]
			}
			if cmd.Flags().Changed("ttl") {
				if body["ttl_seconds"] = nil; ttl != "" {
					if body["ttl_seconds"], err = lifeOf(ttl); err != nil {
						return err
					}
				}
			}
			if len(body) == 0 {
				return stead.Invalid("content", "say what changes: TEXT, or flags such as --label and --valid-until")
			}
			if version != 0 {
				body["expected_version"] = version
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.UpdateMemory(cmd.Context(), args[0], args[1], body)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s is at version %d\n", made.ID, made.Version) })
		},
	}
	fields.register(c)
	c.Flags().StringVar(&ttl, "ttl", "", "how long from now until it is forgotten, such as 720h; empty: never")
	versionFlag(c, &version)
	return c
}

// versionFlag is the flag of what is done to one version only.
func versionFlag(c *cobra.Command, version *int64) {
	c.Flags().Int64Var(version, "version", 0, "only if it is at this version; else whichever there is")
}

func (a *app) memoryRedact() *cobra.Command {
	var version int64
	c := &cobra.Command{
		Use: "redact STORE MEMORY", Short: "Take away what a memory says, in all of its versions; that it was there stays", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			made, err := c.RedactMemory(cmd.Context(), args[0], args[1], version)
			if err != nil {
				return err
			}
			return a.object(made.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s says nothing any more\n", made.ID) })
		},
	}
	versionFlag(c, &version)
	return c
}

func (a *app) memoryIngest() *cobra.Command {
	var scope string
	var messages bool
	c := &cobra.Command{
		Use: "ingest STORE SESSION", Short: "Make each message of a session a memory, once", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"session_id": args[1], "tool_outputs": !messages}
			if scope != "" {
				of, err := scopeOf("scope", scope)
				if err != nil {
					return err
				}
				body["scope"] = of
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			n, err := c.IngestSession(cmd.Context(), args[0], body)
			if err != nil {
				return err
			}
			return a.object(map[string]any{"session_id": args[1], "added": n}, func(w io.Writer) { fmt.Fprintf(w, "%d messages are new\n", n) })
		},
	}
	c.Flags().StringVar(&scope, "scope", "", "whose they are: user:ID, agent:ID, team:ID or project (the default)")
	c.Flags().BoolVar(&messages, "messages-only", false, "not what tools said")
	return c
}

func (a *app) memoryForget() *cobra.Command {
	var filter memoryFilter
	var version int64
	var dry, all, cited bool
	c := &cobra.Command{
		Use: "forget STORE MEMORY | STORE --scope TYPE:ID … | --all-stores --user USER …", Short: "Delete a memory with all of its versions, or all that filters select", Args: cobra.MaximumNArgs(2),
		Long: "Delete a memory with all of its versions, or all that filters select in a store, or in every store of the project; with it goes\n" +
			"what was made of it by those who had been shown it. --dry-run says how many the filters select, and forgets nothing. What is to be proved\n" +
			"afterwards is forgotten by stead erase.",
		Example: "  stead memory forget STORE MEMORY --version 3\n  stead memory forget --all-stores --user ada --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			filters, err := filter.body()
			if err != nil {
				return err
			}
			one := len(args) == 2
			switch {
			case one && (len(filters) > 0 || dry || all):
				return stead.Invalid("memory", "a memory is forgotten by itself: leave out its id, or filters, --dry-run and --all-stores")
			case !one && (version != 0 || cited):
				return stead.Invalid("memory", "--version and --cited are of one memory: say which")
			case !one && len(filters) == 0:
				return stead.Invalid("filters", "say what is forgotten: a memory, or filters such as --scope, --user, --session, --kind or --label")
			case (len(args) == 0) != all:
				return stead.Invalid("all-stores", "say either the store, or --all-stores")
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			if one {
				if err := c.ForgetMemory(cmd.Context(), args[0], args[1], version, cited); err != nil {
					return err
				}
				return a.object(map[string]any{"id": args[1], "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s is forgotten\n", args[1]) })
			}
			done, err := c.ForgetMemories(cmd.Context(), append(args, "")[0], map[string]any{"filters": filters, "dry_run": dry})
			if err != nil {
				return err
			}
			return a.object(done.Raw, func(w io.Writer) { writeForgotten(w, done) })
		},
	}
	filter.register(c)
	versionFlag(c, &version)
	c.Flags().BoolVar(&cited, "cited", false, "with a memory the messages that it cites, which would say it again")
	c.Flags().BoolVar(&dry, "dry-run", false, "say how many the filters select, and forget nothing")
	c.Flags().BoolVar(&all, "all-stores", false, "in every store of the project")
	return c
}

func writeForgotten(w io.Writer, done client.MemoryForgotten) {
	if done.DryRun {
		fmt.Fprintf(w, "%d memories in %d stores would be forgotten, and what was made of them\n", done.Forgotten, done.Stores)
		return
	}
	fmt.Fprintf(w, "%d memories are forgotten, in %d stores\n", done.Forgotten, done.Stores)
}

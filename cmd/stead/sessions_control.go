package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/session"
)

func (a *app) sessionsControl() *cobra.Command {
	var p client.ControlParams
	var metadata, labels []string
	var all bool
	c := &cobra.Command{
		Use: "control pause|resume|cancel", Short: "Pause, resume or cancel all sessions that fit a filter", Args: cobra.ExactArgs(1), ValidArgs: session.ControlActions(),
		Example: "  stead sessions control cancel --agent agent_0123\n  stead sessions control pause --all --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			p.Action = args[0]
			if p.Filter.Metadata, err = pairs(metadata); err != nil {
				return err
			}
			if p.Filter.Labels, err = pairs(labels); err != nil {
				return err
			}
			f := p.Filter
			if none := f.AgentID == "" && f.Status == "" && f.User == "" && f.Model == "" && f.Tool == "" && len(f.Metadata)+len(f.Labels) == 0; none != all {
				e := stead.Invalid("all", "without a filter every session of the project is meant: say --all; with one, don't")
				e.Hint = "--dry-run shows how many there are."
				return e
			}
			done, err := c.Control(cmd.Context(), p)
			if err != nil {
				return err
			}
			return a.object(done, func(w io.Writer) {
				verb := map[bool]string{false: "changed", true: "would be changed"}[p.DryRun]
				fmt.Fprintf(w, "%d of %d sessions %s; %d failed\n", done.Changed, done.Matched, verb, done.Failed)
				for _, f := range done.Failures {
					fmt.Fprintf(w, "  %s: %s\n", f.SessionID, f.Message)
				}
			})
		},
	}
	c.Flags().StringVar(&p.Filter.AgentID, "agent", "", "id of an agent")
	c.Flags().StringVar(&p.Filter.Status, "status", "", "idle, in_progress, requires_action or failed")
	c.Flags().StringVar(&p.Filter.User, "user", "", "id of the principal who made them")
	c.Flags().StringVar(&p.Filter.Model, "model", "", "model, as their agents ask for it")
	c.Flags().StringVar(&p.Filter.Tool, "tool", "", "label of a tool server of their agents, or name of a function or built-in tool")
	c.Flags().StringArrayVar(&labels, "label", nil, "KEY=VALUE of a label that the session has (repeatable)")
	c.Flags().StringArrayVar(&metadata, "metadata", nil, "KEY=VALUE that the session has (repeatable)")
	c.Flags().BoolVar(&all, "all", false, "every session of the project")
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "only say how many")
	return c
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/killswitch"
)

func (a *app) killSwitchesCmd() *cobra.Command {
	return group("kill-switches", "Stop an agent, a model, a tool, a user or the project at once", a.killSwitchesSet(), a.killSwitchesList(), a.killSwitchesLift())
}

func (a *app) killSwitchesSet() *cobra.Command {
	var reason string
	var unknown bool
	c := &cobra.Command{
		Use: "set SCOPE [OF]", Short: "Stop it: calls under way end, and no new ones begin, on all nodes within a second", Args: cobra.RangeArgs(1, 2),
		Long: "SCOPE is " + strings.Join(killswitch.Scopes(), ", ") + "; OF is an agent's id or name, a model by any of its names, SERVER, SERVER/TOOL, host:HOST of tool servers or a TOOL that one of them has, a function of the application, a credential's id or name, or a principal's id.\n" +
			"What nothing is called is refused, unless you say --unknown. " +
			"What is stopped can still be looked at, cancelled and deleted.",
		Example: "  stead kill-switches set agent agent_0123 --reason \"it deletes tickets\"\n  stead kill-switches set tool shop/refund --reason \"it pays strangers\"\n  stead kill-switches set project --reason \"under attack\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			of := ""
			if len(args) == 2 {
				of = args[1]
			}
			k, err := c.SetKillSwitch(cmd.Context(), args[0], of, reason, unknown)
			if err != nil {
				return err
			}
			return a.object(k.Raw, func(w io.Writer) {
				if k.Unknown {
					fmt.Fprintf(w, "Nothing that is known here is called %s: it stops what is, or will be.\n", printable(*k.Of))
				} else if k.Of != nil && *k.Of != of {
					fmt.Fprintf(w, "%s is the %s %s.\n", printable(of), k.Scope, printable(*k.Of))
				}
				fmt.Fprintf(w, "%s is set. Lift it with: stead kill-switches lift %s\n", k.ID, k.ID)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "what those who are stopped are told (required)")
	c.Flags().BoolVar(&unknown, "unknown", false, "also when nothing is called OF")
	return c
}

func (a *app) killSwitchesList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the switches that are set", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.KillSwitches(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, k := range all {
				of := "-"
				if k.Of != nil {
					of = *k.Of
				}
				if k.Unknown {
					of += " (unknown)"
				}
				rows = append(rows, []string{k.ID, k.Scope, printable(of), time.Unix(k.CreatedAt, 0).UTC().Format(time.DateTime), printable(k.SetBy), printable(k.Reason)})
				raw = append(raw, k.Raw)
			}
			return a.table(raw, "Nothing is stopped.", []string{"SWITCH", "SCOPE", "OF", "SET (UTC)", "BY", "REASON"}, rows)
		},
	}
}

func (a *app) killSwitchesLift() *cobra.Command {
	return &cobra.Command{
		Use: "lift SWITCH", Short: "Lift a switch: what it has ended does not begin again by itself", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.LiftKillSwitch(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "is lifted") })
		},
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/identity"
)

func (a *app) tokensCmd() *cobra.Command {
	return group("tokens", "Make and revoke tokens of one session, for browsers and executors", a.tokensCreate(), a.tokensList(), a.tokensRevoke())
}

func (a *app) tokensCreate() *cobra.Command {
	var p client.SessionTokenParams
	var lifetime time.Duration
	c := &cobra.Command{
		Use: "create SESSION", Short: "Make a token of a session; its secret is printed this once", Args: cobra.ExactArgs(1),
		Long: "Scopes: " + strings.Join(identity.Scopes(), ", ") + ". A token opens its session alone, in the name of whom the session serves, and ends with the key that made it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			p.ExpiresAfter = int64(lifetime / time.Second)
			t, err := c.CreateSessionToken(cmd.Context(), args[0], p)
			if err != nil {
				return err
			}
			return a.object(t.Raw, func(w io.Writer) {
				fmt.Fprintln(w, t.Secret)
				fmt.Fprintf(a.err, "%s: %s of %s until %s. The secret is not shown again.\n", t.ID, strings.Join(t.Scope, ", "), args[0], utc(t.ExpiresAt))
			})
		},
	}
	c.Flags().StringSliceVar(&p.Scope, "scope", []string{identity.ScopeRead}, "what it is for, with commas between")
	c.Flags().DurationVar(&lifetime, "expires", 0, fmt.Sprintf("how long it is valid, at most %s (default %s)", identity.MaxTokenLifetime, identity.DefaultTokenLifetime))
	return c
}

func utc(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.DateTime) + " UTC" }

func (a *app) tokensList() *cobra.Command {
	return &cobra.Command{
		Use: "list SESSION", Short: "List the valid tokens of a session, the newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			tokens, err := c.SessionTokens(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, t := range tokens {
				rows = append(rows, []string{t.ID, strings.Join(t.Scope, ","), t.Principal.Kind + " " + printable(t.Principal.ID), t.MadeWith, utc(t.ExpiresAt)})
				raw = append(raw, t.Raw)
			}
			return a.table(raw, "The session has no valid tokens.", []string{"TOKEN", "SCOPE", "FOR", "MADE WITH", "UNTIL"}, rows)
		},
	}
}

func (a *app) tokensRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke SESSION TOKEN", Short: "Revoke a token, on all nodes within a second", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.RevokeSessionToken(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[1], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[1], "revoked") })
		},
	}
}

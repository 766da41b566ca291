package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) keysWorkload() *cobra.Command {
	return group("workload", "The keys that tokens of agents are signed with", a.keysWorkloadList(), a.keysWorkloadRotate())
}

func (a *app) keysWorkloadList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys that are published, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			keys, err := c.WorkloadKeys(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			raw := []json.RawMessage{}
			for _, k := range keys {
				rows = append(rows, []string{k.ID, k.Algorithm, k.Status, clock(k.From), clock(k.Until), clock(k.Published)})
				raw = append(raw, k.Raw)
			}
			return a.table(raw, "There are no keys.", []string{"KEY", "ALGORITHM", "STATUS", "SIGNS FROM", "UNTIL", "PUBLISHED UNTIL"}, rows)
		},
	}
}

func (a *app) keysWorkloadRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Have another key sign, as soon as everybody can know it", Args: cobra.NoArgs,
		Long: "Rotate publishes a new key at once, and has it sign when nobody can have a key set without it any more. The key before\n" +
			"stays published until no token that it signed is valid. Run again meanwhile, it is the same key.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			k, err := c.RotateWorkloadKey(cmd.Context())
			if err != nil {
				return err
			}
			return a.object(k.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s is published, and signs from %s on.\n", k.ID, clock(k.From))
			})
		},
	}
}

// clock is a time in Unix seconds, as people read it.
func clock(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05Z")
}

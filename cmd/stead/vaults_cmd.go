package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

func (a *app) vaultsCmd() *cobra.Command {
	c := group("vaults", "Keep vaults of credentials, which agents use and never see", a.vaultsCreate(), a.vaultsList(), a.vaultsShow(), a.vaultsDelete(), a.vaultsRekey())
	c.Aliases = []string{"vault"}
	return c
}

func (a *app) vaultsCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create [NAME]", Short: "Make a vault", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			v, err := c.CreateVault(cmd.Context(), name)
			if err != nil {
				return err
			}
			return a.object(v.Raw, func(w io.Writer) { fmt.Fprintln(w, v.ID) })
		},
	}
}

func vaultRow(v client.Vault) []string {
	name := ""
	if v.Name != nil {
		name = *v.Name
	}
	return []string{v.ID, printable(orDash(name)), time.Unix(v.CreatedAt, 0).UTC().Format(time.DateTime)}
}

func vaultHeader() []string { return []string{"VAULT", "NAME", "MADE (UTC)"} }

func (a *app) vaultsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the vaults, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.Vaults(cmd.Context())
			if err != nil {
				return err
			}
			rows, raw := [][]string{}, []json.RawMessage{}
			for _, v := range all {
				rows, raw = append(rows, vaultRow(v)), append(raw, v.Raw)
			}
			return a.table(raw, "No vaults. Make one: stead vaults create NAME", vaultHeader(), rows)
		},
	}
}

func (a *app) vaultsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show VAULT", Short: "Show a vault with its credentials, without their secrets", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			v, err := c.Vault(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			all, err := c.Credentials(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows, raw := credentialRows(all)
			if a.json() {
				return a.object(map[string]any{"vault": v.Raw, "credentials": raw}, nil)
			}
			if err := a.table(nil, "", vaultHeader(), [][]string{vaultRow(v)}); err != nil {
				return err
			}
			return a.table(raw, "It has no credentials.", credentialHeader(), rows)
		},
	}
}

func (a *app) vaultsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete VAULT", Short: "Delete a vault with all of its credentials: none is used from then on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteVault(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "is deleted") })
		},
	}
}

func (a *app) vaultsRekey() *cobra.Command {
	return &cobra.Command{
		Use: "rekey", Short: "Seal the project's credentials with the key that seals now, where an older one did", Args: cobra.NoArgs,
		Long: "To replace the seal key without a pause (seal-keys makes new ones): give every node OLD,NEW (seal_key, STEAD_SEAL_KEY or the file\n" +
			"seal.key), restart one after the other; then NEW,OLD likewise; then rekey, in every project. It may be interrupted and run again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			done, err := c.RekeyVaults(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.object(done.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%d of %d credentials were sealed anew\n", done.Resealed, done.Credentials)
			}); err != nil || done.Unreadable == 0 {
				return err
			}
			e := stead.Errorf(stead.KindUnavailable, "%d credentials were sealed with a key that this node does not have", done.Unreadable)
			e.Hint = "Give it that key beside the present one, or delete and make them again."
			return e
		},
	}
}

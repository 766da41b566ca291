package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
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
	var every, dry bool
	c := &cobra.Command{
		Use: "rekey", Short: "Seal what the project has sealed with the key that seals now, where an older one did", Args: cobra.NoArgs,
		Long: "Credentials of vaults, templates of environments, consents, and with --all-projects the keys of workload tokens, are sealed anew.\n" +
			"To replace the seal key without a pause (seal-keys makes new ones): give every node OLD,NEW (seal_key, or the file seal.key) and\n" +
			"reload each (SIGHUP); then NEW,OLD likewise; then rekey --all-projects. It may be interrupted and run again.",
		Example: "  stead vaults rekey --all-projects --dry-run    # counts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			done, err := c.RekeyVaults(cmd.Context(), every, dry)
			if err != nil {
				return err
			}
			if err := a.object(done.Raw, func(w io.Writer) { writeRekeyed(w, done, dry) }); err != nil {
				return err
			}
			return rekeyedWhole(done)
		},
	}
	everyFlag(c, &every)
	c.Flags().BoolVar(&dry, "dry-run", false, "count, and change nothing")
	return c
}

func writeRekeyed(w io.Writer, r client.Rekeyed, dry bool) {
	were := "were"
	if dry {
		were = "would be"
	}
	line := func(c client.Resealed) string {
		return fmt.Sprintf("%d of %d %s sealed anew (%d credentials, %d templates, %d environments, %d others)", c.Resealed,
			c.Credentials+c.Templates+c.Environments+c.Others, were, c.Credentials, c.Templates, c.Environments, c.Others)
	}
	for _, p := range r.Projects {
		switch {
		case p.Refused != nil:
			fmt.Fprintf(w, "%s: left as it is: %s\n", printable(p.Project), printable(*p.Refused))
		case p.Unreadable > 0:
			fmt.Fprintf(w, "%s: %s; %d unreadable\n", printable(p.Project), line(p.Resealed), p.Unreadable)
		default:
			fmt.Fprintf(w, "%s: %s\n", printable(p.Project), line(p.Resealed))
		}
	}
	fmt.Fprintln(w, line(r.Resealed))
}

// rekeyedWhole is the error of what was not done.
func rekeyedWhole(r client.Rekeyed) error {
	if r.Unreadable > 0 {
		e := stead.Errorf(stead.KindUnavailable, "%d are sealed by a key that this node does not have (%s), or damaged", r.Unreadable, strings.Join(r.UnknownKeys, ", "))
		e.Hint = "Give it that key behind the present ones, or delete and make them again."
		return e
	}
	refused := 0
	for _, p := range r.Projects {
		if p.Refused != nil {
			refused++
		}
	}
	if refused > 0 {
		return stead.Errorf(stead.KindForbidden, "%d projects were left as they are", refused)
	}
	return nil
}

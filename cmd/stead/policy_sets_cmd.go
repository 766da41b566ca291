package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/policyset"
)

func (a *app) policySetsCmd() *cobra.Command {
	c := group("sets", "Upload policies of the project, in versions", a.policySetsPush(), a.policySetsList(), a.policySetsShow(), a.policySetsVersions(), a.policySetsRollback(), a.policySetsDelete())
	c.Aliases = []string{"set"}
	return c
}

func (a *app) policySetsPush() *cobra.Command {
	var shadow, enforce, dry bool
	var description string
	var over int64
	c := &cobra.Command{
		Use: "push NAME FILE", Short: "Upload a file of policies as a set, or as its next version", Args: cobra.ExactArgs(2),
		Long: "Push checks the policies as the server does and uploads them: they count at every node within a second. It makes the set, or\n" +
			"writes its next version over the one that is there; the same policies again are no new version.",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[1])
			if err != nil {
				return stead.Wrap(stead.KindInvalid, err, "policies can't be read")
			}
			mode := map[bool]string{true: policy.Shadow}[shadow]
			if enforce {
				mode = policy.Enforce
			}
			set, err := policyset.Compile(args[0], mode, string(text), identity.Approvers())
			if err != nil {
				return err
			}
			doubts := set.Doubts(identity.Roles())
			if dry {
				return a.object(map[string]any{"policies": set.Rules(), "doubts": doubts}, func(w io.Writer) {
					fmt.Fprintf(w, "%d policies are right\n", len(set.Rules()))
					writeDoubts(w, doubts)
				})
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			body := map[string]any{"text": string(text)}
			if mode != "" {
				body["mode"] = mode
			}
			if cmd.Flags().Changed("description") {
				body["description"] = description
			}
			done, said, err := push(cmd.Context(), c, args[0], body, over)
			if err != nil {
				return err
			}
			return a.object(done.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s: version %d, %d policies, mode %s\n", done.Name, said, done.Version, done.Policies, done.Mode)
				writeDoubts(w, doubts)
			})
		},
	}
	c.Flags().BoolVar(&shadow, "shadow", false, "on trial: what they would decide is recorded, and nothing follows from it")
	c.Flags().BoolVar(&enforce, "enforce", false, "in force (default: as the version before, or in force)")
	c.Flags().BoolVar(&dry, "dry-run", false, "check them here, and upload nothing")
	c.Flags().StringVar(&description, "description", "", "for readers")
	c.Flags().Int64Var(&over, "expect", 0, "the version that it must follow (default: the one that is there now)")
	c.MarkFlagsMutuallyExclusive("shadow", "enforce")
	return c
}

// push makes a set or its next version; over is the version that it must follow, 0 the one that is there.
func push(ctx context.Context, c *client.Client, name string, body map[string]any, over int64) (client.PolicySet, string, error) {
	now, err := c.PolicySet(ctx, name, 0)
	switch {
	case stead.KindOf(err) == stead.KindNotFound && over == 0:
		body["name"] = name
		made, err := c.CreatePolicySet(ctx, body)
		return made, "is made", err
	case err != nil:
		return now, "", err
	}
	if over == 0 {
		over = now.Version
	}
	_, described := body["description"]
	if mode, ok := body["mode"]; over == now.Version && now.Text == body["text"] && (!ok || mode == now.Mode) && !described {
		return now, "is that already", nil
	}
	body["expected_version"] = over
	made, err := c.UpdatePolicySet(ctx, name, body)
	return made, "is written", err
}

func (a *app) policySetsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the project's sets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.PolicySets(cmd.Context())
			if err != nil {
				return err
			}
			return a.policySetTable(all, "No policy sets. Upload one: stead policy sets push NAME FILE")
		},
	}
}

func (a *app) policySetTable(all []client.PolicySet, none string) error {
	rows, raw := [][]string{}, []json.RawMessage{}
	for _, v := range all {
		said := ""
		switch {
		case v.Problem != nil:
			said = *v.Problem
		case v.Deleted:
			said = "deleted"
		case v.Restored != nil:
			said = "as version " + strconv.FormatInt(*v.Restored, 10)
		}
		rows = append(rows, []string{v.Name, strconv.FormatInt(v.Version, 10), v.Mode, strconv.Itoa(v.Policies), time.Unix(v.UpdatedAt, 0).UTC().Format(time.DateTime), printable(v.WrittenBy), printable(orDash(said))})
		raw = append(raw, v.Raw)
	}
	return a.table(raw, none, []string{"SET", "VERSION", "MODE", "POLICIES", "WRITTEN (UTC)", "BY", "NOTE"}, rows)
}

func (a *app) policySetsShow() *cobra.Command {
	var version int64
	c := &cobra.Command{
		Use: "show NAME", Short: "Show the policies of a set", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			v, err := c.PolicySet(cmd.Context(), args[0], version)
			if err != nil {
				return err
			}
			if v.Problem != nil {
				fmt.Fprintf(a.err, "%s can't be asked, and refuses: %s\n", v.Name, printable(*v.Problem))
			}
			return a.object(v.Raw, func(w io.Writer) { fmt.Fprint(w, strings.TrimSuffix(v.Text, "\n"), "\n") })
		},
	}
	c.Flags().Int64Var(&version, "version", 0, "an older version (default: the newest)")
	return c
}

func (a *app) policySetsVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions NAME", Short: "List the versions of a set, also of one that was deleted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.PolicySetVersions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.policySetTable(all, "No versions.")
		},
	}
}

func (a *app) policySetsRollback() *cobra.Command {
	return &cobra.Command{
		Use: "rollback NAME [VERSION]", Short: "Write an older version again, as the next one (default: the one before)", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.PolicySetVersions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			to := int64(0)
			if len(args) == 2 {
				if to, err = strconv.ParseInt(args[1], 10, 64); err != nil || to < 1 {
					return stead.Invalid("VERSION", "%q is no version: stead policy sets versions %s", args[1], args[0])
				}
			} else if to = before(all); to == 0 {
				return stead.Invalid("VERSION", "%s has no version before this one", args[0])
			}
			v, err := c.RollbackPolicySet(cmd.Context(), args[0], to, all[0].Version)
			if err != nil {
				return err
			}
			return a.object(v.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s is as in version %d again: version %d, %d policies, mode %s\n", v.Name, to, v.Version, v.Policies, v.Mode)
			})
		},
	}
}

// before is the newest version before the one that holds; 0: there is none.
func before(all []client.PolicySet) int64 {
	for _, v := range all[min(1, len(all)):] {
		if !v.Deleted {
			return v.Version
		}
	}
	return 0
}

func (a *app) policySetsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Take a set out of force; its versions stay, and rollback restores it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeletePolicySet(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"name": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "is deleted") })
		},
	}
}

// setsFlag has a command ask sets of a project as well.
func setsFlag(c *cobra.Command, into *[]string) {
	c.Flags().StringArrayVar(into, "set", nil, "a set of the project: NAME=FILE before it is pushed, or NAME or NAME@VERSION of the running server; may be repeated")
}

// projectSets reads sets as a project would have them; nil: none are named.
func (a *app) projectSets(ctx context.Context, named []string) (*cedar.Project, error) {
	if len(named) == 0 {
		return nil, nil
	}
	var sets []*cedar.Set
	for _, spec := range named {
		s, err := a.projectSet(ctx, spec)
		if err != nil {
			return nil, fmt.Errorf("--set %s: %w", spec, err)
		}
		sets = append(sets, s)
	}
	return cedar.NewProject(sets), nil
}

func (a *app) projectSet(ctx context.Context, spec string) (*cedar.Set, error) {
	if name, file, local := strings.Cut(spec, "="); local {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "policies can't be read")
		}
		return policyset.Compile(name, policy.Enforce, string(text), identity.Approvers())
	}
	name, at, aged := strings.Cut(spec, "@")
	version := int64(0)
	if aged {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || n < 1 {
			return nil, stead.Invalid("set", "%q is no version", at)
		}
		version = n
	}
	c, err := a.dial()
	if err != nil {
		return nil, err
	}
	v, err := c.PolicySet(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return policyset.Compile(v.Name, v.Mode, v.Text, identity.Approvers())
}

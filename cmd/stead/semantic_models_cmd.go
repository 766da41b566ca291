package main

import (
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
	"github.com/stead-dev/stead/internal/semantic"
)

func (a *app) semanticModelsCmd() *cobra.Command {
	c := group("models", "Upload semantic models of the project, in versions", a.semanticPush(), a.semanticList(), a.semanticShow(), a.semanticVersions(), a.semanticDelete())
	c.Aliases = []string{"model"}
	return c
}

func (a *app) semanticPush() *cobra.Command {
	var over int64
	c := &cobra.Command{
		Use: "push FILE", Short: "Upload a semantic model, or its next version", Args: cobra.ExactArgs(1),
		Long: "Push checks the model as the server does and uploads it under its own name. It makes the model, or writes its next version\nover the one that is there; the same text again is no new version.",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return stead.Wrap(stead.KindInvalid, err, "the semantic model can't be read")
			}
			m, err := semantic.ParseVersion(text, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			now, err := c.SemanticModel(cmd.Context(), m.Name, 0)
			said := "is written"
			switch {
			case stead.KindOf(err) == stead.KindNotFound && over == 0:
				said = "is made"
				now, err = c.CreateSemanticModel(cmd.Context(), string(text))
			case err != nil:
			case now.Text == string(text) && (over == 0 || over == now.Version):
				said = "is that already"
			default:
				if over == 0 {
					over = now.Version
				}
				now, err = c.UpdateSemanticModel(cmd.Context(), m.Name, string(text), over)
			}
			if err != nil {
				return err
			}
			return a.object(now.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s: version %d, %d metrics, %d entities, %d actions\n", now.Name, said, now.Version, now.Metrics, now.Entities, now.Actions)
			})
		},
	}
	c.Flags().Int64Var(&over, "expect", 0, "the version that it must follow (default: the one that is there now)")
	return c
}

func (a *app) semanticList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the semantic models that the project uploaded", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.SemanticModels(cmd.Context())
			if err != nil {
				return err
			}
			return a.semanticTable(all, "No semantic models. Upload one: stead semantic models push FILE")
		},
	}
}

func (a *app) semanticTable(all []client.SemanticModel, none string) error {
	rows, raw := [][]string{}, []json.RawMessage{}
	for _, v := range all {
		said := ""
		if v.Problem != nil {
			said = *v.Problem
		}
		rows = append(rows, []string{v.Name, strconv.FormatInt(v.Version, 10), strconv.Itoa(v.Metrics), strconv.Itoa(v.Entities), strconv.Itoa(v.Actions),
			time.Unix(v.UpdatedAt, 0).UTC().Format(time.DateTime), printable(v.WrittenBy), printable(orDash(said))})
		raw = append(raw, v.Raw)
	}
	return a.table(raw, none, []string{"MODEL", "VERSION", "METRICS", "ENTITIES", "ACTIONS", "WRITTEN (UTC)", "BY", "NOTE"}, rows)
}

func (a *app) semanticShow() *cobra.Command {
	var version int64
	c := &cobra.Command{
		Use: "show NAME", Short: "Show the text of a semantic model", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			v, err := c.SemanticModel(cmd.Context(), args[0], version)
			if err != nil {
				return err
			}
			if v.Problem != nil {
				fmt.Fprintf(a.err, "%s can't be used: %s\n", v.Name, printable(*v.Problem))
			}
			return a.object(v.Raw, func(w io.Writer) { fmt.Fprint(w, strings.TrimSuffix(v.Text, "\n"), "\n") })
		},
	}
	c.Flags().Int64Var(&version, "version", 0, "an older version (default: the newest)")
	return c
}

func (a *app) semanticVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions NAME", Short: "List the versions of a semantic model", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			all, err := c.SemanticModelVersions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.semanticTable(all, "No versions.")
		},
	}
}

func (a *app) semanticDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a semantic model with its versions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteSemanticModel(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"name": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintln(w, args[0], "is deleted") })
		},
	}
}

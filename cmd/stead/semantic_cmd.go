package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/semantic/sqlread"
)

func (a *app) semanticCmd() *cobra.Command {
	return group("semantic", "Check semantic models, and ask in their terms", a.semanticCheck(), a.semanticDescribe(), a.semanticQuery(), a.semanticModelsCmd())
}

func (a *app) semanticCheck() *cobra.Command {
	var settings string
	c := &cobra.Command{
		Use: "check FILE…", Short: "Check semantic models", Args: cobra.MinimumNArgs(1),
		Long: "Check reads semantic models (docs/semantic.md) and ends with 1 when one is wrong, with its line. No database is asked,\nunless --config names them: then each entity's columns must be there, and no two rows may have one key.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var out []semantic.Named
			for _, file := range args {
				m, err := readSemantic(file)
				if err != nil {
					return err
				}
				if settings != "" {
					if err := a.probe(cmd.Context(), settings, m); err != nil {
						return err
					}
				}
				out = append(out, m.Named())
			}
			return a.object(map[string]any{"models": out}, func(w io.Writer) {
				for _, m := range out {
					fmt.Fprintf(w, "%s, version %d, is right (%s)\n", m.Name, m.Version, m.Digest)
				}
			})
		},
	}
	c.Flags().StringVar(&settings, "config", "", "configuration with the databases, to check what is in them")
	return c
}

// probe holds a model to what is in its databases.
func (a *app) probe(ctx context.Context, file string, m *semantic.Model) error {
	cfg, err := config.Load(config.Flags{File: file}, a.env)
	if err != nil {
		return err
	}
	for _, d := range cfg.AllDatabases() {
		r, err := sqlread.Open(sqlread.Config{Name: d.Name, Dialect: semantic.Dialect(d.Driver), DSN: d.DSN})
		if err != nil {
			return err
		}
		defer r.Close()
		for _, p := range m.Probes(r.Dialect(), d.Name) {
			tables, err := r.Read(ctx, p.Statements, semantic.Limits{})
			if err != nil {
				return fmt.Errorf("entities.%s: %w", p.Entity, err)
			}
			if n := p.Twice(tables); n > 0 {
				return stead.Invalid("entities."+p.Entity+".key", "entities.%s.key: %d values of %s are in several rows: what is joined by it would count twice", p.Entity, n, strings.Join(p.Key, ", "))
			}
		}
	}
	return nil
}

// semanticAsk is the layer of a configuration at a terminal, in somebody's name.
type semanticAsk struct {
	config, model, user, role, project string
	labels                             []string
}

func (q *semanticAsk) register(c *cobra.Command) {
	c.Flags().StringVar(&q.config, "config", "", "configuration with the semantic models and their databases")
	c.Flags().StringVar(&q.model, "model", "", "semantic model, where several know a term")
	c.Flags().StringVar(&q.project, "project", string(stead.DefaultProject), "project whose models these are")
	c.Flags().StringVar(&q.user, "user", stead.LocalPrincipal().ID, "user whose rows are seen")
	c.Flags().StringVar(&q.role, "role", "", "role of that user: "+strings.Join(identity.Roles(), ", "))
	c.Flags().StringSliceVar(&q.labels, "label", nil, "label of the session, as NAME=VALUE; may be given several times")
	_ = c.MarkFlagRequired("config") // it is registered above
}

// open makes the layer. Nobody's policies are asked: who can read the configuration can read its databases.
func (q *semanticAsk) open(a *app) (*layer.Layer, layer.By, func(), error) {
	switch roles := identity.Roles(); {
	case q.role != "" && !slices.Contains(roles, q.role):
		return nil, layer.By{}, nil, stead.Invalid("role", "--role is one of %s, not %q", strings.Join(roles, ", "), q.role)
	case q.role == "" && q.user != stead.LocalPrincipal().ID:
		return nil, layer.By{}, nil, stead.Invalid("role", "--user wants --role (%s): every rule of rows is for who has no role, which is the one user of a server without authentication", strings.Join(roles, ", "))
	}
	cfg, err := config.Load(config.Flags{File: q.config}, a.env)
	if err != nil {
		return nil, layer.By{}, nil, err
	}
	models, err := declaredModels(cfg)
	if err != nil {
		return nil, layer.By{}, nil, err
	}
	l, done, err := openSemantic(cfg, models, policy.AllowLocal{}, nil)
	closeAll := func() { _ = done(context.Background()) }
	if err != nil {
		closeAll()
		return nil, layer.By{}, nil, err
	}
	by := layer.By{Principal: stead.Principal{Project: stead.ProjectID(q.project), Kind: stead.PrincipalUser, ID: q.user, Role: stead.Role(q.role)}, Labels: stead.Labels{}}
	for _, l := range q.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok {
			closeAll()
			return nil, by, nil, stead.Invalid("label", "--label is NAME=VALUE, not %q", l)
		}
		by.Labels[name] = append(by.Labels[name], value)
	}
	return l, by, closeAll, nil
}

func (a *app) semanticDescribe() *cobra.Command {
	var q semanticAsk
	c := &cobra.Command{
		Use: "describe [TERM]", Short: "Tell what a term means, or what there is, as agents are told", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, by, done, err := q.open(a)
			if err != nil {
				return err
			}
			defer done()
			d, err := l.Describe(cmd.Context(), by, nil, q.model, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.object(d, func(w io.Writer) { writeIndented(w, d) })
		},
	}
	q.register(c)
	return c
}

func writeIndented(w io.Writer, v any) {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a broken pipe: nobody reads on
}

func (a *app) semanticQuery() *cobra.Command {
	var q semanticAsk
	c := &cobra.Command{
		Use: "query JSON", Short: "Ask for metrics or rows, as agents do", Args: cobra.ExactArgs(1),
		Long: "Query answers a query as agents send them, for example '{\"metrics\":[\"revenue\"],\"dimensions\":[\"country\"]}',\nwith the rows that the user given by --user, --role and --label may see.",
		RunE: func(cmd *cobra.Command, args []string) error {
			l, by, done, err := q.open(a)
			if err != nil {
				return err
			}
			defer done()
			asked, err := semantic.ReadQuery([]byte(args[0]))
			if err != nil {
				return err
			}
			asked.Model = cmp.Or(asked.Model, q.model)
			got, err := l.Query(cmd.Context(), by, nil, asked)
			if err != nil {
				return err
			}
			return a.object(got, func(w io.Writer) { writeAnswer(w, got) })
		},
	}
	q.register(c)
	return c
}

// writeAnswer shows an answer as a table, with what it means below.
func writeAnswer(w io.Writer, got semantic.Answer) {
	var head []string
	for _, c := range got.Columns {
		head = append(head, strings.ToUpper(c.Name))
	}
	rows := [][]string{}
	for _, r := range got.Rows {
		line := make([]string, len(r))
		for i, v := range r {
			if line[i] = printable(fmt.Sprint(v)); v == nil {
				line[i] = "–"
			}
		}
		rows = append(rows, line)
	}
	writeTable(w, "Nothing found.", head, rows)
	for _, d := range got.Definitions {
		fmt.Fprintf(w, "%s: %s\n", d.Name, d.Definition)
	}
	fmt.Fprintf(w, "from %s; model %s, version %d; read %s\n", strings.Join(got.Source, ", "), got.Model.Name, got.Model.Version, got.AsOf)
	for _, n := range got.Notes {
		fmt.Fprintln(w, n)
	}
}

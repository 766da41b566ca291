package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/guardrail/trial"
)

func (a *app) guardrailsCmd() *cobra.Command {
	return group("guardrails", "Check and try guardrails", a.guardrailsValidate(), a.guardrailsTest())
}

// readGuardrails loads the guardrails of a configuration.
func (a *app) readGuardrails(file string) (*guardrail.Set, error) {
	cfg, err := config.Load(config.Flags{File: file}, a.env)
	if err != nil {
		return nil, err
	}
	return guardrailSet(cfg)
}

func (a *app) guardrailsValidate() *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE", Short: "Check the guardrails of a configuration", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := config.Load(config.Flags{File: args[0]}, a.env)
			if err != nil {
				return err
			}
			set, err := guardrailSet(cfg)
			if err != nil {
				return err
			}
			known, err := models(cfg, newPools(cfg, nil), nil, nil)
			if err != nil {
				return err
			}
			if err := checkJudges(cfg, known); err != nil {
				return err
			}
			return a.object(map[string]any{"guardrails": set.Names(), "version": set.Version()}, func(w io.Writer) {
				fmt.Fprintf(w, "%d guardrails are right\n", len(set.Names()))
			})
		},
	}
}

func (a *app) guardrailsTest() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "test FILE…", Short: "Run cases: texts and what is expected to become of them", Args: cobra.MinimumNArgs(1),
		Long: "Test runs the cases in YAML files (docs/guardrails.md) and ends with 1 when one of them fails. No model is called.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.cases(args, func(file string) (ran, failed int, err error) { return a.testGuardrails(cmd.Context(), file, from) })
		},
	}
	c.Flags().StringVar(&from, "guardrails", "", "configuration with the guardrails (default: what the file of cases names)")
	return c
}

func (a *app) testGuardrails(ctx context.Context, file, from string) (ran, failed int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, stead.Wrap(stead.KindInvalid, err, "the cases can't be read")
	}
	cases, err := trial.Parse(data)
	if err != nil {
		return 0, 0, err
	}
	if from == "" {
		if from = filepath.Join(filepath.Dir(file), cases.Guardrails); cases.Guardrails == "" {
			return 0, 0, stead.Invalid("guardrails", "the file names no guardrails: write guardrails: CONFIGURATION, or use --guardrails")
		}
	}
	set, err := a.readGuardrails(from)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range cases.Cases {
		if err := c.Run(ctx, set); err != nil {
			failed++
			fmt.Fprintf(a.out, "FAIL %s: %s\n", c.Name, err)
		}
	}
	return len(cases.Cases), failed, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
)

const (
	envServer = "STEAD_SERVER"
	envKey    = "STEAD_API_KEY" // of the command line; never a flag, which others could see
	// Files of TLS, as the flags --cert, --key and --ca name them.
	envCertFile, envKeyFile, envCAFile = "STEAD_CERT", "STEAD_KEY", "STEAD_CA"

	defaultServer = "http://" + config.DefaultListen

	outputText = "text"
	outputJSON = "json"
)

// main parses the arguments, runs one subcommand and reports its error.
func (a *app) main(ctx context.Context, args []string) int {
	started := false // arguments were right and the command ran
	root := a.root(&started)
	root.SetArgs(args)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if w, ok := errors.AsType[*waitingError](err); ok {
		a.report(w.err)
		return exitWaiting
	}
	if !started {
		e := stead.Errorf(stead.KindInvalid, "%s", firstUpper(err.Error()))
		e.Hint = "The form is: " + ran.UseLine() + ". More: " + ran.CommandPath() + " --help"
		a.report(e)
		return exitUsage
	}
	a.report(err)
	return exitFailed
}

func (a *app) root(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "stead",
		Short: "A runtime for AI agents whose sessions survive anything",
		Long: "Stead runs AI agents in your stead: durable sessions over any model, on the OpenAI Agents API.\n\n" +
			"  stead dev             everything on one machine, no key needed\n" +
			"  stead run \"Hello\"     one session from the terminal",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != outputText && a.output != outputJSON {
				return fmt.Errorf("output format %q is unknown: it is text or json", a.output)
			}
			return nil
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.PersistentFlags().StringVarP(&a.output, "output", "o", outputText, "text or json")
	root.PersistentFlags().StringVar(&a.server, "server", "", "address of a running Stead (default $"+envServer+" or "+defaultServer+")")
	root.PersistentFlags().StringVar(&a.project, "project", "", "project to act in, for the root key and for tokens")
	root.PersistentFlags().StringVar(&a.cert, "cert", "", "file of the client certificate to show to the server (PEM; default $"+envCertFile+")")
	root.PersistentFlags().StringVar(&a.key, "key", "", "file of its private key (default $"+envKeyFile+")")
	root.PersistentFlags().StringVar(&a.ca, "ca", "", "file of the authorities that the server's certificate may be of, in place of the machine's (default $"+envCAFile+")")
	root.AddCommand(a.devCmd(), a.serveCmd(), a.runCmd(), a.sessionsCmd(), a.environmentsCmd(), a.approvalsCmd(), a.agentsCmd(), a.memoryCmd(), a.usageCmd(), a.budgetsCmd(), a.executorCmd(), a.doctorCmd(), a.capacityCmd(), a.policyCmd(), a.guardrailsCmd(), a.semanticCmd(), a.auditCmd(), a.killSwitchesCmd(), a.eraseCmd(), a.vaultsCmd(), a.credentialsCmd(), a.sealKeysCmd(), a.keysCmd(), a.tokensCmd(), a.modelsCmd(), a.versionCmd())
	root.AddCommand(a.sourcesCmd())
	mark(root, started)
	return root
}

// mark notes when a command runs: what fails before that is a mistake in the arguments.
func mark(c *cobra.Command, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		mark(sub, started)
	}
}

// group is a command that only holds others. A subcommand that it does not have is an error.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			msg := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += ": did you mean " + strings.Join(near, " or ") + "?"
			}
			return errors.New(msg)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(subs...)
	return c
}

// dial returns a client of the server that the command line names.
func (a *app) dial() (*client.Client, error) {
	base, _ := a.serverAddress()
	c, err := client.New(base)
	if err == nil {
		key, _ := a.env(envKey)
		c.Authorize(key)
		c.In(a.project)
		err = c.Secure(a.tlsOf())
	}
	return c, err
}

// serverAddress also says whether somebody chose it.
func (a *app) serverAddress() (base string, chosen bool) {
	if a.server != "" {
		return a.server, true
	}
	if v, ok := a.env(envServer); ok && v != "" {
		return v, true
	}
	return defaultServer, false
}

// waitingError ends a command whose session waits for an answer.
type waitingError struct{ err error }

func (e *waitingError) Error() string { return e.err.Error() }

// report writes an error for people, or as an object with -o json.
func (a *app) report(err error) {
	if errors.Is(err, context.Canceled) {
		return // somebody stopped it and knows
	}
	hint := ""
	if e, ok := errors.AsType[*stead.Error](err); ok {
		hint = e.Hint
		if hint == "" && e.Kind == stead.KindNotFound {
			hint = notFoundHint(e.Message)
		}
	}
	if a.output == outputJSON {
		_ = json.NewEncoder(a.err).Encode(map[string]any{"error": map[string]string{
			"kind": string(stead.KindOf(err)), "message": err.Error(), "hint": hint,
		}})
		return
	}
	text := err.Error()
	if !strings.HasSuffix(text, "?") {
		text = strings.TrimRight(text, ".") + "."
	}
	fmt.Fprintf(a.err, "stead: %s\n", text)
	if hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
}

// notFoundHint is the command that lists what there is.
func notFoundHint(message string) string {
	if strings.HasPrefix(message, "no session token ") {
		return "See them with `stead tokens list SESSION`."
	}
	for _, noun := range []string{"session", "agent", "environment"} {
		if strings.HasPrefix(message, "no "+noun+" ") {
			return "See them with `stead " + noun + "s list`."
		}
	}
	return ""
}

func firstUpper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

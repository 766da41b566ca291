package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
)

func (a *app) devCmd() *cobra.Command {
	var f nodeFlags
	var agents string
	var noDemo bool
	c := &cobra.Command{
		Use: "dev", Short: "Serve on this machine, with nothing to set up", Args: cobra.NoArgs,
		Long: "Dev serves on loopback with SQLite under ./.stead. Keys of model providers are taken from the environment;\n" +
			"without any the built-in model sim serves. A fresh data directory is shown a sample session first.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), f, agents, !noDemo) },
	}
	f.register(c)
	f.registerServer(c)
	c.Flags().StringVar(&agents, "agents", "", "directory of agent YAML files, applied now and whenever one is saved")
	c.Flags().BoolVar(&noDemo, "no-demo", false, "do not run the sample session on a fresh data directory")
	return c
}

func (a *app) dev(ctx context.Context, f nodeFlags, agents string, demo bool) error {
	cfg, err := f.load(a.env)
	if err != nil {
		return err
	}
	fresh := isFresh(cfg)
	shop, err := openShop(ctx)
	if err != nil {
		return err
	}
	defer shop.Close()
	addShop(cfg, shop)
	impatient(cfg)
	n, err := openNode(ctx, cfg, quiet(a.err))
	if err != nil {
		return err
	}
	defer n.stop()
	if err := a.announceDev(n, f.readyFile); err != nil {
		return err
	}
	c, err := client.New(n.base)
	if err != nil {
		return err
	}
	n.asRoot(c)
	defer c.Close()
	if demo && fresh && !a.json() {
		if err := runDemo(ctx, a.out, c, n.computer != ""); err != nil && ctx.Err() == nil {
			fmt.Fprintf(a.out, "  The sample session did not end well: %v\n", err)
		}
	}
	if agents != "" {
		watchCtx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); a.watchAgents(watchCtx, c, agents) }()
		defer func() { cancel(); <-done }()
	}
	go n.watchReload(ctx, func() (*config.Config, error) {
		cfg, err := f.reload(ctx, a.env)
		if err == nil {
			addShop(cfg, shop)
		}
		return cfg, err
	})
	err = n.wait(ctx)
	if !a.json() && err == nil {
		fmt.Fprintln(a.out, "\nStopping. What was in flight goes on at the next start.")
	}
	return err
}

// isFresh reports whether nothing was ever run on the data directory.
func isFresh(cfg *config.Config) bool {
	name := filepath.Join(cfg.Data, sqliteFile)
	if cfg.Database != "" {
		name = cfg.Data
	}
	_, err := os.Stat(name)
	return errors.Is(err, os.ErrNotExist)
}

// announceDev says where the server is and what to try; the address is the first line.
func (a *app) announceDev(n *node, readyFile string) error {
	if a.json() {
		if err := a.object(map[string]string{"url": n.base, "model": n.modelInUse(), "data": n.cfg.Data, "computer": n.computer}, nil); err != nil {
			return err
		}
		if readyFile == "" {
			return nil
		}
		return writeReady(readyFile, n.base)
	}
	if err := n.announce(a.out, "stead dev is serving", readyFile); err != nil {
		return err
	}
	where := "SQLite in " + n.cfg.Data
	if n.cfg.Database != "" {
		where = "PostgreSQL, blobs in " + n.cfg.Data
	}
	fmt.Fprintf(a.out, "  model  %s\n  data   %s\n", n.modelInUse(), where)
	if n.computer != "" {
		fmt.Fprintf(a.out, "  agents can have a computer, by the driver %s (stead doctor says what it enforces)\n", n.computer)
	}
	if n.rootPath != "" {
		fmt.Fprintf(a.out, "  callers carry API keys: STEAD_API_KEY=$(cat %s) stead keys create --role owner\n", n.rootPath)
	}
	for _, note := range n.cfg.Notes {
		fmt.Fprintf(a.out, "  note   %s\n", note)
	}
	tryThis(a.out, n.base, n.computer != "")
	return nil
}

// tryThis prints three things that work as they stand, and a fourth where agents can have a computer.
// Tests run them.
func tryThis(w io.Writer, base string, computer bool) {
	server := ""
	if base != defaultServer {
		server = " --server " + base
	}
	fmt.Fprintf(w, `
Try, in another terminal:

  curl -N %[1]s/v1/agents/sessions -H 'Content-Type: application/json' \
    -d '{"agent":{"model":"default"},"environment":{"type":"none"},"input":"Hello","stream":true}'

  import OpenAI from 'openai';  // npm install openai
  const client = new OpenAI({ baseURL: '%[1]s/v1', apiKey: 'none' });
  const stream = await client.beta.agents.sessions.create({ agent: { model: 'default' }, environment: { type: 'none' }, input: 'Hello', stream: true });
  for await (const event of stream)
    if (event.type === 'agent.session.turn.output_text.delta') process.stdout.write(event.delta);

  stead run%[2]s "Hello"        # from the source: go run ./cmd/stead run …
`, base, server)
	if computer {
		fmt.Fprintf(w, "  stead run%s --environment hosted 'Call shell with {\"command\": \"uname -a; ls /\"}'\n", server)
	}
	fmt.Fprintln(w)
}

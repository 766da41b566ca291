package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
)

func (a *app) serveCmd() *cobra.Command {
	var f nodeFlags
	var level, format string
	c := &cobra.Command{
		Use: "serve", Short: "Serve in production, by a configuration file", Args: cobra.NoArgs,
		Long: "Serve runs a node until it is told to stop (SIGINT, SIGTERM); then it takes no more requests, lets calls\n" +
			"in flight finish within limits.drain_seconds and hands its sessions back. A second signal ends it at once:\n" +
			"nothing is lost by that either.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(a.err, level, format)
			if err != nil {
				return err
			}
			cfg, err := f.load(a.env)
			if err != nil {
				return err
			}
			n, err := openNode(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			defer n.stop()
			for _, note := range cfg.Notes {
				log.Warn(note)
			}
			if len(cfg.Providers) == 0 {
				log.Warn("no model provider is configured: the built-in model sim serves")
			}
			if err := n.announce(a.out, "stead is serving", f.readyFile); err != nil {
				return err
			}
			go n.watchReload(cmd.Context(), func() (*config.Config, error) { return f.reload(cmd.Context(), a.env) })
			return n.wait(cmd.Context())
		},
	}
	f.register(c)
	f.registerServer(c)
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&format, "log-format", "json", "json or text")
	return c
}

// newLog makes the structured log of a server.
func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, stead.Invalid("log-level", "log level %q is unknown: it is debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, stead.Invalid("log-format", "log format %q is unknown: it is json or text", format)
}

// quiet is the log of a node beside a person's terminal: warnings and errors only.
func quiet(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// announce says where the node serves: on w, and in the ready file if one is asked for.
func (n *node) announce(w io.Writer, what, readyFile string) error {
	fmt.Fprintf(w, "%s %s\n", what, n.base)
	if readyFile == "" {
		return nil
	}
	return writeReady(readyFile, n.base)
}

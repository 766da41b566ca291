package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

func (a *app) sessionsCmd() *cobra.Command {
	return group("sessions", "List, show and steer sessions",
		a.sessionsList(), a.sessionsShow(), a.sessionsFollow(), a.sessionsTrace(),
		a.sessionsAct("cancel", "Stop the running turn", "cancelled", func(ctx context.Context, c *client.Client, id string) (client.Session, error) {
			if err := c.Send(ctx, id, client.Cancel()); err != nil {
				return client.Session{}, err
			}
			return c.Session(ctx, id)
		}),
		a.sessionsAct("pause", "Start nothing more in a session until resume", "paused", func(ctx context.Context, c *client.Client, id string) (client.Session, error) {
			return c.Pause(ctx, id)
		}),
		a.sessionsAct("resume", "Undo pause", "resumed", func(ctx context.Context, c *client.Client, id string) (client.Session, error) {
			return c.Resume(ctx, id)
		}),
		a.sessionsControl(), a.sessionsArtifacts(), a.sessionsDownload(),
		a.sessionsFork(), a.sessionsExport(), a.sessionsImport(), a.sessionsDelete())
}

func (a *app) sessionsList() *cobra.Command {
	var status, agent, user, model, tool string
	var limit int
	var metadata, labels []string
	c := &cobra.Command{
		Use: "list", Short: "List sessions, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range map[string]string{"status": status, "agent_id": agent, "user": user, "model": model, "tool": tool} {
				if value != "" {
					query.Set(name, value)
				}
			}
			for name, given := range map[string][]string{"metadata": metadata, "labels": labels} {
				wanted, err := pairs(given)
				if err != nil {
					return err
				}
				for k, v := range wanted {
					query.Set(name+"["+k+"]", v)
				}
			}
			list, err := c.Sessions(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, s := range list {
				rows = append(rows, []string{s.ID, statusOf(s), agentName(s), s.Agent.Model, ago(s.LastActiveAt, now)})
				raw = append(raw, s.Raw)
			}
			return a.table(raw, "No sessions. Start one with: stead run \"Hello\"", []string{"SESSION", "STATUS", "AGENT", "MODEL", "ACTIVE"}, rows)
		},
	}
	c.Flags().StringVar(&status, "status", "", "idle, in_progress, requires_action or failed")
	c.Flags().StringVar(&agent, "agent", "", "id of an agent")
	c.Flags().StringVar(&user, "user", "", "id of the principal that they serve")
	c.Flags().StringVar(&model, "model", "", "model, as their agents ask for it")
	c.Flags().StringVar(&tool, "tool", "", "label of a tool server of their agents, or name of a function or built-in tool")
	c.Flags().StringArrayVar(&labels, "label", nil, "KEY=VALUE of a label that the session has (repeatable)")
	c.Flags().StringArrayVar(&metadata, "metadata", nil, "KEY=VALUE that the session has (repeatable)")
	c.Flags().IntVar(&limit, "limit", 50, "most sessions to list, 0 for all")
	return c
}

// pairs are KEY=VALUE flags as a map.
func pairs(flags []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range flags {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, stead.Invalid("metadata", "metadata filter %q is not KEY=VALUE", pair)
		}
		out[k] = v
	}
	return out, nil
}

func statusOf(s client.Session) string {
	if s.Paused {
		return s.Status + " (paused)"
	}
	return s.Status
}

func agentName(s client.Session) string {
	if s.Agent.Name != nil && *s.Agent.Name != "" {
		return *s.Agent.Name
	}
	return "-"
}

func (a *app) sessionsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SESSION", Short: "Show a session and its conversation", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			s, err := c.Session(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			items, err := c.Items(cmd.Context(), s.ID)
			if err != nil {
				return err
			}
			raw := []json.RawMessage{}
			for _, it := range items {
				raw = append(raw, it.Raw)
			}
			return a.object(map[string]any{"session": s.Raw, "items": raw}, func(w io.Writer) { showSession(w, s, items) })
		},
	}
}

func showSession(w io.Writer, s client.Session, items []*client.Item) {
	fmt.Fprintf(w, "session  %s\nstatus   %s\nagent    %s, model %s\n", s.ID, statusOf(s), agentName(s), s.Agent.Model)
	if s.Environment.ID != "" {
		fmt.Fprintf(w, "computer %s (%s)\n", s.Environment.ID, s.Environment.Type)
	}
	if s.Usage != nil {
		fmt.Fprintf(w, "tokens   %d in, %d out\n", s.Usage.InputTokens, s.Usage.OutputTokens)
	}
	if s.Error != nil {
		fmt.Fprintf(w, "error    %s\n", *s.Error)
	}
	if len(items) > 0 {
		fmt.Fprintln(w)
	}
	for _, it := range items {
		writeItem(w, it)
	}
	for _, act := range s.RequiredActions {
		fmt.Fprintf(w, "\nwaits    %s\n", describe(act))
		cmd := answerCommand(s.ID, act)
		if act.Type == client.ActionConnect {
			cmd = connectCommand(s)
		}
		if cmd != "" {
			fmt.Fprintf(w, "answer   %s\n", cmd)
		}
	}
}

func (a *app) sessionsFollow() *cobra.Command {
	var after string
	var until bool
	c := &cobra.Command{
		Use: "follow SESSION", Short: "Show what a session does, from its beginning and on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			spin := a.newSpinner()
			defer spin.Stop()
			t := a.newTranscript()
			t.user = true
			idle := settling{client: c, session: args[0], shown: map[string]bool{}}
			err = c.Follow(cmd.Context(), args[0], after, nil, func(e client.Event) error {
				spin.Stop()
				if a.json() {
					fmt.Fprintf(a.out, "%s\n", e.Raw)
				} else {
					t.Event(e)
				}
				if until {
					if err := idle.event(cmd.Context(), e); err != nil {
						return err
					}
				}
				if t.lineStart() {
					spin.Start("waiting")
				}
				return nil
			})
			if err == errSettled {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&after, "after", "0", "event id to go on from")
	c.Flags().BoolVar(&until, "until-idle", false, "end when the session has nothing to do")
	return c
}

// sessionsAct is a command that changes a session and prints its state.
func (a *app) sessionsAct(verb, short, done string, act func(context.Context, *client.Client, string) (client.Session, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " SESSION", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			s, err := act(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.object(s.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", s.ID, done) })
		},
	}
}

func (a *app) sessionsFork() *cobra.Command {
	var item string
	c := a.sessionsAct("fork", "Copy a session, up to an item or whole", "is the copy", func(ctx context.Context, c *client.Client, id string) (client.Session, error) {
		return c.Fork(ctx, id, item)
	})
	c.Flags().StringVar(&item, "item", "", "id of the last item to copy")
	return c
}

func (a *app) sessionsExport() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "export SESSION", Short: "Write a session to a file that another Stead imports", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if file == "" {
				return c.Export(cmd.Context(), args[0], a.out)
			}
			if err := writeWhole(file, func(w io.Writer) error { return c.Export(cmd.Context(), args[0], w) }); err != nil {
				return err
			}
			return a.object(map[string]string{"file": file}, func(w io.Writer) { fmt.Fprintf(w, "%s written\n", file) })
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "file to write (default standard output)")
	return c
}

func (a *app) sessionsImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Make a session of an exported file (- for standard input)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			in := a.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return stead.Wrap(stead.KindInvalid, err, "the file can't be read")
				}
				defer f.Close()
				in = f
			}
			s, err := c.Import(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.object(s.Raw, func(w io.Writer) { fmt.Fprintf(w, "%s imported\n", s.ID) })
		},
	}
}

func (a *app) sessionsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete SESSION", Short: "Delete a session and all that was derived from it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			if err := c.DeleteSession(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.object(map[string]any{"id": args[0], "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s deleted\n", args[0]) })
		},
	}
}

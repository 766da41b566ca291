package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

// maxEnvironmentFile is the largest file that describes an environment, in bytes.
const maxEnvironmentFile = 8 << 20

// pollEvery is how often an environment that is being prepared is asked for.
const pollEvery = 200 * time.Millisecond

func (a *app) environmentsCmd() *cobra.Command {
	return group("environments", "The computers of agents: list, show, prepare, and move files in and out",
		a.environmentsList(), a.environmentsShow(), a.environmentsCreate(),
		a.environmentsFiles(), a.environmentsPut(), a.environmentsGet())
}

func (a *app) environmentsList() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the environments that the server hosts, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			list, err := c.Environments(cmd.Context(), limit)
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, e := range list {
				files, size := "-", "-"
				if p := e.Checkpoint; p != nil {
					files, size = fmt.Sprint(p.Files), byteSize(p.Bytes)
				}
				rows = append(rows, []string{e.ID, e.Status, dash(e.SessionID), files, size, ago(e.CreatedAt, now)})
				raw = append(raw, e.Raw)
			}
			return a.table(raw, `No environments. Start a session with one: stead run --environment hosted "…"`,
				[]string{"ENVIRONMENT", "STATUS", "SESSION", "FILES", "SIZE", "AGE"}, rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "most environments to list, 0 for all")
	return c
}

func (a *app) environmentsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ENVIRONMENT", Short: "Show an environment, by its id or its session's", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := a.dialEnvironment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			e, err := c.Environment(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.object(e.Raw, func(w io.Writer) { showEnvironment(w, e, time.Now()) })
		},
	}
}

func showEnvironment(w io.Writer, e client.Environment, now time.Time) {
	fmt.Fprintf(w, "environment  %s (%s)\nstatus       %s\n", e.ID, e.Type, e.Status)
	if e.Error != nil {
		fmt.Fprintf(w, "error        %s (%s)\n", printable(e.Error.Message), e.Error.Code)
	}
	session := e.SessionID
	if session == "" {
		session = "none yet; attach it with: stead run --environment " + e.ID + ` "…"`
	}
	fmt.Fprintf(w, "session      %s\nage          %s\n", session, ago(e.CreatedAt, now))
	if p := e.Checkpoint; p != nil {
		fmt.Fprintf(w, "checkpoint   %d files, %s (%.12s)\n", p.Files, byteSize(p.Bytes), p.Digest)
	}
	if e.ResetCount > 0 {
		fmt.Fprintf(w, "resets       %d\n", e.ResetCount)
	}
	for _, f := range e.Refused {
		fmt.Fprintf(w, "refused      %s: %s\n", oneLine(printable(f.Path), lineWidth), oneLine(printable(f.Reason), lineWidth))
	}
	u := e.Usage
	if u.Commands > 0 {
		fmt.Fprintf(w, "used         %d commands, %.2f s of CPU, %s of memory at most, %s printed\n", u.Commands, u.CPUSeconds, byteSize(u.MemoryBytes), byteSize(u.OutputBytes))
	}
	if u.EgressSentBytes+u.EgressReceivedBytes > 0 {
		fmt.Fprintf(w, "network      %s sent, %s received\n", byteSize(u.EgressSentBytes), byteSize(u.EgressReceivedBytes))
	}
}

func (a *app) environmentsCreate() *cobra.Command {
	var template, file string
	var wait bool
	c := &cobra.Command{
		Use: "create", Short: "Prepare an environment before its session", Args: cobra.NoArgs,
		Long: "Create makes an environment and prepares it at once: packages, files, set-up commands. One session can attach it\n" +
			"afterwards, with stead run --environment ID.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec := map[string]any{}
			if file != "" {
				var err error
				if spec, err = readEnvironment(file); err != nil {
					return err
				}
			}
			if spec["type"] == nil {
				spec["type"] = client.EnvironmentHosted
			}
			if template != "" {
				spec["environment_template_id"] = template
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			e, err := c.CreateEnvironment(cmd.Context(), spec)
			if err == nil && wait {
				e, err = a.awaitPrepared(cmd.Context(), c, e)
			}
			if err != nil {
				return err
			}
			return a.object(e.Raw, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s\nattach it with: stead run --environment %s \"…\"\n", e.ID, e.Status, e.ID)
			})
		},
	}
	c.Flags().StringVar(&template, "template", "", "id of a template to start from")
	c.Flags().StringVarP(&file, "file", "f", "", "YAML file with the environment's fields")
	c.Flags().BoolVar(&wait, "wait", false, "end when it is prepared")
	return c
}

// awaitPrepared waits until an environment is ready. One that fails is an error.
func (a *app) awaitPrepared(ctx context.Context, c *client.Client, e client.Environment) (client.Environment, error) {
	spin := a.newSpinner()
	spin.Start("preparing")
	defer spin.Stop()
	for e.Status == client.EnvironmentPending {
		select {
		case <-ctx.Done():
			return e, ctx.Err()
		case <-time.After(pollEvery):
		}
		var err error
		if e, err = c.Environment(ctx, e.ID); err != nil {
			return e, err
		}
	}
	if e.Status == client.EnvironmentFailed && e.Error != nil {
		return e, stead.Errorf(stead.KindUnavailable, "environment %s could not be prepared: %s", e.ID, printable(e.Error.Message))
	}
	return e, nil
}

// dialEnvironment returns a client and the id of an environment, which may be given by its session.
func (a *app) dialEnvironment(ctx context.Context, ref string) (*client.Client, string, error) {
	c, err := a.dial()
	if err != nil || !strings.HasPrefix(ref, stead.SessionPrefix) {
		return c, ref, err
	}
	s, err := c.Session(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	if s.Environment.ID == "" {
		e := stead.Errorf(stead.KindNotFound, "session %s has no environment", s.ID)
		e.Hint = `A session gets one when it starts: stead run --environment hosted "…".`
		return nil, "", e
	}
	return c, s.Environment.ID, nil
}

// readEnvironment reads a YAML file with the fields of an environment, as the wire has them.
func readEnvironment(path string) (map[string]any, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxEnvironmentFile {
		return nil, stead.Errorf(stead.KindTooLarge, "%s has %d bytes, the limit of a description is %d", path, info.Size(), maxEnvironmentFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, rootCause(err), "%s can't be read", path)
	}
	spec := map[string]any{}
	if err := yaml.Unmarshal(data, &spec); err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "%s is no YAML of an environment", path)
		e.Hint = "Write its fields as the API has them, for example: network: {access: restricted, allowed_domains: [pypi.org]}"
		return nil, e
	}
	return spec, nil
}

// environmentArg is what --environment means on the wire: a word, the id of an environment that waits
// for its session, or a file with its fields.
func environmentArg(arg string) (map[string]any, error) {
	switch {
	case arg == "" || arg == client.EnvironmentNone:
		return map[string]any{"type": client.EnvironmentNone}, nil
	case arg == "hosted" || arg == client.EnvironmentHosted:
		return map[string]any{"type": client.EnvironmentHosted}, nil
	case strings.HasPrefix(arg, "env_"):
		return map[string]any{"type": client.EnvironmentHosted, "environment_id": arg}, nil
	case isFile(arg):
		spec, err := readEnvironment(arg)
		if err == nil && spec["type"] == nil {
			spec["type"] = client.EnvironmentHosted
		}
		return spec, err
	}
	e := stead.Invalid("environment", "environment %q is neither a word nor a file", arg)
	e.Hint = "It is hosted, none, the id of an environment, or a YAML file with the fields of one."
	return nil, e
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

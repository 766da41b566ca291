package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

// maxAgentFile is the largest agent file, in bytes.
const maxAgentFile = 8 << 20

func (a *app) agentsCmd() *cobra.Command {
	return group("agents", "List, apply and show agents", a.agentsList(), a.agentsApply(), a.agentsShow(), a.agentsDelete())
}

func (a *app) agentsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List agents, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			list, err := c.Agents(cmd.Context())
			if err != nil {
				return err
			}
			now := time.Now()
			var rows [][]string
			raw := []json.RawMessage{}
			for _, g := range list {
				rows = append(rows, []string{g.ID, name(g), g.Model, fmt.Sprint(len(g.Tools)), ago(g.CreatedAt, now)})
				raw = append(raw, g.Raw)
			}
			return a.table(raw, "No agents. Write one as YAML and run: stead agents apply -f FILE", []string{"AGENT", "NAME", "MODEL", "TOOLS", "AGE"}, rows)
		},
	}
}

func name(g client.Agent) string {
	if g.Name == nil || *g.Name == "" {
		return "-"
	}
	return *g.Name
}

func (a *app) agentsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show AGENT", Short: "Show an agent, by id or name", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			g, err := findAgent(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.object(g.Raw, func(w io.Writer) {
				text, err := yaml.JSONToYAML(g.Raw)
				if err != nil {
					text = g.Raw
				}
				_, _ = w.Write(text)
			})
		},
	}
}

func (a *app) agentsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete AGENT", Short: "Delete an agent, by id or name; its sessions carry on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			g, err := findAgent(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteAgent(cmd.Context(), g.ID); err != nil {
				return err
			}
			return a.object(map[string]any{"id": g.ID, "deleted": true}, func(w io.Writer) { fmt.Fprintf(w, "%s deleted\n", g.ID) })
		},
	}
}

// findAgent looks an agent up by its id, or by a name that only one has.
func findAgent(ctx context.Context, c *client.Client, ref string) (client.Agent, error) {
	if strings.HasPrefix(ref, "agent_") {
		return c.Agent(ctx, ref)
	}
	list, err := c.Agents(ctx)
	if err != nil {
		return client.Agent{}, err
	}
	return byName(list, ref)
}

func byName(list []client.Agent, want string) (client.Agent, error) {
	var found []client.Agent
	for _, g := range list {
		if name(g) == want {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		e := stead.Errorf(stead.KindNotFound, "no agent is named %q", want)
		e.Hint = "See them with `stead agents list`."
		return client.Agent{}, e
	case 1:
		return found[0], nil
	}
	e := stead.Errorf(stead.KindConflict, "%d agents are named %q", len(found), want)
	e.Hint = "Name one by its id: " + found[0].ID + ", " + found[1].ID + "."
	return client.Agent{}, e
}

func (a *app) agentsApply() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "apply -f FILE|DIR", Short: "Create or update agents from YAML files, by name", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dial()
			if err != nil {
				return err
			}
			files, err := agentFiles(path)
			if err != nil {
				return err
			}
			results, err := apply(cmd.Context(), c, files)
			var rows [][]string
			for _, r := range results {
				rows = append(rows, []string{r.Name, r.Agent, r.Action, r.File})
			}
			if len(results) > 0 || err == nil {
				if err := a.table(results, "No agent files there.", []string{"NAME", "AGENT", "DONE", "FILE"}, rows); err != nil {
					return err
				}
			}
			return err
		},
	}
	c.Flags().StringVarP(&path, "file", "f", "", "a YAML file, or a directory of them")
	_ = c.MarkFlagRequired("file")
	return c
}

// applied says what became of one agent file.
type applied struct {
	Name   string `json:"name"`
	Agent  string `json:"id"`
	Action string `json:"action"` // "created", "updated" or "unchanged"
	File   string `json:"file"`
}

// agentFile is one agent as a file says it.
type agentFile struct {
	path string
	name string
	spec map[string]any // the wire's fields
}

// agentFiles reads one file, or the .yaml, .yml and .json files of a directory in order of name.
func agentFiles(path string) ([]agentFile, error) {
	paths, err := agentPaths(path)
	if err != nil {
		return nil, err
	}
	var files []agentFile
	seen := map[string]string{} // name → path
	for _, p := range paths {
		f, err := readAgent(p)
		if err != nil {
			return nil, err
		}
		if f.name == "" {
			return nil, &stead.Error{Kind: stead.KindInvalid, Param: "name", Message: p + ": the agent has no name", Hint: "Add a line such as `name: helper`: files are applied by name."}
		}
		if other := seen[f.name]; other != "" {
			return nil, stead.Errorf(stead.KindConflict, "%s and %s both describe the agent %q", other, p, f.name)
		}
		seen[f.name] = p
		files = append(files, f)
	}
	return files, nil
}

func agentPaths(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the agents can't be read")
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the agents can't be read")
	}
	var paths []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".json") && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(path, e.Name()))
		}
	}
	return paths, nil
}

// readAgent reads one agent of YAML or JSON. Its keys are the wire's; the server checks them.
func readAgent(path string) (agentFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return agentFile{}, stead.Wrap(stead.KindInvalid, err, "the agent can't be read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAgentFile+1))
	if err != nil {
		return agentFile{}, stead.Wrap(stead.KindInvalid, err, "the agent can't be read")
	}
	if len(data) > maxAgentFile {
		return agentFile{}, stead.Errorf(stead.KindTooLarge, "%s is larger than the limit of %d bytes", path, maxAgentFile)
	}
	text, err := yaml.YAMLToJSON(data)
	if err != nil {
		return agentFile{}, stead.Errorf(stead.KindInvalid, "%s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	a := agentFile{path: path}
	if err := dec.Decode(&a.spec); err != nil || a.spec == nil {
		return agentFile{}, stead.Errorf(stead.KindInvalid, "%s does not hold an agent: its fields must be at the top", path)
	}
	a.name, _ = a.spec["name"].(string)
	return a, checkKeys(path, a.spec)
}

// apply creates what is not there, updates what differs and leaves the rest alone.
func apply(ctx context.Context, c *client.Client, files []agentFile) ([]applied, error) {
	list, err := c.Agents(ctx)
	if err != nil {
		return nil, err
	}
	results := []applied{}
	for _, f := range files {
		r, err := applyOne(ctx, c, list, f)
		if err != nil {
			return results, fmt.Errorf("%s: %w", f.path, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func applyOne(ctx context.Context, c *client.Client, list []client.Agent, f agentFile) (applied, error) {
	r := applied{Name: f.name, File: f.path, Action: "created"}
	fill(f.spec, agentDefaults()) // what left the file leaves the agent
	id := ""
	if slices.ContainsFunc(list, func(g client.Agent) bool { return name(g) == f.name }) {
		old, err := byName(list, f.name)
		if err != nil {
			return r, err
		}
		var have map[string]any
		dec := json.NewDecoder(bytes.NewReader(old.Raw))
		dec.UseNumber()
		if err := dec.Decode(&have); err == nil && within(withTools(f.spec), have) {
			r.Agent, r.Action = old.ID, "unchanged"
			return r, nil
		}
		id, r.Action = old.ID, "updated"
	}
	spec, err := json.Marshal(f.spec)
	if err != nil {
		return r, fmt.Errorf("encode the agent: %w", err)
	}
	g, err := c.PutAgent(ctx, id, spec)
	r.Agent = g.ID
	return r, err
}

// within reports whether everything that want says, have says too. Defaults that the server filled
// in are more than the file says, not a difference; nothing, null and empty are the same.
func within(want, have any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return empty(want) && empty(have)
		}
		if len(w) == 0 {
			return len(h) == 0
		}
		for k, v := range w {
			if !within(v, h[k]) {
				return false
			}
		}
		return true
	case []any:
		h, _ := have.([]any)
		if len(w) != len(h) {
			return false
		}
		for i := range w {
			if !within(w[i], h[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, have) || empty(want) && empty(have)
}

func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

package main

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/model/catalog"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/computer"
)

// stoppable looks for what a kill switch names in one project.
type stoppable struct {
	*node
	store interface {
		agent.Store
		journal.Directory
	}
	project stead.ProjectID
}

// findStopped says what names of kill switches are, as the project's agents, the configuration and the operator's tool servers are now.
func (n *node) findStopped(store database) killswitch.Find {
	return func(ctx context.Context, project stead.ProjectID, scope killswitch.Scope, of string) (killswitch.Named, error) {
		s := stoppable{n, store, project}
		switch scope {
		case killswitch.Agent:
			return s.agent(ctx, of)
		case killswitch.Model:
			if catalog := n.models.now.Load(); !catalog.Knows(project, of) {
				return like(of, catalog.Names(project)), nil
			}
		case killswitch.Tool:
			return s.tool(ctx, of)
		case killswitch.Credential:
			id, names, err := n.vaults.Load().Stoppable(ctx, project, of)
			if err != nil || id != "" {
				return killswitch.Named{Of: id}, err
			}
			return like(of, names), nil
		}
		return killswitch.Named{Of: of}, nil
	}
}

func like(of string, names []string) killswitch.Named {
	return killswitch.Named{Near: catalog.Near(of, names)}
}

// agents calls f with every saved agent.
func (s stoppable) agents(ctx context.Context, f func(agent.Agent)) error {
	var after stead.AgentID
	for {
		page, err := s.store.ListAgents(ctx, s.project, after, false, stead.MaxPageSize)
		if err != nil {
			return err
		}
		for _, a := range page {
			f(a)
			after = a.ID
		}
		if len(page) < stead.MaxPageSize {
			return nil
		}
	}
}

// agent: by the id of one that is saved, or that a session has; or by a name that only one has.
func (s stoppable) agent(ctx context.Context, of string) (killswitch.Named, error) {
	_, err := s.store.GetAgent(ctx, s.project, stead.AgentID(of), 0)
	if err == nil {
		return killswitch.Named{Of: of}, nil
	}
	if stead.KindOf(err) != stead.KindNotFound {
		return killswitch.Named{}, err
	}
	heads, err := s.store.Heads(ctx, s.project, journal.Query{Agent: stead.AgentID(of), Limit: 1})
	if err != nil || len(heads) > 0 {
		return killswitch.Named{Of: of}, err
	}
	var ids, names []string
	err = s.agents(ctx, func(a agent.Agent) {
		names = append(names, string(a.ID))
		switch name := a.Spec.Name; {
		case name != nil && *name == of:
			ids = append(ids, string(a.ID))
		case name != nil:
			names = append(names, *name)
		}
	})
	switch {
	case err != nil:
		return killswitch.Named{}, err
	case len(ids) == 1:
		return killswitch.Named{Of: ids[0]}, nil
	case len(ids) > 1:
		return killswitch.Named{}, several("agents", of, ids)
	}
	return like(of, names), nil
}

func several(what, of string, all []string) error {
	e := stead.Errorf(stead.KindConflict, "%d %s are called %.80q", len(all), what, of)
	e.Param, e.Hint = "of", "Stop each of them: "+strings.Join(all, ", ")+"."
	return e
}

// tool: a server's label, one of its tools, a tool that only one server has, or a host.
func (s stoppable) tool(ctx context.Context, of string) (killswitch.Named, error) {
	if host, ok := strings.CutPrefix(of, "host:"); ok {
		known, err := s.hosts(ctx, host)
		if !known {
			of = ""
		}
		return killswitch.Named{Of: of}, err
	}
	servers, err := s.servers(ctx)
	if err != nil {
		return killswitch.Named{}, err
	}
	label, name, one := strings.Cut(of, "/")
	if tools, ok := servers[label]; ok && !one {
		return killswitch.Named{Of: of}, nil
	} else if ok {
		names, all := tools(ctx)
		if !all || slices.Contains(names, name) { // a server that can't be asked now has them perhaps
			return killswitch.Named{Of: of}, nil
		}
		return like(of, in(label, names)), nil
	}
	var has, known []string
	for label, tools := range servers {
		names, _ := tools(ctx)
		known = append(append(known, label), in(label, names)...)
		if label == policy.FunctionServer {
			known = append(known, names...)
		}
		if !one && slices.Contains(names, of) {
			has = append(has, label+"/"+of)
		}
	}
	slices.Sort(has)
	switch {
	case len(has) == 1:
		return killswitch.Named{Of: has[0]}, nil
	case len(has) > 1:
		return killswitch.Named{}, several("tools", of, has)
	}
	return like(of, known), nil
}

func in(label string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = label + "/" + name
	}
	return out
}

// listed are a server's tools, and whether they are all.
type listed func(context.Context) (names []string, all bool)

// servers are those of the runtime, of the operator and of the project's saved agents, by their labels.
func (s stoppable) servers(ctx context.Context) (map[string]listed, error) {
	out := map[string]listed{}
	unknown := func(context.Context) ([]string, bool) { return nil, false }
	var functions []string // of saved agents, each once
	err := s.agents(ctx, func(a agent.Agent) {
		for _, t := range a.Spec.Tools {
			switch {
			case t.Type == agent.ToolMCP:
				out[t.ServerLabel] = unknown
			case t.Type == agent.ToolFunction && !slices.Contains(functions, t.Name):
				functions = append(functions, t.Name)
			}
		}
	})
	own, _ := s.tools.Labels(s.project)
	for _, label := range own {
		out[label] = func(ctx context.Context) ([]string, bool) {
			tools, err := s.tools.Tools(ctx, tool.Server{Project: s.project, Label: label})
			return namesOf(tools), err == nil
		}
	}
	for _, label := range []string{agent.ToolMemory, agent.ToolSemantic, agent.ToolSQL, agent.ToolFileSearch} {
		out[label] = unknown
	}
	out[agent.ToolEnvironment] = func(context.Context) ([]string, bool) { return namesOf(computer.Tools(nil, nil)), true }
	out[policy.ProviderServer] = func(context.Context) ([]string, bool) { return server.ProviderTools(), false }
	out[policy.FunctionServer] = func(context.Context) ([]string, bool) { return functions, true }
	return out, err
}

func namesOf(tools []tool.Tool) []string {
	names := make([]string, len(tools))
	for i, t := range tools {
		names[i] = t.Spec().Name
	}
	return names
}

// hosts reports whether a server of the operator's or of a saved agent is at a host, which may name a port.
func (s stoppable) hosts(ctx context.Context, host string) (known bool, err error) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	at := func(where string) {
		name, _, err := net.SplitHostPort(where)
		known = known || err == nil && (where == host || name == strings.Trim(host, "[]"))
	}
	own, _ := s.tools.Labels(s.project)
	for _, label := range own {
		at((*s.places.Load())[label])
	}
	err = s.agents(ctx, func(a agent.Agent) {
		for _, t := range a.Spec.Tools {
			if t.Transport != nil && t.Transport.ServerURL != "" {
				at(stead.HostPort(t.Transport.ServerURL))
			}
		}
	})
	return known, err
}

package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// An action of a semantic model is a call of another server's tool under another name. It is resolved to that call when the model
// asks for it: what follows (policies, approval, the intent with its key, the effect class after a crash) is that tool's. What
// an action stands for is not offered by itself: that would be without the action's approval, effect and arguments. Where nobody
// can say what actions stand for, no server's tools are offered.

// listing asks servers for their tools, each once. A semantic one tells all, also those that the agent does not allow: what its
// actions stand for does not depend on that.
func (r *Runner) listing(ctx context.Context, key stead.SessionKey, h holder) func(agent.Tool) ([]tool.Tool, error) {
	type answer struct {
		tools []tool.Tool
		err   error
	}
	known := map[string]answer{}
	return func(cfg agent.Tool) ([]tool.Tool, error) {
		a, ok := known[cfg.ServerLabel]
		if !ok {
			if cfg.Type == agent.ToolSemantic {
				cfg.AllowedTools = nil
			}
			a.tools, a.err = r.serverTools(ctx, key, h, cfg)
			known[cfg.ServerLabel] = a
		}
		return a.tools, a.err
	}
}

// bind notes which tools are reached through others, and whether that is known of all.
func (t *toolset) bind(tools []agent.Tool, serve func(agent.Tool) ([]tool.Tool, error)) {
	for _, cfg := range tools {
		if cfg.Type != agent.ToolSemantic {
			continue
		}
		found, err := serve(cfg)
		if err != nil {
			t.unbound = err
			continue
		}
		for _, f := range found {
			b, ok := f.(tool.Binder)
			if !ok {
				continue
			}
			if t.bound == nil {
				t.bound = map[tool.Target]offered{}
			}
			targets, err := b.Bound()
			if err != nil {
				t.unbound = err
			}
			for _, target := range targets {
				t.bound[target] = offered{}
			}
		}
	}
}

// binder is the agent's tool whose calls are calls of other servers' tools, as it is now; nil: it has none.
func (r *Runner) binder(ctx context.Context, key stead.SessionKey, h holder, tools []agent.Tool) (tool.Binder, error) {
	for _, cfg := range tools {
		if cfg.Type != agent.ToolSemantic {
			continue
		}
		cfg.AllowedTools = nil // what was allowed when the call was asked for does not make it another one
		found, err := r.serverTools(ctx, key, h, cfg)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if b, ok := f.(tool.Binder); ok {
				return b, nil
			}
		}
	}
	return nil, nil
}

// behindAction reports whether a tool is one that actions stand for, or takes them, so that it is called by what a model asked for alone.
func (r *Runner) behindAction(ctx context.Context, key stead.SessionKey, h holder, tools []agent.Tool, at tool.Target) (bool, error) {
	i := slices.IndexFunc(tools, func(cfg agent.Tool) bool { return cfg.Type == agent.ToolSemantic })
	if i < 0 {
		return false, nil
	}
	b, err := r.binder(ctx, key, h, tools)
	if b == nil || err != nil {
		return false, err
	}
	targets, err := b.Bound()
	return slices.Contains(targets, at) || at == tool.Target{Server: tools[i].ServerLabel, Name: b.Spec().Name}, err
}

// unready says why the call of an action may not be made.
func (r *Runner) unready(ctx context.Context, key stead.SessionKey, h holder, tools []agent.Tool, asked json.RawMessage, call tool.Call) error {
	b, err := r.binder(ctx, key, h, tools)
	switch {
	case stead.KindOf(err) == stead.KindInvalid: // a model that the agent names is gone, or can't be used
		return stead.Wrap(stead.KindConflict, err, "The action can't be taken: %s", clientMessage(err))
	case err != nil:
		return stead.Wrap(stead.KindUnavailable, err, "whether the action's preconditions hold can't be said")
	case b == nil:
		return stead.Errorf(stead.KindConflict, "The agent takes no actions of semantic models any more.")
	}
	return b.Ready(ctx, asked, call)
}

// readyTimeout is how long looking at preconditions may hold up a reply that is not in the journal yet.
const readyTimeout = 5 * time.Second

// readyFor rejects the call of an action whose preconditions do not hold already: nobody is asked to approve what would be refused. They
// are looked at again before the call is made; where nobody can say, that decides.
func (r *Runner) readyFor(ctx context.Context, key stead.SessionKey, h holder, tools []agent.Tool, asked json.RawMessage, call tool.Call) string {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err := r.unready(ctx, key, h, tools, asked, call)
	switch stead.KindOf(err) {
	case "", stead.KindUnavailable, stead.KindInternal:
		return ""
	}
	return "The call was not made. " + clientMessage(err)
}

// withheld says why a server's tools are not offered, though it may have some; nil: they are.
func (t *toolset) withheld(cfg agent.Tool) error {
	if t.unbound == nil || cfg.Type == agent.ToolSemantic {
		return nil
	}
	return stead.Wrap(stead.KindOf(t.unbound), t.unbound, "its tools are withheld: a semantic model may have actions that stand for them, and can't be used")
}

// allowed reports whether the agent may have a tool of a server. Other sources than a semantic one have looked themselves.
func allowed(cfg agent.Tool, name string) bool {
	return cfg.Type != agent.ToolSemantic || cfg.AllowedTools == nil || slices.Contains(cfg.AllowedTools, name)
}

// takes keeps a tool that is reached through another.
func (t *toolset) takes(at tool.Target, o offered) bool {
	if _, ok := t.bound[at]; !ok {
		return false
	}
	t.bound[at] = o
	return true
}

// bindCall makes a call of an action the call that it stands for, and says what is wrong with it.
func (t *toolset) bindCall(call *session.ToolCall, o offered, b tool.Binder, args json.RawMessage, check func(schema, arguments []byte) error) string {
	to, err := b.Bind(args)
	if err != nil {
		return clientMessage(err)
	}
	target := t.bound[to.Target]
	if target.tool == nil {
		return fmt.Sprintf("%s needs the tool %s of the server %s, which is not among the tools of this agent, or can't be reached.", to.Title, to.Name, to.Server)
	}
	if check != nil && len(target.schema) > 0 {
		if err := check(target.schema, to.Arguments); err != nil {
			return fmt.Sprintf("The arguments of %s do not fit the tool %s: %s", to.Title, to.Name, err)
		}
	}
	spec := target.tool.Spec()
	said := spec
	if to.Effect != "" {
		spec.Effect = to.Effect
	}
	approval := to.Approval || o.config.RequireApproval.Needs(call.Name) || o.config.RequireApproval.Needs(to.Title) || target.config.RequireApproval.Needs(spec.Name)
	*call = session.ToolCall{
		Server: to.Server, Name: spec.Name, Effect: effectOf(target.config, spec), Approval: approval,
		Environment: target.config.InEnvironment(), Arguments: to.Arguments,
	}
	classify(call, target.config, said)
	return ""
}

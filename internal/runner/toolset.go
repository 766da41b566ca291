package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// toolset is the agent's tools as one model call sees them.
type toolset struct {
	specs   []model.ToolSpec
	byName  map[string]offered      // name as the model knows it → what it is
	servers []served                // what each said, in the agent's order
	missing []string                // labels of servers that can't be reached
	wanting []wanting               // servers that want their user's consent
	without []string                // what the model is told of servers whose users gave none
	bound   map[tool.Target]offered // what is offered through actions alone
	unbound error                   // why not all of that is known; nil: it is
}

// offered is one tool on offer: a function of the application, or a tool of a server.
type offered struct {
	config   agent.Tool
	tool     tool.Tool             // nil for functions
	subagent *session.SubagentCall // what is done about subagents; nil: it is another tool
	schema   json.RawMessage
}

// missingServerError says that a server that the agent requires can't be used.
type missingServerError struct {
	label string
	err   error
}

func (e *missingServerError) Error() string { return "tool server " + e.label + ": " + e.err.Error() }
func (e *missingServerError) Unwrap() error { return e.err }

// toolset gathers the tools. A server that is away is left out, unless the agent requires it.
func (r *Runner) toolset(ctx context.Context, key stead.SessionKey, h holder, tools []agent.Tool, withEnvironment bool) (*toolset, error) {
	t := &toolset{byName: make(map[string]offered, len(tools)), specs: make([]model.ToolSpec, 0, len(tools))}
	for _, cfg := range tools {
		if cfg.Type == agent.ToolFunction {
			t.offer(cfg.Name, cfg.Description, offered{config: cfg, schema: cfg.Parameters})
		}
	}
	if withEnvironment && r.cfg.Environments != nil {
		cfg := environmentConfig(tools)
		for _, f := range r.cfg.Environments.Tools() {
			if spec := f.Spec(); cfg.AllowedTools == nil || slices.Contains(cfg.AllowedTools, spec.Name) {
				t.offer(t.free(agent.ToolEnvironment, spec.Name), spec.Description, offered{config: cfg, tool: f, schema: spec.Parameters})
			}
		}
	}
	serve := r.listing(ctx, key, h)
	t.bind(tools, serve)
	for _, cfg := range tools {
		if !cfg.Served() {
			continue
		}
		err := t.withheld(cfg)
		var found []tool.Tool
		if err == nil {
			found, err = serve(cfg)
		}
		t.servers = append(t.servers, served{cfg, found, err})
		if e := unconsented(err); e != nil {
			t.wanting = append(t.wanting, wanting{cfg, e})
			continue
		}
		if err != nil {
			if cfg.Required || ctx.Err() != nil {
				return nil, &missingServerError{cfg.ServerLabel, err}
			}
			r.log.Warn("tool server left out", "server", cfg.ServerLabel, "err", err)
			t.lacks(cfg.ServerLabel, err)
			continue
		}
		for _, f := range found {
			spec := f.Spec()
			if at := (tool.Target{Server: cfg.ServerLabel, Name: spec.Name}); t.takes(at, offered{config: cfg, tool: f, schema: spec.Parameters}) {
				continue
			}
			if !allowed(cfg, spec.Name) {
				continue
			}
			t.offer(t.free(cfg.ServerLabel, spec.Name), spec.Description, offered{config: cfg, tool: f, schema: spec.Parameters})
		}
	}
	return t, nil
}

// lacks notes a server without whose tools the model has to do: it is told why, where to try again helps nobody.
func (t *toolset) lacks(label string, err error) {
	e, ok := errors.AsType[*stead.Error](err)
	if ok && e.Code == tool.CodeCredential && e.Kind == stead.KindForbidden {
		t.without = append(t.without, fmt.Sprintf("The tools of the server %s can't be used: %s.", label, clientMessage(e)))
		return
	}
	t.missing = append(t.missing, label)
}

// environmentConfig is what the agent says of the tools of its environment; by default all are there,
// and none needs approval.
func environmentConfig(tools []agent.Tool) agent.Tool {
	for _, t := range tools {
		if t.Type == agent.ToolEnvironment {
			return t
		}
	}
	return agent.Tool{Type: agent.ToolEnvironment}
}

// serverTools asks a server for its tools, with the credential that the session has for it.
func (r *Runner) serverTools(ctx context.Context, key stead.SessionKey, h holder, cfg agent.Tool) ([]tool.Tool, error) {
	if cfg.Transport != nil && agent.Reserved(cfg.ServerLabel) { // of a journal from before labels were
		return nil, stead.Invalid("server_label", "the label %q is the name of tools, or of a source, of the runtime's own", cfg.ServerLabel)
	}
	s := r.serverOf(key, cfg)
	var err error
	if s.Credential, err = r.bearer(ctx, key, h, cfg); err != nil {
		return nil, err
	}
	if s.Credential == nil {
		s.Credential = r.identified(key, cfg)
	}
	return r.cfg.Tools.Tools(ctx, s)
}

func (r *Runner) serverOf(key stead.SessionKey, cfg agent.Tool) tool.Server {
	s := tool.Server{Project: key.Project, Label: cfg.ServerLabel, Metadata: cfg.RequestMetadata, Allowed: cfg.AllowedTools}
	for _, m := range cfg.MemoryStores {
		s.Memory = append(s.Memory, tool.MemoryStore{ID: m.ID, Writable: m.Access == agent.MemoryReadWrite})
	}
	s.Teams, s.AllScopes, s.Scope = cfg.Teams, cfg.Scopes == agent.MemoryScopesAll, cfg.Scope
	if cfg.Type == agent.ToolSemantic {
		s.Semantic = &tool.Semantic{Project: key.Project, Models: cfg.SemanticModels}
	}
	if cfg.Type == agent.ToolSQL {
		s.SQL = &tool.SQL{Project: key.Project, Databases: cfg.Databases}
	}
	if cfg.Type == agent.ToolFileSearch {
		s.Files = fileSearch(cfg)
	}
	if t := cfg.Transport; t != nil && t.Type == agent.TransportHTTP {
		s.URL, s.Headers = t.ServerURL, t.Headers
	} else if t != nil {
		s.Command = &tool.Command{Args: append([]string{t.Command}, t.Args...), Dir: t.Cwd, EnvVars: t.EnvVars}
	}
	if cfg.InEnvironment() && r.cfg.Environments != nil {
		s.Origin = r.cfg.Environments.Origin(key)
	}
	return s
}

// fileSearch writes the options of a search as they came: the fields were read before, and what was left
// out stays so.
func fileSearch(cfg agent.Tool) *tool.FileSearch {
	options := map[string]any{}
	if cfg.MaxNumResults > 0 {
		options["max_num_results"] = cfg.MaxNumResults
	}
	for name, raw := range map[string]json.RawMessage{"filters": cfg.Filters, "ranking_options": cfg.RankingOptions} {
		if len(raw) > 0 {
			options[name] = raw
		}
	}
	out := &tool.FileSearch{Stores: cfg.VectorStoreIDs}
	out.Options, _ = json.Marshal(options) // JSON that was read can be written
	return out
}

func (t *toolset) offer(name, description string, o offered) {
	t.byName[name] = o
	t.specs = append(t.specs, model.ToolSpec{Name: name, Description: description, Parameters: o.schema})
}

// maxToolName is the longest tool name that model APIs accept.
const maxToolName = 64

// free finds the name under which the model gets a server's tool: its own if it is valid and free,
// else with the server's label in front, else with a digest behind.
func (t *toolset) free(label, name string) string {
	clean := cleanName(name)
	for _, candidate := range []string{clean, cleanName(label + "__" + name)} {
		if _, taken := t.byName[candidate]; !taken && len(candidate) <= maxToolName {
			return candidate
		}
	}
	sum := sha256.Sum256([]byte(label + "\x00" + name))
	const digits = 8
	return clean[:min(len(clean), maxToolName-digits-1)] + "_" + hex.EncodeToString(sum[:])[:digits]
}

func cleanName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// resolve says how a model's call is executed. What can't be executed carries a rejection that the
// model can act on.
func (t *toolset) resolve(it stead.Item, check func(schema, arguments []byte) error) (json.RawMessage, *session.ToolCall) {
	args, wrong := arguments(it.Arguments)
	o, known := t.byName[it.Name]
	if !known {
		return args, &session.ToolCall{Reject: t.unknown(it.Name)}
	}
	call := &session.ToolCall{Async: o.config.Async, Subagent: o.subagent}
	if o.tool != nil {
		spec := o.tool.Spec()
		*call = session.ToolCall{
			Server: o.config.ServerLabel, Name: spec.Name, Effect: effectOf(o.config, spec), Approval: o.config.RequireApproval.Needs(spec.Name),
			Environment: o.config.Type == agent.ToolEnvironment || o.config.InEnvironment(), Passages: o.config.Type == agent.ToolFileSearch,
		}
		classify(call, o.config, spec)
	}
	if s, ok := o.tool.(tool.Sourced); ok {
		call.Origin = s.Origin(args)
	}
	if wrong == "" && check != nil && len(o.schema) > 0 {
		if err := check(o.schema, args); err != nil {
			wrong = err.Error()
		}
	}
	if b, ok := o.tool.(tool.Binder); ok && wrong == "" {
		wrong = t.bindCall(call, o, b, args, check)
	}
	if wrong != "" {
		call.Reject = "The call was not made. " + wrong
	}
	return args, call
}

func effectOf(cfg agent.Tool, spec tool.Spec) tool.Effect {
	e := spec.Effect
	if declared := tool.Effect(cfg.Effects[spec.Name]); declared != "" {
		e = declared
	}
	if e != tool.Pure && e != tool.Idempotent {
		return tool.Unknown
	}
	return e
}

// classify notes what policies are told of a call: what the runtime, the operator or a server of the operator's says of its tool. Of a
// server that the agent names nobody knows.
func classify(call *session.ToolCall, cfg agent.Tool, spec tool.Spec) {
	class := effectOf(agent.Tool{}, spec)
	if cfg.Transport != nil {
		class = tool.Unknown
	} else {
		call.Destination = spec.Destination
	}
	if class != call.Effect {
		call.Class = class
	}
}

// maxNamed is how many tools an error to the model names.
const maxNamed = 30

func (t *toolset) unknown(name string) string {
	var names []string
	for _, s := range t.specs {
		if len(names) == maxNamed {
			names = append(names, "…")
			break
		}
		names = append(names, s.Name)
	}
	told := fmt.Sprintf("The call was not made: there is no tool %.64q, and no tools at all.", name)
	if len(names) > 0 {
		told = fmt.Sprintf("The call was not made: there is no tool %.64q. The tools are: %s.", name, strings.Join(names, ", "))
	}
	return strings.Join(append([]string{told}, t.without...), " ")
}

func toolsetError(err error) error {
	me := &model.Error{Code: model.CodeConnection, Message: "A required tool server could not be reached.", Retry: true, Err: err}
	if missing, ok := errors.AsType[*missingServerError](err); ok {
		me.Message = "The required tool server " + missing.label + " could not be used."
		if kind := stead.KindOf(missing.err); kind == stead.KindInvalid || kind == stead.KindForbidden { // so it is next time
			me.Code, me.Retry, me.Message = model.CodeInvalid, false, clientMessage(missing.err)
		}
	}
	return me
}

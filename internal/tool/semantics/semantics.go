// Package semantics gives agents tools over semantic models: describe, query and act.
//
// Shape: New(layer, check, next) is a tool.Source. A Server with Semantic is answered here, any other by next.
//
//	describe {"term": "revenue"}                    pure
//	query    {"metrics": ["revenue"], …}            pure: an answer with definition, source, version and times
//	act      {"action": "refund_order", "arguments": {…}}   a tool.Binder: a call of the tool server's tool that the action names
//
// Describe and query see the rows of whom the session belongs to. An act is never made here: the runner makes the call that
// it stands for, with the policies, approvals, key and effect class of that.
//
// Units and limits: those of package semantic; a description of the tools names the terms in at most maxTermBytes.
//
// Errors: what models, policies and databases refuse is the tool's result, in words for the model; a database that is
// away (KindUnavailable) leaves the outcome missing, and the call is made again.
package semantics

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/semantic/upload"
	"github.com/stead-dev/stead/internal/tool"
)

// maxTermBytes bounds the names of terms in the description of a tool: it stands in every model call.
const maxTermBytes = 2 << 10

// Source serves the tools, and those of servers by another source.
type Source struct {
	layer *layer.Layer
	check func(schema, arguments []byte) error
	next  tool.Source
}

// New makes a Source. check says whether arguments fit a JSON Schema.
func New(l *layer.Layer, check func(schema, arguments []byte) error, next tool.Source) *Source {
	return &Source{l, check, next}
}

// Tools implements tool.Source.
func (s *Source) Tools(ctx context.Context, srv tool.Server) ([]tool.Tool, error) {
	if srv.Semantic == nil {
		return s.next.Tools(ctx, srv)
	}
	models, broken, err := s.layer.Models(ctx, srv.Semantic.Project, srv.Semantic.Models)
	if err != nil {
		return nil, err
	}
	var out []tool.Tool
	kit := &kit{s.layer, s.check, srv.Semantic.Models, models, broken}
	targets, unknown := kit.targets()
	for _, t := range []tool.Tool{&describe{kit}, &query{kit}, &act{kit}} {
		name := t.Spec().Name
		if srv.Allowed != nil && !slices.Contains(srv.Allowed, name) || name == "act" && len(targets) == 0 && unknown == nil {
			continue
		}
		out = append(out, t)
	}
	return out, nil
}

// kit is the models of one agent.
type kit struct {
	layer  *layer.Layer
	check  func(schema, arguments []byte) error
	only   []string // names; nil: all of the project
	models []*semantic.Model
	broken []upload.Loaded // of the project, and not to be used
}

// by is whoever a call is for.
func by(c tool.Call) layer.By {
	p := c.Principal
	p.Project = c.Session.Project
	return layer.By{Principal: p, Behind: c.Behind, Acting: true, Agent: c.Agent, Session: c.Session, Labels: c.Labels}
}

// terms names what there is, for the description of a tool.
func (k *kit) terms(which func(semantic.Overview) []semantic.Brief) string {
	var b strings.Builder
	for _, m := range k.models {
		o := m.Overview()
		var names []string
		for _, t := range which(o) {
			names = append(names, t.Name)
		}
		if len(names) == 0 {
			continue
		}
		line := " " + m.Name + ": " + strings.Join(names, ", ") + "."
		if b.Len()+len(line) > maxTermBytes {
			b.WriteString(" …")
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

func metrics(o semantic.Overview) []semantic.Brief  { return o.Metrics }
func entities(o semantic.Overview) []semantic.Brief { return o.Entities }
func actions(o semantic.Overview) []semantic.Brief  { return o.Actions }

// describe tells what terms mean.
type describe struct{ *kit }

// Spec implements tool.Tool.
func (t *describe) Spec() tool.Spec {
	return tool.Spec{
		Name: "describe", Effect: tool.Pure,
		Description: "Tell what a business term means: a metric with its definition and dimensions, an entity with its attributes, or an action with its arguments and preconditions. Without a term, all that there are.",
		Parameters:  json.RawMessage(`{"type":"object","properties":{"term":{"type":"string","description":"a metric, an entity, an action, or another word for one"},"model":{"type":"string","description":"only where several semantic models know the term"}},"additionalProperties":false}`),
	}
}

// Call implements tool.Tool.
func (t *describe) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	var asked struct{ Term, Model string }
	if err := json.Unmarshal(c.Arguments, &asked); err != nil {
		return tool.Said("The arguments can't be read: "+err.Error(), true), nil
	}
	return tool.Answer(t.layer.Describe(ctx, by(c), t.only, asked.Model, asked.Term))
}

// query answers questions.
type query struct{ *kit }

// querySchema is the JSON Schema of semantic.Query.
const querySchema = `{"type":"object","properties":{
"metrics":{"type":"array","items":{"type":"string"},"maxItems":20,"description":"what is wanted"},
"entity":{"type":"string","description":"in place of metrics: list rows of this entity"},
"dimensions":{"type":"array","items":{"type":"string"},"description":"by what the metrics are cut, or what of the entity is listed"},
"filters":{"type":"array","maxItems":20,"items":{"type":"object","properties":{"dimension":{"type":"string"},"operator":{"type":"string","enum":["equals","not_equals","in","not_in","greater_than","at_least","less_than","at_most","contains","is_null","is_not_null"]},"values":{"type":"array","items":{"type":["string","number","boolean"]},"maxItems":200}},"required":["dimension"],"additionalProperties":false}},
"time":{"type":"object","properties":{"from":{"type":"string","description":"2026-01-31 or 2026-01-31T09:00:00Z, in UTC"},"to":{"type":"string","description":"the range ends before it"},"grain":{"type":"string","enum":["hour","day","week","month","quarter","year"],"description":"cut by time as well"}},"additionalProperties":false},
"order":{"type":"array","maxItems":10,"items":{"type":"object","properties":{"by":{"type":"string"},"descending":{"type":"boolean"}},"required":["by"],"additionalProperties":false}},
"limit":{"type":"integer","minimum":1,"maximum":1000},
"model":{"type":"string","description":"only where several semantic models know the terms"}},"additionalProperties":false}`

// Spec implements tool.Tool.
func (t *query) Spec() tool.Spec {
	return tool.Spec{
		Name: "query", Effect: tool.Pure,
		Description: "Get numbers: metrics, cut by dimensions, filtered, in a range of time; or rows of an entity. The answer says how each metric is defined, where it is from, of when it is and whether it is stale: say so when you use it. Metrics:" +
			t.terms(metrics) + " Entities:" + t.terms(entities),
		Parameters: json.RawMessage(querySchema),
	}
}

// Call implements tool.Tool.
func (t *query) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	q, err := semantic.ReadQuery(c.Arguments)
	if err != nil {
		return tool.Answer(nil, err)
	}
	return tool.Answer(t.layer.Query(ctx, by(c), t.only, q))
}

// act takes actions.
type act struct{ *kit }

// Spec implements tool.Tool.
func (t *act) Spec() tool.Spec {
	names := t.terms(actions)
	if len(t.broken) > 0 {
		names += " Some semantic models can't be used at present: their actions can't be taken."
	}
	return tool.Spec{
		Name: "act", Effect: tool.Unknown,
		Description: "Do something: take an action with its arguments. Describe it first: it has preconditions, and may need somebody's approval. Actions:" + names,
		Parameters:  json.RawMessage(`{"type":"object","properties":{"action":{"type":"string"},"arguments":{"type":"object"},"model":{"type":"string","description":"only where several semantic models know the action"}},"required":["action"],"additionalProperties":false}`),
	}
}

// Bound implements tool.Binder.
func (t *act) Bound() ([]tool.Target, error) { return t.targets() }

// targets are what actions stand for, also those of models that can't be used: such an action can't be taken, nor its tool without it.
func (k *kit) targets() ([]tool.Target, error) {
	var out []tool.Target
	var unknown error
	models := slices.Clone(k.models)
	for _, b := range k.broken {
		if b.Ungranted == nil {
			unknown = stead.Wrap(stead.KindInvalid, b.Err, "the semantic model %s can't be read", b.Name)
			continue
		}
		models = append(models, b.Ungranted)
	}
	for _, m := range models {
		for _, a := range m.Actions {
			server, name := a.Target()
			if at := (tool.Target{Server: server, Name: name}); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out, unknown
}

// wanted is the arguments of an act.
type wanted struct {
	Action    string          `json:"action"`
	Arguments json.RawMessage `json:"arguments"`
	Model     string          `json:"model"`
}

func readWanted(raw json.RawMessage) (wanted, error) {
	var asked wanted
	if err := json.Unmarshal(raw, &asked); err != nil {
		return asked, stead.Invalid("arguments", "The arguments can't be read: %s.", err)
	}
	return asked, nil
}

// Bind implements tool.Binder.
func (t *act) Bind(raw json.RawMessage) (tool.Bound, error) {
	asked, err := readWanted(raw)
	if err != nil {
		return tool.Bound{}, err
	}
	_, name, a, args, err := layer.Action(t.models, asked.Model, asked.Action, asked.Arguments, t.check)
	if err != nil {
		return tool.Bound{}, stead.Invalid("arguments", "%s", tool.Words(err))
	}
	server, target := a.Target()
	return tool.Bound{Target: tool.Target{Server: server, Name: target}, Title: name, Arguments: args, Effect: tool.Effect(a.Effect), Approval: a.Approval}, nil
}

// Rebind implements tool.Binder.
func (t *act) Rebind(raw, arguments json.RawMessage) (json.RawMessage, error) {
	asked, err := readWanted(raw)
	if err != nil {
		return nil, err
	}
	_, name, a, err := layer.FindAction(t.models, asked.Model, asked.Action)
	if err != nil {
		return nil, stead.Invalid("arguments", "%s", tool.Words(err))
	}
	args, err := a.Recall(arguments, t.check)
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindInvalid {
		return nil, stead.Invalid("arguments", "it is the action %s, which sets what its tool gets: %s", name, e.Message)
	}
	return args, err
}

// Ready implements tool.Binder.
func (t *act) Ready(ctx context.Context, raw json.RawMessage, c tool.Call) error {
	asked, err := readWanted(raw)
	if err != nil {
		return err
	}
	m, name, a, err := layer.FindAction(t.models, asked.Model, asked.Action)
	if err == nil {
		err = t.layer.Ready(ctx, by(c), m, name, a, c.Arguments)
	}
	if kind := stead.KindOf(err); err == nil || kind == stead.KindUnavailable || kind == stead.KindInternal {
		return err
	}
	return stead.Errorf(stead.KindConflict, "%s", tool.Words(err))
}

// Call implements tool.Tool. The runner makes the call that Bind tells: nobody comes here.
func (t *act) Call(context.Context, tool.Call) (tool.Result, error) {
	return tool.Result{}, &tool.NotSentError{Err: stead.Errorf(stead.KindInternal, "an action was called by itself")}
}

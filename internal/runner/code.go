package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Code in the environment calls the session's other tools: the way of such a call is that of one of
// the model's, from the journal on. Only its beginning and its end are here.

// caller is what an environment has of its session: environment.Caller.
type caller struct{ a *actor }

// codeCall is a call that code waits for, as long as waits lasts. The actor looks before each step who is
// still there: nothing is journaled or begun for code that has hung up, and what stands in the journal
// already is given up, however the hanging up and the step race.
type codeCall struct {
	id     string // as journaled; "": it is not. The actor's alone
	waits  context.Context
	result chan codeResult // of capacity one
}

func (c *codeCall) gone() bool { return c.waits.Err() != nil }

type codeResult struct {
	output  []stead.Content
	failure string
}

// programmatic reports whether the agent lets code call its tools.
func programmatic(tools []agent.Tool) bool {
	return slices.ContainsFunc(tools, func(t agent.Tool) bool {
		return t.Type == agent.ToolProgrammatic && t.Enabled != nil && *t.Enabled
	})
}

// tools are those that code can call: not those of the environment, in which it is.
func (c caller) tools(ctx context.Context) (*toolset, error) {
	// As they are now: code runs beside the actor, and has no part in its state.
	v, err := c.a.r.view(ctx, c.a.key)
	if err != nil {
		return nil, err
	}
	return c.a.r.toolset(ctx, c.a.key, holderOf(v), v.Created.Agent.Spec.Tools, false)
}

// List implements environment.Caller.
func (c caller) List(ctx context.Context) ([]tool.Spec, error) {
	set, err := c.tools(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]tool.Spec, len(set.specs))
	for i, s := range set.specs {
		out[i] = tool.Spec{Name: s.Name, Description: s.Description, Parameters: s.Parameters}
	}
	return out, nil
}

// Call implements environment.Caller.
func (c caller) Call(ctx context.Context, name string, raw json.RawMessage) (tool.Result, error) {
	set, err := c.tools(ctx)
	if err != nil {
		return tool.Result{}, err
	}
	checks, err := c.checks(ctx)
	if err != nil {
		return tool.Result{}, err
	}
	args, how, verdict := c.a.r.guarded(ctx, checks, set, stead.Item{Name: name, Arguments: raw})
	if how.Reject != "" && len(verdict.Findings) == 0 { // what guardrails did stands in the journal
		return tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, how.Reject)}, nil
	}
	how.Async = false // the code waits
	asked := session.ToolRequested{Name: name, Arguments: args, Type: stead.ItemFunctionCall, Tool: *how, Guardrails: verdict.Findings}
	if how.Server != "" {
		asked.Type = stead.ItemMCPCall
	}
	call := &codeCall{waits: ctx, result: make(chan codeResult, 1)}
	if err := c.a.submit(ctx, note{pending: c.a.asking(call, asked), call: call}); err != nil {
		c.a.nudge() // the actor may have taken it
		return tool.Result{}, err
	}
	select {
	case r := <-call.result:
		return c.finish(ctx, r)
	case <-ctx.Done():
		c.a.nudge()
		return tool.Result{}, ctx.Err()
	case <-c.a.ctx.Done():
		return tool.Result{}, stead.Wrap(stead.KindUnavailable, c.a.ctx.Err(), "the session is not held here any more")
	}
}

// codeCallPrefix begins the ids of calls of code, and of no other calls: an answer names its call by that.
const codeCallPrefix = "code_"

// asking names the call by its place, once that is known. Without a running turn nothing is written, and
// nothing for code that has gone.
func (a *actor) asking(call *codeCall, asked session.ToolRequested) pending {
	return pending{kind: session.KindToolRequested, make: func(s *session.State) (any, error) {
		call.id = ""
		if s.Turn == nil || s.Turn.Cancelling || call.gone() {
			return nil, nil
		}
		call.id = fmt.Sprintf("%s%d", codeCallPrefix, s.Tail+1)
		for s.CallByID(call.id) != nil { // an application names the calls of its own items
			call.id += "_"
		}
		p := asked
		p.CallID = call.id
		if how := a.permitFunction(p.Asks(), 0); how != nil {
			p.Tool = *how
		}
		return p, nil
	}}
}

// finish loads what the call brought: large texts are in blobs.
func (c caller) finish(ctx context.Context, r codeResult) (tool.Result, error) {
	if r.failure != "" {
		return tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, r.failure)}, nil
	}
	texts := c.a.r.texts(ctx, c.a.key)
	out := slices.Clone(r.output)
	for i := range out {
		out[i].Text = stead.NewText(texts(out[i].Text))
	}
	return tool.Result{Content: out}, nil
}

// abandonCode gives up the calls of code that nobody waits for and that were not made yet. Whoever waits is
// among a.asked: code runs where its session is held.
func (a *actor) abandonCode(p *plan) error {
	for _, id := range a.state.CodeAsks() {
		if c := a.askedAs(id); c != nil && !c.gone() {
			continue
		}
		if len(p.events) >= stead.MaxBatchEvents/2 {
			a.nudge() // the others in the next step
			return nil
		}
		if err := a.record(p, session.KindToolReturned, session.ToolReturned{CallID: id, Error: session.ToldCodeGone}); err != nil {
			return err
		}
	}
	return nil
}

// askedAs is what code asked for as a call of that id; nil: nothing, of this holder.
func (a *actor) askedAs(id string) *codeCall {
	if at := slices.IndexFunc(a.asked, func(c *codeCall) bool { return c.id == id }); at >= 0 {
		return a.asked[at]
	}
	return nil
}

// settleCode hands the results of finished calls to the code that waits for them.
func (a *actor) settleCode() {
	a.asked = slices.DeleteFunc(a.asked, func(call *codeCall) bool {
		if call.id == "" {
			call.result <- codeResult{failure: "No turn is running: tools can only be called while the agent works."}
			return true
		}
		output, failure, done := a.state.CodeDone(call.id)
		if done {
			call.result <- codeResult{output, failure}
		}
		return done
	})
}

// codeText tells the model how code calls tools.
func codeText(s *session.State) string {
	if s.Environment == nil || !s.Environment.Hosted() || !programmatic(s.Created.Agent.Spec.Tools) {
		return ""
	}
	return "\n\nCode in your environment can call your other tools itself, which is better than many single calls. In Python: " +
		"`import stead_tools; stead_tools.tools(); stead_tools.call(\"NAME\", argument=value)`. From anything else: " +
		"HTTP on the unix socket $STEAD_TOOLS, GET /tools and POST /tools/NAME with the arguments as JSON."
}

package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// intendTool journals the intent of a tool call and plans it. What policy refuses is told to the
// model, without an intent.
func (a *actor) intendTool(p *plan, c session.CallTool) error {
	call := c.Call
	computer := call.Tool.Environment && call.Tool.Server == ""
	decision, done, err := a.permitCall(p, call)
	if done || err != nil {
		return err
	}
	if call.Function() { // the application makes it
		return a.record(p, session.KindToolRequired, session.ToolRequired{CallID: call.CallID, Decision: decision})
	}
	key := call.Key(a.key.Session)
	attempt := call.Attempts + 1
	called := session.ToolCalled{CallID: call.CallID, Key: key, Attempt: attempt, Decision: decision}
	if refused, err := a.reserveTool(p, call, &called); err != nil || refused {
		return err
	}
	if err := a.record(p, session.KindToolCalled, called); err != nil {
		return err
	}
	run := &toolCall{
		a: a, id: call.CallID, attempt: attempt, server: call.Tool.Server, name: call.Tool.Name,
		checks: a.checks(), tools: a.state.Created.Agent.Spec.Tools, title: titleOf(&call.Tool, call.Name),
		config: a.serverConfig(call.Tool.Server), holder: holderIn(&a.state.View, call), at: a.state.Tail, computer: computer, inside: call.Tool.Environment, edited: call.ToldEdited(),
		call: tool.Call{
			Key: key, Arguments: call.Args(), Session: a.key,
			Turn: session.TurnID(a.key.Session, a.state.Turn.Seq), Agent: a.state.Created.Agent.ID, Principal: a.state.Created.Principal, Behind: a.state.Behind(), Alone: a.state.AloneIn(call), Labels: a.state.Labels(), At: a.state.Tail,
			Progress: func(message string) { a.log.Debug("tool progress", "call", call.CallID, "message", message) },
		},
	}
	if call.Tool.Arguments != nil {
		run.asked = call.Arguments
	}
	run.step = policy.NewCall(a.state.Grants(session.WithinCall(call.CallID)), a.state.Changed(call))
	run.pure = call.Tool.Effect == tool.Pure
	run.brought = call.Request != "" && call.Tool.Arguments == nil
	if computer {
		if run.mounts = a.mountAsk(); run.mounts != nil {
			run.mounts.Since = call.Seq - 1 // its output is an item that has the place of the reply that asked for it
		}
	}
	if call.Code {
		run.code = a.askedAs(call.CallID)
	}
	req := a.state.ToolRequest(call)
	p.calls = append(p.calls, starting{a.state.Focus(), func() {
		flight, ctx := a.begin()
		go a.r.watched(ctx, req, func(ctx context.Context) { run.guarded(ctx, flight) })
	}})
	return nil
}

// permitCall asks policies about a call. done: it waits for an approval, or was refused, and that is on record.
func (a *actor) permitCall(p *plan, call *session.Call) (decision policy.Decision, done bool, err error) {
	if !call.Gated() {
		return policy.Decision{Allow: true, By: "session"}, false, nil
	}
	asked := a.state.ToolRequest(call)
	asked.Carried, asked.Waits = true, true
	decision, err = policy.Check(a.ctx, a.r.cfg.Policy, asked)
	decision, err = withAsk(call.Tool.Ask, decision, err)
	if n := decision.Needs; n != nil && call.Lapsed && n.Default == policy.DefaultAllow {
		decision.Allow, decision.Needs, err = true, nil, nil
		decision.Reason += "; nobody answered in time, and it is made then"
	} else if n != nil && call.Lapsed { // policies changed their mind meanwhile
		decision.Needs, err = nil, stead.Errorf(stead.KindForbidden, "%s", session.ToldExpired)
	} else if n != nil && a.state.Lacks(call, n) > 0 {
		a.decided = a.r.draft(a.ctx, a.decided, asked, decision)
		return decision, true, a.record(p, session.KindToolHeld, session.ToolHeld{CallID: call.CallID, Decision: decision})
	} else if n != nil {
		decision.Allow, decision.Needs, err = true, nil, nil
	}
	a.decided = a.r.draft(a.ctx, a.decided, asked, decision)
	if err != nil {
		told := clientMessage(err)
		if edited := call.ToldEdited(); edited != "" && !call.Function() { // of which the core tells it
			told += " (" + edited + ".)"
		}
		if call.Attempts > 0 {
			told += " (An attempt that was made before may have taken effect.)"
		}
		return decision, true, a.record(p, session.KindToolReturned, session.ToolReturned{CallID: call.CallID, Error: told, Decision: decision.Recorded()})
	}
	return decision, false, nil
}

func (a *actor) serverConfig(label string) *agent.Tool {
	return serverConfig(a.state.Created.Agent.Spec.Tools, label) // replaced as a whole, never changed
}

func serverConfig(tools []agent.Tool, label string) *agent.Tool {
	for i := range tools {
		if tools[i].Served() && tools[i].ServerLabel == label {
			return &tools[i]
		}
	}
	return nil
}

// toolCall is one call under way.
type toolCall struct {
	a            *actor
	id           string
	attempt      int
	server, name string
	checks       *guardrail.Checks
	title        string      // of the tool, as guardrails name it
	config       *agent.Tool // nil: the session's tools changed and the server is gone
	holder       holder
	at           stead.Seq // of the intent
	computer     bool      // it runs in the session's environment
	inside       bool      // it, or its server, does: what that used is journaled with the outcome
	edited       string    // what the model is told of arguments that whoever approved has changed
	call         tool.Call
	asked        json.RawMessage   // of an action: its arguments, as the model asked for it
	tools        []agent.Tool      // the agent's
	code         *codeCall         // nil: the model asked for it
	mounts       *session.MountAsk // memory stores that are files where it runs; nil: none
	back         *session.Mounted  // what was taken back into them
	sent         bool              // the tool was called: from then on it may have happened
	step         *policy.Step      // with what was answered about effects of its own
	pure         bool              // it changes nothing
	brought      bool              // an answer brought it into the turn, perhaps with a question that no model asked
}

// guarded turns a panic of a tool source or a tool's adapter into a missing outcome.
func (c *toolCall) guarded(ctx context.Context, f *flight) {
	if err := safely(func() error { c.run(ctx, f); return nil }); err != nil {
		c.lost(ctx, f, err, c.sent)
	}
}

func (c *toolCall) run(ctx context.Context, f *flight) {
	begun := c.a.r.cfg.Now()
	if !c.computer { // what a command does has a door of its own
		ctx = policy.InStep(ctx, c.step)
	}
	found, err := c.find(ctx)
	if c.holds(f, err, false) || c.unconsented(ctx, f, err) || c.refused(ctx, f, begun, err) {
		return
	}
	if err != nil {
		c.lost(ctx, f, err, false)
		return
	}
	if found == nil {
		c.returned(ctx, f, begun, tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, fmt.Sprintf("The server %s has no tool %s any more.", c.server, c.name))})
		return
	}
	if c.code != nil && c.code.gone() { // since its intent was planned
		c.returned(ctx, f, begun, tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, session.ToldCodeGone)})
		return
	}
	if !c.ready(ctx, f, begun) {
		return
	}
	limit := c.a.r.cfg.ToolTimeout
	if c.computer {
		limit = environment.MaxCommandTime // commands have limits of their own
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.sent = true // as far as anybody can tell
	out := c.stream(ctx, f)
	result, mounted, err := c.mounted(ctx, found)
	c.back = mounted
	out.end()
	if c.holds(f, err, result.IsError) || c.unconsented(ctx, f, err) || c.refused(ctx, f, begun, err) {
		return
	}
	if err != nil {
		_, notSent := errors.AsType[*tool.NotSentError](err)
		c.lost(ctx, f, err, !notSent)
		return
	}
	c.returned(ctx, f, begun, result)
}

// holds ends an attempt of which effects want approvals first; failed: it has not done what it was to do. Once they are answered it is made again.
// A call that has changed something, though it was refused a part of it, is not.
func (c *toolCall) holds(f *flight, err error, failed bool) bool {
	all := wanted(c.step, err)
	switch {
	case len(all) == 0:
		return false
	case c.pure:
	case c.config != nil && c.config.Type == agent.ToolMCP: // it was not sent if its credential was refused, and else who knows
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Code != tool.CodeCredential {
			return false
		}
	case err == nil && !failed:
		return false
	}
	lost := session.ToolLost{CallID: c.id, Reason: "effects of it wait for approval", RetryAt: c.a.r.now(), Held: true}
	c.a.deliver(f, append([]pending{happened(session.KindToolLost, lost)}, holds(session.WithinCall(c.id), c.title, all)...)...)
	return true
}

// refused ends a call whose credential can't be used: the call was not made, and to try again would not help.
func (c *toolCall) refused(ctx context.Context, f *flight, begun time.Time, err error) bool {
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Code != tool.CodeCredential {
		return false
	}
	c.sent = false
	c.returned(ctx, f, begun, tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, "The call was not made: "+clientMessage(e)+".")})
	return true
}

// ready ends a call of an action whose preconditions do not hold, right before it would be made: at each attempt, and whatever was
// approved since they were looked at first.
func (c *toolCall) ready(ctx context.Context, f *flight, begun time.Time) bool {
	if c.asked == nil {
		return true
	}
	err := c.a.r.unready(ctx, c.a.key, c.holder, c.tools, c.asked, c.call)
	switch stead.KindOf(err) {
	case "":
		return true
	case stead.KindUnavailable, stead.KindInternal:
		c.lost(ctx, f, err, false)
		return false
	}
	told := "The call was not made. " + clientMessage(err)
	if c.attempt > 1 {
		told += " An attempt that was made before may have taken effect."
	}
	c.returned(ctx, f, begun, tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, told)})
	return false
}

// find looks the tool up; nil when the server is there and the tool is not.
func (c *toolCall) find(ctx context.Context) (tool.Tool, error) {
	if c.computer {
		return named(c.a.r.cfg.Environments.Tools(), c.name), nil
	}
	if c.config == nil {
		return nil, nil
	}
	tools, err := c.a.r.serverTools(ctx, c.a.key, c.holder, *c.config)
	if err != nil {
		return nil, err
	}
	found := named(tools, c.name)
	if !c.brought || found == nil {
		return found, nil
	}
	behind, err := c.a.r.behindAction(ctx, c.a.key, c.holder, c.tools, tool.Target{Server: c.server, Name: c.name})
	if err != nil || behind {
		return nil, err
	}
	return found, nil
}

// named finds a tool; nil when it is not there.
func named(tools []tool.Tool, name string) tool.Tool {
	for _, t := range tools {
		if t.Spec().Name == name {
			return t
		}
	}
	return nil
}

func (c *toolCall) returned(ctx context.Context, f *flight, begun time.Time, result tool.Result) {
	verdict := c.screen(ctx, &result)
	out := session.ToolReturned{CallID: c.id, Guardrails: verdict.Findings, DurationMS: c.a.r.cfg.Now().Sub(begun).Milliseconds(), Exit: result.Exit, NotSent: !c.sent, Mounted: c.back, Labels: result.Labels}
	out.Usage, out.Resided = c.used()
	if result.IsError {
		out.Error = joined(result.Content)
		const most = 8 << 10
		if len(out.Error) > most {
			out.Error = out.Error[:most] + " … (cut)"
		}
		if out.Error == "" {
			out.Error = "The tool failed without saying why."
		}
		if c.edited != "" {
			out.Error += " (" + c.edited + ".)"
		}
	} else {
		out.Output = fewParts(append([]stead.Content(nil), result.Content...))
		if len(out.Output) == 0 {
			out.Output = stead.TextContent(stead.ContentInputText, "")
		}
		if c.edited != "" {
			out.Output = append(out.Output, stead.TextContent(stead.ContentInputText, "\n("+c.edited+".)")...)
		}
		if !c.a.spillContent(ctx, out.Output) {
			return
		}
	}
	c.a.deliver(f, happened(session.KindToolReturned, out))
}

// used is what a self-hosted environment has used since the call before it, or a hosted one since it was
// opened; nil: nothing, or it is the other one.
func (c *toolCall) used() (*environment.Usage, *environment.Resided) {
	if !c.inside {
		return nil, nil
	}
	u := c.a.r.cfg.Environments.Used(c.a.key)
	switch {
	case u.Usage == (environment.Usage{}):
		return nil, nil
	case u.Residence == 0:
		return &u.Usage, nil
	}
	return nil, &u
}

// lost says that the outcome is missing. Whether the call may be made again is the core's to say.
func (c *toolCall) lost(ctx context.Context, f *flight, err error, sent bool) {
	reason := "the connection to the server broke"
	switch {
	case stopped(ctx) != nil:
		reason = "it was ended: " + stopped(ctx).Message
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		reason = fmt.Sprintf("it did not answer within %s", c.a.r.cfg.ToolTimeout)
	case !sent:
		reason = "the server could not be reached"
	}
	c.a.log.Warn("tool call lost", "server", c.server, "tool", c.name, "sent", sent, "err", err)
	c.a.deliver(f, happened(session.KindToolLost, session.ToolLost{
		CallID: c.id, Reason: reason, Sent: sent,
		RetryAt: c.a.r.now() + c.a.r.backoff(c.attempt, 0).Milliseconds(),
	}))
}

package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Guardrails see a text once, before it stands in the journal, which holds it as they left it, with what they did. So a
// replay never asks them, and a crash before the append has them asked again about what is said again.

// checks are the guardrails of the session's agent.
func (a *actor) checks() *guardrail.Checks {
	return a.r.checksOf(&a.state.View, a.state.Created.Principal)
}

// checks are those of a call that code makes: as the session is now.
func (c caller) checks(ctx context.Context) (*guardrail.Checks, error) {
	v, err := c.a.r.view(ctx, c.a.key)
	if err != nil {
		return nil, err
	}
	return c.a.r.checksOf(v, v.Created.Principal), nil
}

func (r *Runner) checksOf(v *session.View, by stead.Principal) *guardrail.Checks {
	return r.cfg.Guardrails.Of(guardrail.Subject{
		Principal: by, Project: v.Key.Project, Session: v.Key.Session, Agent: v.Created.Agent.Limited(), Model: v.Created.Agent.Spec.Model, Labels: v.Labels(),
	})
}

// screen checks what the model said. What is withheld is not kept.
func (c *modelCall) screen(ctx context.Context, r *reply) guardrail.Verdict {
	items, v := c.checks.Reply(ctx, r.items)
	moved(r.items, items)
	if r.items = items; v.Blocked != nil {
		r.finish = model.FinishFilter
	}
	return v
}

// guarded resolves a call with its arguments as guardrails leave them. What they refuse is rejected as a call that can't be
// made is; what they ask about waits with its decision.
func (r *Runner) guarded(ctx context.Context, checks *guardrail.Checks, set *toolset, it stead.Item) (json.RawMessage, *session.ToolCall, guardrail.Verdict) {
	args, how := set.resolve(it, r.cfg.CheckArguments)
	left, v := checks.Arguments(ctx, titleOf(how, it.Name), args)
	if !bytes.Equal(left, args) {
		it.Arguments = left
		args, how = set.resolve(it, r.cfg.CheckArguments) // they have to fit the tool as they are now
	}
	switch {
	case how.Reject != "":
	case v.Blocked != nil:
		how.Reject = v.Told("The call was not made: it was refused")
	case v.Needs != nil:
		how.Ask = &policy.Decision{By: byGuardrail, Reason: v.Asks(), Quotes: policy.QuotesSomebody, Needs: v.Needs}
	}
	return args, how, v
}

// byGuardrail is the decider of what guardrails decide.
const byGuardrail = "guardrail"

// titleOf names a tool as scopes of guardrails do.
func titleOf(how *session.ToolCall, name string) string {
	switch {
	case how.Server != "":
		return how.Server + "/" + how.Name
	case how.Environment:
		return "environment/" + name
	}
	return name
}

// withAsk adds to the decision of policies that of guardrails, which a call brings along. Who approves it satisfies both.
func withAsk(ask *policy.Decision, d policy.Decision, err error) (policy.Decision, error) {
	if ask == nil || err != nil && d.Needs == nil {
		return d, err
	}
	if d.Needs == nil {
		d.By, d.Reason = ask.By, ask.Reason
	} else {
		d.Reason += "; " + ask.Reason
	}
	d.Quotes = cmp.Or(d.Quotes, policy.QuotesSomebody) // a judge's reason may repeat what it read
	d.Allow, d.Needs = false, d.Needs.And(ask.Needs)
	return d, nil
}

// screen checks what a tool returned before the model sees it, or anybody else.
func (c *toolCall) screen(ctx context.Context, result *tool.Result) guardrail.Verdict {
	content, v := c.checks.Content(ctx, guardrail.ToolResult, c.title, result.Content)
	if result.Content = content; v.Blocked != nil {
		result.IsError, result.Content = true, stead.TextContent(stead.ContentInputText, v.Told("What the tool returned was withheld"))
	}
	return v
}

// recallTitle is how guardrails name what brings memories by itself, before a turn.
const recallTitle = "memory/recall"

// screenRecalled checks what was recalled, each memory by itself: one that is blocked is left out.
func screenRecalled(ctx context.Context, checks *guardrail.Checks, out *session.MemoryRecalled) {
	if !checks.On(guardrail.ToolResult, recallTitle) {
		return
	}
	entries := make([]session.Recalled, 0, len(out.Entries))
	for i, e := range out.Entries {
		text, v := checks.Text(ctx, guardrail.ToolResult, recallTitle, e.Text)
		out.Guardrails = append(out.Guardrails, v.In("entries", i).Findings...)
		if e.Text = text; v.Blocked == nil {
			entries = append(entries, e)
		}
	}
	out.Entries = entries
	out.Unaround()
}

// errUnseen says that a request with a key was not made before.
var errUnseen = errors.New("not seen before")

// screenSend checks inputs to a session. repeated: the request was accepted before, and nothing is asked again.
func (r *Runner) screenSend(ctx context.Context, p stead.Principal, key stead.SessionKey, req session.SendRequest) (_ session.SendRequest, repeated bool, _ error) {
	if !r.cfg.Guardrails.Asks(pointsOf(req.Inputs)...) {
		return req, false, nil
	}
	if req.Key != "" {
		if err := r.replayedOr(ctx, key, req, errUnseen); !errors.Is(err, errUnseen) {
			return req, err == nil, err
		}
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return req, false, err
	}
	checks := r.checksOf(v, p)
	req.Inputs = slices.Clone(req.Inputs)
	for i := range req.Inputs {
		if err := r.screenInput(ctx, v, p, checks, fmt.Sprintf("events[%d]", i), &req.Inputs[i]); err != nil {
			return req, false, err
		}
	}
	return req, false, nil
}

// pointsOf is where inputs are checked.
func pointsOf(inputs []session.Input) (out []guardrail.Point) {
	for _, in := range inputs {
		switch {
		case in.Message != nil:
			out = append(out, guardrail.Input)
		case in.Result != nil:
			out = append(out, guardrail.ToolResult)
		default:
			out = append(out, guardrail.Points()...) // an answer may bring arguments, or what a call came to
		}
	}
	return out
}

// screenInput checks one input. A message that is blocked is refused; a result that is blocked is taken as one that failed,
// so that the turn does not wait for ever.
func (r *Runner) screenInput(ctx context.Context, v *session.View, p stead.Principal, checks *guardrail.Checks, at string, in *session.Input) error {
	switch {
	case in.Message != nil:
		messages, verdict := screenMessages(ctx, checks, in.Message)
		in.Message, in.Guarded.Findings = messages, verdict.Findings
		return r.refuse(ctx, v.Key, p, verdict, at)
	case in.Result != nil:
		own := *in.Result
		name := ""
		if c := askedFrom(v, v.OfCallID(own.CallID)).CallByID(own.CallID); c != nil {
			name = c.Name
		}
		content, verdict := checks.Content(ctx, guardrail.ToolResult, name, own.Output)
		if own.Output = content; verdict.Blocked == nil {
			text, more := checks.Text(ctx, guardrail.ToolResult, name, own.Error)
			own.Error, verdict = text, verdict.And(more)
		}
		if f := verdict.Blocked; f != nil && f.Failed {
			return verdict.Err(at + ".output")
		} else if f != nil {
			own.Success, own.Output, own.Error = false, nil, verdict.Told("What the function returned was withheld")
		}
		in.Result, in.Guarded.Findings = &own, verdict.Findings
	case in.Outcome != nil:
		own := *in.Outcome
		title := ""
		if c := askedFrom(v, v.OfRequest(own.RequestID)).CallByRequest(own.RequestID); c != nil {
			title = titleOf(&c.Tool, c.Name)
		}
		content, verdict := checks.Content(ctx, guardrail.ToolResult, title, own.Output)
		own.Output = content
		in.Outcome, in.Guarded.Findings = &own, verdict.Findings
		return r.refuse(ctx, v.Key, p, verdict, at)
	}
	return nil
}

func screenMessages(ctx context.Context, checks *guardrail.Checks, messages []session.InputMessage) ([]session.InputMessage, guardrail.Verdict) {
	out, all := slices.Clone(messages), guardrail.Verdict{}
	for i := range out {
		content, v := checks.Content(ctx, guardrail.Input, "", out[i].Content)
		out[i].Content = content
		if all = all.And(v.In("input", i)); all.Blocked != nil {
			break
		}
	}
	return out, all
}

// refuse makes of a block the error for whoever sent the text, and notes it in the session's journal, where there is one.
func (r *Runner) refuse(ctx context.Context, key stead.SessionKey, p stead.Principal, v guardrail.Verdict, at string) error {
	err := v.Err(at)
	if err == nil || key.Session == "" {
		return err
	}
	e, fault := session.NewEvent(r.now(), session.KindInputRefused, session.InputRefused{Guardrails: v.Findings, By: p})
	if fault != nil {
		return fault
	}
	if _, fault := r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{e}, If: -1}); fault != nil {
		return fault
	}
	r.arrived(key)
	return err
}

// screenItems is screenRespond for items that are added to a conversation. Which models will read them is not known.
func (r *Runner) screenItems(ctx context.Context, p stead.Principal, key stead.SessionKey, req session.ConversationRequest) (session.ConversationRequest, error) {
	checks := r.cfg.Guardrails.Of(guardrail.Subject{Principal: p, Project: p.Project, Session: key.Session, Labels: req.Labels})
	items, v := checks.Items(ctx, "items", req.Items)
	req.Items, req.Guarded = items, session.Guarded{Asked: true, Findings: v.Findings}
	return req, r.refuse(ctx, key, p, v, "items")
}

package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/session"
)

// What a request says of an agent is its caller's text, as its messages are. What a saved agent has was somebody's to save.

// screenCreate checks the first input of a session that is not there yet, and what the request says of the agent: what a saved one
// has is not looked at.
func (r *Runner) screenCreate(ctx context.Context, p stead.Principal, pin *session.AgentPin, saved agent.Spec, req *session.CreateRequest) (session.Guarded, error) {
	checks := r.cfg.Guardrails.Of(guardrail.Subject{Principal: p, Project: p.Project, Agent: pin.Limited(), Model: pin.Spec.Model, Labels: stead.LabelsOf(req.Metadata)})
	input, v := screenMessages(ctx, checks, req.Input)
	if req.Input = input; v.Blocked != nil {
		return session.Guarded{}, v.Err("input")
	}
	spec, at, more := screenSpec(ctx, checks, pin.Spec, saved)
	pin.Spec, v = spec, v.And(more)
	return session.Guarded{Asked: true, Findings: v.Findings}, v.Err("agent." + at)
}

// screenSpec checks the instructions and tools of an agent that a saved one does not have. at is what of it is blocked.
func screenSpec(ctx context.Context, checks *guardrail.Checks, spec, saved agent.Spec) (_ agent.Spec, at string, v guardrail.Verdict) {
	if told := spec.Instructions; told != nil && (saved.Instructions == nil || *saved.Instructions != *told) {
		text := ""
		if text, v = checks.Instructions(ctx, *told); v.Blocked != nil {
			return spec, "instructions", v
		}
		spec.Instructions = &text
	}
	tools, at, more := screenTools(ctx, checks, spec.Tools, saved.Tools)
	spec.Tools = tools
	return spec, at, v.And(more)
}

// screenTools checks what is said of tools that saved ones don't say.
func screenTools(ctx context.Context, checks *guardrail.Checks, tools, saved []agent.Tool) (_ []agent.Tool, at string, all guardrail.Verdict) {
	out := slices.Clone(tools)
	for i := range out {
		t := &out[i]
		if slices.ContainsFunc(saved, func(s agent.Tool) bool {
			return s.Description == t.Description && bytes.Equal(s.Parameters, t.Parameters)
		}) {
			continue
		}
		var v guardrail.Verdict
		t.Description, t.Parameters, v = checks.Tool(ctx, t.Description, t.Parameters)
		if all = all.And(v.In("tools", i)); all.Blocked != nil {
			return out, fmt.Sprintf("tools[%d]", i), all
		}
	}
	return out, "", all
}

// screenRespond checks the input of a response, once. key is of the session that it goes on in; zero where there is none.
func (r *Runner) screenRespond(ctx context.Context, p stead.Principal, key stead.SessionKey, req session.RespondRequest) (session.RespondRequest, error) {
	if req.Guarded.Asked {
		return req, nil
	}
	checks := r.cfg.Guardrails.Of(guardrail.Subject{
		Principal: p, Project: p.Project, Session: key.Session, Model: req.Ask.Spec.Model, Labels: req.Labels.And(stead.LabelsOf(req.Ask.Metadata())),
	})
	at := "input"
	items, v := checks.Items(ctx, at, req.Items)
	if v.Blocked == nil {
		spec, where, more := screenSpec(ctx, checks, req.Ask.Spec, agent.Spec{})
		if v = v.And(more); more.Blocked != nil {
			at = where
		} else if len(more.Findings) > 0 {
			var err error
			if req.Ask.Request, err = repeating(req.Ask.Request, spec); err != nil {
				return req, err
			}
			req.Ask.Spec = spec
		}
	}
	req.Items, req.Guarded = items, session.Guarded{Asked: true, Findings: v.Findings}
	return req, r.refuse(ctx, key, p, v, at)
}

// repeating is what a response repeats of its request, with the instructions and functions of a spec.
func repeating(request json.RawMessage, spec agent.Spec) (json.RawMessage, error) {
	if len(request) == 0 {
		return request, nil
	}
	var fields map[string]json.RawMessage
	err := json.Unmarshal(request, &fields)
	if err == nil && spec.Instructions != nil {
		fields["instructions"], err = json.Marshal(*spec.Instructions)
	}
	if raw := fields["tools"]; err == nil && raw != nil {
		fields["tools"], err = repeatingTools(raw, spec.Tools)
	}
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "what the response repeats can't be read")
	}
	return json.Marshal(fields)
}

// repeatingTools is the tools of a request with what is said of functions elsewhere.
func repeatingTools(raw json.RawMessage, tools []agent.Tool) (json.RawMessage, error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	for _, fields := range list {
		name := ""
		if err := json.Unmarshal(fields["name"], &name); err != nil {
			continue // no function
		}
		for _, t := range tools {
			if t.Type != agent.ToolFunction || t.Name != name {
				continue
			}
			if t.Description != "" {
				said, err := json.Marshal(t.Description)
				if err != nil {
					return nil, err
				}
				fields["description"] = said
			}
			if raw := fields["parameters"]; len(raw) > 0 && string(raw) != "null" && len(t.Parameters) > 0 {
				fields["parameters"] = t.Parameters
			}
		}
	}
	return json.Marshal(list)
}

// Package replay asks policies about what recorded sessions did, and shows what they would have changed.
//
// Shape: events of a session, from the first → Asked {seq, at, request, outcome then} for each effect that
// policies were, or would have been, asked about → Change where the outcome is another now.
//
// The requests are those that the runner asks (session.View.Request): what a policy sees of a recorded
// call is what it would have seen then, at that time. What a session did after a change is not guessed.
//
// Errors: those of a journal that can't be folded.
package replay

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Asked is an effect of a session.
type Asked struct {
	Seq     stead.Seq
	Request policy.Request
	Then    policy.Outcome // what was decided, or done where nobody was asked
}

// Change is an effect that other policies decide otherwise.
type Change struct {
	Asked
	Now      policy.Outcome
	Policies []string // that decide it now
	Reason   string
}

// Effects lists what a session's events say was asked. They begin with the session's first.
func Effects(key stead.SessionKey, events []stead.Event) ([]Asked, error) {
	v := session.NewView(key)
	var out []Asked
	for i, e := range events {
		if a, ok, err := effect(v, e); err != nil {
			return nil, err
		} else if ok {
			if e.Kind == session.KindSessionCreated && i+1 < len(events) {
				a.Request.Labels = a.Request.Labels.And(first(e, events[i+1]))
			}
			a.Seq, a.Request.At, a.Request.Before = e.Seq, e.At, nil
			out = append(out, a)
		}
		if err := v.Apply(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// first are the labels of the response that a session was made for; nil: it was made for something else.
func first(made, next stead.Event) stead.Labels {
	if c, err := session.Decode[session.Created](made); err != nil || c.Conversation || next.Kind != session.KindInputMessage {
		return nil
	}
	if p, err := session.Decode[session.Message](next); err == nil && p.Response != nil {
		return p.Labels.And(stead.LabelsOf(p.Response.Metadata()))
	}
	return nil // also of what can't be read: the fold says so
}

// effect is what an event says was asked, in the state before it.
func effect(v *session.View, e stead.Event) (asked Asked, ok bool, err error) {
	err = v.On(e.Thread, func() error {
		asked, ok, err = onThread(v, e)
		return err
	})
	return asked, ok, err
}

// onThread is effect with the view looked at from the event's thread.
func onThread(v *session.View, e stead.Event) (Asked, bool, error) {
	switch e.Kind {
	case session.KindSessionCreated:
		p, err := session.Decode[session.Created](e)
		return Asked{Request: policy.Request{
			Principal: p.Principal, Agent: p.Agent.ID, Effect: policy.SessionCreate, Resource: string(p.Agent.ID), Labels: stead.LabelsOf(p.Metadata), Model: p.Agent.Spec.Model,
		}, Then: policy.Allowed}, p.Principal.ID != "", err
	case session.KindModelCalled:
		p, err := session.Decode[session.ModelCalled](e)
		if p.Decision.Approval != "" {
			return Asked{}, false, err // what was asked about before
		}
		return Asked{Request: v.Request(policy.ModelCall, p.Model), Then: policy.Allowed}, true, err
	case session.KindTurnFailed:
		p, err := session.Decode[session.TurnEnded](e)
		return Asked{Request: v.Request(policy.ModelCall, v.Created.Agent.Spec.Model), Then: policy.Denied}, p.Decision != nil, err
	case session.KindEnvironmentCalled:
		p, err := session.Decode[session.EnvironmentCalled](e)
		return Asked{Request: v.Request(policy.EnvironmentEffect(string(p.Action)), session.EnvironmentID(v.Key.Session)), Then: p.Decision.Outcome()}, true, err
	case session.KindEffectHeld:
		p, err := session.Decode[session.EffectHeld](e)
		return Asked{Request: v.Request(p.Effect, p.Of), Then: policy.Approval}, true, err
	case session.KindToolHeld:
		p, err := session.Decode[session.ToolHeld](e)
		return tool(v, p.CallID, policy.Approval, err)
	case session.KindToolCalled:
		p, err := session.Decode[session.ToolCalled](e)
		if c := v.CallByID(p.CallID); c != nil && (c.Attempts > 0 || c.Decided != nil) {
			return Asked{}, false, err // an attempt more of what was decided, or approved, before
		}
		return tool(v, p.CallID, policy.Allowed, err)
	case session.KindSubagentCreated:
		p, err := session.Decode[session.SubagentCreated](e)
		if c := v.CallByID(p.CallID); c != nil && c.Decided != nil {
			return Asked{}, false, err // decided, or approved, before
		}
		return tool(v, p.CallID, policy.Allowed, err)
	case session.KindToolReturned:
		p, err := session.Decode[session.ToolReturned](e)
		if p.Decision == nil {
			return Asked{}, false, err
		}
		return tool(v, p.CallID, policy.Denied, err)
	}
	return Asked{}, false, nil
}

func tool(v *session.View, callID string, then policy.Outcome, err error) (Asked, bool, error) {
	c := v.CallByID(callID)
	if err != nil || c == nil {
		return Asked{}, false, err
	}
	return Asked{Request: v.ToolRequest(c), Then: then}, true, nil
}

// Changes asks about effects anew and keeps those about which the answer is another one. With onTrial,
// policies in shadow count as if they were in force.
func Changes(ctx context.Context, a policy.Authorizer, asked []Asked, onTrial bool) ([]Change, error) {
	var out []Change
	for _, x := range asked {
		d, err := a.Decide(ctx, x.Request)
		if err != nil {
			return nil, err
		}
		c := Change{Asked: x, Now: d.Outcome(), Policies: d.Policies, Reason: d.Reason}
		if t := d.Shadow; onTrial && t != nil {
			c.Now, c.Policies, c.Reason = t.Outcome, t.Policies, t.Reason
		}
		if c.Now != x.Then {
			out = append(out, c)
		}
	}
	return out, nil
}

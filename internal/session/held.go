package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
)

// Policies may hold a call until somebody approves it. The question is a fact of the journal, so that
// it is asked once, whoever holds the session; those who approved are kept with the call, so that what
// was given counts when policies are asked again. What they saw is what is done: when somebody changes a call's
// arguments, what was approved before is gone, and whoever else must approve is asked anew.

// Request is what policies are asked before an effect of this session's agent.
func (v *View) Request(effect policy.Effect, resource string) policy.Request {
	c := &v.Created
	req := policy.Request{
		Principal: c.Principal, Session: v.Key, Agent: c.Agent.ID, Base: c.Agent.Base, Effect: effect, Resource: resource,
		Acting: true, Behind: v.Behind(), Changed: v.changed(), Labels: v.Labels(), Model: c.Agent.Spec.Model, Spend: &policy.Spend{Cost: v.Cost},
	}
	req.Subagents = v.Chain()
	if c.SpendLimitCents != nil {
		req.Spend.Limit = *c.SpendLimitCents * MicroCentsPerCent
	}
	return req
}

// ToolRequest is what policies are asked before a tool call.
func (v *View) ToolRequest(c *Call) policy.Request {
	req := v.Request(c.effect(), v.resource(c))
	req.Arguments, req.Class, req.Before = c.Args(), string(c.Tool.class()), c.Decided
	req.Origin, req.Destination, req.Changed = v.declared(c), v.destination(c), v.Changed(c)
	return req
}

// effect is what policies are asked about a call.
func (c *Call) effect() policy.Effect {
	if c.Tool.Subagent != nil {
		return policy.SubagentCreate
	}
	return policy.ToolCall
}

// resource is what policies are told that it is about.
func (v *View) resource(c *Call) string {
	if c.Tool.Subagent != nil {
		return string(v.Created.Agent.ID)
	}
	return c.resource()
}

// Gated reports whether policies are asked about a call: of those about subagents, where it gives a task to one.
func (c *Call) Gated() bool {
	s := c.Tool.Subagent
	return s == nil || s.Action == CreateSubagent || s.Action == SendSubagent
}

// resource names a call's tool as policies know it.
func (c *Call) resource() string {
	server := c.Tool.Server
	switch {
	case c.Function():
		return policy.FunctionServer + "/" + c.Name
	case c.Tool.Environment && server == "":
		server = agent.ToolEnvironment
	}
	return server + "/" + c.Tool.Name
}

// Held is the needs of a call that policies hold; nil for any other.
func (c *Call) Held() *policy.Needs {
	if c.State != CallApproval || c.Decided == nil {
		return nil
	}
	return c.Decided.Needs
}

// Expired reports whether a held call's time is over, in Unix milliseconds.
func (c *Call) Expired(now int64) bool { return c.Held() != nil && c.Until > 0 && now >= c.Until }

func (v *View) toolHeld(e stead.Event, p ToolHeld) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallReady || p.Decision.Needs == nil {
		return
	}
	c.ask(e)
	v.asks(c)
	c.hold(e, &p.Decision)
}

// hold has a call wait for the approvals that a decision needs.
func (c *Call) hold(e stead.Event, d *policy.Decision) {
	c.State, c.Decided, c.Until = CallApproval, d, 0
	if ms := d.Needs.ExpiresMS; ms > 0 {
		c.Until = e.At + ms
	}
}

// approved takes an approval in. What policies hold may need more of them.
func (v *View) approved(c *Call, by stead.Principal) {
	c.Approved, c.Delegated = append(c.Approved, by), nil
	if n := c.Held(); n == nil || v.Lacks(c, n) == 0 {
		c.State, c.Until = CallReady, 0
	}
}

// approvalEdit is an approval of other arguments: the first of what is asked about from now on.
func (v *View) approvalEdit(e stead.Event, p ApprovalEdit) {
	c := v.CallByID(p.CallID)
	if c == nil || c.State != CallApproval || c.Expired(e.At) {
		return
	}
	v.LastActive = e.At
	c.ask(e)
	c.Edited, c.Approved, c.EditedBy = p.Arguments, nil, append(slices.Clip(c.EditedBy), p.By)
	if p.Ask != nil {
		c.Tool.Ask = p.Ask
	}
	v.approved(c, p.By)
}

func (v *View) toolLapsed(_ stead.Event, p ToolLapsed) {
	if c := v.CallByID(p.CallID); c != nil && c.Held() != nil {
		c.State, c.Until, c.Lapsed = CallReady, 0, true
	}
}

// expiry is the first time at which a held call expires, or a consent lapses; 0: none does.
func (t *TurnView) expiry() int64 {
	first := t.consentExpiry()
	for _, c := range t.Calls {
		waits := c.State == CallReady && c.Tool.Subagent.waits()
		if (c.Held() != nil || waits) && c.Until > 0 && (first == 0 || c.Until < first) {
			first = c.Until
		}
	}
	return first
}

// untilExpiry waits for an approval or a consent no longer than it is wanted.
func (s *State) untilExpiry() []Command {
	if at := s.Turn.expiry(); at > 0 {
		return []Command{WaitUntil{at}}
	}
	return nil
}

// ToldExpired is what is said of a call that nobody approved in time.
const ToldExpired = "The call was not made: it needed approval, and nobody gave it in time."

// approvalAction asks whoever may approve a call.
func (v *View) approvalAction(c *Call, turn string) RequiredAction {
	out := v.personAction(c, turn, ActionMCPApproval, "Approve "+c.title()+"?")
	if why := v.why(c); why != "" {
		out.Request.Why = why
		out.Request.Message += " " + why
	}
	shown := v.callShown(c)
	out.Request.Digest, out.Request.Call = v.digest(c, mustJSON(shown)), shown
	if n := c.Held(); n != nil && c.Until > 0 {
		out.Request.ExpiresAt, out.Request.OnExpiry = c.Until/1000, n.Lapses()
	}
	return out
}

// why is what policies say of a call that they hold, and whose approvals it takes; "" of any other.
func (v *View) why(c *Call) string {
	if c.Held() == nil {
		return ""
	}
	return whyHeld(v.asked(c), c.Decided.Reason, c.Until, "made")
}

// whyHeld says it of what waits; done is the word for that it happens.
func whyHeld(a policy.Asked, said string, until int64, done string) string {
	n, text := a.Needs, ""
	if said != "" {
		text = strings.ToUpper(said[:1]) + said[1:] + ". "
	}
	count := max(1, n.Count)
	text += fmt.Sprintf("It takes %d approval(s) by %s", count, n.Who())
	if n.Separate {
		text += ", not by " + toldBehind
	}
	if given := count - n.Missing(a.Given, a.Behind...); given > 0 {
		text += fmt.Sprintf("; %d given", given)
	}
	if a.Delegated != nil {
		text += "; the next was handed to " + a.Delegated.To.String()
	}
	if until > 0 {
		becomes := "refused"
		if n.Default == policy.DefaultAllow {
			becomes = done + " without one"
		}
		text += "; after " + time.UnixMilli(until).UTC().Format(time.RFC3339) + " it is " + becomes
	}
	return text + "."
}

// MayApprove says why somebody's approval of a call would not count, as an error for that person; nil: it does.
func (v *View) MayApprove(c *Call, by stead.Principal) error {
	if c.Held() == nil {
		return nil
	}
	return v.asked(c).MayApprove(by)
}

package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Whoever approves a call may change its arguments. They are checked as a model's are, before the answer is stored: that
// they fit the tool's parameters, and by guardrails. Policies are asked about them before the call is made.

// checkEdits replaces the arguments that answers bring by those that would be called with. An answer to what does not wait
// is left as it is: it is refused with the others.
func (r *Runner) checkEdits(ctx context.Context, key stead.SessionKey, p stead.Principal, inputs []session.Input) ([]session.Input, error) {
	edits := func(in session.Input) bool { return in.Approval != nil && in.Approval.Arguments != "" }
	if !slices.ContainsFunc(inputs, edits) {
		return inputs, nil
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return nil, err
	}
	inputs = slices.Clone(inputs)
	for i, in := range inputs {
		if !edits(in) {
			continue
		}
		v := askedFrom(v, v.OfRequest(in.Approval.RequestID))
		c := v.CallByRequest(in.Approval.RequestID)
		if c == nil || c.State != session.CallApproval {
			continue
		}
		own := *in.Approval
		at := fmt.Sprintf("events[%d].response.arguments", i)
		args, verdict, err := r.checkEdit(ctx, v, c, p, at, own.Arguments)
		if err != nil {
			return nil, err
		}
		if own.Ask, err = asksAnew(c, verdict, at); err != nil {
			return nil, err
		}
		own.Arguments, own.Checked = string(args), true
		inputs[i].Approval, inputs[i].Guarded.Findings = &own, verdict.Findings
	}
	return inputs, nil
}

func (r *Runner) checkEdit(ctx context.Context, v *session.View, c *session.Call, p stead.Principal, at, text string) (json.RawMessage, guardrail.Verdict, error) {
	var none guardrail.Verdict
	args, wrong := arguments(json.RawMessage(text))
	if wrong != "" {
		return nil, none, stead.Invalid(at, "%s", wrong)
	}
	verdict := guardrail.Verdict{}
	if checks := r.checksOf(v, p); checks != nil {
		left, found := checks.Arguments(ctx, titleOf(&c.Tool, c.Name), args)
		if args, verdict = left, found; found.Blocked != nil {
			return nil, none, found.Err(at)
		}
	}
	spec, err := r.specOf(ctx, v, c)
	if err != nil {
		return nil, none, err
	}
	if args, err = r.rebind(ctx, v, c, at, args); err != nil {
		return nil, none, err
	}
	if check := r.cfg.CheckArguments; check != nil && len(spec.Parameters) > 0 {
		if err := check(spec.Parameters, args); err != nil {
			return nil, none, stead.Invalid(at, "the arguments do not fit the tool: %s", err)
		}
	}
	return args, verdict, nil
}

// rebind holds the other arguments of an action's call to what the action says of them: its own schema, and what is always the same.
func (r *Runner) rebind(ctx context.Context, v *session.View, c *session.Call, at string, args json.RawMessage) (json.RawMessage, error) {
	if c.Tool.Arguments == nil {
		return args, nil
	}
	b, err := r.binder(ctx, v.Key, holderOf(v), v.Created.Agent.Spec.Tools)
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "whether the arguments fit the action can't be said: semantic models could not be read")
	}
	if b == nil {
		return nil, stead.Errorf(stead.KindConflict, "the agent takes no actions of semantic models any more: deny the call and say why")
	}
	args, err = b.Rebind(c.Arguments, args)
	if stead.KindOf(err) == stead.KindInvalid {
		return nil, stead.Invalid(at, "%s", clientMessage(err))
	}
	return args, err
}

// asksAnew is what guardrails ask for of a call with other arguments: an approval that was enough for the old ones may not be for
// these. nil: nothing new.
func asksAnew(c *session.Call, found guardrail.Verdict, at string) (*policy.Decision, error) {
	before := c.Tool.Ask
	if found.Needs == nil {
		return nil, nil
	}
	if before == nil {
		return nil, stead.Invalid(at, "%s: deny the call, and let the agent ask with these arguments", found.Asks())
	}
	needs := before.Needs.And(found.Needs)
	if len(needs.Roles) == 0 {
		return nil, stead.Invalid(at, "%s, and nobody can give that and what the call needs already: deny it, and let the agent ask with these arguments", found.Asks())
	}
	return &policy.Decision{By: byGuardrail, Reason: found.Asks(), Quotes: policy.QuotesSomebody, Needs: needs}, nil
}

// specOf is what is known of a call's tool now.
func (r *Runner) specOf(ctx context.Context, v *session.View, c *session.Call) (tool.Spec, error) {
	if s := c.Tool.Subagent; s != nil {
		return tool.Spec{Name: string(s.Action), Parameters: subagentParameters(s.Action)}, nil
	}
	if c.Function() {
		for _, t := range v.Created.Agent.Spec.Tools {
			if t.Type == agent.ToolFunction && t.Name == c.Name {
				return tool.Spec{Name: t.Name, Parameters: t.Parameters}, nil
			}
		}
		return tool.Spec{}, stead.Errorf(stead.KindConflict, "the session has no function %s any more", c.Name)
	}
	var tools []tool.Tool
	if c.Tool.Server == "" && c.Tool.Environment {
		tools = r.cfg.Environments.Tools()
	} else {
		cfg := serverConfig(v.Created.Agent.Spec.Tools, c.Tool.Server)
		if cfg == nil {
			return tool.Spec{}, stead.Errorf(stead.KindConflict, "the session has no server %s any more", c.Tool.Server)
		}
		if cfg.InEnvironment() {
			return tool.Spec{}, stead.Errorf(stead.KindConflict, "arguments of tools whose server runs in the session's environment can't be changed: deny the call and say why")
		}
		var err error
		if tools, err = r.serverTools(ctx, v.Key, holderOf(v), *cfg); err != nil {
			return tool.Spec{}, stead.Wrap(stead.KindUnavailable, err, "whether the arguments fit can't be said: server %s could not be asked for its tools", c.Tool.Server)
		}
	}
	found := named(tools, c.Tool.Name)
	if found == nil {
		return tool.Spec{}, stead.Errorf(stead.KindConflict, "the server %s has no tool %s any more", c.Tool.Server, c.Tool.Name)
	}
	return found.Spec(), nil
}

// answerDrafts adds the audit records of answers to questions, for the transaction that stores the answers.
func (r *Runner) answerDrafts(ctx context.Context, v *session.View, p stead.Principal, inputs []session.Input, drafts [][]byte) [][]byte {
	for _, in := range inputs {
		if in.Approval == nil {
			continue
		}
		q, ok := v.AskedBy(in.Approval.RequestID)
		if !ok {
			continue
		}
		req := policy.Request{
			Principal: p, Session: v.Key, Effect: policy.ApprovalGive, Resource: in.Approval.RequestID, Arguments: q.Arguments,
			Carried: true, Answer: q.Answered(*in.Approval),
		}
		if edited := in.Approval.Arguments; edited != "" {
			req.Arguments, req.Answer.Decision, req.Answer.Asking.Answer = []byte(edited), session.DecisionEdit, session.DecisionEdit
		}
		if to := in.Approval.To; to != nil {
			req.Answer.Asking.To = to.String()
			req.Answer.Decision += " to " + to.String() + ":"
		}
		drafts = r.draft(ctx, drafts, req, policy.Decision{Allow: true, By: "person"})
	}
	return drafts
}

package runner

import (
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// permitFunctions asks policies about the functions of a reply, before it is journaled: with that the application is asked for them. What
// is refused is rejected as a call that can't be made is.
func (a *actor) permitFunctions(items []session.ReplyItem, cost int64) {
	for i := range items {
		if how := a.permitFunction(items[i], cost); how != nil {
			items[i].Tool = how
		}
	}
}

// permitFunction is how a function is executed, as policies have it; nil: they are not asked about it.
func (a *actor) permitFunction(it session.ReplyItem, cost int64) *session.ToolCall {
	req, ok := a.state.FunctionRequest(it, cost)
	if !ok {
		return nil
	}
	req.Carried, req.Waits = true, true
	how := *it.Tool
	decision, err := policy.Check(a.ctx, a.r.cfg.Policy, req)
	decision, err = withAsk(how.Ask, decision, err)
	a.decided = a.r.draft(a.ctx, a.decided, req, decision)
	if how.Decision = decision.Recorded(); decision.Needs != nil {
		how.Decision = &decision
	} else if err != nil {
		how.Reject = clientMessage(err)
	}
	return &how
}

package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Policies, tokens and memories know an agent by its id. What it is told and which tools it has make it that agent, so that whoever may
// not change a saved agent runs, with other instructions or tools, another one.

// apart makes a pin an agent of its own, where its spec is another agent's than the saved one's, and p may not change that.
func (r *Runner) apart(ctx context.Context, p stead.Principal, pin *session.AgentPin, saved agent.Spec) error {
	if pin.Version == 0 {
		return nil // it is one already
	}
	if same, err := sameSpec(nature(saved), nature(pin.Spec)); same || err != nil {
		return err
	}
	d, err := r.cfg.Policy.Decide(ctx, policy.Request{Principal: p, Agent: pin.ID, Effect: policy.AgentWrite, Resource: string(pin.ID), Optional: true})
	if err != nil {
		return err
	}
	if !d.Allow {
		*pin = pin.Apart(stead.AgentID(newID("agent_")))
	}
	return nil
}

// nature is what of a spec makes an agent the one that it is: not what it runs on, how long, and what it is called.
func nature(s agent.Spec) agent.Spec {
	return agent.Spec{Instructions: s.Instructions, Tools: s.Tools, Text: agent.Text{Format: s.Text.Format}, MultiAgent: s.MultiAgent}
}

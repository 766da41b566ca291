package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// The service of agents.

func (r *Runner) allowAgent(ctx context.Context, p stead.Principal, effect policy.Effect, id stead.AgentID) error {
	_, err := policy.Check(ctx, r.cfg.Policy, policy.Request{Principal: p, Agent: id, Effect: effect, Resource: string(id)})
	return err
}

// CreateAgent implements session.Agents.
func (r *Runner) CreateAgent(ctx context.Context, p stead.Principal, spec agent.Spec, key, digest string) (agent.Agent, error) {
	if err := r.allowAgent(ctx, p, policy.AgentWrite, ""); err != nil {
		return agent.Agent{}, err
	}
	now := r.now()
	a := agent.Agent{ID: stead.AgentID(newID("agent_")), Version: 1, CreatedAt: now, UpdatedAt: now, Spec: spec}
	return r.cfg.Agents.PutAgent(ctx, p.Project, a, key, digest)
}

// GetAgent implements session.Agents.
func (r *Runner) GetAgent(ctx context.Context, p stead.Principal, id stead.AgentID, version int) (agent.Agent, error) {
	if err := r.allowAgent(ctx, p, policy.AgentRead, id); err != nil {
		return agent.Agent{}, err
	}
	return r.cfg.Agents.GetAgent(ctx, p.Project, id, version)
}

// UpdateAgent implements session.Agents.
func (r *Runner) UpdateAgent(ctx context.Context, p stead.Principal, id stead.AgentID, change func(*agent.Spec) error) (agent.Agent, error) {
	if err := r.allowAgent(ctx, p, policy.AgentWrite, id); err != nil {
		return agent.Agent{}, err
	}
	for range maxConflicts {
		a, err := r.cfg.Agents.GetAgent(ctx, p.Project, id, 0)
		if err != nil {
			return agent.Agent{}, err
		}
		if err := change(&a.Spec); err != nil {
			return agent.Agent{}, err
		}
		a.Version++
		a.UpdatedAt = r.now()
		a, err = r.cfg.Agents.PutAgent(ctx, p.Project, a, "", "")
		if stead.KindOf(err) != stead.KindConflict {
			return a, err
		}
	}
	return agent.Agent{}, stead.Errorf(stead.KindConflict, "agent %s is being changed by others; try again", id)
}

// ListAgents implements session.Agents.
func (r *Runner) ListAgents(ctx context.Context, p stead.Principal, q session.PageQuery) (session.Page[agent.Agent], error) {
	var page session.Page[agent.Agent]
	if err := r.allowAgent(ctx, p, policy.AgentRead, ""); err != nil {
		return page, err
	}
	limit := pageLimit(q)
	all, err := r.cfg.Agents.ListAgents(ctx, p.Project, stead.AgentID(q.After), q.Desc, limit+1)
	if err != nil {
		return page, err
	}
	if page.HasMore = len(all) > limit; page.HasMore {
		all = all[:limit]
	}
	page.Data = all
	return page, nil
}

// DeleteAgent implements session.Agents.
func (r *Runner) DeleteAgent(ctx context.Context, p stead.Principal, id stead.AgentID) error {
	if err := r.allowAgent(ctx, p, policy.AgentWrite, id); err != nil {
		return err
	}
	return r.cfg.Agents.DeleteAgent(ctx, p.Project, id)
}

package runner

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// The service of agents.

func (r *Runner) allowAgent(ctx context.Context, p stead.Principal, effect policy.Effect, id stead.AgentID) error {
	return r.allowWritten(ctx, p, effect, id, nil)
}

func (r *Runner) allowWritten(ctx context.Context, p stead.Principal, effect policy.Effect, id stead.AgentID, written map[string]string) error {
	_, err := policy.Check(ctx, r.cfg.Policy, policy.Request{Principal: p, Agent: id, Effect: effect, Resource: string(id), Written: written})
	return err
}

// writtenAgent is what records say of a version of an agent. Its digest is that of what GET /v1/agents/{id} shows of it, as the store has it.
func writtenAgent(a agent.Agent) map[string]string {
	spec, err := json.Marshal(a.Spec)
	if err != nil {
		return nil // it can't be stored either
	}
	name := ""
	if a.Spec.Name != nil {
		name = *a.Spec.Name
	}
	return map[string]string{"id": string(a.ID), "name": name, "version": strconv.Itoa(a.Version), "digest": blob.Digest(spec)}
}

// CreateAgent implements session.Agents.
func (r *Runner) CreateAgent(ctx context.Context, p stead.Principal, spec agent.Spec, key, digest string) (agent.Agent, error) {
	now := r.now()
	a := agent.Agent{ID: stead.AgentID(newID("agent_")), Version: 1, CreatedAt: now, UpdatedAt: now, Spec: spec}
	if err := r.allowWritten(ctx, p, policy.AgentWrite, "", writtenAgent(a)); err != nil {
		return agent.Agent{}, err
	}
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
	var next map[string]string
	if a, err := r.cfg.Agents.GetAgent(ctx, p.Project, id, 0); err == nil && change(&a.Spec) == nil {
		a.Version++
		next = writtenAgent(a)
	}
	if err := r.allowWritten(ctx, p, policy.AgentWrite, id, next); err != nil {
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
	var gone map[string]string
	if a, err := r.cfg.Agents.GetAgent(ctx, p.Project, id, 0); err == nil {
		gone = writtenAgent(a)
	}
	if err := r.allowWritten(ctx, p, policy.AgentWrite, id, gone); err != nil {
		return err
	}
	return r.cfg.Agents.DeleteAgent(ctx, p.Project, id)
}

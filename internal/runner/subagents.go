package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Subagents implements session.Service.
func (r *Runner) Subagents(ctx context.Context, p stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[session.SubagentObject], error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return session.Page[session.SubagentObject]{}, err
	}
	return session.ListSubagents(v, q, r.texts(ctx, v.Key))
}

// Subagent implements session.Service.
func (r *Runner) Subagent(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string) (session.SubagentObject, error) {
	v, s, err := r.subagent(ctx, p, id, subagent)
	if err != nil {
		return session.SubagentObject{}, err
	}
	return v.SubagentOf(s, r.texts(ctx, v.Key)), nil
}

// SubagentItems implements session.Service.
func (r *Runner) SubagentItems(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q session.ItemQuery) (session.Page[session.Item], error) {
	v, s, err := r.subagent(ctx, p, id, subagent)
	if err != nil {
		return session.Page[session.Item]{}, err
	}
	q.Limit, q.Gone, q.Thread = pageLimit(q.PageQuery), v.Gone(), s.ID
	return session.ListItems(v.Key, r.reader(ctx, v.Key), q, r.texts(ctx, v.Key))
}

// SubagentTurns implements session.Service.
func (r *Runner) SubagentTurns(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q session.PageQuery) (session.Page[session.Turn], error) {
	v, s, err := r.subagent(ctx, p, id, subagent)
	if err != nil {
		return session.Page[session.Turn]{}, err
	}
	q.Limit = pageLimit(q)
	return session.ListTurns(v.At(s.ID), r.reader(ctx, v.Key), q)
}

// SubagentTurn implements session.Service.
func (r *Runner) SubagentTurn(ctx context.Context, p stead.Principal, id stead.SessionID, subagent, turn string) (session.Turn, error) {
	v, s, err := r.subagent(ctx, p, id, subagent)
	if err != nil {
		return session.Turn{}, err
	}
	return session.FindTurn(v.At(s.ID), r.reader(ctx, v.Key), turn)
}

func (r *Runner) subagent(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string) (*session.View, *session.Subagent, error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return nil, nil, err
	}
	s, err := v.FindSubagent(subagent)
	return v, s, err
}

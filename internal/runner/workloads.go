package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Workloads gives agents tokens by which others know them: see package workload, which implements it. about says who is about
// to use one, and in which turn, as that is at the time.
type Workloads interface {
	// Server is a session's credential for a tool server of the configuration; nil: that wants none.
	Server(label string, key stead.SessionKey, about func(context.Context) (policy.Request, string, error)) tool.Credential
	// Variables are those of a session's environment.
	Variables(about func(context.Context) (policy.Request, string, error)) []environment.Credential
}

// aboutStep is about for uses within steps of the session: see stepAsker.
func (r *Runner) aboutStep(key stead.SessionKey) func(context.Context) (policy.Request, string, error) {
	about := r.about(key)
	return func(ctx context.Context) (policy.Request, string, error) {
		_, turn, err := about(ctx)
		if err != nil {
			return policy.Request{}, "", err
		}
		req, err := r.stepAsker(key)(ctx)
		return req, turn, err
	}
}

// about says who acts in a session, and in which turn.
func (r *Runner) about(key stead.SessionKey) func(context.Context) (policy.Request, string, error) {
	return func(ctx context.Context) (policy.Request, string, error) {
		v, err := r.view(ctx, key)
		if err != nil {
			return policy.Request{}, "", err
		}
		v, turn := from(ctx, v), ""
		if v.Turn != nil {
			turn = session.TurnID(key.Session, v.Turn.Seq)
		}
		return v.Request(policy.CredentialUse, ""), turn, nil
	}
}

// from is the session's view from the thread of whoever does what the context is of.
func from(ctx context.Context, v *session.View) *session.View {
	ids := policy.SubagentsOf(ctx)
	if len(ids) == 0 {
		return v
	}
	if thread, ok := session.ParseSubagentID(v.Key.Session, ids[len(ids)-1]); ok {
		return askedFrom(v, v.At(thread))
	}
	return v
}

// identified is the credential for a tool server of the configuration; nil: it wants none, or the agent declared the server
// itself.
func (r *Runner) identified(key stead.SessionKey, t agent.Tool) tool.Credential {
	if r.cfg.Workloads == nil || t.Type != agent.ToolMCP || t.Transport != nil {
		return nil
	}
	return r.cfg.Workloads.Server(t.ServerLabel, key, r.aboutStep(key))
}

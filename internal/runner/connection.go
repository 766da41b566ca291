package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// AllowConnection asks policies about a connection that a session's environment is about to make, which its network allows. The
// connection's own record says what was decided.
func (r *Runner) AllowConnection(ctx context.Context, key stead.SessionKey, host, destination string, to policy.Connection) (policy.Decision, error) {
	v, err := r.view(ctx, key)
	if err != nil {
		return policy.Decision{}, err
	}
	req := v.Request(policy.NetworkConnect, host)
	req.Destination, req.Connection, req.Carried, req.Pinned = destination, &to, true, to.Query
	return policy.Check(ctx, r.cfg.Policy, req)
}

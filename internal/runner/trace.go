package runner

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/trace"
)

// Traces implements trace.Service.
func (r *Runner) Traces(ctx context.Context, p stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[trace.Trace], error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return session.Page[trace.Trace]{}, err
	}
	q.Limit = pageLimit(q)
	return trace.List(v, r.reader(ctx, v.Key), q)
}

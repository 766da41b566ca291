package runner

import (
	"context"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// watched runs an effect that was allowed, for as long as nobody stops it.
func (r *Runner) watched(ctx context.Context, req policy.Request, run func(context.Context)) {
	if r.cfg.Watch == nil {
		run(ctx)
		return
	}
	ctx, done := r.cfg.Watch(ctx, req)
	defer done()
	run(ctx)
}

// stopped says why a watched effect was stopped; nil: it was not.
func stopped(ctx context.Context) *stead.Error {
	e, _ := errors.AsType[*stead.Error](context.Cause(ctx))
	return e
}

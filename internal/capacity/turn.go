package capacity

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// turn waits for the turn of a call, as Enter does, with the clocks of its silence standing still: nobody has been asked
// anything yet. A call that nobody waits for any more when its turn comes is not made.
func (p *Pool) turn(ctx context.Context, project stead.ProjectID, tier Tier, tokens int64) (leave func(used int64), err *model.Error) {
	in := model.Queued(ctx)
	leave, err = p.Enter(ctx, project, tier, tokens)
	in()
	if err == nil && ctx.Err() != nil {
		leave(0)
		return nil, &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled while it waited for capacity", Err: context.Cause(ctx)}
	}
	return leave, err
}

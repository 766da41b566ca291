package router

import (
	"context"

	"github.com/stead-dev/stead/internal/model"
)

// CountInput implements model.Counter by the route that the call would take first. It says nothing of how the
// route does, and no other is tried: another model would count otherwise.
func (a *Alias) CountInput(ctx context.Context, req model.Request) (int64, error) {
	planned, err := a.planned(req.Caller)
	if err != nil {
		return 0, err
	}
	r := planned[0].Route
	return model.CountInput(ctx, r.Model, r.request(req))
}

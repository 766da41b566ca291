package runner

import (
	"cmp"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// applyAsk puts what a response wants of its model calls into a request. A choice of tools that forces a
// call holds for the turn's first call: it would else never end.
func applyAsk(ask *session.Ask, req *model.Request, first bool) {
	if first || ask.ToolChoice == "none" {
		req.ToolChoice = ask.ToolChoice
	}
	req.SerialTools, req.Temperature, req.TopP = ask.SerialTools, ask.Temperature, ask.TopP
	req.MaxOutputTokens, req.User = ask.MaxOutputTokens, ask.User
	req.CacheKey = cmp.Or(ask.CacheKey, req.CacheKey)
	if req.Format != nil {
		req.Format.Name = cmp.Or(ask.FormatName, req.Format.Name)
		req.Format.Strict = !ask.Loose
	}
}

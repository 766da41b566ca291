package openai

import (
	"context"
	"maps"
	"slices"

	"github.com/stead-dev/stead/internal/model"
)

// CountInput implements model.Counter for providers of api responses. Of the request goes along what the
// endpoint knows (npm openai 7.57.0, resources/responses/input-tokens); a server that copies the API without
// it answers 404.
func (p *Provider) CountInput(ctx context.Context, req model.Request) (int64, error) {
	if p.cfg.API != APIResponses {
		return 0, &model.Error{Code: model.CodeDialect, Message: "chat completions have no way to count tokens"}
	}
	known := []string{"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools"}
	body := p.responsesRequest(req)
	maps.DeleteFunc(body, func(name string, _ any) bool { return !slices.Contains(known, name) })
	var answer struct {
		Tokens int64 `json:"input_tokens"`
	}
	if e := p.client.Ask(ctx, p.base.JoinPath(model.DialectResponses, "input_tokens").String(), p.header(), body, &answer); e != nil {
		return 0, e
	}
	return model.Tokens(answer.Tokens), nil
}

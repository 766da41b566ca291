package anthropic

import (
	"context"
	"maps"
	"slices"

	"github.com/stead-dev/stead/internal/model"
)

// CountInput implements model.Counter, by the endpoint beside messages. Of the request goes along what that
// knows (platform.claude.com/docs: api/messages/count_tokens).
func (p *Provider) CountInput(ctx context.Context, req model.Request) (int64, error) {
	body, e := p.request(req)
	if e != nil {
		return 0, e
	}
	known := []string{"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
	maps.DeleteFunc(body, func(name string, _ any) bool { return !slices.Contains(known, name) })
	var answer struct {
		Tokens int64 `json:"input_tokens"`
	}
	if e := p.client.Ask(ctx, p.url+"/count_tokens", p.header(), body, &answer); e != nil {
		return 0, e
	}
	return model.Tokens(answer.Tokens), nil
}

package server

import (
	"context"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/responses"
)

// Where nobody counts, tokens are estimated.
const (
	// bytesPerToken estimates tokens where nobody has counted them.
	bytesPerToken = 4
	// imageTokens is what an image is taken for: as many as a small one costs at OpenAI.
	imageTokens = 765
	// countTimeout bounds a provider's counting.
	countTimeout = 10 * time.Second
)

// countInputTokens answers POST /v1/responses/input_tokens: as the provider counts that the call would go to, else
// with an estimate.
func (s *server) countInputTokens(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := responses.CheckShapes(req.Object); err != nil {
		return err
	}
	items, req, err := s.wholeInput(r.Context(), p, req)
	if err != nil {
		return err
	}
	c, err := s.counting(w, r, p, req)
	if err != nil {
		return err
	}
	tokens, ok := c.counted(r.Context(), req)
	if !ok {
		tokens = estimated(req, items)
	}
	return s.write(w, struct {
		Object string `json:"object"`
		Tokens int64  `json:"input_tokens"`
	}{"response.input_tokens", tokens})
}

// counting is a call that is not made; nil when the request names no model, or one that may not be called with it:
// what is counted goes to its provider, and an estimate goes nowhere.
func (s *server) counting(w http.ResponseWriter, r *http.Request, p stead.Principal, req request) (*call, error) {
	name, has, err := req.String("model")
	if err != nil || !has {
		return nil, err
	}
	c, err := s.resolved(w, r, p, model.DialectResponses, name, req)
	if stead.KindOf(err) == stead.KindForbidden {
		return nil, nil
	}
	return c, err
}

// counted asks the provider; false where it does not count, or not this.
func (c *call) counted(ctx context.Context, req request) (int64, bool) {
	if c == nil {
		return 0, false
	}
	asked, err := responses.Parse(req.Object, c.s.rulesFor(ctx, c.by))
	if err != nil {
		return 0, false
	}
	if err = c.screenResponse(ctx, asked); err != nil { // what guardrails refuse is sent to nobody
		return 0, false
	}
	ask, err := modelRequest(asked)
	if err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	ask.Model, ask.Caller = c.info.Upstream, c.meter.Caller
	tokens, err := model.CountInput(ctx, c.model, ask)
	if err != nil {
		c.s.Log.Debug("tokens are estimated: the provider did not count them", "model", c.name, "err", err)
	}
	return tokens, err == nil && tokens > 0
}

// estimated are the tokens of an input by its size.
func estimated(req request, items []stead.Item) int64 {
	bytes, tokens := 0, int64(0)
	for _, it := range items {
		bytes += len(it.Name) + len(it.Arguments)
		for _, c := range append(it.Content, it.Output...) {
			if c.Type == stead.ContentInputImage {
				tokens += imageTokens
				continue
			}
			bytes += len(c.Text.Inline)
		}
	}
	for _, name := range []string{"instructions", "tools", "text"} {
		raw, _ := req.Raw(name)
		bytes += len(raw)
	}
	return tokens + int64((bytes+bytesPerToken-1)/bytesPerToken)
}

package openai

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// MaxEmbedBatch is the most texts that one upstream call embeds (OpenAI's limit); more make several.
const MaxEmbedBatch = 2048

// Embed implements model.Embedder.
func (p *Provider) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	reply := model.EmbedReply{Model: req.Model, Vectors: make([][]float32, 0, len(req.Texts))}
	for first := 0; first < len(req.Texts); first += MaxEmbedBatch {
		batch := req
		batch.Texts = req.Texts[first:min(first+MaxEmbedBatch, len(req.Texts))]
		if e := p.embed(ctx, batch, &reply); e != nil {
			return model.EmbedReply{}, e
		}
	}
	if e := upstream.CheckVectors(reply.Vectors, len(req.Texts)); e != nil {
		return model.EmbedReply{}, e
	}
	return reply, nil
}

// embed adds the vectors of one batch.
func (p *Provider) embed(ctx context.Context, req model.EmbedRequest, reply *model.EmbedReply) *model.Error {
	body := fields{"model": req.Model, "input": req.Texts, "encoding_format": "float"}
	body.Text("user", req.User)
	if req.Dimensions > 0 {
		body["dimensions"] = req.Dimensions
	}
	for _, key := range p.cfg.Omit {
		delete(body, key)
	}
	var answer struct {
		Data []struct {
			Index     *int      `json:"index"`
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
		Model string `json:"model"`
		Usage *struct {
			Prompt int64 `json:"prompt_tokens"`
		} `json:"usage"`
	}
	if e := p.client.Ask(ctx, p.base.JoinPath(model.DialectEmbeddings).String(), p.header(), body, &answer); e != nil {
		return e
	}
	vectors := make([][]float32, len(req.Texts))
	for i, d := range answer.Data {
		if d.Index != nil {
			i = *d.Index
		}
		if i < 0 || i >= len(vectors) || vectors[i] != nil {
			return upstream.Broken(nil)
		}
		vectors[i] = d.Embedding
	}
	reply.Vectors = append(reply.Vectors, vectors...)
	if answer.Model != "" {
		reply.Model = answer.Model
	}
	if u := answer.Usage; u != nil {
		if reply.Usage == nil {
			reply.Usage = &stead.Usage{}
		}
		reply.Usage.InputTokens += model.Tokens(u.Prompt)
	}
	return nil
}

package server

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// MaxEmbedTexts is the most texts of one request for vectors (OpenAI).
const MaxEmbedTexts = 2048

// MaxDimensions is the longest vector that can be asked for.
const MaxDimensions = 1 << 16

type wireEmbeddings struct {
	Object string          `json:"object"` // "list"
	Data   []wireEmbedding `json:"data"`
	Model  string          `json:"model"`
	Usage  struct {
		Prompt int64 `json:"prompt_tokens"`
		Total  int64 `json:"total_tokens"`
	} `json:"usage"`
}

type wireEmbedding struct {
	Object    string `json:"object"` // "embedding"
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // []float32, or a string: see base64Vector
}

// createEmbeddings answers POST /v1/embeddings.
func (s *server) createEmbeddings(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := s.skim(w, r)
	if err != nil {
		return err
	}
	c, err := s.newCall(w, r, p, model.DialectEmbeddings, req)
	if err != nil {
		return err
	}
	defer c.close()
	if done, err := c.forward(w, r); done {
		return gatewayError(err)
	}
	embedder, ok := c.model.(model.Embedder)
	if !ok {
		return stead.Invalid("model", "%.80q makes no embeddings", c.name)
	}
	if req, err = req.whole(r); err != nil {
		return err
	}
	ask, format, err := embedRequest(req.Object)
	if err != nil {
		return c.instead(w, r, err)
	}
	ask.Model, ask.Caller = c.info.Upstream, c.meter.Caller
	ctx, _, stop := c.watched(r.Context())
	defer stop()
	reply, err := embedder.Embed(ctx, ask)
	err = c.blame(ctx, err)
	if c.meter.Whole = err == nil; c.meter.Whole {
		c.began()
	}
	if c.meter.Usage, c.meter.Route = reply.Usage, reply.Route; reply.Route != nil {
		c.head(routeHeader, routeWords(reply.Route))
	}
	c.end(err)
	if err != nil {
		return gatewayError(err)
	}
	out := wireEmbeddings{Object: "list", Data: make([]wireEmbedding, len(reply.Vectors)), Model: c.name}
	for i, v := range reply.Vectors {
		out.Data[i] = wireEmbedding{"embedding", i, v}
		if format == "base64" {
			out.Data[i].Embedding = base64Vector(v)
		}
	}
	if reply.Usage != nil {
		out.Usage.Prompt, out.Usage.Total = reply.Usage.InputTokens, reply.Usage.InputTokens
	}
	return s.write(w, out)
}

func embedRequest(o param.Object) (ask model.EmbedRequest, format string, err error) {
	raw, has := o.Raw("input")
	switch {
	case !has:
		return ask, "", stead.Invalid("input", "input is required")
	case raw[0] == '"':
		text, _, _ := o.String("input") // it is a string
		ask.Texts = []string{text}
	default:
		if ask.Texts, _, err = o.Strings("input"); err != nil {
			e := stead.Invalid("input", "input must be a text or a list of texts")
			e.Hint = "Tokens are understood only by an upstream that makes embeddings over the same API."
			return ask, "", e
		}
	}
	if len(ask.Texts) == 0 || len(ask.Texts) > MaxEmbedTexts {
		return ask, "", stead.Invalid("input", "input must hold 1 to %d texts, not %d", MaxEmbedTexts, len(ask.Texts))
	}
	for i, text := range ask.Texts {
		if text == "" {
			return ask, "", stead.Invalid(param.Index("input", i), "%s must not be empty", param.Index("input", i))
		}
	}
	n, _, err := o.Int("dimensions", 1, MaxDimensions)
	if err != nil {
		return ask, "", err
	}
	ask.Dimensions = int(n)
	if ask.User, _, err = o.String("user"); err != nil {
		return ask, "", err
	}
	format, _, err = o.Enum("encoding_format", "float", "base64")
	return ask, format, err
}

// base64Vector is a vector as the official SDKs ask for it: float32 after float32, little end first.
func base64Vector(v []float32) string {
	const size = 4
	b := make([]byte, 0, size*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}

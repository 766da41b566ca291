// Package gemini calls the Gemini API of Google (generateContent), and whatever else speaks it.
//
// Shape: one POST a call, always asked to stream.
//
//	Request ─▶ BaseURL/models/MODEL:streamGenerateContent?alt=sse ─▶ SSE events ─▶ Delta*
//
//	reasoning, message, function_call  ─▶ parts of one model content: thought, text, functionCall
//	function_call_output, user message ─▶ parts of one user content: functionResponse, text, inlineData, fileData
//	instructions, leading system and developer messages ─▶ systemInstruction; later ones ─▶ a user's text in <system> tags
//
// Reasoning: a thoughtSignature may come on any part, and goes back on that very part. Items have no
// place for it, so that it stands in a reasoning item beside the one that it belongs to, whose Encrypted is
//
//	thought.SIGNATURE   of the thought itself
//	call.SIGNATURE      of the function call that follows; the first of parallel calls carries it
//	text:N.SIGNATURE    of the last N bytes of the message before
//
// Gemini 3 refuses calls of the turn at hand without a signature. Those that another model made get
// the word that Google documents for this (noSignature).
//
// Ids: calls come with or without; those without are given one, and every call and its response go
// back with their id. Effort is thinkingLevel from Gemini 3 on and a budget of tokens for 2.5. A model
// whose name holds no version counts as newer than this code.
//
// Units, limits and errors are those of package upstream, and MaxEmbedBatch. The key goes in a header,
// never in the URL. What the wire has no field for (serial tools, tiers) fails the call; verbosity, the
// user's id and the cache key are left out, as they are hints. A prompt that is too long has no code of its
// own: it is told by its message, the one exception to the rule that wording decides nothing. A call
// that the model garbled (MALFORMED_FUNCTION_CALL and its like) may be tried again.
//
// Source: github.com/googleapis/go-genai (types.go, models.go, api_client.go); ai.google.dev/gemini-api/docs:
// thought-signatures, thinking, function-calling; google.rpc.RetryInfo and QuotaFailure (error_details.proto).
package gemini

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

const (
	// DefaultBaseURL is Google's own.
	DefaultBaseURL = "https://generativelanguage.googleapis.com/v1beta"
	// MaxEmbedBatch is the most texts that one upstream call embeds; more make several.
	MaxEmbedBatch = 100
)

// Config is one provider.
type Config struct {
	Name       string             // as configured; reasoning items carry it
	BaseURL    string             // with its version; "": DefaultBaseURL
	APIKey     string             // sent as x-goog-api-key; may be empty
	Key        upstream.KeySource // has the key, in place of APIKey; nil: it stays the same
	Headers    map[string]string  // more headers; their values are secrets
	HTTPClient *http.Client       // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now        func() time.Time   // nil: time.Now; for dates in Retry-After
}

// Provider implements model.Model and model.Embedder. It holds no state between calls.
type Provider struct {
	cfg    Config
	base   *url.URL
	client *upstream.Client
}

// New checks the configuration; the error is of KindInvalid and names the field.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		return nil, stead.Invalid("name", "a provider needs a name")
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	u, err := upstream.CheckURL(cfg.Name, cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if err := upstream.CheckKey(cfg.Name, cfg.APIKey); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg, base: u, client: upstream.New(upstream.Config{
		Name: cfg.Name, HTTPClient: cfg.HTTPClient, Now: cfg.Now, Explain: explain, Signer: upstream.NewKeySigner("X-Goog-Api-Key", "", cfg.Key),
		Secrets: append(slices.Collect(maps.Values(cfg.Headers)), cfg.APIKey),
	})}, nil
}

func (p *Provider) header() http.Header {
	h := http.Header{}
	if p.cfg.APIKey != "" {
		h.Set("X-Goog-Api-Key", p.cfg.APIKey)
	}
	for k, v := range p.cfg.Headers {
		h.Set(k, v)
	}
	return h
}

// resource is a model's name as the wire has it: tuned models come with their collection.
func resource(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return "models/" + name
}

// method is the address of a model's method. The name is part of a path: what could lead elsewhere is refused.
func (p *Provider) method(name, method string) (*url.URL, *model.Error) {
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("._-/", r)
	}
	if name == "" || strings.ContainsFunc(name, odd) || strings.Contains(name, "..") {
		return nil, &model.Error{Code: model.CodeNotFound, Message: "the model provider has no model of that name"}
	}
	return p.base.JoinPath(resource(name) + ":" + method), nil
}

// Generate implements model.Model.
func (p *Provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return p.client.Generate(ctx, req.Items, func(out *upstream.Output) (upstream.Call, *model.Error) {
		u, err := p.method(req.Model, "streamGenerateContent")
		if err != nil {
			return upstream.Call{}, err
		}
		q := u.Query()
		q.Set("alt", "sse")
		u.RawQuery = q.Encode()
		body, err := p.request(req)
		return upstream.Call{URL: u.String(), Header: p.header(), Body: body, Decoder: newDecoder(out, answerTool(req))}, err
	})
}

// Embed implements model.Embedder. The wire counts no tokens: there is no usage.
func (p *Provider) Embed(ctx context.Context, req model.EmbedRequest) (model.EmbedReply, error) {
	reply := model.EmbedReply{Model: req.Model}
	u, e := p.method(req.Model, "batchEmbedContents")
	if e != nil {
		return reply, e
	}
	for texts := range slices.Chunk(req.Texts, MaxEmbedBatch) {
		requests := make([]fields, len(texts))
		for i, s := range texts {
			requests[i] = fields{"model": resource(req.Model), "content": fields{"parts": []fields{{"text": s}}}}
			if req.Dimensions > 0 {
				requests[i]["outputDimensionality"] = req.Dimensions
			}
		}
		var answer struct {
			Embeddings []struct {
				Values []float32 `json:"values"`
			} `json:"embeddings"`
		}
		if e := p.client.Ask(ctx, u.String(), p.header(), fields{"requests": requests}, &answer); e != nil {
			return reply, e
		}
		for _, v := range answer.Embeddings {
			reply.Vectors = append(reply.Vectors, v.Values)
		}
	}
	if e := upstream.CheckVectors(reply.Vectors, len(req.Texts)); e != nil {
		return reply, e
	}
	return reply, nil
}

// Package anthropic calls Anthropic's Messages API, and whatever else speaks it.
//
// Shape: one POST a call, always asked to stream.
//
//	Request ─▶ BaseURL/v1/messages ─▶ SSE events ─▶ Delta*
//
//	reasoning, message, function_call  ─▶ blocks of one assistant message: thinking, text, tool_use
//	function_call_output, user message ─▶ blocks of one user message: tool_result first, then text, images, documents
//	instructions, leading system and developer messages ─▶ system; later ones ─▶ a user's text in <system> tags
//
// Reasoning: a thinking block becomes a reasoning item whose Encrypted is "thinking.SIGNATURE", a
// redacted one "redacted.DATA". They go back unchanged and in their place, before the tool_use that they
// led to, when this provider made them; the wire refuses them where nothing follows.
//
// Effort: models from Claude 4.6 on decide themselves how much to think (thinking adaptive with
// output_config.effort); older ones are given a budget of tokens. Forced tools exclude thinking there:
// it is left out then. A model whose name holds no version counts as newer than this code.
//
// Prompt caching: four breakpoints, the most that the wire takes: the last tool, the system text, and
// the last two user messages. The second of those was written by the call before, so that it is read.
//
// Structured output: output_config.format from Claude 4.5 on, before that a tool that must be called,
// whose arguments are the message.
//
// Units, limits and errors are those of package upstream. max_tokens is mandatory here: without a wish
// it is what the model family can write at least. What the wire has no field for (seed, penalties,
// tiers other than auto, default and priority) fails the call; verbosity alone is left out, as it is a hint.
// A prompt that is too long, and a spent balance, have no code of their own: they are told by the beginning
// of the message, the one exception to the rule that wording decides nothing.
//
// Source: github.com/anthropics/anthropic-sdk-go (message.go, shared/shared.go); platform.claude.com/docs:
// api/errors, build-with-claude/{streaming,extended-thinking,adaptive-thinking,prompt-caching,structured-outputs}.
package anthropic

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

const (
	// DefaultBaseURL is Anthropic's own.
	DefaultBaseURL = "https://api.anthropic.com"
	apiVersion     = "2023-06-01" // the one stable version of the wire
)

// Config is one provider.
type Config struct {
	Name       string             // as configured; reasoning items carry it
	BaseURL    string             // with or without "/v1"; "": DefaultBaseURL
	APIKey     string             // sent as x-api-key; may be empty
	Key        upstream.KeySource // has the key, in place of APIKey; nil: it stays the same
	Headers    map[string]string  // more headers, such as anthropic-beta; their values are secrets
	HTTPClient *http.Client       // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now        func() time.Time   // nil: time.Now; for dates in Retry-After
}

// Provider implements model.Model. It holds no state between calls.
type Provider struct {
	cfg    Config
	url    string
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
	if !strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1") {
		u = u.JoinPath("v1") // the official clients' base URLs lack it
	}
	return &Provider{cfg: cfg, url: u.JoinPath("messages").String(), client: upstream.New(upstream.Config{
		Name: cfg.Name, HTTPClient: cfg.HTTPClient, Now: cfg.Now, Explain: explain, Signer: upstream.NewKeySigner("X-Api-Key", "", cfg.Key),
		Secrets: append(slices.Collect(maps.Values(cfg.Headers)), cfg.APIKey),
	})}, nil
}

func (p *Provider) header() http.Header {
	h := http.Header{}
	h.Set("Anthropic-Version", apiVersion)
	if p.cfg.APIKey != "" {
		h.Set("X-Api-Key", p.cfg.APIKey)
	}
	for k, v := range p.cfg.Headers {
		h.Set(k, v)
	}
	return h
}

// Generate implements model.Model.
func (p *Provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return p.client.Generate(ctx, req.Items, func(out *upstream.Output) (upstream.Call, *model.Error) {
		body, err := p.request(req)
		if err != nil {
			return upstream.Call{}, err
		}
		return upstream.Call{URL: p.url, Header: p.header(), Body: body, Decoder: newDecoder(out, answerTool(req))}, nil
	})
}

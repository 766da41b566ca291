// Package openai calls any upstream that speaks OpenAI's Responses API or Chat Completions: OpenAI
// itself, Azure, vLLM, Ollama, llama.cpp and the many others that copy them.
//
// Shape: one POST a call, always asked to stream.
//
//	Request ─▶ BaseURL/responses or /chat/completions ─▶ SSE events, or one JSON document ─▶ Delta*
//
// Upstreams are read leniently: event names, indexes, ids, sequence numbers, usage and the final
// [DONE] may be missing, repeated or null. What decides is whether the upstream said that it was
// done: a stream that ends without that is a lost connection.
//
// Reasoning: Responses upstreams are asked for encrypted reasoning and get their own back (the
// item's Encrypted is "ID.CONTENT": they check that the two belong together); another provider's is
// left out. What chat upstreams think aloud is shown and never sent back. Nothing is stored upstream.
//
// Stateless doors: Forward posts a request in the provider's own dialect as it came, but for the model's
// name and our credentials; embeddings go through in any case. Embed asks for vectors.
//
// Units, limits and errors are those of package upstream, which does what no dialect is needed for.
//
// Source: OpenAI's OpenAPI description 2.3.0 and npm openai 7.57.0 (resources/responses, resources/chat).
package openai

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
	maxCallIDBytes = 64 // of a call id on the wire (OpenAI)
	defaultBaseURL = "https://api.openai.com/v1"
)

// The dialects.
const (
	APIResponses = "responses"
	APIChat      = "chat"
)

// Config is one provider.
type Config struct {
	Name         string             // as configured; reasoning items carry it
	API          string             // APIResponses (also when empty) or APIChat
	BaseURL      string             // with its version: "https://api.openai.com/v1", which is also the default
	APIKey       string             // sent as a bearer token; may be empty
	Organization string             // OpenAI-Organization; may be empty
	Project      string             // OpenAI-Project; may be empty
	Headers      map[string]string  // more headers, such as Azure's "api-key"; their values are secrets
	Omit         []string           // request fields that this upstream refuses: "prompt_cache_key"
	Key          upstream.KeySource // has the key, in place of APIKey; nil: it stays the same
	Signer       upstream.Signer    // proves who calls, in place of APIKey; nil: none
	HTTPClient   *http.Client       // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now          func() time.Time   // nil: time.Now; for dates in Retry-After
}

// Provider implements model.Model, model.Forwarder and model.Embedder. It holds no state between calls.
type Provider struct {
	cfg      Config
	base     *url.URL
	url      string
	urls     map[string]string // dialect → where a call of it goes that is passed on
	newStyle bool              // OpenAI or Azure: max_completion_tokens, not max_tokens
	client   *upstream.Client
}

// New checks the configuration; the error is of KindInvalid and names the field.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		return nil, stead.Invalid("name", "a provider needs a name")
	}
	path := "/responses"
	switch cfg.API {
	case "", APIResponses:
		cfg.API = APIResponses
	case APIChat:
		path = "/chat/completions"
	default:
		return nil, stead.Invalid("api", "the API of provider %q is %q; known are responses and chat", cfg.Name, cfg.API)
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = defaultBaseURL
	}
	u, err := upstream.CheckURL(cfg.Name, cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if err := upstream.CheckKey(cfg.Name, cfg.APIKey); err != nil {
		return nil, err
	}
	if cfg.Signer == nil {
		cfg.Signer = upstream.NewKeySigner("Authorization", "Bearer ", cfg.Key)
	}
	urls := map[string]string{}
	for _, dialect := range []string{model.DialectChat, model.DialectResponses, model.DialectEmbeddings} {
		urls[dialect] = u.JoinPath(dialect).String()
	}
	return &Provider{
		cfg: cfg, base: u, urls: urls, url: u.JoinPath(path).String(), newStyle: newStyle(u.Hostname()),
		client: upstream.New(upstream.Config{Name: cfg.Name, HTTPClient: cfg.HTTPClient, Now: cfg.Now, Explain: explain, Signer: cfg.Signer,
			Secrets: append(slices.Collect(maps.Values(cfg.Headers)), cfg.APIKey)}),
	}, nil
}

func newStyle(host string) bool {
	return host == "openai.com" || strings.HasSuffix(host, ".openai.com") ||
		strings.HasSuffix(host, ".azure.com") || strings.HasSuffix(host, ".azure.us") || strings.HasSuffix(host, ".azure.cn")
}

// header is what a call says of who makes it.
func (p *Provider) header() http.Header {
	h := http.Header{}
	if p.cfg.APIKey != "" {
		h.Set("Authorization", "Bearer "+p.cfg.APIKey)
	}
	if p.cfg.Organization != "" {
		h.Set("OpenAI-Organization", p.cfg.Organization)
	}
	if p.cfg.Project != "" {
		h.Set("OpenAI-Project", p.cfg.Project)
	}
	for k, v := range p.cfg.Headers {
		h.Set(k, v)
	}
	return h
}

// Generate implements model.Model.
func (p *Provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return p.client.Generate(ctx, req.Items, func(out *upstream.Output) (upstream.Call, *model.Error) {
		call := upstream.Call{URL: p.url, Header: p.header()}
		if p.cfg.API == APIChat {
			call.Body, call.Decoder = p.chatRequest(req), newChatDecoder(out)
			return call, nil
		}
		if wish := unsayable(req); wish != "" {
			return call, &model.Error{Code: model.CodeInvalid, Message: "the Responses API has no " + wish + ": leave it out, or use a provider of api chat"}
		}
		call.Body, call.Decoder = p.responsesRequest(req), newResponsesDecoder(out)
		return call, nil
	})
}

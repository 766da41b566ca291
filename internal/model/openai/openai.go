// Package openai calls any upstream that speaks OpenAI's Responses API or Chat Completions: OpenAI
// itself, Azure, vLLM, Ollama, llama.cpp and the many others that copy them.
//
// Shape: one POST a call, always asked to stream.
//
//	Request ─▶ BaseURL/responses or /chat/completions ─▶ SSE events, or one JSON document ─▶ Delta*
//
// Upstreams are read leniently: event names, indexes, ids, sequence numbers, usage and the final
// [DONE] may be missing, repeated or null. What decides is whether the upstream said that it was
// done: a stream that ends without that is a lost connection. The finished item always holds the
// sum of its deltas, whatever the upstream's own summary says.
//
// Reasoning: Responses upstreams are asked for encrypted reasoning and get their own back (the
// item's Encrypted is "ID.CONTENT": they check that the two belong together); another provider's is
// left out. What chat upstreams think aloud is shown and never sent back. Nothing is stored upstream.
//
// Units and limits: MaxEventBytes, MaxReplyBytes and MaxErrorBytes; nothing here waits but for the
// upstream: the caller's context bounds the call, and ending it closes the connection at once.
//
// Errors: *model.Error, by status and by the upstream's error code, never by its wording. An
// upstream's message is shown shortened and without the configured secrets; of a refused key nothing
// is shown. Redirects that leave the configured origin are not followed: neither the key nor the
// conversation goes elsewhere.
//
// The SSE reader is our own: unlike github.com/tmaxmax/go-sse it hands out a last event that lacks
// its blank line, which several servers send, and bounds the whole reply as well as one event.
//
// Source: OpenAI's OpenAPI description 2.3.0 and npm openai 7.57.0 (resources/responses, resources/chat).
package openai

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// The limits of one call, in bytes.
const (
	// MaxEventBytes is the largest SSE event: the last one of a response repeats its whole output.
	MaxEventBytes = 16 << 20
	// MaxReplyBytes is the largest reply, streamed or not.
	MaxReplyBytes = 64 << 20
	// MaxErrorBytes is how much of an error reply is read.
	MaxErrorBytes = 64 << 10
	// MaxRetryAfter is the longest wish to wait that is passed on.
	MaxRetryAfter = time.Hour

	maxRedirects     = 3
	maxIdlePerHost   = 64
	maxMessageRunes  = 400 // of an upstream's error message
	maxCallIDBytes   = 64  // of a call id on the wire (OpenAI)
	defaultBaseURL   = "https://api.openai.com/v1"
	userAgent        = "stead"
	contentTypeJSON  = "application/json"
	emptyObject      = "{}"
	emptyParameters  = `{"type":"object","properties":{}}`
	defaultFormat    = "output" // name of a format that has none
	missingOutput    = "no output"
	garbledArguments = "unparsable_arguments" // key that wraps arguments which were no JSON object
)

// The dialects.
const (
	APIResponses = "responses"
	APIChat      = "chat"
)

// Config is one provider.
type Config struct {
	Name         string            // as configured; reasoning items carry it
	API          string            // APIResponses (also when empty) or APIChat
	BaseURL      string            // with its version: "https://api.openai.com/v1", which is also the default
	APIKey       string            // sent as a bearer token; may be empty
	Organization string            // OpenAI-Organization; may be empty
	Project      string            // OpenAI-Project; may be empty
	Headers      map[string]string // more headers, such as Azure's "api-key"; their values are secrets
	Omit         []string          // request fields that this upstream refuses: "prompt_cache_key"
	HTTPClient   *http.Client      // nil: one of our own; its redirect policy is replaced, and it should have no Timeout
	Now          func() time.Time  // nil: time.Now; for dates in Retry-After
}

// Provider implements model.Model. It holds no state between calls.
type Provider struct {
	cfg      Config
	url      string
	newStyle bool // OpenAI or Azure: max_completion_tokens, not max_tokens
	client   *http.Client
	secrets  []string
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
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, stead.Invalid("base_url", "the base URL of provider %q is not an http(s) URL", cfg.Name)
	}
	if u.User != nil {
		return nil, stead.Invalid("base_url", "the base URL of provider %q holds credentials: use api_key", cfg.Name)
	}
	if strings.ContainsAny(cfg.APIKey, "\r\n") {
		return nil, stead.Invalid("api_key", "the API key of provider %q holds a line break", cfg.Name)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	u = u.JoinPath(path)
	u.Fragment = ""
	p := &Provider{cfg: cfg, url: u.String(), newStyle: newStyle(u.Hostname()), client: client(cfg.HTTPClient)}
	p.secrets = secrets(cfg)
	return p, nil
}

func newStyle(host string) bool {
	return host == "openai.com" || strings.HasSuffix(host, ".openai.com") || strings.HasSuffix(host, ".azure.com")
}

// secrets are the strings that no error may show, longest first so that none hides in another.
func secrets(cfg Config) []string {
	var out []string
	for _, s := range cfg.Headers {
		out = append(out, s)
	}
	out = append(out, cfg.APIKey)
	const minBytes = 4 // shorter ones would garble every message, and are no secrets
	out = slices.DeleteFunc(out, func(s string) bool { return len(s) < minBytes })
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

// client copies the given client, with a redirect policy of its own.
func client(given *http.Client) *http.Client {
	c := &http.Client{}
	if given != nil {
		*c = *given
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConnsPerHost = maxIdlePerHost
		c.Transport = t
	}
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		if len(via) > maxRedirects || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return c
}

// Generate implements model.Model.
func (p *Provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := newOutput(p.cfg.Name, req.Items, yield)
		if err := p.run(ctx, req, out); err != nil && !out.stopped {
			yield(model.Delta{}, err)
		}
	}
}

// run makes the call and hands its deltas to out. A nil error means that out got its Done, or stopped.
func (p *Provider) run(ctx context.Context, req model.Request, out *output) *model.Error {
	// The body is closed by cancelling: a consumer that stops early ends the upstream call as well.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if wish := unsayable(req); wish != "" && p.cfg.API == APIResponses {
		return &model.Error{Code: model.CodeInvalid, Message: "the Responses API has no " + wish + ": leave it out, or use a provider of api chat"}
	}
	var body any
	var dec decoder
	if p.cfg.API == APIChat {
		body, dec = p.chatRequest(req), newChatDecoder(out)
	} else {
		body, dec = p.responsesRequest(req), newResponsesDecoder(out)
	}
	resp, err := p.post(ctx, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return &model.Error{Code: model.CodeInvalid, Status: resp.StatusCode,
			Message: "the model provider answers with a web page: mend its base_url"}
	}
	return p.clean(decode(ctx, resp.Body, dec))
}

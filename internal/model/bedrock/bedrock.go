// Package bedrock calls Amazon Bedrock's Converse API.
//
// Shape: one POST a call, always asked to stream; the answer is a stream of binary frames.
//
//	Request ─▶ BaseURL/model/ID/converse-stream ─▶ application/vnd.amazon.eventstream ─▶ Delta*
//
//	reasoning, message, function_call  ─▶ blocks of one assistant message: reasoningContent, text, toolUse
//	function_call_output, user message ─▶ blocks of one user message: toolResult first, then text, image, document
//	instructions, leading system and developer messages ─▶ system; later ones ─▶ a user's text in <system> tags
//
// Reasoning: a block becomes a reasoning item whose Encrypted is "thinking.SIGNATURE", a redacted one
// "redacted.DATA". They go back unchanged and in their place when this provider made them. How much
// to think is said in additionalModelRequestFields, in the words of the model's family: Claude's (package
// claude), Amazon's Nova's and OpenAI's; other families think as they like.
//
// Tools: the wire has no choice of none, and refuses blocks of tools where none is declared. Where no
// tool may be called, earlier calls and their outputs are told as text instead. Structured output is a
// tool that must be called, whose arguments are the message. Prompt caching: cachePoint behind the tools,
// the system text and the last two user messages, for Claude from 3.7 on; others refuse it.
//
// Who calls: an access key signs each request (Signature Version 4), the configured one or one that the machine has, or an API key of Bedrock is
// the bearer token.
//
// Units, limits and errors are those of package upstream; a frame is at most upstream.MaxEventBytes. What
// the wire has no field for (seed, penalties, serial tools, pictures by URL) fails the call; verbosity
// alone is left out, as it is a hint. A prompt that is too long has no code: it is told by the message.
//
// The wire is spoken here, as that of every provider is, so that the limits and errors of package upstream hold for it; signatures and
// credentials are aws-sdk-go-v2's (package awsauth).
//
// Source: docs.aws.amazon.com/bedrock: API_runtime_ConverseStream; github.com/aws/aws-sdk-go-v2
// (service/bedrockruntime: schemas/schemas.go, types/errors.go; aws/protocol/eventstream/decode.go).
package bedrock

import (
	"bufio"
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go/encoding/httpbinding"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/awsauth"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

const service = "bedrock" // that requests are signed for; the host has another name

// Config is one provider. It has an access key, or an API key; with neither it calls as the machine does.
type Config struct {
	Name         string             // as configured; reasoning items carry it
	Region       string             // "eu-central-1": requests are signed for it
	BaseURL      string             // "": that of the region
	AccessKey    string             // AKIA…
	SecretKey    string             // belongs to AccessKey
	SessionToken string             // of temporary credentials; may be empty
	APIKey       string             // of Bedrock itself, a bearer token
	Key          upstream.KeySource // has the API key, in place of APIKey; nil: it stays the same
	Headers      map[string]string  // more headers; their values are secrets
	HTTPClient   *http.Client       // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now          func() time.Time   // nil: time.Now; requests are signed with it
}

// Provider implements model.Model. It holds no state between calls.
type Provider struct {
	cfg    Config
	base   *url.URL
	client *upstream.Client
}

// New checks the configuration; the error is of KindInvalid and names the field.
func New(cfg Config) (*Provider, error) {
	switch {
	case cfg.Name == "":
		return nil, stead.Invalid("name", "a provider needs a name")
	case cfg.Region == "" || strings.ContainsFunc(cfg.Region, notInRegion):
		return nil, stead.Invalid("region", "the region of provider %q is %q; it is one such as eu-central-1", cfg.Name, cfg.Region)
	case (cfg.AccessKey == "") != (cfg.SecretKey == ""):
		return nil, stead.Invalid("access_key", "provider %q needs both access_key and secret_key, or neither", cfg.Name)
	case cfg.AccessKey != "" && (cfg.APIKey != "" || cfg.Key != nil):
		return nil, stead.Invalid("api_key", "provider %q has both access_key and api_key: it needs one, or neither", cfg.Name)
	}
	for _, key := range []string{cfg.APIKey, cfg.AccessKey, cfg.SecretKey, cfg.SessionToken} {
		if err := upstream.CheckKey(cfg.Name, key); err != nil {
			return nil, err
		}
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL(cfg.Region)
	}
	u, err := upstream.CheckURL(cfg.Name, cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	up := upstream.Config{Name: cfg.Name, HTTPClient: cfg.HTTPClient, Now: cfg.Now, Explain: explain, Signer: upstream.NewKeySigner("Authorization", "Bearer ", cfg.Key),
		Secrets: append(slices.Collect(maps.Values(cfg.Headers)), cfg.APIKey, cfg.SecretKey, cfg.SessionToken)}
	if cfg.APIKey == "" && cfg.Key == nil {
		as, err := awsauth.Credentials(context.Background(), cfg.Region, awsauth.Keys{Access: cfg.AccessKey, Secret: cfg.SecretKey, Session: cfg.SessionToken})
		if err != nil {
			return nil, err
		}
		up.Signer = signer{awsauth.Signer{Credentials: as, Region: cfg.Region, Service: service, Now: cfg.Now}}
	}
	return &Provider{cfg: cfg, base: u, client: upstream.New(up)}, nil
}

func notInRegion(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }

// DefaultBaseURL is where a region's models are called.
func DefaultBaseURL(region string) string {
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	return "https://bedrock-runtime." + region + "." + domain
}

func (p *Provider) header() http.Header {
	h := http.Header{}
	h.Set("Accept", "application/vnd.amazon.eventstream, application/json")
	if p.cfg.APIKey != "" {
		h.Set("Authorization", "Bearer "+p.cfg.APIKey)
	}
	for k, v := range p.cfg.Headers {
		h.Set(k, v)
	}
	return h
}

// url is where a model is called. Its id may be an ARN, whose colons and slashes are escaped.
func (p *Provider) url(id string) string {
	return strings.TrimSuffix(p.base.String(), "/") + "/model/" + httpbinding.EscapePath(id, true) + "/converse-stream"
}

// Generate implements model.Model.
func (p *Provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return p.client.Generate(ctx, req.Items, func(out *upstream.Output) (upstream.Call, *model.Error) {
		body, err := p.request(req)
		if err != nil {
			return upstream.Call{}, err
		}
		return upstream.Call{URL: p.url(req.Model), Header: p.header(), Body: body, Decoder: newDecoder(out, req), Frames: newFrames}, nil
	})
}

func newFrames(r *bufio.Reader) upstream.Frames { return &frames{r: r} }

// Package chat speaks the wire of Chat Completions: what a request asks for, and how completions and
// chunks are written.
//
// Shape: a request's messages become items of the vocabulary; what a model streams becomes chunks, or
// one completion.
//
//	POST body ──Parse──▶ Request{model.Request, Stream, IncludeUsage} ──▶ model call
//	model.Delta* ──Stream──▶ chunk(role) chunk(content)* chunk(tool_calls)* chunk(finish_reason) [chunk(usage)]
//	model.Delta* ──Completion──▶ {"object": "chat.completion", …}
//
// Reasoning is not shown: the API has no field for it.
//
// Units and limits: MaxMessages messages, MaxCallIDBytes a call id, stead.MaxTools tools,
// stead.MaxTextBytes a text, model.MaxStop stop texts; MaxOutputTokens tokens.
//
// Errors: KindInvalid with the field's path as its param. Fields that are not known are left out; those
// whose feature would silently not happen are refused by name. A call that is forwarded to an upstream
// which speaks the API itself is never read by this package, and so can have them all.
//
// Source: npm openai 7.57.0 (resources/chat/completions), OpenAI's OpenAPI description 2.3.0.
package chat

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// The limits of a request.
const (
	// MaxMessages is the most messages of one request.
	MaxMessages = 16_384
	// MaxOutputTokens is the largest limit of output tokens that is taken.
	MaxOutputTokens = 10_000_000
	// MaxCallIDBytes is the longest id of a tool call.
	MaxCallIDBytes = 256
)

// Request is what a POST of /v1/chat/completions asks for.
type Request struct {
	model.Request // Model is as the caller names it
	Stream        bool
	IncludeUsage  bool // a last chunk with the usage
}

// Parse reads a request that is to be translated.
func Parse(o param.Object) (*Request, error) {
	r := &Request{}
	for _, step := range []func(param.Object) error{
		refuse, r.readModes, r.readMessages, r.readTools, r.readToolChoice, r.readFormat, r.readSampling, r.readWishes,
	} {
		if err := step(o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// refuse names the first field that only an upstream which speaks the API itself can honour.
func refuse(o param.Object) error {
	for _, name := range []string{"functions", "function_call"} {
		if _, has := o.Raw(name); has {
			return stead.Invalid(name, "%s is the old form of tools and tool_choice: send those", name)
		}
	}
	if n, has, err := o.Int("n", 1, 128); err != nil {
		return err
	} else if has && n > 1 {
		return native("n", "several answers to one request")
	}
	for name, feature := range map[string]string{"logprobs": "log probabilities", "store": "stored completions"} {
		if v, _, err := o.Bool(name); err != nil {
			return err
		} else if v {
			return native(name, feature)
		}
	}
	for _, name := range []string{"audio", "prediction", "web_search_options", "moderation"} {
		if _, has := o.Raw(name); has {
			return native(name, name)
		}
	}
	if n, _, err := o.Int("top_logprobs", 0, 20); err != nil {
		return err
	} else if n > 0 {
		return native("top_logprobs", "log probabilities")
	}
	if bias, _, err := o.Object("logit_bias"); err != nil {
		return err
	} else if len(bias.Names()) > 0 {
		return native("logit_bias", "biases of tokens")
	}
	modes, _, err := o.Strings("modalities")
	for _, m := range modes {
		if m != "text" {
			return native("modalities", "outputs that are not text")
		}
	}
	return err
}

func native(param, feature string) error {
	return stead.Invalid(param, "%s: %s come only from an upstream that speaks Chat Completions itself; this model's does not", param, feature)
}

func (r *Request) readModes(o param.Object) error {
	var err error
	if r.Model, err = param.Need(o.String("model"))("model"); err != nil {
		return err
	}
	if r.Stream, _, err = o.Bool("stream"); err != nil {
		return err
	}
	options, has, err := o.Object("stream_options")
	if !has || err != nil {
		return err
	}
	if !r.Stream {
		return stead.Invalid("stream_options", "stream_options is for stream: true")
	}
	r.IncludeUsage, _, err = options.Bool("include_usage")
	return err
}

func (r *Request) readFormat(o param.Object) error {
	format, has, err := o.Object("response_format")
	if !has || err != nil {
		return err
	}
	kind, err := param.Need(format.Enum("type", "text", "json_object", "json_schema"))(format.Path("type"))
	if err != nil || kind == "text" {
		return err
	}
	if kind == "json_object" {
		r.Format = &model.Format{Name: "object", Schema: json.RawMessage(`{"type":"object"}`)}
		return nil
	}
	sub, err := param.Need(format.Object("json_schema"))(format.Path("json_schema"))
	if err != nil {
		return err
	}
	f := &model.Format{}
	if f.Name, err = param.Need(sub.String("name"))(sub.Path("name")); err != nil {
		return err
	}
	if f.Strict, _, err = sub.Bool("strict"); err != nil {
		return err
	}
	f.Schema = json.RawMessage(`{"type":"object"}`)
	if _, has, err := sub.Object("schema"); err != nil {
		return err
	} else if has {
		f.Schema, _ = sub.Raw("schema") // as it was written: the order of its fields is the model's
	}
	r.Format = f
	return nil
}

func (r *Request) readSampling(o param.Object) error {
	var err error
	const penalty = 2
	for _, f := range []struct {
		name   string
		lo, hi float64
		to     **float64
	}{
		{"temperature", 0, 2, &r.Temperature}, {"top_p", 0, 1, &r.TopP},
		{"presence_penalty", -penalty, penalty, &r.PresencePenalty}, {"frequency_penalty", -penalty, penalty, &r.FrequencyPenalty},
	} {
		if *f.to, err = o.Number(f.name, f.lo, f.hi); err != nil {
			return err
		}
	}
	if seed, has, err := o.Int("seed", -1<<63, 1<<63-1); err != nil {
		return err
	} else if has {
		r.Seed = &seed
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens"} { // the second is the later name, and wins
		if n, has, err := o.Int(name, 1, MaxOutputTokens); err != nil {
			return err
		} else if has {
			r.MaxOutputTokens = int(n)
		}
	}
	return r.readStop(o)
}

// readStop reads one text, or a list of them.
func (r *Request) readStop(o param.Object) error {
	raw, has := o.Raw("stop")
	if !has {
		return nil
	}
	if raw[0] == '"' {
		text, _, err := o.String("stop")
		r.Stop = []string{text}
		return err
	}
	var err error
	r.Stop, _, err = o.Strings("stop")
	if err == nil && len(r.Stop) > model.MaxStop {
		err = stead.Invalid("stop", "stop has %d texts, the limit is %d", len(r.Stop), model.MaxStop)
	}
	return err
}

func (r *Request) readWishes(o param.Object) error {
	var err error
	if r.Effort, _, err = o.Enum("reasoning_effort", "none", "minimal", "low", "medium", "high", "xhigh", "max"); err != nil {
		return err
	}
	if r.Verbosity, _, err = o.Enum("verbosity", "low", "medium", "high"); err != nil {
		return err
	}
	if r.ServiceTier, _, err = o.Enum("service_tier", "auto", "default", "flex", "scale", "priority", "fast", "ultrafast"); err != nil {
		return err
	}
	for name, to := range map[string]*string{"prompt_cache_key": &r.CacheKey, "safety_identifier": &r.User} {
		if *to, _, err = o.String(name); err != nil {
			return err
		}
	}
	if r.User == "" {
		if r.User, _, err = o.String("user"); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"prompt_cache_key": r.CacheKey, "user": r.User} {
		if len(text) > stead.MaxIdempotencyKeyBytes {
			return stead.Invalid(name, "%s is longer than the limit of %d bytes", name, stead.MaxIdempotencyKeyBytes)
		}
	}
	return nil
}

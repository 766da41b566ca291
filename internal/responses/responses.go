// Package responses speaks the wire of the Responses API: what a request asks for, and how items,
// response objects and streams are written.
//
// Shape: a request is read field by field into Request; its input becomes items of the vocabulary.
// What a response shows of its request is Echo, a JSON object that is kept with it; Object puts the
// rest around it.
//
//	POST body ──Parse──▶ Request{Items, Tools, …, Echo} ──▶ model call or session
//	items, status, usage ──Object──▶ {"object": "response", …Echo}
//
// Units and limits: stead.MaxTextBytes a text, stead.MaxTools tools, MaxItems input items,
// MaxOutputTokens tokens. Temperatures and probabilities as the API has them.
//
// Errors: KindInvalid with the field's path as its param. Fields that are not known are left out;
// those whose feature would silently not happen are refused by name.
//
// Source: npm openai 7.57.0 (resources/responses), and the Open Responses description of 2026-04-24.
package responses

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
)

// The limits of a request.
const (
	// MaxItems is the most items of one input.
	MaxItems = 16_384
	// MaxOutputTokens is the largest limit of output tokens that is taken.
	MaxOutputTokens = 10_000_000
	// MaxToolCalls is the largest max_tool_calls.
	MaxToolCalls = 100_000
	// MaxCallIDBytes is the longest call id.
	MaxCallIDBytes = 256
	// MaxReasonBytes is the longest reason of a denial.
	MaxReasonBytes = 16 << 10
)

// Request is what a POST of /v1/responses asks for.
type Request struct {
	Model        string
	Instructions *string
	Items        []stead.Item
	Listed       []string // labels of tool servers whose lists of tools are among the input
	Tools        []Tool

	ToolChoice   string // as model.Request has it
	SerialTools  bool
	Temperature  *float64
	TopP         *float64
	MaxOutput    int // tokens; 0: no limit
	MaxToolCalls int // 0: no limit
	Effort       *string
	Summary      *string
	Verbosity    *string
	Format       *Format
	ServiceTier  string // "" for the default
	CacheKey     string
	User         string
	Metadata     map[string]string

	Store        bool
	Stream       bool
	Background   bool
	Previous     string
	Conversation string
	// Encrypted: reasoning items are to carry what they can be sent back with.
	Encrypted bool
	// FileResults: file_search_call items are to carry what they found.
	FileResults bool

	// Echo is what the response object repeats: one JSON object.
	Echo json.RawMessage
}

// Tool is a tool that the caller declares: a function that it runs itself, or a tool server.
type Tool struct {
	agent.Tool
	Strict bool // function: arguments follow the schema to the letter
}

// Format asks for structured output.
type Format struct {
	Name   string
	Schema json.RawMessage
	Strict bool
}

// Parse reads a request. Of the tools, those of types that Stead runs itself are taken.
func Parse(o param.Object, rules agent.Rules) (*Request, error) {
	r := &Request{Store: true}
	for _, step := range []func(param.Object) error{
		r.readModel, r.readModes, r.readSampling, r.readReasoning, r.readText, r.readIdentity,
		func(o param.Object) error { return r.readTools(o, rules) },
		r.readToolChoice, r.readInput,
	} {
		if err := step(o); err != nil {
			return nil, err
		}
	}
	r.Echo = echo(o)
	return r, nil
}

func (r *Request) readModel(o param.Object) error {
	var err error
	if r.Model, err = param.Need(o.String("model"))("model"); err != nil {
		return err
	}
	if r.Model == "" {
		return stead.Invalid("model", "model must name a model")
	}
	text, has, err := o.String("instructions")
	if err != nil {
		return err
	}
	if has {
		if len(text) > stead.MaxInstructionsBytes {
			return stead.Invalid("instructions", "instructions is longer than the limit of %d bytes", stead.MaxInstructionsBytes)
		}
		r.Instructions = &text
	}
	return nil
}

// readModes reads how the response is kept and delivered.
func (r *Request) readModes(o param.Object) error {
	for name, to := range map[string]*bool{"store": &r.Store, "stream": &r.Stream, "background": &r.Background} {
		if v, has, err := o.Bool(name); err != nil {
			return err
		} else if has {
			*to = v
		}
	}
	_, _, err := o.Object("stream_options")
	if err != nil {
		return err
	}
	if r.Previous, _, err = o.String("previous_response_id"); err != nil {
		return err
	}
	if raw, ok := o.Raw("conversation"); ok {
		if r.Conversation, err = conversation(o, raw); err != nil {
			return err
		}
	}
	if r.Previous != "" && r.Conversation != "" {
		return stead.Invalid("conversation", "conversation and previous_response_id exclude each other")
	}
	if o.Has("prompt") && !o.Null("prompt") {
		return stead.Invalid("prompt", "prompt templates are kept at OpenAI, and are not here: send instructions and input")
	}
	if err := readContext(o); err != nil {
		return err
	}
	return r.readInclude(o)
}

// readContext refuses what would cut the conversation: nothing is ever left out of it unsaid.
func readContext(o param.Object) error {
	how, _, err := o.Enum("truncation", "disabled", "auto")
	if err != nil {
		return err
	}
	if how == "auto" {
		return stead.Invalid("truncation", "truncation: auto comes only from an upstream that speaks the Responses API itself: conversations are summed up here, not cut")
	}
	if list, _, err := o.List("context_management"); err != nil {
		return err
	} else if len(list) > 0 {
		return stead.Invalid("context_management", "context_management comes only from an upstream that speaks the Responses API itself: kept conversations are summed up by themselves, others by /v1/responses/compact")
	}
	return nil
}

// What include asks for: what file_search_call items found, and what reasoning items can be sent back with.
const (
	IncludeFileResults = "file_search_call.results"
	IncludeEncrypted   = "reasoning.encrypted_content"
)

// readInclude takes what there is, and what is of items that are never made here: those hold nothing
// that could be left out.
func (r *Request) readInclude(o param.Object) error {
	include, _, err := o.Strings("include")
	if err != nil {
		return err
	}
	for i, name := range include {
		switch name {
		case IncludeEncrypted:
			r.Encrypted = true
		case "message.output_text.logprobs":
			return stead.Invalid(param.Index("include", i), "log probabilities come only from an upstream that speaks the Responses API itself: leave out %s", name)
		case "message.input_image.image_url": // shown in any case
		case IncludeFileResults:
			r.FileResults = true
		default:
			if err := CheckInclude(param.Index("include", i), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckInclude refuses the name of something that no answer of the Responses API includes.
func CheckInclude(path, name string) error {
	switch name {
	case IncludeEncrypted, IncludeFileResults, "message.output_text.logprobs", "message.input_image.image_url", "web_search_call.results",
		"web_search_call.action.sources", "computer_call_output.output.image_url", "code_interpreter_call.outputs":
		return nil
	}
	return stead.Invalid(path, "%s: the Responses API includes nothing of the name %.60q", path, name)
}

// CheckShapes refuses what is of another type than the Responses API has it, where a request is counted and not parsed.
func CheckShapes(o param.Object) error {
	for _, name := range []string{"text", "reasoning", "stream_options"} {
		if _, _, err := o.Object(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"instructions", "truncation", "previous_response_id"} {
		if _, _, err := o.String(name); err != nil {
			return err
		}
	}
	if _, _, err := o.Bool("parallel_tool_calls"); err != nil {
		return err
	}
	if _, _, err := o.List("tools"); err != nil {
		return err
	}
	if raw, has := o.Raw("tool_choice"); has && raw[0] != '"' {
		_, _, err := o.Object("tool_choice")
		return err
	}
	return nil
}

// ConversationOf is the id of the conversation that a request is in; "" for none.
func ConversationOf(o param.Object) (string, error) {
	raw, ok := o.Raw("conversation")
	if !ok || string(raw) == "null" {
		return "", nil
	}
	return conversation(o, raw)
}

// conversation is an id, or an object with one.
func conversation(o param.Object, raw json.RawMessage) (string, error) {
	if raw[0] == '"' {
		id, _, err := o.String("conversation")
		return id, err
	}
	sub, _, err := o.Object("conversation")
	if err != nil {
		return "", err
	}
	return param.Need(sub.String("id"))("conversation.id")
}

func (r *Request) readSampling(o param.Object) error {
	var err error
	if r.Temperature, err = o.Number("temperature", 0, 2); err != nil {
		return err
	}
	if r.TopP, err = o.Number("top_p", 0, 1); err != nil {
		return err
	}
	for name, to := range map[string]*int{"max_output_tokens": &r.MaxOutput, "max_tool_calls": &r.MaxToolCalls} {
		most := int64(MaxOutputTokens)
		if name == "max_tool_calls" {
			most = MaxToolCalls
		}
		n, _, err := o.Int(name, 1, most)
		if err != nil {
			return err
		}
		*to = int(n)
	}
	if n, has, err := o.Int("top_logprobs", 0, 20); err != nil {
		return err
	} else if has && n > 0 {
		return stead.Invalid("top_logprobs", "log probabilities come only from an upstream that speaks the Responses API itself")
	}
	parallel, has, err := o.Bool("parallel_tool_calls")
	r.SerialTools = has && !parallel
	return err
}

func (r *Request) readReasoning(o param.Object) error {
	sub, has, err := o.Object("reasoning")
	if !has || err != nil {
		return err
	}
	if r.Effort, err = word(sub, "effort", "none", "minimal", "low", "medium", "high", "xhigh", "max"); err != nil {
		return err
	}
	if r.Summary, err = word(sub, "summary", "auto", "concise", "detailed"); err != nil {
		return err
	}
	if r.Summary == nil { // its old name
		r.Summary, err = word(sub, "generate_summary", "auto", "concise", "detailed")
	}
	return err
}

func word(o param.Object, name string, allowed ...string) (*string, error) {
	s, has, err := o.Enum(name, allowed...)
	if !has || err != nil {
		return nil, err
	}
	return &s, nil
}

func (r *Request) readText(o param.Object) error {
	text, has, err := o.Object("text")
	if !has || err != nil {
		return err
	}
	if r.Verbosity, err = word(text, "verbosity", "low", "medium", "high"); err != nil {
		return err
	}
	format, has, err := text.Object("format")
	if !has || err != nil {
		return err
	}
	kind, err := param.Need(format.Enum("type", "text", "json_object", "json_schema"))(format.Path("type"))
	if err != nil {
		return err
	}
	switch kind {
	case "json_object":
		r.Format = &Format{Name: "object", Schema: json.RawMessage(`{"type":"object"}`)}
	case "json_schema":
		f := &Format{}
		if f.Name, err = param.Need(format.String("name"))(format.Path("name")); err != nil {
			return err
		}
		if _, err := param.Need(format.Object("schema"))(format.Path("schema")); err != nil {
			return err
		}
		f.Schema, _ = format.Raw("schema")
		if f.Strict, _, err = format.Bool("strict"); err != nil {
			return err
		}
		r.Format = f
	}
	return nil
}

func (r *Request) readIdentity(o param.Object) error {
	var err error
	if r.Metadata, err = agent.Metadata(o); err != nil {
		return err
	}
	if r.ServiceTier, _, err = o.Enum("service_tier", "auto", "default", "flex", "scale", "priority", "fast", "ultrafast"); err != nil {
		return err
	}
	if r.CacheKey, _, err = o.String("prompt_cache_key"); err != nil {
		return err
	}
	for _, name := range []string{"safety_identifier", "user"} {
		if r.User != "" {
			break
		}
		if r.User, _, err = o.String(name); err != nil {
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

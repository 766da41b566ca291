package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// fields is a request body: what is empty or refused by the upstream is not in it.
type fields map[string]any

func (f fields) text(key, value string) {
	if value != "" {
		f[key] = value
	}
}

// common sets what both dialects call the same.
func (p *Provider) common(f fields, req model.Request) {
	f["model"] = req.Model
	f["stream"] = true
	f.text("prompt_cache_key", req.CacheKey)
	f.text("user", req.User)
	if req.ServiceTier != "auto" {
		f.text("service_tier", req.ServiceTier)
	}
	number(f, "temperature", req.Temperature)
	number(f, "top_p", req.TopP)
	if req.SerialTools {
		f["parallel_tool_calls"] = false
	}
	for _, key := range p.cfg.Omit {
		delete(f, key)
	}
}

func number[T any](f fields, key string, value *T) {
	if value != nil {
		f[key] = *value
	}
}

// toolChoice is the field's value: a word, or, for one tool, what the dialect makes of its name.
func toolChoice(f fields, req model.Request, one func(name string) fields) {
	if name, ok := strings.CutPrefix(req.ToolChoice, model.ToolChoiceNamed); ok {
		f["tool_choice"] = one(name)
		return
	}
	f.text("tool_choice", req.ToolChoice)
}

// defaultVerbosity is what upstreams do when they are told nothing. Many compatible servers do not
// know the field, and some refuse a request that has it.
const defaultVerbosity = "medium"

func verbosity(req model.Request) string {
	if req.Verbosity == defaultVerbosity {
		return ""
	}
	return req.Verbosity
}

func parameters(t model.ToolSpec) json.RawMessage {
	if len(t.Parameters) == 0 {
		return json.RawMessage(emptyParameters)
	}
	return t.Parameters
}

func formatName(f *model.Format) string {
	if f.Name == "" {
		return defaultFormat
	}
	return f.Name
}

// paired puts the outputs right behind the reply that made the calls, in its order, which chat
// upstreams insist on; a call without an output gets one that says so, an output without a call
// is dropped, and of several outputs the first counts.
func paired(items []stead.Item) []stead.Item {
	outputs := map[string]stead.Item{} // call id → output
	for _, it := range items {
		if it.Type != stead.ItemFunctionCallOutput {
			continue
		}
		if _, ok := outputs[it.CallID]; !ok {
			outputs[it.CallID] = it
		}
	}
	out := make([]stead.Item, 0, len(items))
	var open []string // call ids that wait for their outputs
	flush := func() {
		for _, id := range open {
			o, ok := outputs[id]
			if !ok {
				o = stead.Item{Type: stead.ItemFunctionCallOutput, CallID: id,
					Output: stead.TextContent(stead.ContentInputText, missingOutput)}
			}
			out = append(out, o)
		}
		open = nil
	}
	for _, it := range items {
		switch {
		case it.Type == stead.ItemFunctionCallOutput:
			flush()
			continue
		case it.Type == stead.ItemFunctionCall:
			open = append(open, it.CallID)
		case it.Type == stead.ItemMessage && it.Role != stead.RoleAssistant:
			flush()
		}
		out = append(out, it)
	}
	flush()
	return out
}

// wireArguments is what goes back as a call's arguments. Many servers parse it, so text that was
// no JSON object is wrapped into one.
func wireArguments(raw json.RawMessage) string {
	if isObject(raw) {
		return string(raw)
	}
	if len(raw) == 0 {
		return emptyObject
	}
	var garbled string
	if json.Unmarshal(raw, &garbled) != nil {
		garbled = string(raw)
	}
	wrapped, err := json.Marshal(map[string]string{garbledArguments: garbled})
	if err != nil {
		return emptyObject // cannot be: strings always marshal
	}
	return string(wrapped)
}

// wireCallID shortens ids of other providers that are longer than OpenAI takes, the same way each time.
func wireCallID(id string) string {
	if len(id) <= maxCallIDBytes {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16])
}

// outputParts splits a tool's output into what it says and its images.
func outputParts(it stead.Item) (text string, images []string) {
	var texts []string
	if it.Error != "" {
		texts = append(texts, it.Error)
	}
	for _, c := range it.Output {
		if c.Type == stead.ContentInputImage {
			images = append(images, c.Text.Inline)
			continue
		}
		texts = append(texts, c.Text.Inline)
	}
	return strings.Join(texts, "\n"), images
}

// joined is the text of a message of the assistant.
func joined(content []stead.Content) string {
	var b strings.Builder
	for _, c := range content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

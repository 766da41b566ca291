package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fields is a request body, or a part of one.
type fields = upstream.Fields

// common sets what both dialects call the same.
func (p *Provider) common(f fields, req model.Request) {
	f["model"] = req.Model
	f["stream"] = true
	f.Text("prompt_cache_key", req.CacheKey)
	f.Text("user", req.User)
	if req.ServiceTier != "auto" {
		f.Text("service_tier", req.ServiceTier)
	}
	upstream.Number(f, "temperature", req.Temperature)
	upstream.Number(f, "top_p", req.TopP)
	if req.SerialTools {
		f["parallel_tool_calls"] = false
	}
	for _, key := range p.cfg.Omit {
		delete(f, key)
	}
}

// toolChoice is the field's value: a word, or, for one tool, what the dialect makes of its name.
func toolChoice(f fields, req model.Request, one func(name string) fields) {
	if name, ok := strings.CutPrefix(req.ToolChoice, model.ToolChoiceNamed); ok {
		f["tool_choice"] = one(name)
		return
	}
	f.Text("tool_choice", req.ToolChoice)
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

// wireCallID shortens ids of other providers that are longer than OpenAI takes, the same way each time.
func wireCallID(id string) string {
	if len(id) <= maxCallIDBytes {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16])
}

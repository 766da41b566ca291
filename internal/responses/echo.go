package responses

import (
	"encoding/json"

	"github.com/stead-dev/stead/internal/param"
)

// echoed are the fields that a response object repeats of its request, with what they are when the
// request leaves them out.
func echoed() map[string]string {
	return map[string]string{
		"background": "false", "instructions": "null", "max_output_tokens": "null", "max_tool_calls": "null",
		"metadata": "{}", "parallel_tool_calls": "true", "previous_response_id": "null", "prompt_cache_key": "null",
		"reasoning": `{"effort":null,"summary":null}`, "safety_identifier": "null", "service_tier": `"default"`,
		"store": "true", "temperature": "1", "text": `{"format":{"type":"text"},"verbosity":"medium"}`,
		"tool_choice": `"auto"`, "tools": "[]", "top_logprobs": "0", "top_p": "1", "truncation": `"disabled"`,
		"presence_penalty": "0", "frequency_penalty": "0", "user": "null", "model": `""`,
	}
}

// echo is what the response object repeats.
func echo(o param.Object) json.RawMessage {
	out := map[string]json.RawMessage{}
	for name, value := range echoed() {
		out[name] = json.RawMessage(value)
		if raw, ok := o.Raw(name); ok {
			out[name] = raw
		}
	}
	if text, ok, err := o.Object("text"); ok && err == nil {
		for name, value := range map[string]string{"format": `{"type":"text"}`, "verbosity": `"medium"`} {
			if _, has := text.Raw(name); !has {
				text = text.With(name, json.RawMessage(value))
			}
		}
		out["text"] = text.JSON()
	}
	if r, ok, err := o.Object("reasoning"); ok && err == nil {
		for _, name := range []string{"effort", "summary"} {
			if !r.Has(name) {
				r = r.With(name, json.RawMessage("null"))
			}
		}
		out["reasoning"] = r.JSON()
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage("{}") // cannot be: every value is valid JSON
	}
	return raw
}

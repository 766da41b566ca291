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
	if list, ok, err := o.List("tools"); ok && err == nil {
		out["tools"] = echoTools(list)
	}
	if text, ok, err := o.Object("text"); ok && err == nil {
		if f, ok, err := text.Object("format"); ok && err == nil {
			if kind, _, _ := f.String("type"); kind == "json_schema" {
				text = text.With("format", filled(f, map[string]string{"description": "null", "strict": "false"}))
			}
		}
		out["text"] = filled(text, map[string]string{"format": `{"type":"text"}`, "verbosity": `"medium"`})
	}
	if r, ok, err := o.Object("reasoning"); ok && err == nil {
		out["reasoning"] = filled(r, map[string]string{"effort": "null", "summary": "null"})
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage("{}") // cannot be: every value is valid JSON
	}
	return raw
}

// filled is the object with what it leaves out.
func filled(o param.Object, defaults map[string]string) json.RawMessage {
	for name, value := range defaults {
		if _, has := o.Raw(name); !has {
			o = o.With(name, json.RawMessage(value))
		}
	}
	return o.JSON()
}

// echoTools shows functions with all of their fields, as clients of the API expect them.
func echoTools(list []json.RawMessage) json.RawMessage {
	out := make([]json.RawMessage, len(list))
	for i, raw := range list {
		out[i] = raw
		o, err := param.Parse(param.Index("tools", i), raw)
		if kind, _, _ := o.String("type"); err == nil && kind == "function" {
			out[i] = filled(o, map[string]string{"description": "null", "parameters": "null", "strict": "null"})
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage("[]") // cannot be: every tool is valid JSON
	}
	return raw
}

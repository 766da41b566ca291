package openai

import (
	"cmp"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// responsesRequest is the body for POST /responses.
func (p *Provider) responsesRequest(req model.Request) fields {
	f := fields{"store": false, "input": p.responsesInput(req.Items)}
	f.Text("instructions", req.Instructions)
	if len(req.Tools) > 0 {
		tools := make([]fields, len(req.Tools))
		for i, t := range req.Tools {
			tools[i] = fields{"type": "function", "name": t.Name, "parameters": upstream.Parameters(t), "strict": false}
			tools[i].Text("description", t.Description)
		}
		f["tools"] = tools
	}
	reasoning := fields{}
	reasoning.Text("effort", req.Effort)
	reasoning.Text("summary", req.ReasonSummary)
	if len(reasoning) > 0 {
		f["reasoning"] = reasoning
	}
	if len(reasoning) > 0 || !neverReasons(req.Model) {
		f["include"] = []string{"reasoning.encrypted_content"}
	}
	text := fields{}
	text.Text("verbosity", verbosity(req))
	if req.Format != nil {
		text["format"] = fields{"type": "json_schema", "name": upstream.FormatName(req.Format),
			"schema": req.Format.Schema, "strict": req.Format.Strict}
	}
	if len(text) > 0 {
		f["text"] = text
	}
	if req.MaxOutputTokens > 0 {
		f["max_output_tokens"] = req.MaxOutputTokens
	}
	toolChoice(f, req, func(name string) fields { return fields{"type": "function", "name": name} })
	p.common(f, req)
	return f
}

// unsayable names what a request wishes that the Responses API has no field for; "" for nothing.
func unsayable(req model.Request) string {
	switch {
	case len(req.Stop) > 0:
		return "stop"
	case req.PresencePenalty != nil:
		return "presence_penalty"
	case req.FrequencyPenalty != nil:
		return "frequency_penalty"
	case req.Seed != nil:
		return "seed"
	}
	return ""
}

// filePart is a document, given whole or by its address.
func filePart(c stead.Content, data string) fields {
	f := fields{}
	f.Text("filename", c.Name)
	if strings.HasPrefix(c.Text.Inline, "data:") {
		f[data] = c.Text.Inline
	} else {
		f["file_url"] = c.Text.Inline
	}
	return f
}

// neverReasons names OpenAI's models that refuse to be asked for encrypted reasoning.
func neverReasons(name string) bool {
	for _, prefix := range []string{"gpt-3", "gpt-4", "chatgpt-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (p *Provider) responsesInput(items []stead.Item) []fields {
	items = upstream.Paired(items)
	input := []fields{}
	for i, it := range items {
		switch it.Type {
		case stead.ItemMessage:
			input = append(input, responsesMessage(it))
		case stead.ItemReasoning:
			if f := p.responsesReasoning(items[i:]); f != nil {
				input = append(input, f)
			}
		case stead.ItemFunctionCall:
			input = append(input, fields{"type": "function_call", "call_id": wireCallID(it.CallID),
				"name": it.Name, "arguments": upstream.WireArguments(it.Arguments)})
		case stead.ItemFunctionCallOutput:
			input = append(input, fields{"type": "function_call_output", "call_id": wireCallID(it.CallID),
				"output": responsesOutput(it)})
		}
	}
	return input
}

func responsesMessage(it stead.Item) fields {
	f := fields{"type": "message", "role": it.Role}
	if it.Role == stead.RoleAssistant {
		f["content"] = said(it.Content)
		f.Text("phase", it.Phase)
		return f
	}
	f["content"] = responsesContent(it.Content)
	return f
}

// said is what the model said: its text in one part, then its refusals.
func said(content []stead.Content) []fields {
	text, refusal := []stead.Content{}, []fields{}
	for _, c := range content {
		if c.Type == stead.ContentRefusal {
			refusal = append(refusal, fields{"type": c.Type, "refusal": c.Text.Inline})
		} else {
			text = append(text, c)
		}
	}
	if len(text) == 0 && len(refusal) > 0 {
		return refusal
	}
	return append([]fields{{"type": "output_text", "text": upstream.Joined(text)}}, refusal...)
}

func responsesContent(content []stead.Content) []fields {
	parts := []fields{}
	for _, c := range content {
		switch c.Type {
		case stead.ContentInputImage:
			parts = append(parts, fields{"type": "input_image", "image_url": c.Text.Inline, "detail": cmp.Or(c.Detail, "auto")})
			continue
		case stead.ContentInputFile:
			f := filePart(c, "file_data")
			f["type"] = "input_file"
			parts = append(parts, f)
			continue
		}
		parts = append(parts, fields{"type": "input_text", "text": c.Text.Inline})
	}
	return parts
}

// responsesOutput is a string, or a list of parts when there are images.
func responsesOutput(it stead.Item) any {
	text, images := upstream.OutputParts(it)
	if len(images) == 0 {
		return text
	}
	var parts []fields
	if it.Error != "" {
		parts = append(parts, fields{"type": "input_text", "text": it.Error})
	}
	return append(parts, responsesContent(it.Output)...)
}

// responsesReasoning is the reasoning item at the head of rest as it goes back, nil if it does not:
// when another provider made it, or when what it led to is not there, which upstreams refuse.
func (p *Provider) responsesReasoning(rest []stead.Item) fields {
	it := rest[0]
	if it.Encrypted == nil || it.Provider != p.cfg.Name || !upstream.Led(rest[1:]) {
		return nil
	}
	id, content, ok := strings.Cut(it.Encrypted.Inline, ".")
	if !ok || content == "" || id == thoughtDetails { // which the provider sealed when its api: was chat
		return nil
	}
	summary := []fields{}
	for _, t := range it.Summary {
		summary = append(summary, fields{"type": "summary_text", "text": t.Inline})
	}
	f := fields{"type": "reasoning", "summary": summary, "encrypted_content": content}
	f.Text("id", id)
	return f
}

package openai

import (
	"fmt"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// chatRequest is the body for POST /chat/completions.
func (p *Provider) chatRequest(req model.Request) fields {
	f := fields{
		"messages":       p.chatMessages(req.Instructions, req.Items),
		"stream_options": fields{"include_usage": true},
	}
	if len(req.Tools) > 0 {
		tools := make([]fields, len(req.Tools))
		for i, t := range req.Tools {
			fn := fields{"name": t.Name, "parameters": upstream.Parameters(t)}
			fn.Text("description", t.Description)
			tools[i] = fields{"type": "function", "function": fn}
		}
		f["tools"] = tools
	}
	f.Text("reasoning_effort", req.Effort)
	f.Text("verbosity", verbosity(req))
	if req.Format != nil {
		f["response_format"] = fields{"type": "json_schema", "json_schema": fields{
			"name": upstream.FormatName(req.Format), "schema": req.Format.Schema, "strict": req.Format.Strict}}
	}
	if req.MaxOutputTokens > 0 {
		key := "max_tokens" // the only one that Ollama and older servers know
		if p.newStyle {
			key = "max_completion_tokens" // the only one that reasoning models take
		}
		f[key] = req.MaxOutputTokens
	}
	if len(req.Stop) > 0 {
		f["stop"] = req.Stop
	}
	upstream.Number(f, "presence_penalty", req.PresencePenalty)
	upstream.Number(f, "frequency_penalty", req.FrequencyPenalty)
	upstream.Number(f, "seed", req.Seed)
	toolChoice(f, req, func(name string) fields { return fields{"type": "function", "function": fields{"name": name}} })
	p.common(f, req)
	return f
}

// chatMessages writes the conversation. A reply's text and calls share one assistant message; the
// images of tool outputs follow in a user message, because a tool message holds only text. What the
// model thought goes back in the message that it led to, in turns that call tools.
func (p *Provider) chatMessages(instructions string, items []stead.Item) []fields {
	msgs := []fields{}
	if instructions != "" {
		msgs = append(msgs, fields{"role": "system", "content": instructions})
	}
	var pictures []fields // parts of the user message to come
	flush := func() {
		if len(pictures) > 0 {
			msgs = append(msgs, fields{"role": "user", "content": pictures})
		}
		pictures = nil
	}
	names := map[string]string{} // call id → tool
	items = upstream.Paired(items)
	thought, inCalls := thinking{}, calling(items)
	for i, it := range items {
		if it.Type != stead.ItemFunctionCallOutput && it.Type != stead.ItemReasoning {
			flush()
		}
		switch it.Type {
		case stead.ItemReasoning:
			if inCalls[i] && it.Encrypted != nil && it.Provider == p.cfg.Name {
				thought.add(it)
			}
		case stead.ItemMessage:
			msgs = chatMessage(msgs, it)
			if it.Role != stead.RoleAssistant {
				thought = thinking{} // it led to nothing that is left
			}
			thought.put(msgs[len(msgs)-1])
		case stead.ItemFunctionCall:
			names[it.CallID] = it.Name
			msgs = chatCall(msgs, it)
			thought.put(msgs[len(msgs)-1])
		case stead.ItemFunctionCallOutput:
			text, images := upstream.OutputParts(it)
			for _, image := range images {
				pictures = append(pictures,
					fields{"type": "text", "text": fmt.Sprintf("Image returned by %s:", names[it.CallID])},
					imagePart(image))
			}
			if text == "" && len(images) > 0 {
				text = "The image follows."
			}
			msgs = append(msgs, fields{"role": "tool", "tool_call_id": wireCallID(it.CallID), "content": text})
		}
	}
	flush()
	return msgs
}

// imagePart is a picture. This dialect knows no closer look than high.
func imagePart(c stead.Content) fields {
	image := fields{"url": c.Text.Inline}
	if c.Detail == "original" {
		c.Detail = "high"
	}
	image.Text("detail", c.Detail)
	return fields{"type": "image_url", "image_url": image}
}

func chatMessage(msgs []fields, it stead.Item) []fields {
	if it.Role == stead.RoleAssistant {
		text := upstream.Joined(it.Content)
		if last := lastCalls(msgs); last != nil { // text after the calls of the same reply
			before, _ := last["content"].(string)
			last["content"] = before + text
			return msgs
		}
		return append(msgs, fields{"role": "assistant", "content": text})
	}
	plain, parts := "", []fields{}
	for _, c := range it.Content {
		switch c.Type {
		case stead.ContentInputImage:
			parts = append(parts, imagePart(c))
			continue
		case stead.ContentInputFile:
			parts = append(parts, fields{"type": "file", "file": filePart(c, "file_data")})
			continue
		}
		plain = c.Text.Inline
		parts = append(parts, fields{"type": "text", "text": c.Text.Inline})
	}
	role := it.Role
	if role == stead.RoleDeveloper {
		role = stead.RoleSystem // which OpenAI takes as well, and the others alone
	}
	if len(parts) == 0 || len(parts) == 1 && parts[0]["type"] == "text" {
		return append(msgs, fields{"role": role, "content": plain}) // what the simplest servers understand
	}
	return append(msgs, fields{"role": role, "content": parts})
}

// lastCalls is the last message if it makes calls.
func lastCalls(msgs []fields) fields {
	if len(msgs) == 0 || msgs[len(msgs)-1]["tool_calls"] == nil {
		return nil
	}
	return msgs[len(msgs)-1]
}

func chatCall(msgs []fields, it stead.Item) []fields {
	call := fields{"id": wireCallID(it.CallID), "type": "function",
		"function": fields{"name": it.Name, "arguments": upstream.WireArguments(it.Arguments)}}
	if len(msgs) == 0 || msgs[len(msgs)-1]["role"] != "assistant" {
		msgs = append(msgs, fields{"role": "assistant", "content": nil})
	}
	last := msgs[len(msgs)-1]
	calls, _ := last["tool_calls"].([]fields)
	last["tool_calls"] = append(calls, call)
	return msgs
}

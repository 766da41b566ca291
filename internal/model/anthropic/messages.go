package anthropic

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// message is one of the wire's; roles alternate.
type message struct {
	Role    string   `json:"role"`
	Content []fields `json:"content"`
}

const (
	// opening stands where a conversation does not begin with the user, which the wire insists on.
	opening = "(The conversation goes on.)"
	// The kinds of what is sealed in a reasoning item: what stands before its dot.
	sealedThinking = "thinking"
	sealedRedacted = "redacted"
)

// talk is a conversation in the making.
type talk struct {
	provider string
	system   []fields
	messages []message
}

// conversation is what the model is told. Its error is a picture or document that cannot be read.
func (p *Provider) conversation(req model.Request) (system []fields, messages []message, err *model.Error) {
	t := &talk{provider: p.cfg.Name}
	if req.Instructions != "" {
		t.system = append(t.system, textBlock(req.Instructions))
	}
	items := upstream.Paired(req.Items)
	for i := range items {
		if err := t.item(items[i:]); err != nil {
			return nil, nil, err
		}
	}
	if len(t.messages) == 0 || t.messages[0].Role != stead.RoleUser {
		t.messages = append([]message{{stead.RoleUser, []fields{textBlock(opening)}}}, t.messages...)
	}
	return t.system, t.messages, nil
}

// say adds a block to the message of a role; the wire wants no empty texts.
func (t *talk) say(role string, block fields) {
	if block == nil || block["type"] == "text" && block["text"] == "" {
		return
	}
	if n := len(t.messages); n > 0 && t.messages[n-1].Role == role {
		t.messages[n-1].Content = append(t.messages[n-1].Content, block)
		return
	}
	t.messages = append(t.messages, message{role, []fields{block}})
}

// item adds the item at the head of rest.
func (t *talk) item(rest []stead.Item) *model.Error {
	switch it := rest[0]; it.Type {
	case stead.ItemMessage:
		return t.message(it)
	case stead.ItemReasoning:
		if it.Encrypted != nil && it.Provider == t.provider && upstream.Led(rest[1:]) {
			t.say(stead.RoleAssistant, thinkingBlock(it))
		}
	case stead.ItemFunctionCall:
		t.say(stead.RoleAssistant, fields{"type": "tool_use", "id": upstream.PlainCallID(it.CallID), "name": it.Name,
			"input": json.RawMessage(upstream.WireArguments(it.Arguments))})
	case stead.ItemFunctionCallOutput:
		content := []stead.Content{}
		if it.Error != "" {
			content = stead.TextContent(stead.ContentInputText, it.Error)
		}
		parts, err := blocks(append(content, it.Output...))
		if err != nil {
			return err
		}
		f := fields{"type": "tool_result", "tool_use_id": upstream.PlainCallID(it.CallID), "content": parts}
		if it.Error != "" {
			f["is_error"] = true
		}
		t.say(stead.RoleUser, f)
	}
	return nil
}

func (t *talk) message(it stead.Item) *model.Error {
	switch it.Role {
	case stead.RoleAssistant:
		t.say(stead.RoleAssistant, textBlock(upstream.Joined(it.Content)))
	case stead.RoleSystem, stead.RoleDeveloper:
		text := upstream.Joined(it.Content)
		if len(t.messages) > 0 {
			t.say(stead.RoleUser, textBlock("<system>\n"+text+"\n</system>"))
		} else if text != "" {
			t.system = append(t.system, textBlock(text))
		}
	default:
		parts, err := blocks(it.Content)
		if err != nil {
			return err
		}
		for _, b := range parts {
			t.say(stead.RoleUser, b)
		}
	}
	return nil
}

// loopWithoutThinking reports whether the model is amid calls that it made without thinking, as when
// another one made them: a budget is refused then.
func loopWithoutThinking(messages []message) bool {
	n := len(messages)
	if n < 2 || messages[n-1].Content[0]["type"] != "tool_result" {
		return false
	}
	switch messages[n-2].Content[0]["type"] {
	case "thinking", "redacted_thinking":
		return false
	}
	return true
}

// thinkingBlock is what the model sealed, as it came.
func thinkingBlock(it stead.Item) fields {
	kind, sealed, _ := strings.Cut(it.Encrypted.Inline, ".")
	switch kind {
	case sealedThinking:
		var text strings.Builder
		for _, s := range it.Summary {
			text.WriteString(s.Inline)
		}
		return fields{"type": "thinking", "thinking": text.String(), "signature": sealed}
	case sealedRedacted:
		return fields{"type": "redacted_thinking", "data": sealed}
	}
	return nil
}

func textBlock(s string) fields { return fields{"type": "text", "text": s} }

// blocks writes the parts of a message or an output; empty texts are left out.
func blocks(content []stead.Content) ([]fields, *model.Error) {
	out := []fields{}
	for _, c := range content {
		switch c.Type {
		case stead.ContentInputImage:
			src, err := source(c.Text.Inline)
			if err != nil {
				return nil, err
			}
			out = append(out, fields{"type": "image", "source": src})
		case stead.ContentInputFile:
			src, err := source(c.Text.Inline)
			if err != nil {
				return nil, err
			}
			if kind := src["media_type"]; src["type"] == "base64" && kind != "application/pdf" {
				return nil, &model.Error{Code: model.CodeInvalid, Message: fmt.Sprintf("Anthropic takes no document of the type %.60q: PDF and text alone", kind)}
			}
			f := fields{"type": "document", "source": src}
			f.Text("title", c.Name)
			out = append(out, f)
		default:
			if c.Text.Inline != "" {
				out = append(out, textBlock(c.Text.Inline))
			}
		}
	}
	return out, nil
}

// source says where a picture or document is. Texts are sent as such: the wire takes them no other way.
func source(address string) (fields, *model.Error) {
	mediaType, data, inline, err := upstream.DataURL(address)
	if err != nil {
		return nil, err
	}
	if !inline {
		return fields{"type": "url", "url": address}, nil
	}
	if strings.HasPrefix(mediaType, "text/") || mediaType == "application/json" {
		text, _ := base64.StdEncoding.DecodeString(data) // DataURL has encoded it
		return fields{"type": "text", "media_type": "text/plain", "data": string(text)}, nil
	}
	return fields{"type": "base64", "media_type": mediaType, "data": data}, nil
}

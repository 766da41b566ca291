package bedrock

import (
	"encoding/json"
	"fmt"
	"mime"
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
	roleUser      = "user"
	roleAssistant = "assistant"
	// opening stands where a conversation does not begin with the user, which the wire insists on.
	opening = "(The conversation goes on.)"
	// attached stands beside documents that come without a word: the wire wants some text there.
	attached = "(See the attached document.)"
	noOutput = "(no output)"
	// The kinds of what is sealed in a reasoning item: what stands before its dot.
	sealedThinking = "thinking"
	sealedRedacted = "redacted"
	maxNameRunes   = 100 // of a document's name: the wire takes 200
)

// talk is a conversation in the making.
type talk struct {
	provider string
	tools    bool // they are declared, so that calls can be blocks
	system   []fields
	messages []message
	names    map[string]int // of documents: each must be another
}

// conversation is what the model is told. Its error is a picture or document that cannot be sent.
func (p *Provider) conversation(req model.Request, tools bool) (system []fields, messages []message, err *model.Error) {
	t := &talk{provider: p.cfg.Name, tools: tools, names: map[string]int{}}
	if req.Instructions != "" {
		t.system = append(t.system, text(req.Instructions))
	}
	items := upstream.Paired(req.Items)
	for i := range items {
		if err := t.item(items[i:]); err != nil {
			return nil, nil, err
		}
	}
	if len(t.messages) == 0 || t.messages[0].Role != roleUser {
		t.messages = append([]message{{roleUser, []fields{text(opening)}}}, t.messages...)
	}
	for i := range t.messages {
		t.messages[i].Content = withText(t.messages[i].Content)
	}
	return t.system, t.messages, nil
}

// withText adds a text where a message has documents and no text beside them.
func withText(blocks []fields) []fields {
	documents := false
	for _, b := range blocks {
		if b["text"] != nil {
			return blocks
		}
		documents = documents || b["document"] != nil
	}
	if documents {
		return append(blocks, text(attached))
	}
	return blocks
}

// say adds a block to the message of a role; the wire wants no blank texts.
func (t *talk) say(role string, block fields) {
	if s, ok := block["text"].(string); block == nil || ok && strings.TrimSpace(s) == "" {
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
		if t.tools && it.Encrypted != nil && it.Provider == t.provider && upstream.Led(rest[1:]) {
			t.say(roleAssistant, reasoning(it))
		}
	case stead.ItemFunctionCall:
		if !t.tools {
			t.say(roleAssistant, text(fmt.Sprintf("(Called %s with %s)", it.Name, upstream.WireArguments(it.Arguments))))
			return nil
		}
		t.say(roleAssistant, fields{"toolUse": fields{"toolUseId": upstream.PlainCallID(it.CallID), "name": it.Name,
			"input": json.RawMessage(upstream.WireArguments(it.Arguments))}})
	case stead.ItemFunctionCallOutput:
		return t.output(it)
	}
	return nil
}

// output adds what a tool said.
func (t *talk) output(it stead.Item) *model.Error {
	content := []stead.Content{}
	if it.Error != "" {
		content = stead.TextContent(stead.ContentInputText, it.Error)
	}
	parts, err := t.blocks(append(content, it.Output...))
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		parts = []fields{text(noOutput)}
	}
	if !t.tools {
		t.say(roleUser, text("(The call's output:)"))
		for _, b := range parts {
			t.say(roleUser, b)
		}
		return nil
	}
	f := fields{"toolUseId": upstream.PlainCallID(it.CallID), "content": parts}
	if it.Error != "" {
		f["status"] = "error" // success is not said: some families refuse the field
	}
	t.say(roleUser, fields{"toolResult": f})
	return nil
}

func (t *talk) message(it stead.Item) *model.Error {
	switch it.Role {
	case stead.RoleAssistant:
		t.say(roleAssistant, text(upstream.Joined(it.Content)))
	case stead.RoleSystem, stead.RoleDeveloper:
		said := upstream.Joined(it.Content)
		if len(t.messages) > 0 {
			t.say(roleUser, text("<system>\n"+said+"\n</system>"))
		} else if strings.TrimSpace(said) != "" {
			t.system = append(t.system, text(said))
		}
	default:
		parts, err := t.blocks(it.Content)
		if err != nil {
			return err
		}
		for _, b := range parts {
			t.say(roleUser, b)
		}
	}
	return nil
}

// loopWithoutThinking reports whether the model is amid calls that it made without thinking, as when
// another one made them: a budget is refused then.
func loopWithoutThinking(messages []message) bool {
	n := len(messages)
	return n >= 2 && messages[n-1].Content[0]["toolResult"] != nil && messages[n-2].Content[0]["reasoningContent"] == nil
}

// reasoning is what the model sealed, as it came.
func reasoning(it stead.Item) fields {
	kind, sealed, _ := strings.Cut(it.Encrypted.Inline, ".")
	switch kind {
	case sealedThinking:
		var b strings.Builder
		for _, s := range it.Summary {
			b.WriteString(s.Inline)
		}
		return fields{"reasoningContent": fields{"reasoningText": fields{"text": b.String(), "signature": sealed}}}
	case sealedRedacted:
		return fields{"reasoningContent": fields{"redactedContent": sealed}}
	}
	return nil
}

func text(s string) fields { return fields{"text": s} }

// blocks writes the parts of a message or an output; blank texts are left out.
func (t *talk) blocks(content []stead.Content) ([]fields, *model.Error) {
	out := []fields{}
	for _, c := range content {
		kind := map[string]string{stead.ContentInputImage: "image", stead.ContentInputFile: "document"}[c.Type]
		if kind == "" {
			if strings.TrimSpace(c.Text.Inline) != "" {
				out = append(out, text(c.Text.Inline))
			}
			continue
		}
		mediaType, data, inline, err := upstream.DataURL(c.Text.Inline)
		if err != nil {
			return nil, err
		}
		if !inline {
			return nil, &model.Error{Code: model.CodeInvalid, Message: "Bedrock takes no " + kind + " by its URL: send its bytes as a data: URL"}
		}
		b := fields{"source": fields{"bytes": data}}
		if kind == "document" {
			b["name"] = t.name(c.Name)
		}
		if b["format"] = format(kind, mediaType); b["format"] == "" {
			return nil, &model.Error{Code: model.CodeInvalid, Message: fmt.Sprintf("Bedrock takes no %s of the type %.60q", kind, mediaType)}
		}
		out = append(out, fields{kind: b})
	}
	return out, nil
}

// format is the wire's word for a media type, "" where it has none.
func format(kind, mediaType string) string {
	if parsed, _, err := mime.ParseMediaType(mediaType); err == nil {
		mediaType = parsed
	}
	if kind == "image" {
		return map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}[mediaType]
	}
	known := map[string]string{
		"application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/markdown": "md", "application/msword": "doc",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
		"application/vnd.ms-excel": "xls", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
		"application/json": "txt",
	}[mediaType]
	if known == "" && strings.HasPrefix(mediaType, "text/") {
		return "txt"
	}
	return known
}

// name makes a document's name of what the wire takes: letters, digits, hyphens, brackets, single
// spaces. No two are alike: that is refused as well.
func (t *talk) name(given string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-()[]", r) {
			return r
		}
		return ' '
	}, given)
	plain = strings.Join(strings.Fields(plain), " ")
	if plain == "" {
		plain = "document"
	}
	plain = strings.TrimSpace(plain[:min(len(plain), maxNameRunes)])
	t.names[plain]++
	if n := t.names[plain]; n > 1 {
		return t.name(fmt.Sprintf("%s (%d)", plain, n))
	}
	return plain
}

package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

const (
	emptyObject      = "{}"
	emptyParameters  = `{"type":"object","properties":{}}`
	objectType       = `"type":"object"`
	noProperties     = `"properties":{}`
	defaultFormat    = "output" // name of a format that has none
	missingOutput    = "no output"
	maxCallIDBytes   = 64
	garbledArguments = "unparsable_arguments" // key that wraps arguments which were no JSON object
)

// Fields is a request body, or a part of one: what is empty is not in it.
type Fields map[string]any

// Text sets a field that is not empty.
func (f Fields) Text(key, value string) {
	if value != "" {
		f[key] = value
	}
}

// Number sets a field that is there.
func Number[T any](f Fields, key string, value *T) {
	if value != nil {
		f[key] = *value
	}
}

// Parameters is a tool's schema; one that has none takes an empty object.
func Parameters(t model.ToolSpec) json.RawMessage { return ObjectSchema(t.Parameters) }

// ObjectSchema is a schema that says that it is one of an object, which wires insist on ("input_schema.type:
// Field required" is the 400 of Anthropic) and JSON Schema does
// not: where the type is left out it is filled in, and so are the properties when nothing else says them.
// What says its type goes as it is.
func ObjectSchema(raw json.RawMessage) json.RawMessage {
	body := bytes.TrimSpace(raw)
	var members map[string]json.RawMessage
	if len(body) == 0 || json.Unmarshal(body, &members) == nil && len(members) == 0 {
		return json.RawMessage(emptyParameters)
	}
	if members == nil || members["type"] != nil {
		return raw
	}
	fill := objectType
	if !slices.ContainsFunc([]string{"properties", "anyOf", "oneOf", "allOf", "$ref"}, func(key string) bool { return members[key] != nil }) {
		fill += "," + noProperties
	}
	return slices.Concat([]byte("{"+fill+","), body[1:])
}

// FormatName is the name of an output format, which wires insist on.
func FormatName(f *model.Format) string {
	if f.Name == "" {
		return defaultFormat
	}
	return f.Name
}

// AnswerTool is the name of a tool that stands for the output format, where a wire has none: the
// format's, unless a tool has it.
func AnswerTool(req model.Request) string {
	name := FormatName(req.Format)
	for slices.ContainsFunc(req.Tools, func(t model.ToolSpec) bool { return t.Name == name }) {
		name += "_"
	}
	return name
}

// Paired puts the outputs right behind the reply that made the calls, in its order, which chat
// upstreams insist on; a call without an output gets one that says so, an output without a call
// is dropped, and of several outputs the first counts.
func Paired(items []stead.Item) []stead.Item {
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

// WireArguments is what goes back as a call's arguments. Many servers parse it, so text that was
// no JSON object is wrapped into one.
func WireArguments(raw json.RawMessage) string {
	if IsObject(raw) {
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

// OutputParts splits a tool's output into what it says and its images.
func OutputParts(it stead.Item) (text string, images []stead.Content) {
	var texts []string
	if it.Error != "" {
		texts = append(texts, it.Error)
	}
	for _, c := range it.Output {
		if c.Type == stead.ContentInputImage {
			images = append(images, c)
			continue
		}
		texts = append(texts, c.Text.Inline)
	}
	return strings.Join(texts, "\n"), images
}

// Joined is the text of a message of the assistant.
func Joined(content []stead.Content) string {
	var b strings.Builder
	for _, c := range content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

// arguments makes of a model's text what an item holds: a JSON object, or, when ok is false, the
// garbled text as a JSON string. No text at all, and null, are an empty object.
func arguments(text string) (raw json.RawMessage, ok bool) {
	trimmed := bytes.TrimSpace([]byte(text))
	if len(trimmed) == 0 || string(trimmed) == "null" {
		return json.RawMessage(emptyObject), true
	}
	if IsObject(trimmed) {
		return trimmed, true
	}
	var inner string // some models quote the object once more
	if json.Unmarshal(trimmed, &inner) == nil && IsObject([]byte(inner)) {
		return json.RawMessage(strings.TrimSpace(inner)), true
	}
	garbled, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(emptyObject), false // cannot be: strings always marshal
	}
	return garbled, false
}

// IsObject reports whether b is a JSON object.
func IsObject(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

// Led reports, of the items behind a reasoning item, whether the model's own message or call comes next.
func Led(rest []stead.Item) bool {
	for _, it := range rest {
		switch it.Type {
		case stead.ItemReasoning:
			continue
		case stead.ItemFunctionCall:
			return true
		case stead.ItemMessage:
			return it.Role == stead.RoleAssistant
		}
		return false
	}
	return false
}

// DataURL takes a data: URL apart (RFC 2397); its data comes in base64. inline is false of another
// URL. The error is a data: URL that cannot be read.
func DataURL(address string) (mediaType, data string, inline bool, err *model.Error) {
	rest, ok := strings.CutPrefix(address, "data:")
	if !ok {
		return "", "", false, nil
	}
	head, data, ok := strings.Cut(rest, ",")
	if !ok {
		return "", "", false, &model.Error{Code: model.CodeInvalid, Message: "a data: URL of the conversation has no comma"}
	}
	mediaType, params, _ := strings.Cut(head, ";")
	if mediaType == "" {
		mediaType = "text/plain"
	}
	if params == "base64" || strings.HasSuffix(params, ";base64") {
		if _, e := base64.StdEncoding.DecodeString(data); e != nil {
			return "", "", false, &model.Error{Code: model.CodeInvalid, Message: "a data: URL of the conversation is no base64", Err: e}
		}
		return mediaType, data, true, nil
	}
	text, e := url.PathUnescape(data)
	if e != nil {
		return "", "", false, &model.Error{Code: model.CodeInvalid, Message: "a data: URL of the conversation cannot be read", Err: e}
	}
	return mediaType, base64.StdEncoding.EncodeToString([]byte(text)), true, nil
}

// PlainCallID replaces ids of other providers that Claude's wires do not take, the same way each time.
func PlainCallID(id string) string {
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-'
	}
	if id != "" && len(id) <= maxCallIDBytes && !strings.ContainsFunc(id, odd) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "toolu_" + hex.EncodeToString(sum[:16])
}

// Called are the names of the tools that a conversation has called, each once.
func Called(items []stead.Item) []string {
	var names []string
	for i := range items {
		if items[i].Type == stead.ItemFunctionCall && !slices.Contains(names, items[i].Name) {
			names = append(names, items[i].Name)
		}
	}
	return names
}

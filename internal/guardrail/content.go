package guardrail

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
)

// Content checks the texts of a message or of a tool's result as one. What it returns is a copy where anything was redacted;
// the content that it was given stays as it is. tool is "" but at ToolResult.
func (c *Checks) Content(ctx context.Context, p Point, tool string, content []stead.Content) ([]stead.Content, Verdict) {
	if !c.Any(p) {
		return content, Verdict{}
	}
	var at []int // of the parts that are text
	d := &document{whole: lines, adjoins: true}
	for i, part := range content {
		if textual(part) {
			at = append(at, i)
			d.parts = append(d.parts, part.Text.Inline)
		}
	}
	if len(at) == 0 {
		return content, Verdict{}
	}
	v := c.check(ctx, p, c.ofTool(tool), d)
	out := slices.Clone(content)
	for n, i := range at {
		if d.parts[n] != out[i].Text.Inline {
			out[i].Text = stead.NewText(d.parts[n])
		}
	}
	return out, v
}

// Text checks one text.
func (c *Checks) Text(ctx context.Context, p Point, tool, text string) (string, Verdict) {
	if text == "" || !c.Any(p) {
		return text, Verdict{}
	}
	d := &document{parts: []string{text}, whole: lines}
	v := c.check(ctx, p, c.ofTool(tool), d)
	return d.parts[0], v
}

// Items checks what a caller sends: messages, of whatever role, as input, and what it says that tools were called with and
// returned, as such. field names the list in errors and findings. The items that it was given stay as they are.
func (c *Checks) Items(ctx context.Context, field string, items []stead.Item) ([]stead.Item, Verdict) {
	if !c.Any(Input, ToolCall, ToolResult) {
		return items, Verdict{}
	}
	out, v := slices.Clone(items), Verdict{}
	names := map[string]string{} // call id → tool
	for i := range out {
		it := &out[i]
		if it.Type.IsCall() {
			names[it.CallID] = toolOf(*it)
		}
		if v = v.And(c.item(ctx, it, names[it.CallID]).In(field, i).firmly()); v.Blocked != nil {
			return out, v
		}
	}
	return out, v
}

// toolOf names a call's tool as scopes do.
func toolOf(it stead.Item) string {
	if it.Question != nil {
		return it.Question.Server + "/" + it.Name
	}
	return it.Name
}

// item checks one item of an input, also what it says that a model has asked for or thought: it may be the caller's word alone. Whether a person is
// to be asked about a call is decided where it is made: here it was made already, or never.
func (c *Checks) item(ctx context.Context, it *stead.Item, tool string) (v Verdict) {
	switch {
	case it.Told != nil:
		return c.told(ctx, it)
	case it.Type == stead.ItemMessage:
		it.Content, v = c.Content(ctx, Input, "", it.Content)
	case it.Question != nil:
		it.Arguments, v = c.Arguments(ctx, tool, it.Arguments)
	case it.Type.IsCall() && len(it.Arguments) > 0:
		it.Arguments, v = c.Arguments(ctx, tool, it.Arguments)
		v.Needs = nil
	case it.Type == stead.ItemReasoning:
		it.Summary, v = c.summary(ctx, Input, it.Summary)
	case len(it.Output) > 0:
		it.Output, v = c.Content(ctx, ToolResult, tool, it.Output)
	}
	if v.Blocked == nil && it.Error != "" {
		var more Verdict
		it.Error, more = c.Text(ctx, ToolResult, tool, it.Error)
		v = v.And(more)
	}
	return v
}

// told checks a message that tells of a call which was made elsewhere: as a call, and as what a tool returned.
func (c *Checks) told(ctx context.Context, it *stead.Item) (v Verdict) {
	t := *it.Told
	t.Arguments, v = c.Arguments(ctx, t.Tool, t.Arguments)
	if v.Needs = nil; v.Blocked == nil {
		var more Verdict
		t.Output, more = c.Text(ctx, ToolResult, t.Tool, t.Output)
		v = v.And(more)
	}
	if len(v.Findings) > 0 {
		*it = t.Message()
	}
	return v
}

// Said checks a model's message or reasoning, as far as people see it. It does not change the item that it was given.
func (c *Checks) Said(ctx context.Context, it stead.Item) (stead.Item, Verdict) {
	switch it.Type {
	case stead.ItemMessage:
		var v Verdict
		it.Content, v = c.Content(ctx, Output, "", it.Content)
		return it, v
	case stead.ItemReasoning:
		var v Verdict
		it.Summary, v = c.summary(ctx, Output, it.Summary)
		return it, v
	}
	return it, Verdict{}
}

// summary checks the parts of what a model has thought as one text.
func (c *Checks) summary(ctx context.Context, p Point, parts []stead.Text) ([]stead.Text, Verdict) {
	if len(parts) == 0 || !c.Any(p) {
		return parts, Verdict{}
	}
	d := &document{whole: lines, adjoins: true}
	for _, t := range parts {
		d.parts = append(d.parts, t.Inline)
	}
	v := c.check(ctx, p, c.of, d)
	out := slices.Clone(parts)
	for i, text := range d.parts {
		if text != out[i].Inline {
			out[i] = stead.NewText(text)
		}
	}
	return out, v
}

// Instructions checks those that come with a request: they are its caller's text, unlike a saved agent's.
func (c *Checks) Instructions(ctx context.Context, text string) (string, Verdict) {
	text, v := c.Text(ctx, Input, "", text)
	return text, v.firmly()
}

// Reply checks what a model said, all of its items. Where one is blocked, so is all of it, its calls too: a refusal that
// says so stands in its place. The items that it was given stay as they are.
func (c *Checks) Reply(ctx context.Context, items []stead.Item) (_ []stead.Item, all Verdict) {
	if !c.Any(Output) {
		return items, all
	}
	out := slices.Clone(items)
	for i := range out {
		said, v := c.Said(ctx, out[i])
		if all = all.And(v.In("items", i)); all.Blocked != nil {
			return Withheld(all), all
		}
		out[i] = said
	}
	return out, all
}

// Withheld stands in place of a reply that is blocked.
func Withheld(v Verdict) []stead.Item {
	told := v.Told("The answer was withheld")
	return []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent(told, true)}}
}

// Calls checks the arguments of the calls in a reply that an application makes. It can't be asked to wait for a person: a
// call about which one is to be asked is blocked as well.
func (c *Checks) Calls(ctx context.Context, items []stead.Item) (_ []stead.Item, all Verdict) {
	out := slices.Clone(items)
	for i := range out {
		if out[i].Type != stead.ItemFunctionCall {
			continue
		}
		args, v := c.Arguments(ctx, out[i].Name, out[i].Arguments)
		out[i].Arguments = args
		if all = all.And(v.In("items", i).firmly()); all.Blocked != nil {
			return Withheld(all), all
		}
	}
	return out, all
}

// firmly makes a block of what asks for approval where nobody can be asked.
func (v Verdict) firmly() Verdict {
	if v.Blocked == nil && v.Needs != nil {
		at := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Action == Ask })
		v.Blocked = &v.Findings[at]
	}
	return v
}

// Arguments checks the arguments of a call: each of their texts by itself, and all as one JSON text. Redacted ones are
// JSON again, of which the order of names may be another.
func (c *Checks) Arguments(ctx context.Context, tool string, raw json.RawMessage) (json.RawMessage, Verdict) {
	if !c.Any(ToolCall) {
		return raw, Verdict{}
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		tree = string(raw) // a model garbled them: they are a text
	}
	d := &document{parts: leaves(tree, nil)}
	began := slices.Clone(d.parts)
	d.whole = func(parts []string) string {
		if slices.Equal(parts, began) {
			return string(raw)
		}
		return string(written(tree, parts))
	}
	v := c.check(ctx, ToolCall, c.ofTool(tool), d)
	return json.RawMessage(d.whole(d.parts)), v
}

// leaves are the texts of a JSON value, in an order that is always the same: names, texts and numbers.
func leaves(v any, out []string) []string {
	switch v := v.(type) {
	case string:
		return append(out, v)
	case json.Number:
		return append(out, v.String())
	case []any:
		for _, e := range v {
			out = leaves(e, out)
		}
	case map[string]any:
		for _, name := range sorted(v) {
			out = leaves(v[name], append(out, name))
		}
	}
	return out
}

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// written is a JSON value with other leaves. A number that was redacted is a text.
func written(v any, parts []string) json.RawMessage {
	tree, _ := planted(v, parts)
	return encoded(tree)
}

// encoded is a value that came from JSON as JSON.
func encoded(tree any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return json.RawMessage(`""`) // it came from JSON: this does not happen, and what was found does not get out
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// planted puts leaves in the place of others, and returns those that are left.
func planted(v any, parts []string) (any, []string) {
	switch v := v.(type) {
	case string:
		return parts[0], parts[1:]
	case json.Number:
		if parts[0] == v.String() {
			return v, parts[1:]
		}
		return parts[0], parts[1:]
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i], parts = planted(e, parts)
		}
		return out, parts
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range sorted(v) {
			under := parts[0]
			out[under], parts = planted(v[name], parts[1:])
		}
		return out, parts
	}
	return v, parts
}

package chat

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

func (r *Request) readMessages(o param.Object) error {
	list, err := param.Need(o.List("messages"))("messages")
	if err != nil {
		return err
	}
	if len(list) == 0 || len(list) > MaxMessages {
		return stead.Invalid("messages", "messages must hold 1 to %d messages, not %d", MaxMessages, len(list))
	}
	for i, raw := range list {
		m, err := param.Parse(param.Index("messages", i), raw)
		if err != nil {
			return err
		}
		if err := r.readMessage(m); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads one message, which may be several items: a text and calls.
func (r *Request) readMessage(o param.Object) error {
	role, err := param.Need(o.Enum("role", stead.RoleSystem, stead.RoleDeveloper, stead.RoleUser, stead.RoleAssistant, "tool"))(o.Path("role"))
	if err != nil {
		return err
	}
	content, err := contents(o)
	if err != nil {
		return err
	}
	if role != stead.RoleAssistant {
		for i := range content { // models alone refuse
			if content[i].Type == stead.ContentRefusal {
				content[i].Type = stead.ContentInputText
			}
		}
	}
	switch role {
	case "tool":
		id, err := callID(o, "tool_call_id")
		r.Items = append(r.Items, stead.Item{Type: stead.ItemFunctionCallOutput, CallID: id, Output: content})
		return err
	case stead.RoleAssistant:
		return r.readAssistant(o, content)
	}
	if content == nil {
		return stead.Invalid(o.Path("content"), "%s is required", o.Path("content"))
	}
	r.Items = append(r.Items, stead.Item{Type: stead.ItemMessage, Role: role, Content: content})
	return nil
}

func (r *Request) readAssistant(o param.Object, content []stead.Content) error {
	for _, name := range []string{"function_call", "audio"} {
		if _, has := o.Raw(name); has {
			return stead.Invalid(o.Path(name), "%s is not understood here: send content and tool_calls", o.Path(name))
		}
	}
	refusal, has, err := o.String("refusal")
	if err != nil {
		return err
	}
	if has && refusal != "" {
		content = append(content, stead.SaidContent(refusal, true)...)
	}
	for i := range content {
		if content[i].Type != stead.ContentRefusal {
			content[i].Type = stead.ContentOutputText
		}
	}
	if len(content) > 0 && (len(content) > 1 || content[0].Text.Inline != "") {
		r.Items = append(r.Items, stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: content})
	}
	calls, _, err := o.List("tool_calls")
	if err != nil {
		return err
	}
	for i, raw := range calls {
		c, err := param.Parse(param.Index(o.Path("tool_calls"), i), raw)
		if err != nil {
			return err
		}
		it, err := call(c)
		if err != nil {
			return err
		}
		r.Items = append(r.Items, it)
	}
	return nil
}

func call(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemFunctionCall}
	if kind, has, err := o.String("type"); err != nil {
		return it, err
	} else if has && kind != "function" {
		return it, stead.Invalid(o.Path("type"), "%s: calls of type %.40q are understood only by an upstream that speaks Chat Completions itself", o.Path("type"), kind)
	}
	var err error
	if it.CallID, err = callID(o, "id"); err != nil {
		return it, err
	}
	f, err := param.Need(o.Object("function"))(o.Path("function"))
	if err != nil {
		return it, err
	}
	if it.Name, err = param.Need(f.String("name"))(f.Path("name")); err != nil {
		return it, err
	}
	text, err := param.Need(f.String("arguments"))(f.Path("arguments"))
	it.Arguments = arguments(text)
	return it, err
}

// arguments makes of a wire's text what an item holds: a JSON object, or the text as a JSON string.
func arguments(text string) json.RawMessage {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return json.RawMessage("{}")
	case trimmed[0] == '{' && json.Valid([]byte(trimmed)):
		return json.RawMessage(trimmed)
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage("{}") // cannot be: strings always marshal
	}
	return quoted
}

func callID(o param.Object, name string) (string, error) {
	id, err := param.Need(o.String(name))(o.Path(name))
	if err == nil && (id == "" || len(id) > MaxCallIDBytes) {
		err = stead.Invalid(o.Path(name), "%s must be 1 to %d bytes long", o.Path(name), MaxCallIDBytes)
	}
	return id, err
}

// contents reads a text or a list of parts; nil when there is none.
func contents(o param.Object) ([]stead.Content, error) {
	raw, has := o.Raw("content")
	if !has {
		return nil, nil
	}
	if raw[0] == '"' {
		text, _, err := o.String("content")
		if err == nil && len(text) > stead.MaxTextBytes {
			err = tooLong(o.Path("content"))
		}
		return stead.TextContent(stead.ContentInputText, text), err
	}
	list, _, err := o.List("content")
	if err != nil {
		return nil, err
	}
	parts := make([]stead.Content, len(list))
	for i, raw := range list {
		p, err := param.Parse(param.Index(o.Path("content"), i), raw)
		if err != nil {
			return nil, err
		}
		if parts[i], err = part(p); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func tooLong(path string) error {
	return stead.Invalid(path, "%s is longer than the limit of %d bytes", path, stead.MaxTextBytes)
}

func part(o param.Object) (stead.Content, error) {
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return stead.Content{}, err
	}
	switch kind {
	case "text", "refusal":
		text, err := param.Need(o.String(kind))(o.Path(kind))
		if err == nil && len(text) > stead.MaxTextBytes {
			err = tooLong(o.Path(kind))
		}
		c := stead.Content{Type: stead.ContentInputText, Text: stead.NewText(text)}
		if kind == stead.ContentRefusal {
			c.Type = kind
		}
		return c, err
	case "image_url":
		sub, err := param.Need(o.Object(kind))(o.Path(kind))
		if err != nil {
			return stead.Content{}, err
		}
		c := stead.Content{Type: stead.ContentInputImage}
		if c.Detail, _, err = sub.Enum("detail", stead.ImageDetails()...); err != nil {
			return c, err
		}
		u, err := address(sub, "url")
		c.Text = stead.NewText(u)
		return c, err
	case "file":
		return file(o)
	}
	return stead.Content{}, stead.Invalid(o.Path("type"), "%s: parts of type %.40q are understood only by an upstream that speaks Chat Completions itself", o.Path("type"), kind)
}

func file(o param.Object) (stead.Content, error) {
	c := stead.Content{Type: stead.ContentInputFile}
	sub, err := param.Need(o.Object("file"))(o.Path("file"))
	if err != nil {
		return c, err
	}
	if _, has := sub.Raw("file_id"); has {
		return c, stead.Invalid(sub.Path("file_id"), "%s: there is no such uploaded file: upload it with POST /v1/files, or send file_data", sub.Path("file_id"))
	}
	if c.Name, _, err = sub.String("filename"); err != nil {
		return c, err
	}
	u, err := address(sub, "file_data")
	c.Text = stead.NewText(u)
	return c, err
}

// address reads an https: or data: URL.
func address(o param.Object, name string) (string, error) {
	u, err := param.Need(o.String(name))(o.Path(name))
	switch {
	case err != nil:
	case len(u) > stead.MaxTextBytes:
		err = tooLong(o.Path(name))
	case !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "https://"):
		err = stead.Invalid(o.Path(name), "%s must be an https: or data: URL", o.Path(name))
	}
	return u, err
}

func (r *Request) readTools(o param.Object) error {
	list, _, err := o.List("tools")
	if err != nil {
		return err
	}
	if len(list) > stead.MaxTools {
		return stead.Invalid("tools", "tools has %d entries, the limit is %d", len(list), stead.MaxTools)
	}
	for i, raw := range list {
		t, err := param.Parse(param.Index("tools", i), raw)
		if err != nil {
			return err
		}
		spec, err := tool(t)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.Tools, func(t model.ToolSpec) bool { return t.Name == spec.Name }) {
			return stead.Invalid(t.Path("function.name"), "%s: there are two tools with the name %.80q", t.Path("function.name"), spec.Name)
		}
		r.Tools = append(r.Tools, spec)
	}
	parallel, has, err := o.Bool("parallel_tool_calls")
	r.SerialTools = has && !parallel
	return err
}

func tool(o param.Object) (model.ToolSpec, error) {
	spec := model.ToolSpec{Parameters: json.RawMessage(`{"type":"object","properties":{}}`)}
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return spec, err
	}
	if kind != "function" {
		return spec, stead.Invalid(o.Path("type"), "%s: tools of type %.40q are understood only by an upstream that speaks Chat Completions itself", o.Path("type"), kind)
	}
	f, err := param.Need(o.Object("function"))(o.Path("function"))
	if err != nil {
		return spec, err
	}
	if spec.Name, err = param.Need(f.String("name"))(f.Path("name")); err != nil {
		return spec, err
	}
	if spec.Name == "" {
		return spec, stead.Invalid(f.Path("name"), "%s must not be empty", f.Path("name"))
	}
	if spec.Description, _, err = f.String("description"); err != nil {
		return spec, err
	}
	_, has, err := f.Object("parameters")
	if has {
		spec.Parameters, _ = f.Raw("parameters")
	}
	return spec, err
}

func (r *Request) readToolChoice(o param.Object) error {
	raw, has := o.Raw("tool_choice")
	if !has {
		return nil
	}
	if raw[0] == '"' {
		choice, _, err := o.Enum("tool_choice", "none", "auto", "required")
		if choice != "auto" {
			r.ToolChoice = choice
		}
		return err
	}
	sub, _, err := o.Object("tool_choice")
	if err != nil {
		return err
	}
	kind, err := param.Need(sub.Enum("type", "function", "allowed_tools"))("tool_choice.type")
	if err != nil {
		return err
	}
	if kind == "allowed_tools" {
		return r.allowedTools(sub)
	}
	name, err := functionName(sub)
	if err == nil && !slices.ContainsFunc(r.Tools, func(t model.ToolSpec) bool { return t.Name == name }) {
		err = stead.Invalid("tool_choice.function.name", "tool_choice names the function %.80q, which tools does not have", name)
	}
	r.ToolChoice = model.ToolChoiceNamed + name
	return err
}

func functionName(o param.Object) (string, error) {
	f, err := param.Need(o.Object("function"))(o.Path("function"))
	if err != nil {
		return "", err
	}
	return param.Need(f.String("name"))(f.Path("name"))
}

// allowedTools leaves the tools out that are not allowed: nothing else tells every upstream.
func (r *Request) allowedTools(o param.Object) error {
	allowed, err := param.Need(o.Object("allowed_tools"))(o.Path("allowed_tools"))
	if err != nil {
		return err
	}
	mode, _, err := allowed.Enum("mode", "auto", "required")
	if err != nil {
		return err
	}
	if mode == "required" {
		r.ToolChoice = mode
	}
	list, err := param.Need(allowed.List("tools"))(allowed.Path("tools"))
	if err != nil {
		return err
	}
	var names []string
	for i, raw := range list {
		t, err := param.Parse(param.Index(allowed.Path("tools"), i), raw)
		if err != nil {
			return err
		}
		name, err := functionName(t)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	r.Tools = slices.DeleteFunc(r.Tools, func(t model.ToolSpec) bool { return !slices.Contains(names, t.Name) })
	return nil
}

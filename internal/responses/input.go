package responses

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// readInput reads a text, or a list of items.
func (r *Request) readInput(o param.Object) error {
	items, listed, err := input(o, "input")
	r.Items = items
	for _, t := range r.Tools {
		if t.ServerLabel != "" && slices.Contains(listed, t.ServerLabel) {
			r.Listed = append(r.Listed, t.ServerLabel)
		}
	}
	if err == nil && len(items) == 0 && r.Previous == "" && r.Conversation == "" {
		return stead.Invalid("input", "input must hold at least one item")
	}
	return err
}

// Input reads a field that is a text of the user or a list of items.
func Input(o param.Object, name string) ([]stead.Item, error) {
	items, _, err := input(o, name)
	return items, err
}

// input is Input, with the labels of the tool servers whose lists are among the items.
func input(o param.Object, name string) (items []stead.Item, listed []string, err error) {
	raw, ok := o.Raw(name)
	if !ok {
		return nil, nil, nil
	}
	if raw[0] == '"' {
		text, _, err := o.String(name)
		if err != nil || text == "" {
			return nil, nil, err
		}
		if len(text) > stead.MaxTextBytes {
			return nil, nil, tooLong(name, stead.MaxTextBytes)
		}
		return []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, text)}}, nil, nil
	}
	list, _, err := o.List(name)
	if err != nil {
		return nil, nil, err
	}
	if len(list) > MaxItems {
		return nil, nil, stead.Invalid(o.Path(name), "%s has %d items, the limit is %d", o.Path(name), len(list), MaxItems)
	}
	items = make([]stead.Item, 0, len(list))
	made := map[string]bool{} // ids of questions whose calls are among the items
	for i, raw := range list {
		entry, err := param.Parse(param.Index(o.Path(name), i), raw)
		if err != nil {
			return nil, nil, err
		}
		it, skip, err := item(entry)
		if err != nil {
			return nil, nil, err
		}
		if !skip {
			items = append(items, it)
		} else if _, failed := entry.Raw("error"); !failed {
			label, _, _ := entry.String("server_label") // of a list
			listed = append(listed, label)
		}
		if id, has, _ := entry.String("approval_request_id"); has && it.Type == stead.ItemMessage {
			made[id] = true
		}
	}
	return settled(items, made), listed, nil
}

func tooLong(path string, limit int) error {
	return stead.Invalid(path, "%s is longer than the limit of %d bytes", path, limit)
}

// item reads one item. What says nothing to a model, such as the list of a server's tools that a
// client sends back, is skipped.
func item(o param.Object) (it stead.Item, skip bool, err error) {
	kind, has, err := o.String("type")
	if err != nil {
		return it, false, err
	}
	if !has {
		kind = "message" // the short form: {"role": …, "content": …}
	}
	switch kind {
	case "message":
		it, err = message(o)
	case "function_call":
		it, err = functionCall(o)
	case "function_call_output":
		it, err = functionOutput(o)
	case "reasoning":
		it, skip, err = reasoning(o)
	case "compaction", "compaction_summary":
		err = compaction(o)
	case "mcp_approval_response":
		it, err = approval(o)
	case "mcp_approval_request":
		it, err = question(o)
	case "mcp_list_tools", "item_reference":
		skip = kind == "mcp_list_tools"
		if !skip {
			err = stead.Invalid(o.Path("type"), "%s: items are looked up by reference only for responses that are kept: send the item itself", o.Path("type"))
		}
	case "mcp_call":
		it, err = serverCall(o)
	case "file_search_call":
		it, err = fileSearch(o)
	default:
		err = stead.Invalid(o.Path("type"), "%s: items of type %.40q are understood only by an upstream that speaks the Responses API itself", o.Path("type"), kind)
	}
	return it, skip, err
}

func message(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemMessage}
	var err error
	if it.Role, err = param.Need(o.Enum("role", stead.RoleUser, stead.RoleAssistant, stead.RoleSystem, stead.RoleDeveloper))(o.Path("role")); err != nil {
		return it, err
	}
	if it.Phase, _, err = o.Enum("phase", "commentary", "final_answer"); err != nil {
		return it, err
	}
	raw, ok := o.Raw("content")
	if !ok {
		return it, stead.Invalid(o.Path("content"), "%s is required", o.Path("content"))
	}
	it.Content, err = Content(o, "content", raw)
	for i := range it.Content {
		switch {
		case it.Role != stead.RoleAssistant:
			asText(&it.Content[i])
		case it.Content[i].Type != stead.ContentRefusal:
			it.Content[i].Type = stead.ContentOutputText
		}
	}
	return it, err
}

// asText makes a text of a refusal where nobody can refuse: models alone do.
func asText(c *stead.Content) {
	if c.Type == stead.ContentRefusal {
		c.Type = stead.ContentInputText
	}
}

// Content reads a text or a list of parts.
func Content(o param.Object, name string, raw json.RawMessage) ([]stead.Content, error) {
	path := o.Path(name)
	if raw[0] == '"' {
		text, _, err := o.String(name)
		if err == nil && len(text) > stead.MaxTextBytes {
			err = tooLong(path, stead.MaxTextBytes)
		}
		return stead.TextContent(stead.ContentInputText, text), err
	}
	list, _, err := o.List(name)
	if err != nil {
		return nil, err
	}
	parts := make([]stead.Content, len(list))
	for i, raw := range list {
		entry, err := param.Parse(param.Index(path, i), raw)
		if err != nil {
			return nil, err
		}
		if parts[i], err = part(entry); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func part(o param.Object) (stead.Content, error) {
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return stead.Content{}, err
	}
	field := "text"
	c := stead.Content{Type: stead.ContentInputText}
	switch kind {
	case "input_text", "output_text", "text":
	case "refusal":
		c.Type, field = stead.ContentRefusal, "refusal"
	case "input_image":
		c.Type, field = stead.ContentInputImage, "image_url"
		if c.Detail, _, err = o.Enum("detail", stead.ImageDetails()...); err != nil {
			return c, err
		}
	case "input_file":
		c.Type, field = stead.ContentInputFile, "file_data"
		if _, has := o.Raw("file_data"); !has {
			field = "file_url"
		}
		if c.Name, _, err = o.String("filename"); err != nil {
			return c, err
		}
	default:
		return c, stead.Invalid(o.Path("type"), "%s: parts of type %.40q are not known", o.Path("type"), kind)
	}
	if _, has := o.Raw("file_id"); has && field != "text" {
		return c, noFile(o.Path("file_id"))
	}
	s, err := param.Need(o.String(field))(o.Path(field))
	if err != nil {
		return c, err
	}
	if len(s) > stead.MaxTextBytes {
		return c, tooLong(o.Path(field), stead.MaxTextBytes)
	}
	if field != "text" && field != "refusal" && !strings.HasPrefix(s, "data:") && !strings.HasPrefix(s, "https://") {
		return c, stead.Invalid(o.Path(field), "%s must be an https: or data: URL", o.Path(field))
	}
	c.Text = stead.NewText(s)
	return c, nil
}

// noFile is the error for an id that whoever reads requests has found no uploaded file for, and so left.
func noFile(path string) error {
	e := stead.Invalid(path, "%s: there is no such uploaded file", path)
	e.Hint = "Upload it with POST /v1/files, or send the content itself."
	return e
}

func callID(o param.Object) (string, error) {
	id, err := param.Need(o.String("call_id"))(o.Path("call_id"))
	if err == nil && (id == "" || len(id) > MaxCallIDBytes) {
		err = stead.Invalid(o.Path("call_id"), "%s must be 1 to %d bytes long", o.Path("call_id"), MaxCallIDBytes)
	}
	return id, err
}

func functionCall(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemFunctionCall}
	var err error
	if it.CallID, err = callID(o); err != nil {
		return it, err
	}
	if it.Name, err = param.Need(o.String("name"))(o.Path("name")); err != nil {
		return it, err
	}
	args, err := param.Need(o.String("arguments"))(o.Path("arguments"))
	it.Arguments = Arguments(args)
	return it, err
}

// Arguments makes of a wire's text what an item holds: a JSON object, or the text as a JSON string.
func Arguments(text string) json.RawMessage {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return json.RawMessage("{}")
	}
	if trimmed[0] == '{' && json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed)
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage("{}") // cannot be: strings always marshal
	}
	return quoted
}

func functionOutput(o param.Object) (stead.Item, error) {
	it := stead.Item{Type: stead.ItemFunctionCallOutput}
	var err error
	if it.CallID, err = callID(o); err != nil {
		return it, err
	}
	raw, ok := o.Raw("output")
	if !ok {
		return it, stead.Invalid(o.Path("output"), "%s is required", o.Path("output"))
	}
	it.Output, err = Content(o, "output", raw)
	for i := range it.Output {
		asText(&it.Output[i])
	}
	return it, err
}

// sealed begins what Encrypted of a reasoning item is on the wire: the provider that made it, and
// alone can read it, stands in front.
const sealed = "stead."

// Seal is a reasoning item's encrypted_content; "" when it has none.
func Seal(it stead.Item) string {
	if it.Encrypted == nil || it.Encrypted.Inline == "" {
		return ""
	}
	return sealed + it.Provider + ":" + it.Encrypted.Inline
}

// reasoning takes back what Seal wrote. Reasoning of other servers is unreadable here, and skipped.
func reasoning(o param.Object) (it stead.Item, skip bool, err error) {
	it = stead.Item{Type: stead.ItemReasoning}
	list, _, err := o.List("summary")
	if err != nil {
		return it, false, err
	}
	for i, raw := range list {
		entry, err := param.Parse(param.Index(o.Path("summary"), i), raw)
		if err != nil {
			return it, false, err
		}
		text, err := param.Need(entry.String("text"))(entry.Path("text"))
		if err != nil {
			return it, false, err
		}
		it.Summary = append(it.Summary, stead.NewText(text))
	}
	content, _, err := o.String("encrypted_content")
	if err != nil {
		return it, false, err
	}
	rest, ours := strings.CutPrefix(content, sealed)
	provider, text, found := strings.Cut(rest, ":")
	if !ours || !found {
		return it, true, nil
	}
	t := stead.NewText(text)
	it.Provider, it.Encrypted = provider, &t
	return it, false, nil
}

package responses

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// emptySchema stands for parameters that are left out.
const emptySchema = `{"type":"object","properties":{}}`

// readTools takes functions, tool servers, file_search, and semantic and sql, which are ours. Everything else would be run by OpenAI.
func (r *Request) readTools(o param.Object, rules agent.Rules) error {
	list, _, err := o.List("tools")
	if err != nil {
		return err
	}
	if len(list) > stead.MaxTools {
		return stead.Invalid("tools", "tools has %d entries, the limit is %d", len(list), stead.MaxTools)
	}
	for i, raw := range list {
		entry, err := param.Parse(param.Index("tools", i), raw)
		if err != nil {
			return err
		}
		t, err := tool(entry, rules)
		if err != nil {
			return err
		}
		r.Tools = append(r.Tools, t)
	}
	plain := make([]agent.Tool, len(r.Tools))
	for i, t := range r.Tools {
		plain[i] = t.Tool
	}
	return agent.ValidateTools("tools", plain)
}

func tool(o param.Object, rules agent.Rules) (Tool, error) {
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return Tool{}, err
	}
	switch kind {
	case agent.ToolFunction:
		strict, _, err := o.Bool("strict")
		if err != nil {
			return Tool{}, err
		}
		if _, has := o.Raw("parameters"); !has {
			o = o.With("parameters", json.RawMessage(emptySchema))
		}
		t, err := rules.Tool(o)
		return Tool{Tool: t, Strict: strict}, err
	case agent.ToolMCP:
		t, err := server(o, rules)
		return Tool{Tool: t}, err
	case agent.ToolFileSearch, agent.ToolSemantic, agent.ToolSQL:
		t, err := rules.Tool(o)
		return Tool{Tool: t}, err
	}
	return Tool{}, stead.Invalid(o.Path("type"), `%s: a tool of type %.40q is run by an upstream that speaks the Responses API itself; this model's does not. Functions, MCP servers, file_search, semantic and sql are run here`, o.Path("type"), kind)
}

func (r *Request) readToolChoice(o param.Object) error {
	raw, ok := o.Raw("tool_choice")
	if !ok {
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
	kind, err := param.Need(sub.String("type"))("tool_choice.type")
	if err != nil {
		return err
	}
	switch kind {
	case "function":
		name, err := param.Need(sub.String("name"))("tool_choice.name")
		if err == nil && !slices.ContainsFunc(r.Tools, func(t Tool) bool { return t.Name == name }) {
			err = stead.Invalid("tool_choice.name", "tool_choice names the function %.80q, which tools does not have", name)
		}
		r.ToolChoice = model.ToolChoiceNamed + name
		return err
	case agent.ToolFileSearch:
		if !slices.ContainsFunc(r.Tools, func(t Tool) bool { return t.Type == kind }) {
			return stead.Invalid("tool_choice.type", "tool_choice asks for %s, which tools does not have", kind)
		}
		r.ToolChoice = model.ToolChoiceNamed + kind
		return nil
	case "allowed_tools":
		return r.allowedTools(sub)
	}
	return stead.Invalid("tool_choice.type", "tool_choice of type %.40q is not known here: function, file_search and allowed_tools are", kind)
}

// allowedTools leaves the tools out that are not allowed: nothing else tells every upstream.
func (r *Request) allowedTools(o param.Object) error {
	mode, _, err := o.Enum("mode", "auto", "required")
	if err != nil {
		return err
	}
	if mode == "required" {
		r.ToolChoice = mode
	}
	list, err := param.Need(o.List("tools"))("tool_choice.tools")
	if err != nil {
		return err
	}
	var names []string
	for i, raw := range list {
		sub, err := param.Parse(param.Index("tool_choice.tools", i), raw)
		if err != nil {
			return err
		}
		for _, field := range []string{"name", "server_label"} {
			if s, has, err := sub.String(field); err != nil {
				return err
			} else if has {
				names = append(names, s)
			}
		}
		if kind, _, _ := sub.String("type"); kind == agent.ToolFileSearch || kind == agent.ToolSemantic || kind == agent.ToolSQL {
			names = append(names, kind) // which is its label
		}
	}
	r.Tools = slices.DeleteFunc(r.Tools, func(t Tool) bool { return !slices.Contains(names, t.Name) && !slices.Contains(names, t.ServerLabel) })
	return nil
}

// server turns the API's flat description of a tool server into an agent's. What it holds is kept
// with the response, so no secret may be in it.
func server(o param.Object, rules agent.Rules) (agent.Tool, error) {
	for _, name := range []string{"authorization", "headers", "connector_id"} {
		if _, has := o.Raw(name); has {
			e := stead.Invalid(o.Path(name), "%s can't be kept with a response", o.Path(name))
			e.Hint = `Let the operator name the server under "mcp_servers" in stead.yaml, which holds its secrets, and send its server_label alone.`
			return agent.Tool{}, e
		}
	}
	url, has, err := o.String("server_url")
	if err != nil {
		return agent.Tool{}, err
	}
	if has {
		transport, err := json.Marshal(map[string]string{"type": agent.TransportHTTP, "server_url": url})
		if err != nil {
			return agent.Tool{}, err
		}
		o = o.With("transport", transport)
	}
	if raw, has := o.Raw("allowed_tools"); has && raw[0] == '{' { // a filter
		filter, _, err := o.Object("allowed_tools")
		if err != nil {
			return agent.Tool{}, err
		}
		names, has := filter.Raw("tool_names")
		if !has {
			return agent.Tool{}, stead.Invalid(filter.Path("tool_names"), "%s is required: other filters are not known here", filter.Path("tool_names"))
		}
		o = o.With("allowed_tools", names)
	}
	if _, has := o.Raw("require_approval"); !has {
		o = o.With("require_approval", json.RawMessage(`"always"`)) // the API's default
	}
	return rules.Tool(o)
}

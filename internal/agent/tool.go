package agent

import (
	"encoding/json"
	"math"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Values of the contract that decoding and the wire form share.
const (
	OriginService     = "service"
	OriginEnvironment = "environment"
	TransportHTTP     = "http"
	TransportStdio    = "stdio"

	toolWebSearch = "web_search"
)

// later names the tool types that the contract has and this build does not run.
var later = map[string]string{ // tool type → what it is
	"tool_search":    "tool search",
	ToolProgrammatic: "programmatic tool calling",
	toolWebSearch:    "web search",
	"computer_use":   "computer use",
	"automations":    "the automations tool",
}

// Tools reads o's tools: null is none. The list as a whole is checked by Spec.Validate.
func (r Rules) Tools(o param.Object) ([]Tool, error) {
	list, _, err := o.List("tools")
	if err != nil {
		return nil, err
	}
	if len(list) > stead.MaxTools {
		return nil, stead.Invalid(o.Path("tools"), "%s has %d entries, the limit is %d", o.Path("tools"), len(list), stead.MaxTools)
	}
	tools := make([]Tool, len(list))
	for i, raw := range list {
		entry, err := param.Parse(param.Index(o.Path("tools"), i), raw)
		if err != nil {
			return nil, err
		}
		if tools[i], err = r.tool(entry); err != nil {
			return nil, err
		}
	}
	return tools, nil
}

// Tool reads one tool. The list that it is for is checked by ValidateTools.
func (r Rules) Tool(o param.Object) (Tool, error) { return r.tool(o) }

func (r Rules) tool(o param.Object) (Tool, error) {
	kind, err := param.Need(o.String("type"))(o.Path("type"))
	if err != nil {
		return Tool{}, err
	}
	switch kind {
	case ToolFunction:
		return r.function(o)
	case ToolMCP:
		return r.mcp(o)
	case ToolEnvironment:
		return environmentTool(o)
	case ToolMemory:
		return r.memoryTool(o)
	case ToolSemantic:
		return semanticTool(o)
	case ToolSQL:
		return sqlTool(o)
	case ToolFileSearch:
		return r.fileSearch(o)
	case toolWebSearch:
		mode, _, err := o.Enum("mode", "disabled", "cached", "live")
		if err != nil || mode == "disabled" {
			return Tool{Type: kind}, err
		}
	case ToolProgrammatic:
		enabled, has, err := o.Bool("enabled")
		if !has {
			enabled = true
		}
		if err != nil || !enabled || r.Environments {
			return Tool{Type: kind, Enabled: &enabled}, err
		}
	}
	if feature, ok := later[kind]; ok {
		return Tool{}, notLanded(o.Path("type"), feature, "leave this tool out")
	}
	return Tool{}, stead.Invalid(o.Path("type"), `%s %.40q is unknown: this server runs tools of type "function" and "mcp"`, o.Path("type"), kind)
}

func (r Rules) function(o param.Object) (Tool, error) {
	t := Tool{Type: ToolFunction}
	var err error
	if t.Name, err = param.Need(o.String("name"))(o.Path("name")); err != nil {
		return Tool{}, err
	}
	if t.Description, _, err = o.String("description"); err != nil {
		return Tool{}, err
	}
	if t.Async, _, err = o.Bool("async"); err != nil {
		return Tool{}, err
	}
	deferred, _, err := o.Bool("defer_loading")
	if err != nil {
		return Tool{}, err
	}
	if deferred {
		return Tool{}, notLanded(o.Path("defer_loading"), "tools that are loaded on demand", "send false or leave it out")
	}
	if _, err := param.Need(o.Object("parameters"))(o.Path("parameters")); err != nil {
		return Tool{}, err
	}
	raw, _ := o.Raw("parameters")
	t.Parameters, err = r.parameters(o.Path("parameters"), raw)
	return t, err
}

// parameters checks that a schema is one of an object: models are only ever asked for objects.
func (r Rules) parameters(path string, raw json.RawMessage) (json.RawMessage, error) {
	var head struct {
		Type json.RawMessage `json:"type"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, stead.Invalid(path, "%s is not a JSON Schema: %s", path, err)
	}
	if len(head.Type) > 0 && string(head.Type) != `"object"` {
		return nil, stead.Invalid(path+".type", `%s.type must be "object": a function takes named arguments`, path)
	}
	return r.schema(path, raw)
}

// schema checks and compacts a JSON Schema.
func (r Rules) schema(path string, raw json.RawMessage) (json.RawMessage, error) {
	if r.Schema != nil {
		if err := r.Schema(raw); err != nil {
			return nil, stead.Invalid(path, "%s is not a usable JSON Schema: %s", path, err)
		}
	}
	return compact(raw), nil
}

func (r Rules) mcp(o param.Object) (Tool, error) {
	t := Tool{Type: ToolMCP}
	var err error
	if t.ServerLabel, err = param.Need(o.String("server_label"))(o.Path("server_label")); err != nil {
		return Tool{}, err
	}
	if t.ConnectionOrigin, err = r.origin(o); err != nil {
		return Tool{}, err
	}
	if t.Transport, err = r.transport(t.ServerLabel, t.ConnectionOrigin, o); err != nil {
		return Tool{}, err
	}
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	if err := credentialOf(o, &t); err != nil {
		return Tool{}, err
	}
	if t.Required, _, err = o.Bool("required"); err != nil {
		return Tool{}, err
	}
	if err := requestMetadata(o, &t); err != nil {
		return Tool{}, err
	}
	return t, governance(o, &t)
}

// credentialOf reads which credential of the session's vaults proves who asks; without one it is the only
// one that is for the server's URL.
func credentialOf(o param.Object, t *Tool) error {
	at := o.Path("credential_id")
	id, has, err := o.String("credential_id")
	switch {
	case err != nil || !has:
		return err
	case id == "" || len(id) > MaxCredentialIDBytes:
		return stead.Invalid(at, "%s must have 1 to %d bytes", at, MaxCredentialIDBytes)
	case t.Transport == nil || t.Transport.Type != TransportHTTP:
		return stead.Invalid(at, "%s is for servers that are reached by a server_url of the agent's own", at)
	}
	t.CredentialID = &id
	return nil
}

// environmentTool reads what is ours altogether: the contract has no word for the tools of an
// environment.
func environmentTool(o param.Object) (Tool, error) {
	t := Tool{Type: ToolEnvironment}
	var err error
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	return t, governance(o, &t)
}

// semanticTool reads which semantic models the agent has.
func semanticTool(o param.Object) (Tool, error) {
	t := Tool{Type: ToolSemantic, ServerLabel: ToolSemantic}
	err := only(o, "models", "allowed_tools")
	if err != nil {
		return Tool{}, err
	}
	if t.SemanticModels, _, err = o.Strings("models"); err != nil {
		return Tool{}, err
	}
	if n := len(t.SemanticModels); t.SemanticModels != nil && n == 0 || n > MaxSemanticModels {
		return Tool{}, stead.Invalid(o.Path("models"), "%s must have 1 to %d entries; without it the agent has all of the project", o.Path("models"), MaxSemanticModels)
	}
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	return t, governance(o, &t)
}

// sqlTool reads which databases the agent has.
func sqlTool(o param.Object) (Tool, error) {
	t := Tool{Type: ToolSQL, ServerLabel: ToolSQL}
	err := only(o, "databases", "allowed_tools")
	if err != nil {
		return Tool{}, err
	}
	if t.Databases, _, err = o.Strings("databases"); err != nil {
		return Tool{}, err
	}
	if n := len(t.Databases); t.Databases != nil && n == 0 || n > MaxDatabases {
		return Tool{}, stead.Invalid(o.Path("databases"), "%s must have 1 to %d entries; without it the agent has all of the project", o.Path("databases"), MaxDatabases)
	}
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	return t, governance(o, &t)
}

// only refuses what a tool that is run here does not have: what would narrow it and is passed over gives it more than was meant.
func only(o param.Object, fields ...string) error {
	return o.Only("this tool", append([]string{"type", "require_approval", "effects"}, fields...)...)
}

// fileSearch reads the API's file_search. What it says of the search goes along as it is.
func (r Rules) fileSearch(o param.Object) (Tool, error) {
	t := Tool{Type: ToolFileSearch, ServerLabel: ToolFileSearch}
	if r.Search == nil {
		return Tool{}, notLanded(o.Path("type"), "file search without vector stores", "leave this tool out")
	}
	err := only(o, "vector_store_ids", "max_num_results", "filters", "ranking_options")
	if err != nil {
		return Tool{}, err
	}
	if t.VectorStoreIDs, err = param.Need(o.Strings("vector_store_ids"))(o.Path("vector_store_ids")); err != nil {
		return Tool{}, err
	}
	if n := len(t.VectorStoreIDs); n == 0 || n > MaxVectorStores {
		return Tool{}, stead.Invalid(o.Path("vector_store_ids"), "%s must have 1 to %d entries", o.Path("vector_store_ids"), MaxVectorStores)
	}
	if err := r.Search(o); err != nil {
		return Tool{}, err
	}
	n, _, err := o.Int("max_num_results", 1, math.MaxInt32)
	if err != nil {
		return Tool{}, err
	}
	t.MaxNumResults = int(n)
	for name, to := range map[string]*json.RawMessage{"filters": &t.Filters, "ranking_options": &t.RankingOptions} {
		if raw, has := o.Raw(name); has {
			*to = compact(raw)
		}
	}
	return t, governance(o, &t)
}

func requestMetadata(o param.Object, t *Tool) error {
	sub, ok, err := o.Object("request_metadata")
	if !ok || err != nil {
		return err
	}
	for _, name := range sub.Names() {
		if secretName(name) {
			return secret(sub.Path(name))
		}
	}
	raw, _ := o.Raw("request_metadata")
	if err := json.Unmarshal(raw, &t.RequestMetadata); err != nil {
		return stead.Invalid(o.Path("request_metadata"), "%s can't be read: %s", o.Path("request_metadata"), err)
	}
	return nil
}

// governance reads what is ours: who must approve calls, and what repeating them does.
func governance(o param.Object, t *Tool) error {
	if raw, ok := o.Raw("require_approval"); ok {
		a, err := decodeApproval(o.Path("require_approval"), raw)
		if err != nil {
			return err
		}
		t.RequireApproval = &a
	}
	effects, ok, err := o.Object("effects")
	if !ok || err != nil {
		return err
	}
	t.Effects = map[string]string{}
	for _, name := range effects.Names() {
		class, err := param.Need(effects.Enum(name, "pure", "idempotent", "unknown"))(effects.Path(name))
		if err != nil {
			return err
		}
		t.Effects[name] = class
	}
	return nil
}

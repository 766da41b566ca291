package agent

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Values of the contract that decoding and the wire form share.
const (
	OriginService  = "service"
	TransportHTTP  = "http"
	TransportStdio = "stdio"

	toolWebSearch    = "web_search"
	toolProgrammatic = "programmatic_tool_calling"
)

// later names the tool types that the contract has and this build does not run.
var later = map[string]string{ // tool type → what it is
	"tool_search":    "tool search",
	toolProgrammatic: "programmatic tool calling",
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
	case toolWebSearch:
		mode, _, err := o.Enum("mode", "disabled", "cached", "live")
		if err != nil || mode == "disabled" {
			return Tool{Type: kind}, err
		}
	case toolProgrammatic:
		enabled, has, err := o.Bool("enabled")
		if err != nil || (has && !enabled) {
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
	t := Tool{Type: ToolMCP, ConnectionOrigin: OriginService}
	var err error
	if t.ServerLabel, err = param.Need(o.String("server_label"))(o.Path("server_label")); err != nil {
		return Tool{}, err
	}
	if t.Transport, err = r.transport(t.ServerLabel, o); err != nil {
		return Tool{}, err
	}
	if t.AllowedTools, _, err = o.Strings("allowed_tools"); err != nil {
		return Tool{}, err
	}
	origin, _, err := o.Enum("connection_origin", OriginService, "environment")
	if err != nil {
		return Tool{}, err
	}
	if origin == "environment" {
		return Tool{}, notLanded(o.Path("connection_origin"), "connections from an environment", `send "service" or leave it out`)
	}
	if _, has, err := o.String("credential_id"); has || err != nil {
		if err != nil {
			return Tool{}, err
		}
		return Tool{}, notLanded(o.Path("credential_id"), "vault credentials", "name a server that the operator's configuration (mcp_servers) holds the secret for")
	}
	if t.Required, _, err = o.Bool("required"); err != nil {
		return Tool{}, err
	}
	if err := requestMetadata(o, &t); err != nil {
		return Tool{}, err
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

func (r Rules) transport(label string, o param.Object) (*Transport, error) {
	path := o.Path("transport")
	sub, ok, err := o.Object("transport")
	if err != nil {
		return nil, err
	}
	if !ok {
		if !slices.Contains(r.Labels, label) {
			e := stead.Invalid(path, "%s is required: the operator's configuration has no tool server %.80q", path, label)
			e.Hint = r.labelHint()
			return nil, e
		}
		return nil, nil
	}
	kind, err := param.Need(sub.Enum("type", TransportHTTP, TransportStdio))(sub.Path("type"))
	if err != nil {
		return nil, err
	}
	if kind == TransportStdio {
		return nil, r.stdio(label, sub)
	}
	return httpTransport(sub)
}

func httpTransport(o param.Object) (*Transport, error) {
	raw, err := param.Need(o.String("server_url"))(o.Path("server_url"))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, stead.Invalid(o.Path("server_url"), "%s must be an http or https URL", o.Path("server_url"))
	}
	if u.User != nil {
		return nil, secret(o.Path("server_url"))
	}
	for name := range u.Query() {
		if secretName(name) {
			return nil, secret(o.Path("server_url"))
		}
	}
	if _, has := o.Raw("authorization"); has {
		return nil, secret(o.Path("authorization"))
	}
	headers, _, err := o.StringMap("headers")
	if err != nil {
		return nil, err
	}
	for name := range headers {
		if secretName(name) {
			return nil, secret(o.Path("headers") + "." + name)
		}
	}
	return &Transport{Type: TransportHTTP, ServerURL: raw, Headers: headers}, nil
}

// stdio accepts the name of a server that the operator configured, and nothing that would run a
// command of the client's choice. It means the same as no transport.
func (r Rules) stdio(label string, o param.Object) error {
	if _, has := o.Raw("env"); has {
		return secret(o.Path("env"))
	}
	for _, name := range []string{"args", "env_vars"} {
		list, _, err := o.Strings(name)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return r.operatorOnly(o.Path(name))
		}
	}
	if cwd, _, err := o.String("cwd"); err != nil || cwd != "" {
		if err != nil {
			return err
		}
		return r.operatorOnly(o.Path("cwd"))
	}
	command, err := param.Need(o.String("command"))(o.Path("command"))
	if err != nil {
		return err
	}
	if command != label || !slices.Contains(r.Labels, label) {
		return r.operatorOnly(o.Path("command"))
	}
	return nil
}

func (r Rules) operatorOnly(path string) error {
	e := stead.Invalid(path, "%s: only the operator's configuration starts processes; a stdio transport names one of its servers by label, as command and as server_label", path)
	e.Hint = r.labelHint()
	return e
}

func (r Rules) labelHint() string {
	if len(r.Labels) == 0 {
		return "No tool server is configured: add it to mcp_servers in the server's configuration, or send an http transport."
	}
	return "Configured servers: " + strings.Join(r.Labels, ", ") + "."
}

func secret(path string) error {
	e := stead.Invalid(path, "%s holds a secret, and secrets never enter a session's journal", path)
	e.Hint = "Put the secret into the operator's configuration (mcp_servers) and name that server by its label, or wait for vaults."
	return e
}

// secretName reports whether a header, query or metadata name says that its value is a secret.
func secretName(name string) bool {
	n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch n {
	case "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth", "auth":
		return true
	}
	for _, part := range []string{"token", "secret", "password", "api-key", "apikey", "credential", "private-key", "access-key"} {
		if strings.Contains(n, part) {
			return true
		}
	}
	return false
}

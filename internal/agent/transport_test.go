package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// mcpTool decodes one tool by the rules of a server whose sessions can have environments.
func mcpTool(t *testing.T, fields string) (Tool, error) {
	t.Helper()
	r := Rules{Labels: []string{"files"}, Environments: true}
	o, err := param.Parse("", json.RawMessage(`{"tools":[{"type":"mcp",`+fields+`}]}`))
	if err != nil {
		t.Fatal(err)
	}
	tools, err := r.Tools(o)
	if err != nil {
		return Tool{}, err
	}
	return tools[0], ValidateTools("tools", tools)
}

func TestToolServersInEnvironments(t *testing.T) {
	for _, tt := range []struct {
		fields string
		want   string // on the wire
		inside bool
	}{
		{`"server_label":"web","transport":{"type":"stdio","command":"npx","args":["-y","server"],"cwd":"/workspace","env_vars":["KEY"],"env":{}}`,
			`{"type":"mcp","server_label":"web","transport":{"type":"stdio","command":"npx","args":["-y","server"],"cwd":"/workspace","env_vars":["KEY"]},"allowed_tools":null,"connection_origin":"service","credential_id":null,"request_metadata":{},"required":false,"require_approval":null,"effects":{}}`, true},
		{`"server_label":"web","connection_origin":"environment","transport":{"type":"http","server_url":"http://127.0.0.1:8000/mcp"}`,
			`{"type":"mcp","server_label":"web","transport":{"type":"http","server_url":"http://127.0.0.1:8000/mcp","headers":{}},"allowed_tools":null,"connection_origin":"environment","credential_id":null,"request_metadata":{},"required":false,"require_approval":null,"effects":{}}`, true},
		{`"server_label":"web","transport":{"type":"http","server_url":"https://tools.example/mcp","auth":"oauth"}`,
			`{"type":"mcp","server_label":"web","transport":{"type":"http","server_url":"https://tools.example/mcp","headers":{},"auth":"oauth"},"allowed_tools":null,"connection_origin":"service","credential_id":null,"request_metadata":{},"required":false,"require_approval":null,"effects":{}}`, false},
	} {
		got, err := mcpTool(t, tt.fields)
		if err != nil {
			t.Errorf("%s: %v", tt.fields, err)
			continue
		}
		wire, err := json.Marshal(WireTool{got})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(wire)); diff != "" {
			t.Error(diff)
		}
		if got.InEnvironment() != tt.inside {
			t.Errorf("%s: in the environment: %v", tt.fields, got.InEnvironment())
		}
		err = CheckEnvironment("agent.tools", []Tool{{Type: ToolFunction}, got})
		if e, ok := errors.AsType[*stead.Error](err); ok != tt.inside || ok && e.Param != "agent.tools[1]" {
			t.Errorf("%s, in a session without an environment: %v", tt.fields, err)
		}
		// What the wire shows can be sent back.
		again, err := mcpTool(t, strings.TrimSuffix(strings.TrimPrefix(string(wire), `{"type":"mcp",`), "}"))
		if err != nil {
			t.Errorf("sent back: %v", err)
		} else if back, _ := json.Marshal(WireTool{again}); string(back) != tt.want {
			t.Errorf("sent back, it is %s", back)
		}
	}
}

func TestToolServersInEnvironmentsRefused(t *testing.T) {
	stdio := func(s string) string { return `"server_label":"web","transport":{"type":"stdio",` + s + `}` }
	long, _ := json.Marshal([]string{strings.Repeat("x", MaxCommandBytes)})
	many, _ := json.Marshal(make([]string, MaxCommandArgs+1))
	names, _ := json.Marshal(make([]string, MaxCommandEnvVars+1))
	for _, tt := range []struct{ fields, param, says string }{
		{`"server_label":"files","connection_origin":"environment"`, "tools[0].connection_origin", "operator"},
		{`"server_label":"files","transport":{"type":"stdio","command":"files","cwd":"/workspace"}`, "tools[0].server_label", "operator"},
		{`"server_label":"files","transport":{"type":"http","server_url":"https://tools.example"}`, "tools[0].server_label", "operator"},
		{`"server_label":"environment","transport":{"type":"http","server_url":"https://tools.example"}`, "tools[0].server_label", "runtime's own"},
		{`"server_label":"web","connection_origin":"moon"`, "tools[0].connection_origin", "must be one of"},
		{`"server_label":"web","transport":{"type":"http","server_url":"https://tools.example","auth":"basic"}`, "tools[0].transport.auth", "must be one of"},
		{`"server_label":"web","connection_origin":"environment","transport":{"type":"http","server_url":"https://tools.example","auth":"oauth"}`, "tools[0].transport.auth", "told of no user"},
		{`"server_label":"web","transport":{"type":"http","server_url":"https://ｔools.example/mcp"}`, "tools[0].transport.server_url", "in ASCII"},
		{stdio(`"cwd":""`), "tools[0].transport.command", "required"},
		{stdio(`"command":""`), "tools[0].transport.command", "program"},
		{stdio(`"command":"a\u0000b"`), "tools[0].transport.command", "program"},
		{stdio(`"command":"a","cwd":"here"`), "tools[0].transport.cwd", "absolute"},
		{stdio(`"command":"a","args":["a\u0000b"]`), "tools[0].transport.args[0]", "NUL"},
		{stdio(`"command":"a","args":[1]`), "tools[0].transport.args[0]", "string"},
		{stdio(`"command":"a","args":` + string(many)), "tools[0].transport.args", "256"},
		{stdio(`"command":"a","args":` + string(long)), "tools[0].transport.command", "32768"},
		{stdio(`"command":"a","env_vars":` + string(names)), "tools[0].transport.env_vars", "64"},
		{stdio(`"command":"a","env_vars":["A=B"]`), "tools[0].transport.env_vars[0]", "name of a variable"},
		{stdio(`"command":"a","env":{"KEY":"s3cret"}`), "tools[0].transport.env", "secret"},
	} {
		_, err := mcpTool(t, tt.fields)
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != tt.param || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%.120s:\n got %#v\nwant KindInvalid of %s, with %q", tt.fields, err, tt.param, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

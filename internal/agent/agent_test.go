package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

var rules = Rules{
	Labels: []string{"files"},
	Schema: func(raw json.RawMessage) error {
		if strings.Contains(string(raw), `"$ref":"nowhere"`) {
			return errors.New("nowhere can't be resolved")
		}
		return nil
	},
}

func decode(t *testing.T, body string) (Spec, error) {
	t.Helper()
	return change(t, Spec{}, "", body)
}

func change(t *testing.T, s Spec, path, body string) (Spec, error) {
	t.Helper()
	o, err := param.Parse(path, json.RawMessage(body))
	if err != nil {
		return s, err
	}
	p, err := rules.Decode(path, o)
	if err != nil {
		return s, err
	}
	return s, p.Apply(&s)
}

func TestCreateDefaults(t *testing.T) {
	s, err := decode(t, `{"model":"sim","unheard_of":1}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(Agent{ID: "agent_1", Version: 1, CreatedAt: 1999, UpdatedAt: 2000, Spec: s}.Wire())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"agent_1","object":"agent","version":1,"created_at":1,"updated_at":2,"name":null,"model":"sim","instructions":null,"tools":[],` +
		`"reasoning":{"effort":null,"summary":null},"service_tier":"auto","text":{"format":{"type":"text"},"verbosity":"medium"},` +
		`"multi_agent":{"enabled":false,"max_concurrent_subagents":null},"compaction":{"async":true},"experimental":{"time_awareness":false},"metadata":{},"max_steps":null}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWireTools(t *testing.T) {
	tests := []struct{ in, want string }{
		{
			`{"type":"function","name":"f","parameters": {"type": "object"}}`,
			`{"type":"function","name":"f","description":"","parameters":{"type":"object"},"async":false,"defer_loading":false}`,
		},
		{
			`{"type":"mcp","server_label":"web","transport":{"type":"http","server_url":"https://mcp.example/x"}}`,
			`{"type":"mcp","server_label":"web","transport":{"type":"http","server_url":"https://mcp.example/x","headers":{}},"allowed_tools":null,"connection_origin":"service","credential_id":null,"request_metadata":{},"required":false,"require_approval":null,"effects":{}}`,
		},
		{
			`{"type":"mcp","server_label":"files","allowed_tools":[],"required":true,"request_metadata":{"a":1},"effects":{"read":"pure"},"require_approval":{"never":{"tool_names":["read"]}}}`,
			`{"type":"mcp","server_label":"files","transport":{"type":"stdio","command":"files","args":[],"cwd":"","env_vars":[]},"allowed_tools":[],"connection_origin":"service","credential_id":null,"request_metadata":{"a":1},"required":true,"require_approval":{"never":{"tool_names":["read"]}},"effects":{"read":"pure"}}`,
		},
		{
			`{"type":"memory","memory_stores":[{"id":"memstore_1"}],"recall":{"mode":"budgeted"}}`,
			`{"type":"memory","memory_stores":[{"id":"memstore_1","access":"read_only"}],"recall":{"mode":"budgeted","token_budget":1000,"max_num_results":8,"context":1},"extraction":null,"teams":[],"scope":"default","scopes":"session","allowed_tools":null,"require_approval":null,"effects":{}}`,
		},
		{
			`{"type":"memory","memory_stores":[{"id":"memstore_1","access":"read_write"}],"recall":{"mode":"always","context":0},"teams":["red"],"scope":"team:red","extraction":{"scope":"team:red"}}`,
			`{"type":"memory","memory_stores":[{"id":"memstore_1","access":"read_write"}],"recall":{"mode":"always","token_budget":4000,"max_num_results":8,"context":0},"extraction":{"memory_store_id":"memstore_1","strategies":["fact","preference"],"scope":"team:red","conversation":true,"tool_outputs":true},"teams":["red"],"scope":"team:red","scopes":"session","allowed_tools":null,"require_approval":null,"effects":{}}`,
		},
		{`{"type":"web_search","mode":"disabled"}`, `{"type":"web_search","allowed_domains":null,"context_size":"medium","location":null,"mode":"disabled"}`},
		{`{"type":"programmatic_tool_calling","enabled":false}`, `{"type":"programmatic_tool_calling","enabled":false}`},
	}
	for _, tt := range tests {
		s, err := decode(t, `{"model":"sim","tools":[`+tt.in+`]}`)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		got, err := json.Marshal(WireTools(s.Tools)[0])
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s %v\nwant %s", tt.in, got, err, tt.want)
		}
		// What the wire shows can be sent back, and stored forms survive.
		again, err := decode(t, `{"model":"sim","tools":[`+string(got)+`]}`)
		if err != nil {
			t.Errorf("sending %s back: %v", got, err)
		} else if twice, _ := json.Marshal(WireTools(again.Tools)[0]); string(twice) != tt.want {
			t.Errorf("sent back: %s", twice)
		}
		stored, _ := json.Marshal(s)
		var loaded Spec
		if err := json.Unmarshal(stored, &loaded); err != nil {
			t.Errorf("load %s: %v", stored, err)
		} else if again, _ := json.Marshal(WireTools(loaded.Tools)[0]); string(again) != tt.want {
			t.Errorf("stored form shows %s, want %s", again, tt.want)
		}
	}
}

func TestUpdateOmittedAndNull(t *testing.T) {
	full := `{"model":"m","name":"n","instructions":"i","tools":[{"type":"function","name":"f","parameters":{}}],
		"reasoning":{"effort":"high","summary":"auto"},"service_tier":"flex","text":{"format":{"type":"json_schema","schema":{"type":"object"}},"verbosity":"low"},
		"compaction":{"async":false},"metadata":{"k":"v"},"max_steps":5}`
	base, err := decode(t, full)
	if err != nil {
		t.Fatal(err)
	}
	same, err := change(t, base, "", `{}`)
	if err != nil || !cmp.Equal(base, same) {
		t.Errorf("an empty update changed something: %s %v", cmp.Diff(base, same), err)
	}
	nulls, err := change(t, base, "", `{"name":null,"instructions":null,"tools":null,"reasoning":null,"service_tier":null,"text":null,"multi_agent":null,"compaction":null,"metadata":null,"max_steps":null}`)
	want := Defaults()
	want.Model = "m"
	if err != nil || !cmp.Equal(want, nulls) {
		t.Errorf("nulls do not reset: %s %v", cmp.Diff(want, nulls), err)
	}
	part, err := change(t, base, "agent", `{"reasoning":{"effort":"low"},"text":{"verbosity":"high"},"compaction":{}}`)
	if err != nil {
		t.Fatal(err)
	}
	if *part.Reasoning.Effort != "low" || *part.Reasoning.Summary != "auto" || part.Text.Verbosity != "high" || part.Text.Format.Type != FormatSchema || !part.Compaction.Async {
		t.Errorf("partial update: %+v", part)
	}
	if base.Text.Verbosity != "low" || *base.Reasoning.Effort != "high" {
		t.Error("the update reached into the base")
	}
}

func TestRefusals(t *testing.T) {
	tool := func(s string) string { return `{"model":"m","tools":[` + s + `]}` }
	mcp := func(s string) string { return tool(`{"type":"mcp","server_label":"web",` + s + `}`) }
	http := func(s string) string {
		return mcp(`"transport":{"type":"http","server_url":"https://x.example",` + s + `}`)
	}
	fn := func(s string) string { return tool(`{"type":"function",` + s + `}`) }
	tests := []struct{ body, param, says string }{
		{`{}`, "model", "required"},
		{`{"model":null}`, "model", "required"},
		{`{"model":""}`, "model", "must name a model"},
		{`{"model":5}`, "model", "must be a string, not a number"},
		{`{"model":"m","name":"` + strings.Repeat("ä", 257) + `"}`, "name", "longer than 256"},
		{`{"model":"m","instructions":"` + strings.Repeat("x", stead.MaxInstructionsBytes+1) + `"}`, "instructions", "longer than"},
		{`{"model":"m","tools":{}}`, "tools", "must be a list"},
		{`{"model":"m","reasoning":{"effort":"huge"}}`, "reasoning.effort", "must be one of"},
		{`{"model":"m","reasoning":{"summary":"huge"}}`, "reasoning.summary", "must be one of"},
		{`{"model":"m","service_tier":"gold"}`, "service_tier", "must be one of"},
		{`{"model":"m","text":{"verbosity":"mute"}}`, "text.verbosity", "must be one of"},
		{`{"model":"m","text":{"format":{"type":"xml"}}}`, "text.format.type", "must be one of"},
		{`{"model":"m","text":{"format":{"type":"json_schema"}}}`, "text.format.schema", "required"},
		{`{"model":"m","text":{"format":{"type":"json_schema","schema":{"$ref":"nowhere"}}}}`, "text.format.schema", "not a usable JSON Schema"},
		{`{"model":"m","multi_agent":{"enabled":true,"max_concurrent_subagents":33}}`, "multi_agent.max_concurrent_subagents", "from 1 to 32"},
		{`{"model":"m","multi_agent":{"max_concurrent_subagents":3}}`, "multi_agent.enabled", "required"},
		{`{"model":"m","max_steps":0}`, "max_steps", "from 1 to 10000"},
		{`{"model":"m","metadata":{"k":1}}`, "metadata.k", "must be a string"},
		{`{"model":"m","metadata":{"k":"` + strings.Repeat("x", 513) + `"}}`, "metadata.k", "longer than 512"},
		{`{"model":"m","metadata":{"` + strings.Repeat("k", 65) + `":""}}`, "metadata", "1 to 64"},
		{tool(`{"name":"f"}`), "tools[0].type", "required"},
		{tool(`{"type":"telepathy"}`), "tools[0].type", "unknown"},
		{tool(`{"type":"memory","memory_stores":[{"id":"m","accesss":"read_only"}]}`), "tools[0].memory_stores[0].accesss", "not a field"},
		{tool(`{"type":"memory","memory_stores":[{"id":"m","access":"read_write"}],"extraction":{"tool_output":false}}`), "tools[0].extraction.tool_output", "not a field"},
		{tool(`{"type":"memory","memory_stores":[{"id":"m"}],"recall":{"mode":"always","budget":5}}`), "tools[0].recall.budget", "not a field"},
		{tool(`{"type":"memory","memory_stores":[{"id":"m"}],"allowed":["memory_search"]}`), "tools[0].allowed", "not a field"},
		{tool(`{"type":"tool_search"}`), "tools[0].type", "tool search"},
		{tool(`{"type":"programmatic_tool_calling"}`), "tools[0].type", "programmatic"},
		{tool(`{"type":"programmatic_tool_calling","enabled":true}`), "tools[0].type", "programmatic"},
		{tool(`{"type":"web_search"}`), "tools[0].type", "web search"},
		{tool(`{"type":"web_search","mode":"live"}`), "tools[0].type", "web search"},
		{tool(`{"type":"computer_use"}`), "tools[0].type", "computer use"},
		{tool(`{"type":"automations"}`), "tools[0].type", "automations"},
		{fn(`"parameters":{}`), "tools[0].name", "required"},
		{fn(`"name":"a b","parameters":{}`), "tools[0].name", "letters, digits"},
		{fn(`"name":"f"`), "tools[0].parameters", "required"},
		{fn(`"name":"f","parameters":{"type":"string"}`), "tools[0].parameters.type", `must be "object"`},
		{fn(`"name":"f","parameters":{"$ref":"nowhere"}`), "tools[0].parameters", "nowhere can't be resolved"},
		{fn(`"name":"f","parameters":{},"defer_loading":true`), "tools[0].defer_loading", "does not have yet"},
		{tool(`{"type":"function","name":"f","parameters":{}},{"type":"function","name":"f","parameters":{}}`), "tools[1].name", "used twice"},
		{tool(`{"type":"mcp"}`), "tools[0].server_label", "required"},
		{mcp(`"required":false`), "tools[0].transport", "required"},
		{mcp(`"transport":{"type":"http"}`), "tools[0].transport.server_url", "required"},
		{mcp(`"transport":{"type":"http","server_url":"ftp://x"}`), "tools[0].transport.server_url", "http or https"},
		{mcp(`"transport":{"type":"http","server_url":"https://u:p@x.example"}`), "tools[0].transport.server_url", "secret"},
		{mcp(`"transport":{"type":"http","server_url":"https://x.example?api_key=1"}`), "tools[0].transport.server_url", "secret"},
		{http(`"authorization":"Bearer x"`), "tools[0].transport.authorization", "secret"},
		{http(`"headers":{"Authorization":"x"}`), "tools[0].transport.headers.Authorization", "secret"},
		{http(`"headers":{"cookie":"x"}`), "tools[0].transport.headers.cookie", "secret"},
		{http(`"headers":{"X-Api-Key":"x"}`), "tools[0].transport.headers.X-Api-Key", "secret"},
		{http(`"headers":{"X-My-Token":"x"}`), "tools[0].transport.headers.X-My-Token", "secret"},
		{http(`"headers":{"client_secret":"x"}`), "tools[0].transport.headers.client_secret", "secret"},
		{mcp(`"transport":{"type":"stdio","command":"rm"}`), "tools[0].transport.command", "operator"},
		{mcp(`"transport":{"type":"stdio","command":"web"}`), "tools[0].transport.command", "operator"},
		{mcp(`"transport":{"type":"stdio","command":"files"}`), "tools[0].transport.command", "operator"},
		{mcp(`"transport":{"type":"stdio","command":"web","env":{"K":"v"}}`), "tools[0].transport.env", "secret"},
		{mcp(`"transport":{"type":"stdio","command":"web","args":["-c"]}`), "tools[0].transport.args", "operator"},
		{mcp(`"transport":{"type":"stdio","command":"web","env_vars":["HOME"]}`), "tools[0].transport.env_vars", "operator"},
		{mcp(`"transport":{"type":"stdio","command":"web","cwd":"/"}`), "tools[0].transport.cwd", "operator"},
		{tool(`{"type":"mcp","server_label":"files","connection_origin":"environment"}`), "tools[0].connection_origin", "environment"},
		{tool(`{"type":"mcp","server_label":"files","credential_id":"cred_1"}`), "tools[0].credential_id", "server_url"},
		{tool(`{"type":"mcp","server_label":"files","request_metadata":{"api_token":"x"}}`), "tools[0].request_metadata.api_token", "secret"},
		{tool(`{"type":"mcp","server_label":"files","require_approval":"perhaps"}`), "tools[0].require_approval", "must be"},
		{tool(`{"type":"mcp","server_label":"files","require_approval":{"alway":{"tool_names":[]}}}`), "tools[0].require_approval.alway", "unknown"},
		{tool(`{"type":"memory","memory_stores":[{"id":"memstore_1"}],"recall":{"mode":"always","context":11}}`), "tools[0].recall.context", "10"},
		{tool(`{"type":"memory","memory_stores":[{"id":"memstore_1"}],"teams":["red"],"scope":"team:blue"}`), "tools[0].scope", "must be default, user"},
		{tool(`{"type":"mcp","server_label":"files","effects":{"write":"safe"}}`), "tools[0].effects.write", "must be one of"},
	}
	for _, tt := range tests {
		_, err := decode(t, tt.body)
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != tt.param || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%.120s:\n got %#v\nwant KindInvalid of %s, with %q", tt.body, err, tt.param, tt.says)
		}
	}
}

func TestToolLimits(t *testing.T) {
	var many []string
	for i := range stead.MaxTools + 1 {
		many = append(many, fmt.Sprintf(`{"type":"function","name":"f%d","parameters":{}}`, i))
	}
	if _, err := decode(t, `{"model":"m","tools":[`+strings.Join(many, ",")+`]}`); err == nil || !strings.Contains(err.Error(), "512") {
		t.Errorf("513 tools: %v", err)
	}
	if _, err := decode(t, `{"model":"m","tools":[`+strings.Join(many[1:], ",")+`]}`); err != nil {
		t.Errorf("512 tools: %v", err)
	}
	big := strings.Repeat("x", stead.MaxToolsBytes)
	if _, err := decode(t, `{"model":"m","tools":[{"type":"function","name":"f","description":"`+big+`","parameters":{}}]}`); err == nil || !strings.Contains(err.Error(), "3145728") {
		t.Errorf("3 MiB of tools: %v", err)
	}
}

func TestApprovalRoundTrip(t *testing.T) {
	for _, js := range []string{
		`"always"`, `"never"`, `{}`,
		`{"always":{"tool_names":["a"]}}`, `{"always":{"tool_names":["a"]},"never":{"tool_names":["b","c"]}}`,
	} {
		var a Approval
		if err := json.Unmarshal([]byte(js), &a); err != nil {
			t.Fatalf("%s: %v", js, err)
		}
		if got, err := json.Marshal(a); err != nil || string(got) != js {
			t.Errorf("%s came back as %s %v", js, got, err)
		}
	}
}

func TestDecodeTellsOwnServersApart(t *testing.T) {
	s, err := decode(t, `{"model":"m","tools":[{"type":"mcp","server_label":"files","transport":{"type":"stdio","command":"files","cwd":""}}]}`)
	if err != nil || s.Tools[0].Transport != nil {
		t.Errorf("a stdio transport that names an operator's server means no transport: %+v %v", s.Tools, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"model":"m","tools":[{"type":"mcp","server_label":"files","require_approval":{"never":{"tool_names":["x"]}}}]}`)
	f.Add(`{"model":"m","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"text":{"format":{"type":"json_schema","schema":{}}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		o, err := param.Body([]byte(body))
		if err != nil {
			return
		}
		p, err := rules.Decode("", o)
		var s Spec
		if err == nil {
			err = p.Apply(&s)
		}
		if err != nil {
			if stead.KindOf(err) != stead.KindInvalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		shown, err := json.Marshal(Agent{Spec: s}.Wire())
		if err != nil {
			t.Fatalf("accepted, and can't be shown: %v", err)
		}
		// What is shown is accepted again, and shows the same.
		o, err = param.Body(shown)
		if err != nil {
			t.Fatal(err)
		}
		p, err = rules.Decode("", o)
		var again Spec
		if err == nil {
			err = p.Apply(&again)
		}
		if err != nil {
			t.Fatalf("%s is shown, and refused: %v", shown, err)
		}
		if twice, _ := json.Marshal(Agent{Spec: again}.Wire()); string(twice) != string(shown) {
			t.Fatalf("%s became %s", shown, twice)
		}
	})
}

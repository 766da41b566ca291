package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFunctionsAreGoverned: functions of applications are tools like any other at every door that keeps what is said: policies and kill
// switches refuse them, before the application is asked, and all of it stands in the audit log.
func TestFunctionsAreGoverned(t *testing.T) {
	n := openConfigured(t, `
policies:
  inline: |
    @id("no-wires") forbid(principal, action == Action::"tool.call", resource == Tool::"function/wire") when { context.numbers.hasTag("n") && context.numbers.getTag("n").greaterThan(decimal("100.0")) };
    @id("on-trial") @mode("shadow") forbid(principal, action == Action::"tool.call", resource in Server::"function") when { context.origin == "application" };
providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}]}]
`, io.Discard)
	tools := `"tools":[{"type":"function","name":"wire","parameters":{"type":"object"}},{"type":"function","name":"look","parameters":{"type":"object"}}]`
	get := func(method, path, body string) string {
		t.Helper()
		res, got := ask(t, n, method, path, body)
		if res.StatusCode != 200 {
			t.Fatalf("%s %s %s: %d %s", method, path, body, res.StatusCode, got)
		}
		return got
	}
	type output struct {
		ID     string
		Status string
		Output []struct{ Type, Name, Status string }
	}
	respond := func(input string) (o output) {
		t.Helper()
		body, _ := json.Marshal(input)
		if err := json.Unmarshal([]byte(get("POST", "/v1/responses", `{"model":"sim",`+tools+`,"input":`+string(body)+`}`)), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	types := func(o output) (out []string) {
		for _, it := range o.Output {
			out = append(out, strings.TrimSpace(it.Type+" "+it.Name))
		}
		return out
	}
	// Nothing is refused: as ever. What is refused is not handed out, and the response goes on without the application.
	if o := respond(`Call wire with {"n":1}`); !slices.Equal(types(o), []string{"function_call wire"}) || o.Output[0].Status != "completed" {
		t.Errorf("allowed: %+v", o)
	}
	refused := respond("Call wire with {\"n\":1000}\nSay I could not")
	if !slices.Equal(types(refused), []string{"message"}) || refused.Status != "completed" {
		t.Errorf("refused: %+v", refused)
	}
	// Of a stream the indexes are those of what is shown.
	stream := get("GET", "/v1/responses/"+refused.ID+"?stream=true", "")
	if strings.Contains(stream, "function_call") || !strings.Contains(stream, `"output_index":0`) || strings.Contains(stream, `"output_index":1`) {
		t.Errorf("the stream of it:\n%s", stream)
	}
	if both := respond("Call wire with {\"n\":1000}\nCall look with {}"); !slices.Equal(types(both), []string{"function_call look"}) {
		t.Errorf("one of two: %+v", both)
	}

	// A kill switch, by the function's name alone.
	var sw struct{ ID, Of string }
	if err := json.Unmarshal([]byte(get("POST", "/v1/agents", `{"model":"sim","name":"clerk",`+tools+`}`)), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(get("POST", "/v1/kill_switches", `{"scope":"tool","of":"wire","reason":"it wires too much"}`)), &sw); err != nil || sw.Of != "function/wire" {
		t.Errorf("the switch is of %q, %v", sw.Of, err)
	}
	if res, body := ask(t, n, "POST", "/v1/kill_switches", `{"scope":"tool","of":"wier","reason":"r"}`); res.StatusCode != 400 || !strings.Contains(body, "function/wire") && !strings.Contains(body, "wire") {
		t.Errorf("a name that nothing has: %d %s", res.StatusCode, body)
	}
	if o := respond("Call wire with {\"n\":1}\nSay I could not"); !slices.Equal(types(o), []string{"message"}) {
		t.Errorf("stopped: %+v", o)
	}
	if o := respond(`Call look with {}`); !slices.Equal(types(o), []string{"function_call look"}) {
		t.Errorf("another function: %+v", o)
	}
	get("DELETE", "/v1/kill_switches/"+sw.ID, "")
	// One that nothing saved has, set all the same.
	if err := json.Unmarshal([]byte(get("POST", "/v1/kill_switches", `{"scope":"tool","of":"pay","unknown":true,"reason":"r"}`)), &sw); err != nil {
		t.Fatal(err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(get("POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"function","name":"pay","parameters":{"type":"object"}}]},"environment":{"type":"none"},"input":"Call pay with {}"}`)), &made); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		return strings.Contains(get("GET", "/v1/agents/sessions/"+made.ID, ""), `"status":"idle"`)
	})
	if items := get("GET", "/v1/agents/sessions/"+made.ID+"/items", ""); !strings.Contains(items, "the tool was stopped: r") {
		t.Errorf("the items are %s", items)
	}

	var log struct {
		Data []struct {
			Record struct{ Resource, Decision string }
		}
	}
	if err := json.Unmarshal([]byte(get("GET", "/v1/audit_records?action=tool.call&order=asc", "")), &log); err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, d := range log.Data {
		records = append(records, d.Record.Resource+" "+d.Record.Decision)
	}
	want := []string{
		"function/wire allow", "function/wire deny", "function/wire deny", "function/look allow", "function/wire deny", "function/look allow", "function/pay deny",
	}
	if !slices.Equal(records, want) {
		t.Errorf("in the audit log are %q", records)
	}
	var export strings.Builder
	export.WriteString(get("GET", "/v1/agents/sessions/sess_"+strings.Split(refused.ID, "_")[1]+"/export", ""))
	if !strings.Contains(export.String(), `"shadow":{"outcome":"deny","policies":["no-wires","on-trial"]`) {
		t.Errorf("what policies on trial would have done is not in the journal:\n%s", export.String())
	}
}

// TestCasesAboutFunctions: of a function a case need not say who declared it, and what repeating it does.
func TestCasesAboutFunctions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.cedar": `@id("own") forbid(principal, action == Action::"tool.call", resource in Server::"function") when { context.origin == "application" && context.class == "unknown" && context.tool == "wire" };`,
		"cases.yaml": `policies: .
cases:
  - {name: a function, principal: "user:ada", agent: agent_1, effect: tool.call, resource: function/wire, arguments: {n: 1}, expect: deny, by: [own]}
  - {name: another, principal: "user:ada", agent: agent_1, effect: tool.call, resource: function/look, expect: allow}
  - {name: a server's tool, principal: "user:ada", agent: agent_1, effect: tool.call, resource: shop/wire, expect: allow}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	a := &app{out: &out, err: &out}
	if ran, failed, err := a.testPolicies(t.Context(), filepath.Join(dir, "cases.yaml"), "", nil); err != nil || ran != 3 || failed != 0 {
		t.Errorf("%d of %d failed, %v: %s", failed, ran, err, out.String())
	}
}

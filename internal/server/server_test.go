package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/server/wiretest"
	"github.com/stead-dev/stead/internal/session"
)

// door is a real HTTP server over a fake service; everything that passes is held against the
// OpenAPI document.
type door struct {
	*fake
	t         *testing.T
	url       string
	client    *http.Client
	transport *wiretest.Transport
}

func open(t *testing.T, f *fake, change ...func(*Config)) *door {
	t.Helper()
	c := Config{
		Sessions: f, Agents: f, Traces: f, Environments: f, Models: models{}, Version: "test", ToolServers: func(stead.ProjectID) (own, others []string) { return []string{"files"}, nil },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Schema: func(raw json.RawMessage) error {
			if strings.Contains(string(raw), "broken") {
				return errors.New("it is broken")
			}
			return nil
		},
	}
	for _, ch := range change {
		ch(&c)
	}
	h := New(c)
	spec, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	tr := &wiretest.Transport{Spec: spec, Base: srv.Client().Transport, Report: func(err error) { t.Errorf("off the document: %v", err) }}
	return &door{fake: f, t: t, url: srv.URL, client: &http.Client{Transport: tr}, transport: tr}
}

// loadSpec loads the document once for all tests: it is the same for every Config.
var loadSpec = sync.OnceValues(func() (*wiretest.Spec, error) {
	return wiretest.Load(New(Config{}).(*server).openAPI())
})

// call sends a request; headers are "Name: value".
func (d *door) call(method, path, body string, headers ...string) (*http.Response, string) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(b)
}

// filled is a service with one of each thing.
func filled() *fake {
	text := "hi"
	sim := agent.Defaults()
	sim.Model = "sim"
	name := "write"
	ask := session.RequiredAction{Type: session.ActionMCPApproval, TurnID: "turn_1", RequestID: "req_1", Request: &session.ActionRequest{Type: "mcp_tool_call", Arguments: json.RawMessage(`{}`), Message: "Approve?", Name: &name, ServerLabel: "files"}}
	lost := session.RequiredAction{Type: session.ActionOutcomeUnknown, TurnID: "turn_1", CallID: "call_2", RequestID: "req_2", Request: &session.ActionRequest{Type: "mcp_tool_call", Arguments: json.RawMessage(`{}`), Message: "What happened?", Name: &name, ServerLabel: "files", Key: "k"}}
	return &fake{
		agents:   []agent.Agent{{ID: "agent_1", Version: 1, CreatedAt: 1000, UpdatedAt: 2000, Spec: sim}},
		sessions: []session.Session{aSession("sess_1", sim), aSession("sess_2", sim)},
		items: []session.Item{
			&session.MessageItem{ID: "item_1", Type: "message", Role: "user", Status: "completed", TurnID: "turn_1", Content: []session.WireContent{{Type: "input_text", Text: &text}}},
			&session.FunctionCallItem{ID: "item_2", Type: "function_call", Arguments: json.RawMessage(`{"a":1}`), CallID: "call_1", Name: "f", Status: "completed", TurnID: "turn_1"},
			&session.FunctionOutputItem{ID: "item_3", Type: "function_call_output", CallID: "call_1", Output: json.RawMessage(`"x"`), Status: "completed", TurnID: "turn_1"},
		},
		turns:     []session.Turn{{ID: "turn_1", Object: "agent.session.turn", AgentID: "agent_1", CreatedAt: 1, SessionID: "sess_1", Status: session.TurnComplete}},
		subagents: []session.SubagentObject{{ID: "subagent_1", Object: "agent.session.subagent", Name: "Avocet", OpenedAt: 1, ParentID: "agent_1", SessionID: "sess_1", Status: "active"}},
		inbox: []session.Approval{
			{Object: "approval", ID: "req_1", SessionID: "sess_1", CreatedAt: 1, Action: ask},
			{Object: "approval", ID: "req_2", SessionID: "sess_2", CreatedAt: 2, Action: lost},
		},
		exported: []string{`{"stead":"session"}`, `{"seq":1}`},
	}
}

func TestRoutes(t *testing.T) {
	const (
		none = `"environment":{"type":"none"}`
		msg  = `{"role":"user","content":[{"type":"input_text","text":"hi"}]}`
	)
	create := func(rest string) string { return `{` + none + `,"agent":{"model":"sim"},` + rest + `}` }
	send := func(event string) string { return `{"events":[` + event + `]}` }
	tests := []struct {
		name, call, body string
		status           int
		want             string // part of the answer
	}{
		{"create agent", "POST /v1/agents", `{"model":"sim","name":"A"}`, 200, `"id":"agent_2","object":"agent","version":1`},
		{"list agents", "GET /v1/agents", "", 200, `"has_more":false,"first_id":"agent_1","last_id":"agent_1"}`},
		{"get agent", "GET /v1/agents/agent_1", "", 200, `"model":"sim"`},
		{"get agent version", "GET /v1/agents/agent_1?version=1", "", 200, `"version":1`},
		{"get agent, no version", "GET /v1/agents/agent_1?version=2", "", 404, `no version 2`},
		{"get agent, bad version", "GET /v1/agents/agent_1?version=x", "", 400, `"param":"version"`},
		{"get no agent", "GET /v1/agents/agent_9", "", 404, `{"error":{"message":"no agent with id \"agent_9\"","type":"not_found_error","param":null,"code":"not_found"}}`},
		{"update agent", "POST /v1/agents/agent_1", `{"instructions":"be brief"}`, 200, `"instructions":"be brief"`},
		{"update agent, bad model", "POST /v1/agents/agent_1", `{"model":null}`, 400, `"param":"model"`},
		{"delete agent", "DELETE /v1/agents/agent_1", "", 200, `{"id":"agent_1","deleted":true,"object":"agent.deleted"}`},
		{"agent with a broken schema", "POST /v1/agents", `{"model":"sim","tools":[{"type":"function","name":"f","parameters":{"broken":1}}]}`, 400, `"param":"tools[0].parameters"`},

		{"create session", "POST /v1/agents/sessions", create(`"input":"hi"`), 200, `"id":"sess_3","object":"agent.session"`},
		{"create session of an agent", "POST /v1/agents/sessions", `{` + none + `,"agent_id":"agent_1","input":[` + msg + `]}`, 200, `"model":"sim"`},
		{"create session, settings", "POST /v1/agents/sessions", create(`"input":"hi","metadata":{"k":"v"},"spend_control":{"limit":50},"prompt_cache_options":{},"review":"none","vault_ids":[]`), 200, `"metadata":{"k":"v"}`},
		{"create session of no agent", "POST /v1/agents/sessions", `{` + none + `,"agent_id":"agent_9","input":"hi"}`, 404, `agent_9`},
		{"create without environment", "POST /v1/agents/sessions", `{"agent":{"model":"sim"},"input":"hi"}`, 400, `"param":"environment"`},
		{"create hosted without hosts", "POST /v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"sim"}}`, 501, `this server has none`},
		{"create self hosted", "POST /v1/agents/sessions", `{"environment":{"type":"self_hosted","workspace_directory":"/"},"agent":{"model":"sim"}}`, 501, `this server has none`},
		{"create in the sky", "POST /v1/agents/sessions", `{"environment":{"type":"cloud"},"agent":{"model":"sim"}}`, 400, `must be one of`},
		{"create without agent", "POST /v1/agents/sessions", `{` + none + `,"input":"hi"}`, 400, `"param":"agent"`},
		{"create without model", "POST /v1/agents/sessions", `{` + none + `,"agent":{},"input":"hi"}`, 400, `"param":"agent.model"`},
		{"create without input", "POST /v1/agents/sessions", `{` + none + `,"agent":{"model":"sim"}}`, 400, `"param":"input"`},
		{"create with empty input", "POST /v1/agents/sessions", create(`"input":""`), 400, `"param":"input"`},
		{"create with no messages", "POST /v1/agents/sessions", create(`"input":[]`), 400, `"param":"input"`},
		{"create with a number", "POST /v1/agents/sessions", create(`"input":5`), 400, `input must be a string or a list of messages`},
		{"create with an assistant", "POST /v1/agents/sessions", create(`"input":[{"role":"assistant","content":"x"}]`), 400, `"param":"input[0].role"`},
		{"create with http image", "POST /v1/agents/sessions", create(`"input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x/y.png"}]}]`), 400, `"param":"input[0].content[0].image_url"`},
		{"create with a text data URL", "POST /v1/agents/sessions", create(`"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:text/html,x"}]}]`), 400, `data:image/TYPE`},
		{"create with images", "POST /v1/agents/sessions", create(`"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x.example/y.png"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]`), 200, `sess_3`},
		{"create with a file", "POST /v1/agents/sessions", create(`"input":[{"role":"user","content":[{"type":"input_file","file_id":"x"}]}]`), 400, `"param":"input[0].content[0].type"`},
		{"create with too many vaults", "POST /v1/agents/sessions", create(`"input":"hi","vault_ids":["v0","v1","v2","v3","v4","v5","v6","v7","v8","v9","v10"]`), 400, `"param":"vault_ids"`},
		{"create with review", "POST /v1/agents/sessions", create(`"input":"hi","review":"auto_review"`), 400, `"param":"review"`},
		{"create, bad ttl", "POST /v1/agents/sessions", create(`"input":"hi","prompt_cache_options":{"ttl":"1h"}`), 400, `"param":"prompt_cache_options.ttl"`},
		{"create, free", "POST /v1/agents/sessions", create(`"input":"hi","spend_control":{"limit":0}`), 400, `"param":"spend_control.limit"`},
		{"create, stream options alone", "POST /v1/agents/sessions", create(`"input":"hi","stream_options":{}`), 400, `"param":"stream_options"`},
		{"create, too much metadata", "POST /v1/agents/sessions", create(`"input":"hi","metadata":{"":"v"}`), 400, `"param":"metadata"`},
		{"create, secret", "POST /v1/agents/sessions", `{` + none + `,"input":"hi","agent":{"model":"sim","tools":[{"type":"mcp","server_label":"x","transport":{"type":"http","server_url":"https://x.example","authorization":"Bearer y"}}]}}`, 400, `"param":"agent.tools[0].transport.authorization"`},
		{"get session", "GET /v1/agents/sessions/sess_1", "", 200, `"status":"idle"`},
		{"get no session", "GET /v1/agents/sessions/sess_9", "", 404, `"code":"not_found"`},
		{"update session", "POST /v1/agents/sessions/sess_1", `{"metadata":null,"agent":{"model":"sim","reasoning":{"effort":null},"service_tier":null,"tools":[]},"spend_control":null,"prompt_cache_options":null}`, 200, `sess_1`},
		{"update instructions", "POST /v1/agents/sessions/sess_1", `{"agent":{"instructions":"x"}}`, 400, `"param":"agent.instructions"`},
		{"update effort", "POST /v1/agents/sessions/sess_1", `{"agent":{"reasoning":{"effort":"vast"}}}`, 400, `"param":"agent.reasoning.effort"`},
		{"update tools twice", "POST /v1/agents/sessions/sess_1", `{"agent":{"tools":[{"type":"function","name":"f","parameters":{}},{"type":"function","name":"f","parameters":{}}]}}`, 400, `"param":"agent.tools[1].name"`},
		{"list sessions", "GET /v1/agents/sessions?limit=1", "", 200, `"has_more":true,"first_id":"sess_2","last_id":"sess_2"}`},
		{"list sessions asc", "GET /v1/agents/sessions?order=asc&after=sess_1&metadata[k]=v&status=idle&agent_id=agent_1", "", 200, `"has_more":false,"first_id":"sess_2"`},
		{"list, limit 0", "GET /v1/agents/sessions?limit=0", "", 400, `limit must be a whole number from 1 to 100`},
		{"list, limit 101", "GET /v1/agents/sessions?limit=101", "", 400, `"param":"limit"`},
		{"list, sideways", "GET /v1/agents/sessions?order=up", "", 400, `"param":"order"`},
		{"list, metadata without a key", "GET /v1/agents/sessions?metadata=b", "", 400, `metadata[KEY]=VALUE`},
		{"list, after what is no id", "GET /v1/agents/sessions?after=agent_1", "", 400, `"param":"after"`},
		{"list agents, after what is no id", "GET /v1/agents?after=sess_1", "", 400, `"param":"after"`},
		{"list, bad status", "GET /v1/agents/sessions?status=asleep", "", 400, `"param":"status"`},
		{"delete session", "DELETE /v1/agents/sessions/sess_1", "", 200, `{"id":"sess_1","deleted":true,"object":"agent.session.deleted"}`},

		{"send message", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.message","input":[` + msg + `]}`), 202, ``},
		{"send all kinds", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.cancel"},{"type":"agent.session.input.tool_result","turn_id":"t","call_id":"c","success":true,"output":[{"type":"input_text","text":"x"}]},{"type":"agent.session.input.mcp_approval_request_result","request_id":"r","response":{"type":"mcp_tool_call","decision":"deny","reason":"no"}},{"type":"agent.session.input.outcome_unknown_result","request_id":"r","response":{"decision":"happened","output":"done"}}`), 202, ``},
		{"send nothing", "POST /v1/agents/sessions/sess_1/events", `{}`, 400, `"param":"events"`},
		{"send an empty list", "POST /v1/agents/sessions/sess_1/events", `{"events":[]}`, 400, `1 to 128`},
		{"send too many", "POST /v1/agents/sessions/sess_1/events", send(strings.Repeat(`{"type":"agent.session.input.cancel"},`, 128) + `{"type":"agent.session.input.cancel"}`), 400, `not 129`},
		{"send a riddle", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"riddle"}`), 400, `agent.session.input.cancel`},
		{"send computer use", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.computer_use_approval_request_result"}`), 400, `no computer use`},
		{"send a result without call", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.tool_result","turn_id":"t","success":true}`), 400, `"param":"events[0].call_id"`},
		{"send a vague decision", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.mcp_approval_request_result","request_id":"r","response":{"type":"mcp_tool_call","decision":"maybe"}}`), 400, `"param":"events[0].response.decision"`},
		{"send output of nothing", "POST /v1/agents/sessions/sess_1/events", send(`{"type":"agent.session.input.outcome_unknown_result","request_id":"r","response":{"decision":"give_up","output":"x"}}`), 400, `"param":"events[0].response.output"`},
		{"send to nobody", "POST /v1/agents/sessions/sess_9/events", send(`{"type":"agent.session.input.cancel"}`), 404, `sess_9`},

		{"items", "GET /v1/agents/sessions/sess_1/items?order=asc&limit=2", "", 200, `"has_more":true,"first_id":"item_1","last_id":"item_2"`},
		{"turns", "GET /v1/agents/sessions/sess_1/turns", "", 200, `"first_id":"turn_1"`},
		{"turn", "GET /v1/agents/sessions/sess_1/turns/turn_1", "", 200, `"status":"completed"`},
		{"no turn", "GET /v1/agents/sessions/sess_1/turns/turn_9", "", 404, `turn_9`},
		{"turn's items", "GET /v1/agents/sessions/sess_1/turns/turn_1/items", "", 200, `"last_id":"item_1"`},
		{"no turn's items", "GET /v1/agents/sessions/sess_1/turns/turn_9/items", "", 404, `turn_9`},
		{"subagents", "GET /v1/agents/sessions/sess_1/subagents", "", 200, `"has_more":false,"first_id":"subagent_1","last_id":"subagent_1"`},
		{"subagent", "GET /v1/agents/sessions/sess_1/subagents/subagent_1", "", 200, `"parent_agent_id":"agent_1"`},
		{"a subagent's items", "GET /v1/agents/sessions/sess_1/subagents/subagent_1/items?order=asc", "", 200, `"first_id":"item_1"`},
		{"a subagent's turns", "GET /v1/agents/sessions/sess_1/subagents/subagent_1/turns", "", 200, `"first_id":"turn_1"`},
		{"a subagent's turn", "GET /v1/agents/sessions/sess_1/subagents/subagent_1/turns/turn_1", "", 200, `"status":"completed"`},
		{"a subagent's turn's items", "GET /v1/agents/sessions/sess_1/subagents/subagent_1/turns/turn_1/items", "", 200, `"last_id":"item_1"`},
		{"no subagent", "GET /v1/agents/sessions/sess_1/subagents/sub_1/turns/t/items", "", 404, `no subagent`},
		{"artifacts", "GET /v1/agents/sessions/sess_1/artifacts", "", 200, `"data":[]`},
		{"artifacts of nobody", "GET /v1/agents/sessions/sess_9/artifacts", "", 404, `sess_9`},
		{"no artifact", "GET /v1/agents/sessions/sess_1/artifacts/a/content", "", 404, `no artifact`},
		{"artifact", "GET /v1/agents/sessions/sess_1/artifacts/artifact_1", "", 200, `"path":"/workspace/outputs/a"`},
		{"artifact's content", "GET /v1/agents/sessions/sess_1/artifacts/artifact_1/content", "", 200, `<script>`},
		{"delete artifact", "DELETE /v1/agents/sessions/sess_1/artifacts/artifact_1", "", 200, `agent.session.artifact.deleted`},
		{"artifacts of another environment", "GET /v1/agents/sessions/sess_1/artifacts?environment_id=env_2", "", 200, `"data":[]`},
		{"environments", "GET /v1/agents/environments", "", 200, `"status":"ready"`},
		{"environments of a type", "GET /v1/agents/environments?type=self_hosted", "", 400, `"param":"type"`},
		{"environment", "GET /v1/agents/environments/env_1", "", 200, `"session_id":"sess_1"`},
		{"no environment", "GET /v1/agents/environments/env_9", "", 404, `no environment`},
		{"prewarm without hosts", "POST /v1/agents/environments", `{"environment":{"type":"openai_hosted"}}`, 501, `this server has none`},
		{"prewarm what is none", "POST /v1/agents/environments", `{"environment":{"type":"none"}}`, 400, `"param":"environment.type"`},
		{"prewarm with too many vaults", "POST /v1/agents/environments", `{"environment":{"type":"openai_hosted"},"vault_ids":["v0","v1","v2","v3","v4","v5","v6","v7","v8","v9","v10"]}`, 400, `"param":"vault_ids"`},
		{"put a file", "POST /v1/agents/environments/env_1/files", `{"type":"inline","path":"/workspace/a","data":"aGk="}`, 200, `"size_bytes":2`},
		{"put a file elsewhere", "POST /v1/agents/environments/env_1/files", `{"type":"inline","path":"/etc/passwd","data":"aGk="}`, 400, `"param":"path"`},
		{"put a file that is no base64", "POST /v1/agents/environments/env_1/files", `{"type":"inline","path":"/workspace/a","data":"%"}`, 400, `"param":"data"`},
		{"put a file by id", "POST /v1/agents/environments/env_1/files", `{"type":"file_id","path":"/workspace/a","file_id":"file_1"}`, 501, `no files API`},
		{"list files", "GET /v1/agents/environments/env_1/files?path=/workspace&order=asc&limit=1", "", 200, `"next":"L3dvcmtzcGFjZS9h"`},
		{"list files on", "GET /v1/agents/environments/env_1/files?page=L3dvcmtzcGFjZS9h", "", 200, `"next":null`},
		{"list files with a token of one's own", "GET /v1/agents/environments/env_1/files?page=***", "", 400, `"param":"page"`},
		{"read a file", "GET /v1/agents/environments/env_1/files/content?path=/workspace/a", "", 200, `content of /workspace/a`},
		{"traces", "GET /v1/agents/sessions/sess_1/traces?limit=1&order=asc", "", 200, `"data":[{"id":"turn_1","created_at":1,"object":"agent.session.trace","otlp":{"resourceSpans":[]},"session_id":"sess_1"}],"has_more":false,"first_id":"turn_1","last_id":"turn_1"`},
		{"automations", "GET /v1/agents/automations", "", 501, `"code":"not_implemented"`},

		{"pause", "POST /v1/agents/sessions/sess_1/pause", "", 200, `"paused":true`},
		{"resume", "POST /v1/agents/sessions/sess_1/resume", "", 200, `sess_1`},
		{"control", "POST /v1/agents/sessions/control", `{"action":"pause","filter":{"metadata":{"k":"v"}},"dry_run":true}`, 200, `"dry_run":true,"matched":3,"changed":1,"failed":1,"failures":[{"session_id":"sess_2","message":"a policy says no"}],"last_id":"sess_3","has_more":true`},
		{"control of what?", "POST /v1/agents/sessions/control", `{"action":"pause"}`, 400, `"param":"filter"`},
		{"control, filter of another name", "POST /v1/agents/sessions/control", `{"action":"cancel","filter":{"agent":"a"}}`, 400, `"param":"filter.agent"`},
		{"fork", "POST /v1/agents/sessions/sess_1/fork", `{"item_id":"item_1"}`, 200, `"forked_from":{"session":"sess_1","seq":3,"how":"fork"}`},
		{"fork, wrong", "POST /v1/agents/sessions/sess_1/fork", `{"item_id":1}`, 400, `"param":"item_id"`},
		{"export", "GET /v1/agents/sessions/sess_1/export", "", 200, "{\"stead\":\"session\"}\n{\"seq\":1}\n"},
		{"export nobody", "GET /v1/agents/sessions/sess_9/export", "", 404, `sess_9`},
		{"import", "POST /v1/agents/sessions/import", "{}\n{}\n", 200, `sess_imported`},
		{"approvals", "GET /v1/approvals", "", 200, `"first_id":"req_2","last_id":"req_1"`},
		{"approve", "POST /v1/approvals/req_1", `{"decision":"approve"}`, 202, ``},
		{"approve nothing more", "POST /v1/approvals/req_1", `{"decision":"approve","extra":{}}`, 400, `"param":"extra"`},
		{"approve too little", "POST /v1/approvals/req_1", `{"decision":"approve","extra":{"calls":0}}`, 400, `"param":"extra.calls"`},
		{"happened", "POST /v1/approvals/req_2", `{"decision":"happened","output":"done"}`, 202, ``},
		{"approve an outcome", "POST /v1/approvals/req_2", `{"decision":"approve"}`, 400, `"param":"decision"`},
		{"outcome of an approval", "POST /v1/approvals/req_1", `{"decision":"give_up"}`, 400, `"param":"decision"`},
		{"approve nothing", "POST /v1/approvals/req_9", `{"decision":"approve"}`, 404, `req_9`},
		{"models", "GET /v1/models", "", 200, `{"id":"sim","object":"model","created":0,"owned_by":"sim","context_window":1000,"max_output_tokens":null,"lifecycle":"active"`},
		{"model with a slash", "GET /v1/models/local/qwen", "", 200, `"id":"local/qwen"`},
		{"no model", "GET /v1/models/gpt", "", 404, `no model`},

		{"health", "GET /healthz", "", 200, `"version":"test"`},
		{"ready", "GET /readyz", "", 200, `"status":"ready"`},
		{"metrics", "GET /metrics", "", 200, `stead_build_info{version="test"} 1`},
		{"later beside an id", "GET /v1/agents/automations", "", 501, `has not landed`},
		{"later, deeper", "GET /v1/agents/automations/a/invocations/b", "", 501, `has not landed`},
		{"later, wrong method", "DELETE /v1/agents/automations", "", 405, `allows GET, POST`},
		{"automations", "POST /v1/agents/automations/a/pause", `{}`, 501, `has not landed`},
		{"unknown", "GET /v1/nothing", "", 404, `there is no GET /v1/nothing`},
		{"root", "GET /", "", 404, `"type":"not_found_error"`},
		{"wrong method", "PUT /v1/agents", "{}", 405, `PUT is not for /v1/agents, which allows GET, POST`},
		{"wrong method on a session", "PATCH /v1/agents/sessions/sess_1", "{}", 405, `DELETE, GET, POST`},

		{"no JSON", "POST /v1/agents", "{\n  oops", 400, `line 2, column 3`},
		{"no UTF-8", "POST /v1/agents", "{\"model\":\"sim\",\"name\":\"\xff\"}", 400, `not valid UTF-8`},
		{"no object", "POST /v1/agents", `"hi"`, 400, `the body must be a JSON object, not a string`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, filled())
			method, path, _ := strings.Cut(tt.call, " ")
			res, body := d.call(method, path, tt.body)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.want) || (tt.want == "" && body != "") {
				t.Errorf("%s: %d\n%s\nwant %d with %s", tt.call, res.StatusCode, body, tt.status, tt.want)
			}
			if id := res.Header.Get("X-Request-Id"); !strings.HasPrefix(id, "req_") {
				t.Errorf("X-Request-Id %q", id)
			}
			if res.StatusCode == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestErrorTable(t *testing.T) {
	cause := errors.New("the disk said ENOSPC")
	tests := []struct {
		err    error
		status int
		body   string
		header string
	}{
		{&stead.Error{Kind: stead.KindInvalid, Param: "a.b", Message: "no", Hint: "Try yes."}, 400, `{"error":{"message":"no. Try yes.","type":"invalid_request_error","param":"a.b","code":"invalid_request_error"}}`, ""},
		{&stead.Error{Kind: stead.KindInvalid, Message: "Unknown pending tool call: call_1"}, 400, `{"error":{"message":"Unknown pending tool call: call_1","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}`, ""},
		{stead.Errorf(stead.KindUnauthenticated, "who"), 401, `{"error":{"message":"who","type":"authentication_error","param":null,"code":"unauthenticated"}}`, "WWW-Authenticate: Bearer"},
		{stead.Errorf(stead.KindForbidden, "no"), 403, `{"error":{"message":"no","type":"permission_error","param":null,"code":"forbidden"}}`, ""},
		{stead.NotFound("session", "x"), 404, `{"error":{"message":"no session with id \"x\"","type":"not_found_error","param":null,"code":"not_found"}}`, ""},
		{&stead.Error{Kind: stead.KindConflict, Code: "active_turn_not_steerable", Message: "busy"}, 409, `{"error":{"message":"busy","type":"conflict_error","param":null,"code":"active_turn_not_steerable"}}`, "X-Should-Retry: false"},
		{stead.Errorf(stead.KindTooLarge, "big"), 413, `{"error":{"message":"big","type":"invalid_request_error","param":null,"code":"too_large"}}`, ""},
		{&stead.Error{Kind: stead.KindLimited, Message: "slow", RetryAfter: 1500e6}, 429, `{"error":{"message":"slow","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`, "Retry-After: 2"},
		{stead.Wrap(stead.KindInternal, cause, "broken"), 500, `{"error":{"message":"broken","type":"server_error","param":null,"code":"internal_error"}}`, ""},
		{cause, 500, `{"error":{"message":"the server could not do this","type":"server_error","param":null,"code":"internal_error"}}`, ""},
		{stead.Errorf(stead.KindNotImplemented, "later"), 501, `{"error":{"message":"later","type":"server_error","param":null,"code":"not_implemented"}}`, "X-Should-Retry: false"},
		{stead.Wrap(stead.KindUnavailable, cause, "away"), 503, `{"error":{"message":"away","type":"server_error","param":null,"code":"unavailable"}}`, ""},
		{stead.Errorf(stead.KindFenced, "moved"), 503, `{"error":{"message":"moved","type":"server_error","param":null,"code":"unavailable"}}`, ""},
	}
	for _, tt := range tests {
		d := open(t, &fake{err: tt.err})
		res, body := d.call("GET", "/v1/agents/sessions/sess_1", "")
		if res.StatusCode != tt.status || strings.TrimSpace(body) != tt.body {
			t.Errorf("%v:\n got %d %s\nwant %d %s", tt.err, res.StatusCode, body, tt.status, tt.body)
		}
		if name, value, ok := strings.Cut(tt.header, ": "); ok && res.Header.Get(name) != value {
			t.Errorf("%v: %s is %q, want %q", tt.err, name, res.Header.Get(name), value)
		}
	}
}

func TestWhatTheServiceIsAsked(t *testing.T) {
	f := filled()
	d := open(t, f)
	d.call("POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent_id":"agent_1","agent":{"reasoning":{"effort":"low"},"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]},"input":"hi","spend_control":{"limit":7},"prompt_cache_options":{"ttl":"12h"}}`, "Idempotency-Key: k1")
	c := f.created
	if c.AgentID != "agent_1" || c.Key != "k1" || len(c.Digest) != 64 || c.Environment != nil || *c.SpendLimitCents != 7 || c.CacheTTL != "12h" || c.Input[0].Content[0].Text.Inline != "hi" {
		t.Errorf("created %+v", c)
	}
	if f.override.Model != "sim" || *f.override.Reasoning.Effort != "low" || f.override.Tools[0].Name != "f" {
		t.Errorf("override made %+v", f.override)
	}
	if len(f.agents[0].Spec.Tools) != 0 || f.agents[0].Spec.Reasoning.Effort != nil {
		t.Error("the override changed the saved agent")
	}
	digest := c.Digest
	d.call("POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent_id":"agent_1","input":"other"}`, "Idempotency-Key: k1")
	if f.created.Digest == digest {
		t.Error("another request has the same digest")
	}

	d.call("POST", "/v1/agents/sessions/sess_1", `{"metadata":{},"agent":{"reasoning":{"effort":null},"service_tier":null,"tools":null},"spend_control":{"limit":null},"prompt_cache_options":null,"review":"none"}`)
	u := f.updated
	if u.Model != nil || u.Metadata == nil || u.Effort == nil || u.Effort.Value != nil || *u.ServiceTier != "auto" || len(*u.Tools) != 0 || *u.SpendLimitCents != 0 || *u.CacheTTL != "" || *u.Review != "none" {
		t.Errorf("updated %+v", u)
	}
	d.call("POST", "/v1/agents/sessions/sess_1", `{}`)
	if u := f.updated; u != (session.Updated{}) {
		t.Errorf("an empty update asks for %+v", u)
	}

	d.call("GET", "/v1/agents/sessions?metadata[a]=1&metadata[b]=2", "")
	if q := f.listed; q.Metadata["a"] != "1" || q.Metadata["b"] != "2" || !q.Desc || q.Limit != stead.DefaultPageSize {
		t.Errorf("listed %+v", q)
	}

	d.call("POST", "/v1/approvals/req_1", `{"decision":"deny","reason":"too dear"}`)
	if a := f.sent.Inputs[0].Approval; a == nil || *a != (session.ApprovalInput{RequestID: "req_1", Decision: "deny", Reason: "too dear"}) {
		t.Errorf("sent %+v", f.sent)
	}
	shown := strings.Repeat("a1", 32)
	d.call("POST", "/v1/approvals/req_1", `{"decision":"approve","digest":"`+shown+`"}`)
	if a := f.sent.Inputs[0].Approval; a == nil || *a != (session.ApprovalInput{RequestID: "req_1", Decision: "approve", Digest: shown}) {
		t.Errorf("sent %+v", f.sent)
	}
	d.call("POST", "/v1/approvals/req_1", `{"decision":"approve","arguments":{"n":5}}`)
	if a := f.sent.Inputs[0].Approval; a == nil || a.Arguments != `{"n":5}` {
		t.Errorf("sent %+v", a)
	}
	d.call("POST", "/v1/approvals/req_1", `{"decision":"delegate","to":{"kind":"user","id":"bob"}}`)
	if a := f.sent.Inputs[0].Approval; a == nil || a.Decision != "delegate" || *a.To != (session.Delegate{Kind: "user", ID: "bob"}) {
		t.Errorf("sent %+v", a)
	}
	for _, to := range []string{`{}`, `{"kind":"user"}`, `{"id":"bob"}`, `{"kind":"node","id":"bob"}`, `{"kind":"user","id":"bob","role":"owner"}`, `{"rule":"owner"}`} {
		if res, body := d.call("POST", "/v1/approvals/req_1", `{"decision":"delegate","to":`+to+`}`); res.StatusCode != 400 {
			t.Errorf("handed to %s: %d %s", to, res.StatusCode, body)
		}
	}
	if res, body := d.call("POST", "/v1/approvals/req_1", `{"decision":"approve","arguments":[5]}`); res.StatusCode != 400 {
		t.Errorf("arguments that are a list: %d %s", res.StatusCode, body)
	}
	if res, body := d.call("POST", "/v1/approvals/req_1", `{"decision":"approve","digest":"a1"}`); res.StatusCode != 400 {
		t.Errorf("a short digest: %d %s", res.StatusCode, body)
	}
	d.call("POST", "/v1/approvals/req_1", `{"decision":"approve","extra":{"calls":3,"tokens":null}}`)
	if a := f.sent.Inputs[0].Approval; a == nil || a.Extra == nil || *a.Extra != (session.Spend{Calls: 3}) {
		t.Errorf("sent %+v", a)
	}
	d.call("POST", "/v1/agents/sessions/sess_1/events", `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"req_1",
		"response":{"type":"budget_limit","decision":"approve","extra":{"cost_microcents":5}}}]}`)
	if a := f.sent.Inputs[0].Approval; a == nil || a.Extra == nil || *a.Extra != (session.Spend{Cost: 5}) {
		t.Errorf("sent %+v", a)
	}
	d.call("POST", "/v1/approvals/req_2", `{"decision":"happened","output":"done"}`)
	if o := f.sent.Inputs[0].Outcome; o == nil || o.Decision != "happened" || o.Output[0].Text.Inline != "done" {
		t.Errorf("sent %+v", f.sent)
	}
	d.call("POST", "/v1/agents/sessions/sess_1/fork", `{"item_id":"item_2","metadata":{"k":"v"}}`)
	if f.forked.Item != "item_2" || f.forked.Metadata["k"] != "v" {
		t.Errorf("forked %+v", f.forked)
	}
	d.call("POST", "/v1/agents", `{"model":"sim"}`, "Idempotency-Key: k2")
	if !strings.HasPrefix(f.key, "k2/") {
		t.Errorf("agent's key %q", f.key)
	}
	res, _ := d.call("POST", "/v1/agents", `{"model":"sim"}`, "Idempotency-Key: "+strings.Repeat("k", stead.MaxIdempotencyKeyBytes+1))
	if res.StatusCode != 400 {
		t.Errorf("a long key: %d", res.StatusCode)
	}
}

func TestBodyLimit(t *testing.T) {
	d := open(t, filled())
	res, body := d.call("POST", "/v1/agents", `{"model":"`+strings.Repeat("x", stead.MaxRequestBytes)+`"}`)
	if res.StatusCode != 413 || !strings.Contains(body, "33554432") {
		t.Errorf("with a length: %d %s", res.StatusCode, body)
	}
	// Without Content-Length the limit is found while reading.
	req, _ := http.NewRequest("POST", d.url+"/v1/agents", io.MultiReader(strings.NewReader(`{"model":"`), strings.NewReader(strings.Repeat("x", stead.MaxRequestBytes))))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("chunked: %d", res.StatusCode)
	}
	long := `{"environment":{"type":"none"},"agent":{"model":"sim"},"input":"` + strings.Repeat("x", stead.MaxTextBytes+1) + `"}`
	if res, body := d.call("POST", "/v1/agents/sessions", long); res.StatusCode != 400 || !strings.Contains(body, `"param":"input"`) {
		t.Errorf("long text: %d %.200s", res.StatusCode, body)
	}
}

func TestGuard(t *testing.T) {
	d := open(t, filled())
	for _, host := range []string{"evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example"} {
		if res, body := d.call("GET", "/v1/agents", "", "Host: "+host); res.StatusCode != 403 || !strings.Contains(body, "loopback") {
			t.Errorf("host %s: %d %s", host, res.StatusCode, body)
		}
	}
	for _, host := range []string{"localhost:1234", "LOCALHOST", "127.0.0.1", "127.8.9.1:80", "[::1]:80", "stead.localhost"} {
		if res, _ := d.call("GET", "/v1/agents", "", "Host: "+host); res.StatusCode != 200 {
			t.Errorf("host %s: %d", host, res.StatusCode)
		}
	}
	for _, h := range []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"} {
		if res, _ := d.call("POST", "/v1/agents", `{"model":"sim"}`, h); res.StatusCode != 403 {
			t.Errorf("%s: %d", h, res.StatusCode)
		}
	}
	if res, _ := d.call("GET", "/v1/agents", "", "Origin: https://evil.example"); res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS is on")
	}
}

func TestAuthentication(t *testing.T) {
	d := open(t, filled(), func(c *Config) {
		c.Authenticate = func(r *http.Request) (identity.Caller, error) {
			if r.Header.Get("Authorization") != "Bearer good" {
				return identity.Caller{}, stead.Errorf(stead.KindUnauthenticated, "the key is not known")
			}
			return identity.Caller{Principal: stead.Principal{Project: "p", ID: "u"}}, nil
		}
	})
	if res, _ := d.call("GET", "/v1/agents", "", "Host: stead.example"); res.StatusCode != 401 {
		t.Errorf("without a key: %d", res.StatusCode)
	}
	if res, _ := d.call("GET", "/v1/agents", "", "Authorization: Bearer good", "Host: stead.example"); res.StatusCode != 200 {
		t.Errorf("with a key: %d", res.StatusCode)
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if res, _ := d.call("GET", path, ""); res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, _ := d.call("GET", "/metrics", ""); res.StatusCode != 401 {
		t.Errorf("metrics without a key: %d", res.StatusCode)
	}
}

func TestReadiness(t *testing.T) {
	stopping := make(chan struct{})
	var away error
	d := open(t, filled(), func(c *Config) {
		c.Stopping = stopping
		c.Ready = func(context.Context) error { return away }
	})
	if res, _ := d.call("GET", "/readyz", ""); res.StatusCode != 200 {
		t.Errorf("ready: %d", res.StatusCode)
	}
	away = errors.New("the database password is hunter2")
	if res, body := d.call("GET", "/readyz", ""); res.StatusCode != 503 || strings.Contains(body, "hunter2") {
		t.Errorf("database away: %d %s", res.StatusCode, body)
	}
	away = nil
	close(stopping)
	if res, _ := d.call("GET", "/readyz", ""); res.StatusCode != 503 {
		t.Errorf("stopping: %d", res.StatusCode)
	}
	if res, _ := d.call("GET", "/healthz", ""); res.StatusCode != 200 {
		t.Errorf("a stopping process still answers: %d", res.StatusCode)
	}
}

func TestPanicIsAnError(t *testing.T) {
	d := open(t, filled(), func(c *Config) { c.Models = nil })
	res, body := d.call("GET", "/v1/models", "")
	if res.StatusCode != 500 || strings.Contains(body, "nil pointer") || !strings.Contains(body, "server_error") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, m := d.call("GET", "/metrics", ""); !strings.Contains(m, `stead_http_requests_total{route="GET /v1/models",status="500"} 1`) {
		t.Errorf("not counted:\n%s", m)
	}
}

func TestExportThatBreaksOffIsCut(t *testing.T) {
	f := filled()
	f.failure = errors.New("a blob is gone")
	d := open(t, f)
	res, err := http.Get(d.url + "/v1/agents/sessions/sess_1/export")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("half an export looks like a whole one")
	}
}

func TestDocument(t *testing.T) {
	d := open(t, filled())
	_, body := d.call("GET", "/openapi.json", "")
	for _, want := range []string{`"/v1/models/{id}"`, `"agent.session.turn.output_text.delta"`, `"openapi": "3.1.0"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the document lacks %s", want)
		}
	}
	if strings.Contains(body, `"$ref": "#/components/parameters/"`) {
		t.Error("a parameter without a name")
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Ref string `json:"$ref"`
			}
		}
		Components struct{ Parameters map[string]json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, p := range op.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok && doc.Components.Parameters[name] == nil {
					t.Errorf("%s %s names parameter %q, which is not there", method, path, name)
				}
			}
		}
	}
}

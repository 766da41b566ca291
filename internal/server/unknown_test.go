package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestUnknownFieldsAreRefusedByName: what a request for a session or an environment asks for either
// happens or is refused; a name that is misspelt is no wish that nobody hears.
func TestUnknownFieldsAreRefusedByName(t *testing.T) {
	d := configuredDoor(t)
	tried := 0
	for _, r := range New(Config{}).(*server).routes {
		ours := strings.HasPrefix(r.path, "/v1/agents/sessions") || strings.HasPrefix(r.path, "/v1/agents/environment") || strings.HasPrefix(r.path, "/v1/approvals")
		if r.method != http.MethodPost || !ours || r.body == "Lines" || r.bodyMedia != "" {
			continue
		}
		tried++
		path := strings.NewReplacer("{id}", "sess_1", "{part}", "x").Replace(r.path)
		res, body := d.call(http.MethodPost, path, `{"itme_id": "x"}`)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"param":"itme_id"`) || !strings.Contains(body, "itme_id is not a field") {
			t.Errorf("POST %s with an unknown field: %d %s", path, res.StatusCode, body)
		}
		if res, body := d.call(http.MethodPost, path, `{"itme_id": null}`); strings.Contains(body, "itme_id") {
			t.Errorf("POST %s with an unknown field that asks for nothing: %d %s", path, res.StatusCode, body)
		}
	}
	if tried < 9 {
		t.Errorf("%d routes were tried", tried)
	}
	for event, want := range map[string]string{
		`{"type":"agent.session.input.message","input":"hi","role":"user"}`:                                                               `"param":"events[0].role"`,
		`{"type":"agent.session.input.cancel","turn":"turn_1"}`:                                                                           `"param":"events[0].turn"`,
		`{"type":"agent.session.input.tool_result","turn_id":"turn_1","call_id":"c","success":true,"outptu":"x"}`:                         `"param":"events[0].outptu"`,
		`{"type":"agent.session.input.mcp_approval_request_result","request_id":"r","response":{"decision":"approve","raeson":"x"}}`:      `"param":"events[0].response.raeson"`,
		`{"type":"agent.session.input.outcome_unknown_result","request_id":"r","response":{"decision":"happened"},"decision":"happened"}`: `"param":"events[0].decision"`,
	} {
		if res, body := d.call(http.MethodPost, "/v1/agents/sessions/sess_1/events", `{"events":[`+event+`]}`); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", event, res.StatusCode, body, want)
		}
	}
}

// TestUnknownQueryParametersAreRefusedByName: a filter whose name is misspelt does not filter nothing in silence.
func TestUnknownQueryParametersAreRefusedByName(t *testing.T) {
	d := configuredDoor(t)
	tried := 0
	for _, r := range New(Config{}).(*server).routes {
		if r.method != http.MethodGet || r.open || strings.Contains(r.path, "{id...}") {
			continue
		}
		tried++
		path := strings.NewReplacer("{id}", "sess_1", "{part}", "x", "{turn}", "t", "{version}", "1", "{file}", "f", "{batch}", "b", "{memory}", "m", "{item}", "i").Replace(r.path)
		res, body := d.call(http.MethodGet, path+"?sesion=x", "")
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"param":"sesion"`) {
			t.Errorf("GET %s with an unknown parameter: %d %s", path, res.StatusCode, body)
		}
	}
	if tried < 40 {
		t.Errorf("%d routes were tried", tried)
	}
	for path, param := range map[string]string{"/v1/responses/resp_1/input_items?include[]=zzz": "include", "/v1/conversations/conv_1/items?include=zzz": "include"} {
		if res, body := d.call(http.MethodGet, path, ""); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"param":"`+param+`"`) {
			t.Errorf("GET %s: %d %s", path, res.StatusCode, body)
		}
	}
	for _, wrong := range []string{`"instructions":true`, `"tools":5`, `"text":[1]`, `"reasoning":"x"`, `"stream_options":7`, `"tool_choice":1`, `"truncation":{}`, `"parallel_tool_calls":"yes"`} {
		name, _, _ := strings.Cut(strings.Trim(wrong, `"`), `"`)
		for _, path := range []string{"/v1/responses", "/v1/responses/input_tokens"} {
			if res, body := d.call(http.MethodPost, path, `{"model":"sim","input":"hi",`+wrong+`}`); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"param":"`+name+`"`) {
				t.Errorf("POST %s with %s: %d %s", path, wrong, res.StatusCode, body)
			}
		}
	}
	for _, known := range []string{"/v1/agents/sessions?metadata[a]=b&limit=1", "/v1/agents/sessions/sess_1/items?include[]=reasoning.encrypted_content&after=", "/v1/models?limit=5", "/v1/usage_records?session_id=s&api-version=v1"} {
		if _, body := d.call(http.MethodGet, known, ""); strings.Contains(body, "no query parameter") {
			t.Errorf("GET %s: %s", known, body)
		}
	}
}

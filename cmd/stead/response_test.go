package main

import (
	"io"
	"strings"
	"testing"
)

// A kept response that fails before it said anything is an error of the request, as with any other door;
// it can be looked at, and its code never says that trying again would help where it does not.
func TestFailedResponsesAreErrors(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	for _, test := range []struct {
		code, want string
		status     int
	}{
		{"usage_limit_exceeded", "insufficient_quota", 429},
		{"context_length_exceeded", "context_length_exceeded", 400},
		{"invalid_request", "invalid_prompt", 400},
		{"resource_not_found", "model_not_found", 404},
	} {
		res, body := ask(t, n, "POST", "/v1/responses", `{"model":"mine","input":"Fail with `+test.code+`"}`)
		if res.StatusCode != test.status || !strings.Contains(body, `"code":"`+test.want+`"`) || res.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: %d %s %v", test.code, res.StatusCode, body, res.Header)
		}
	}
	for body, want := range map[string]string{
		`{"model":"mine","stream":true,"input":"Fail with usage_limit_exceeded"}`:     `"code":"insufficient_quota"`,
		`{"model":"mine","max_output_tokens":1,"input":"Write 9 words"}`:              `"status":"incomplete"`,
		`{"model":"mine","background":true,"input":"Fail with usage_limit_exceeded"}`: `"status":"queued"`,
		`{"model":"mine","store":false,"input":"Say what is asked for"}`:              `"status":"completed"`,
	} {
		if res, got := ask(t, n, "POST", "/v1/responses", body); res.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
	}
}

// What a model says instead of an answer is a refusal at every door: streamed as one, told again as it was,
// listed with the session, and taken back as input.
func TestRefusalsAreToldAsSuch(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	const part, delta, done = `{"type":"refusal","refusal":"I will not."}`, `"type":"response.refusal.delta"`, `"type":"response.refusal.done"`
	get := func(method, path, body string, want ...string) string {
		t.Helper()
		res, got := ask(t, n, method, path, body)
		if res.StatusCode != 200 {
			t.Errorf("%s %s: %d %s", path, body, res.StatusCode, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s %s: no %s in\n%s", path, body, w, got)
			}
		}
		if strings.Contains(got, `"output_text","text":"I`) || strings.Contains(got, `"content":"I`) {
			t.Errorf("%s %s: the refusal is an answer as well:\n%s", path, body, got)
		}
		return got
	}
	get("POST", "/v1/responses", `{"model":"mine","store":false,"input":"Refuse I will not."}`, part, `"status":"completed"`)
	get("POST", "/v1/responses", `{"model":"mine","store":false,"stream":true,"input":"Refuse I will not."}`, part, delta, done)
	get("POST", "/v1/chat/completions", `{"model":"mine","messages":[{"role":"user","content":"Refuse I will not."}]}`, `"content":null,"refusal":"I will not."`)
	get("POST", "/v1/chat/completions", `{"model":"mine","stream":true,"messages":[{"role":"user","content":"Refuse I will not."}]}`, `"delta":{"refusal":"I "}`)

	whole := get("POST", "/v1/responses", `{"model":"mine","input":"Refuse I will not."}`, part)
	_, id, _ := strings.Cut(whole, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	again := get("GET", "/v1/responses/"+id+"?stream=true", "", part, delta, done)
	if other := get("GET", "/v1/responses/"+id+"?stream=true", ""); other != again {
		t.Errorf("told once as\n%s\nand once as\n%s", again, other)
	}
	get("POST", "/v1/responses", `{"model":"mine","previous_response_id":"`+id+`","input":"Say hello"}`, "hello")
	get("POST", "/v1/responses", `{"model":"mine","input":[{"role":"user","content":"hm"},{"role":"assistant","content":[`+part+`]},{"role":"user","content":"Say hello"}]}`, "hello")

	conversation := get("POST", "/v1/conversations", `{"items":[{"role":"assistant","content":[`+part+`]}]}`)
	_, id, _ = strings.Cut(conversation, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	get("GET", "/v1/conversations/"+id+"/items", "", part)
}

// Residency by labels is the same for kept responses and for stateless calls, in the same words.
func TestLabelsOfResponsesKeepThemInTheirRegion(t *testing.T) {
	n := openConfigured(t, `
providers: [{name: there, api: sim, region: us}, {name: here, api: sim, region: eu}]
models: [{name: mine, routes: [{provider: there, model: sim}]}]
residency: [{labels: {data: health}, regions: [eu]}]
`, io.Discard)
	const health = `"metadata":{"data":"health"}`
	try := func(body string, status int) string {
		t.Helper()
		res, got := ask(t, n, "POST", "/v1/responses", `{"model":"mine","input":"Say hello",`+body+`}`)
		if res.StatusCode != status {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
		return got
	}
	field := func(body, name string) string {
		_, after, _ := strings.Cut(body, `"`+name+`":"`)
		value, _, _ := strings.Cut(after, `",`)
		return value
	}
	stateless := try(health+`,"store":false`, 404)
	if got := try(health, 404); !strings.Contains(got, "what is labelled data=health stays in eu") || field(got, "message") != field(stateless, "message") {
		t.Errorf("a kept response is refused with\n%s\nand a stateless one with\n%s", got, stateless)
	}
	plain := field(try(`"metadata":{"data":"none"}`, 200), "id")
	try(`"previous_response_id":"`+plain+`",`+health, 404)
	_, conversation := ask(t, n, "POST", "/v1/conversations", `{"items":[{"role":"user","content":"hi"}],`+health+`}`)
	try(`"metadata":{"data":"none"},"conversation":"`+field(conversation, "id")+`"`, 404)
}

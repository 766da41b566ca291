package main

import (
	"encoding/json"
	"io"
	"net/http"
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

// What was said under labels keeps them wherever the server itself puts it: named by its id, copied, summed up, or
// followed by a door that keeps nothing. mine is in us alone, so that what must stay in eu finds no model.
func TestTextsKeepTheirLabelsWhereverTheyGo(t *testing.T) {
	n := openConfigured(t, `
providers: [{name: there, api: sim, region: us}, {name: here, api: sim, region: eu}]
models: [{name: mine, routes: [{provider: there, model: sim}]}, {name: safe, routes: [{provider: here, model: sim}]}]
residency: [{labels: {data: health}, regions: [eu]}]
`, io.Discard)
	const health = `"metadata":{"data":"health"}`
	call := func(method, path, body string) (int, string) {
		t.Helper()
		res, got := ask(t, n, method, path, body)
		return res.StatusCode, got
	}
	made := func(method, path, body string) (id, whole string) {
		t.Helper()
		status, got := call(method, path, body)
		var o struct {
			ID     string
			Output []json.RawMessage
		}
		if err := json.Unmarshal([]byte(got), &o); err != nil || status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", path, body, status, got)
		}
		if len(o.Output) > 0 {
			got = string(o.Output[0])
		}
		return o.ID, got
	}
	idOf := func(text string) string {
		_, text, _ = strings.Cut(text, `"id":"`)
		id, _, _ := strings.Cut(text, `"`)
		return id
	}
	secret, said := made("POST", "/v1/responses", `{"model":"safe","input":"Say my secret",`+health+`}`)
	_, input := call("GET", "/v1/responses/"+secret+"/input_items", "")
	_, summary := made("POST", "/v1/responses/compact", `{"model":"safe","input":"my secret",`+health+`}`)
	_, after := made("POST", "/v1/responses/compact", `{"model":"safe","previous_response_id":"`+secret+`"}`)
	freed, _ := made("POST", "/v1/conversations", `{"items":[{"role":"user","content":"secret"}],`+health+`}`)
	made("POST", "/v1/conversations/"+freed, `{"metadata":{}}`)
	mixed, _ := made("POST", "/v1/conversations", `{"items":[{"type":"item_reference","id":"`+idOf(said)+`"}]}`)
	later, _ := made("POST", "/v1/conversations", `{}`)
	made("POST", "/v1/conversations/"+later+"/items", `{"items":[{"type":"item_reference","id":"`+idOf(said)+`"}]}`)
	session := strings.Split(secret, "_")[1]
	fork, _ := made("POST", "/v1/agents/sessions/sess_"+session+"/fork", `{"metadata":{}}`)
	copied := strings.Replace(secret, session, strings.TrimPrefix(fork, "sess_"), 1)
	empty, _ := made("POST", "/v1/conversations", `{`+health+`}`)
	made("POST", "/v1/conversations/"+empty, `{"metadata":{}}`)

	reference := func(id string) string { return `{"type":"item_reference","id":"` + id + `"}` }
	for _, c := range []struct {
		name, path, body string
		status           int
	}{
		{"an output item", "", `"input":[` + reference(idOf(said)) + `,{"role":"user","content":"Say it"}]`, 404},
		{"an input item", "", `"input":[` + reference(idOf(input)) + `]`, 404},
		{"an item, not kept", "", `"store":false,"input":[` + reference(idOf(said)) + `]`, 404},
		{"an item, summed up", "/compact", `"input":[` + reference(idOf(said)) + `]`, 404},
		{"a summary", "", `"input":[` + summary + `,{"role":"user","content":"Say it"}]`, 404},
		{"a summary, not kept", "", `"store":false,"input":[` + summary + `,{"role":"user","content":"Say it"}]`, 404},
		{"a summary of what was kept", "", `"input":[` + after + `,{"role":"user","content":"Say it"}]`, 404},
		{"a response, summed up", "/compact", `"previous_response_id":"` + secret + `"`, 404},
		{"a conversation, summed up", "/compact", `"conversation":"` + freed + `"`, 404},
		{"a conversation without its label", "", `"input":"Say it","conversation":"` + freed + `"`, 404},
		{"a conversation that names the item", "", `"input":"Say it","conversation":"` + mixed + `"`, 404},
		{"a conversation that names it later", "", `"input":"Say it","conversation":"` + later + `"`, 404},
		{"a copy without the label", "", `"input":"Say it","previous_response_id":"` + copied + `"`, 404},
		{"a label that was taken back before anything was said", "", `"input":"Say it","conversation":"` + empty + `"`, 200},
	} {
		if status, got := call("POST", "/v1/responses"+c.path, `{"model":"mine",`+c.body+`}`); status != c.status || status == 404 && !strings.Contains(got, "what is labelled data=health stays in eu") {
			t.Errorf("%s: %d %s", c.name, status, got)
		}
	}
	if status, got := call("POST", "/v1/responses/input_tokens", `{"model":"safe","input":"and?","conversation":"`+freed+`"}`); status != 200 || !strings.Contains(got, `"input_tokens":4}`) {
		t.Errorf("counted: %d %s", status, got)
	}
	if status, got := call("POST", "/v1/responses/compact", `{"model":"safe","previous_response_id":"resp_none"}`); status != 400 || !strings.Contains(got, "previous_response_not_found") {
		t.Errorf("of no response: %d %s", status, got)
	}
}

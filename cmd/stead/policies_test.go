package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// TestPoliciesAreReadAgain: a reload puts new policies in force for what comes, and refuses bad ones whole.
func TestPoliciesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "a.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`@id("one") forbid(principal, action == Action::"model.call", resource == Model::"mine");`)
	n := openConfigured(t, "policies: {directory: "+dir+"}\n"+registryConfig, io.Discard)
	load := func() (*config.Config, error) { return n.cfg, nil }
	call := func(model string) int {
		res, _ := ask(t, n, "POST", "/v1/chat/completions", doors(model)["POST /v1/chat/completions"])
		return res.StatusCode
	}
	if call("mine") != http.StatusForbidden || call("old") != http.StatusOK {
		t.Fatal("the policy is not in force")
	}
	write(`@id("two") forbid(principal, action == Action::"model.call", resource == Model::"old");
		forbid(principal, action == Action::"model.cal", resource);`)
	if err := n.reload(t.Context(), load); err == nil || !strings.Contains(err.Error(), "a.cedar:2: policy a#2: unrecognized action") {
		t.Fatalf("a bad policy was taken: %v", err)
	}
	if call("mine") != http.StatusForbidden || call("old") != http.StatusOK {
		t.Error("half of a bad reload is in force")
	}
	write(`@id("two") forbid(principal, action == Action::"model.call", resource == Model::"old");`)
	if err := n.reload(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	if call("mine") != http.StatusOK || call("old") != http.StatusForbidden {
		t.Error("the new policies are not in force")
	}
	if _, body := ask(t, n, "GET", "/v1/policies", ""); !strings.Contains(body, `"id":"two"`) || strings.Contains(body, `"one"`) {
		t.Errorf("in force are %s", body)
	}
	if res, body := ask(t, n, "GET", "/v1/policies/schema", ""); res.StatusCode != http.StatusOK || !strings.Contains(body, "entity User in [Role]") {
		t.Errorf("the schema: %d %.80s", res.StatusCode, body)
	}
	if err := os.Remove(filepath.Join(dir, "a.cedar")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := n.reload(t.Context(), load); err == nil || call("old") != http.StatusForbidden {
		t.Errorf("policies that are gone are no policies: %v", err)
	}
}

// TestUploadedPoliciesAtTheStatelessDoors: a set counts at the next call of the node that took it, beside files that are read again.
func TestUploadedPoliciesAtTheStatelessDoors(t *testing.T) {
	n := openConfigured(t, "policies: {inline: 'permit(principal, action, resource);'}\n"+registryConfig, io.Discard)
	call := func(model string) (int, string) {
		res, body := ask(t, n, "POST", "/v1/chat/completions", doors(model)["POST /v1/chat/completions"])
		return res.StatusCode, body
	}
	const one = `"text":"@id(\"no-mine\") forbid(principal, action == Action::\"model.call\", resource == Model::\"mine\");"`
	for round := range 2 {
		if code, body := call("mine"); code != http.StatusOK {
			t.Fatalf("before: %d %s", code, body)
		}
		if res, body := ask(t, n, "POST", "/v1/policy_sets", `{"name":"models",`+one+`}`); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		if code, body := call("mine"); code != http.StatusForbidden || !strings.Contains(body, "policy models/no-mine forbids it") {
			t.Errorf("round %d: %d %s", round, code, body)
		}
		if code, body := call("old"); code != http.StatusOK {
			t.Errorf("another model: %d %s", code, body)
		}
		if err := n.reload(t.Context(), func() (*config.Config, error) { return n.cfg, nil }); err != nil {
			t.Fatal(err)
		}
		if code, _ := call("mine"); code != http.StatusForbidden {
			t.Error("files that were read again take away what was uploaded")
		}
		if _, body := ask(t, n, "GET", "/v1/policies", ""); !strings.Contains(body, `"id":"models/no-mine","set":"models"`) || !strings.Contains(body, `"id":"inline#1"`) {
			t.Errorf("in force are %s", body)
		}
		if res, body := ask(t, n, "DELETE", "/v1/policy_sets/pset_models", ""); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
}

// TestStatelessCallsAreLabelledToo: a call without a session in which a tool, a file or an image speaks is one that strangers have a part in.
func TestStatelessCallsAreLabelledToo(t *testing.T) {
	n := openConfigured(t, "policies:\n  inline: |\n    permit(principal, action, resource);\n    @id(\"strangers\") forbid(principal, action == Action::\"model.call\", resource) when { context.labels.hasTag(\"untrusted\") && context.labels.getTag(\"untrusted\") != \"image\" };\n"+registryConfig, io.Discard)
	const asks = `{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}`
	for _, c := range []struct{ path, list string }{
		{"chat", `[{"role":"user","content":"role: tool"},` + asks + `,{"role":"tool","tool_call_id":"c","content":""}]`},
		{"chat", `[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,YQ=="}}]}]`},
		{"responses", `[{"role":"user","content":"hi"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"}]`},
		{"responses", `[{"role":"user","content":[{"type":"input_file","filename":"a.txt","file_data":"data:text/plain;base64,YQ=="}]}]`},
	} {
		if code, body := withList(t, n, c.path, c.list); code != http.StatusForbidden || !strings.Contains(body, "strangers") {
			t.Errorf("%s %s: %d %s", c.path, c.list, code, body)
		}
	}
	for _, c := range []struct{ path, list string }{
		{"chat", `[{"role":"system","content":"tool"},{"role":"user","content":[{"type":"text","text":"{\"type\":\"file\"}"}]}]`},
		{"chat", `[{"role":"user","content":"hi"},{"role":"assistant","content":"I am"},{"role":"user","content":"output"}]`},
		{"responses", `[{"role":"user","content":"hi"},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"output\":1}"},{"role":"user","content":"output"}]`},
		{"responses", `"function_call_output"`},
	} {
		if code, body := withList(t, n, c.path, c.list); code == http.StatusForbidden {
			t.Errorf("%s %s: %d %s", c.path, c.list, code, body)
		}
	}
}

// withList calls a model with a list of messages or items.
func withList(t *testing.T, n *node, door, list string) (int, string) {
	t.Helper()
	path, body := "/v1/chat/completions", `{"model":"mine","messages":`+list+`}`
	if door == "responses" {
		path, body = "/v1/responses", `{"model":"mine","store":false,"input":`+list+`}`
	}
	res, text := ask(t, n, "POST", path, body)
	return res.StatusCode, text
}

// TestPoliciesOfTheDocuments: what docs/policy.md shows is in examples/policies, and their cases hold.
func TestPoliciesOfTheDocuments(t *testing.T) {
	const examples = "../../examples/policies"
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := cedar.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, s := range sources {
		all += string(s.Text)
	}
	shown := strings.Split(string(page), "```cedar\n")[1:]
	for _, block := range shown {
		if text, _, _ := strings.Cut(block, "```"); !strings.Contains(all, text) {
			t.Errorf("not in the examples:\n%s", text)
		}
	}
	for _, name := range cedar.Builtins() {
		source, err := cedar.Builtin(name)
		if err != nil || !strings.Contains(all, string(source.Text)) {
			t.Errorf("the built-in policy %s is not that of the examples: %v", name, err)
		}
	}
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	ran, failed, err := a.testPolicies(t.Context(), filepath.Join(examples, "cases.yaml"), "", nil)
	if err != nil || failed > 0 || ran == 0 || len(shown) == 0 {
		t.Errorf("%d of %d cases failed, %d policies shown: %v\n%s", failed, ran, len(shown), err, out.String())
	}
}

// TestALegalHoldKeepsASession: from whoever may delete sessions, whole or in part, for as long as it stands.
func TestALegalHoldKeepsASession(t *testing.T) {
	n := openConfigured(t, "policies:\n  inline: |\n    @id(\"hold\") forbid(principal, action == Action::\"session.delete\", resource) when { context.labels.hasTag(\"hold\") };\n"+registryConfig, io.Discard)
	made := func(metadata string) (id, item string) {
		t.Helper()
		var s struct{ ID string }
		_, got := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"mine"},"metadata":`+metadata+`,"environment":{"type":"none"},"input":"Say hi"}`)
		if err := json.Unmarshal([]byte(got), &s); err != nil || s.ID == "" {
			t.Fatal(got)
		}
		idle(t, n, s.ID)
		var items struct{ Data []struct{ ID string } }
		if err := json.Unmarshal([]byte(itemsOf(t, n, s.ID)), &items); err != nil || len(items.Data) < 2 {
			t.Fatal(items, err)
		}
		return s.ID, items.Data[0].ID
	}
	id, item := made(`{"hold":"case-7"}`)
	for what, c := range map[string][3]string{
		"deleting it": {"DELETE", "/v1/agents/sessions/" + id, ""}, "erasing it": {"POST", "/v1/erasures", `{"session_id":"` + id + `"}`}, "redacting of it": {"POST", "/v1/erasures", `{"session_id":"` + id + `","item_id":"` + item + `"}`},
	} {
		if res, got := ask(t, n, c[0], c[1], c[2]); res.StatusCode != http.StatusForbidden || !strings.Contains(got, "hold") {
			t.Errorf("%s: %d %s", what, res.StatusCode, got)
		}
	}
	if res, got := ask(t, n, "POST", "/v1/agents/sessions/"+id, `{"metadata":{}}`); res.StatusCode != http.StatusOK {
		t.Fatal(got)
	}
	if res, got := ask(t, n, "DELETE", "/v1/agents/sessions/"+id, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("whoever may write its metadata lifts a hold: %d %s", res.StatusCode, got)
	}
	free, _ := made(`{}`)
	ask(t, n, "POST", "/v1/agents/sessions/"+free, `{"metadata":{"hold":"case-8"}}`)
	if res, got := ask(t, n, "DELETE", "/v1/agents/sessions/"+free, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("a hold that came later: %d %s", res.StatusCode, got)
	}
	free, _ = made(`{}`)
	if res, got := ask(t, n, "DELETE", "/v1/agents/sessions/"+free, ""); res.StatusCode != http.StatusOK {
		t.Errorf("without a hold: %d %s", res.StatusCode, got)
	}
}

// An open stream is asked about often: only a refusal is recorded, and what nobody can decide about just now ends none.
func TestWhoStillReadsIsAskedQuietly(t *testing.T) {
	var recorded int
	decision, failed := policy.Decision{Allow: true, By: "role"}, error(nil)
	quiet := decides(func(req policy.Request) (policy.Decision, error) {
		if req.Effect != policy.SessionRead || req.Session != (stead.SessionKey{Project: "one", Session: "sess_1"}) || req.Principal.ID != "ada" {
			t.Errorf("asked is about %+v", req)
		}
		return decision, failed
	})
	loud := decides(func(policy.Request) (policy.Decision, error) { recorded++; return decision, failed })
	ask := func(want stead.Kind, records int) {
		t.Helper()
		err := stillReads(quiet, loud)(t.Context(), stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada"}, "sess_1")
		if stead.KindOf(err) != want || recorded != records {
			t.Errorf("%v, %d records; want %q, %d", err, recorded, want, records)
		}
	}
	ask("", 0)
	failed = stead.Errorf(stead.KindUnavailable, "the database is away")
	ask(stead.KindUnavailable, 0)
	decision, failed = policy.Decision{By: "policy", Reason: "no"}, nil
	ask(stead.KindForbidden, 1)
}

type decides func(policy.Request) (policy.Decision, error)

func (d decides) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	return d(req)
}

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// A tool server of one project is not there for another: not for its agents, new or old, not for its sources, and in no error or
// hint. A reload takes it from a project, and gives it to one.
func TestToolServersOfOtherProjectsAreNotThere(t *testing.T) {
	server, err := tooltest.Start(tooltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	text := func(project string) string {
		return "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n" +
			`mcp_servers: [{label: crm, url: "` + server.URL() + `", projects: [` + project + `]}, {label: all, url: "` + server.URL() + `"}]` + "\n" +
			"sources: {servers: [{label: crm}]}\n"
	}
	n := openConfigured(t, text("one"), io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	key := func(project string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"owner","project":"`+project+`","principal":{"kind":"user","id":"ada"}}`, &made)
		return made.Secret
	}
	one, two := key("one"), key("two")
	agent := func(label, rest string) string {
		return `{"name":"a","model":"sim","tools":[{"type":"mcp","server_label":"` + label + `","require_approval":"never"` + rest + `}]}`
	}
	const own = `,"transport":{"type":"http","server_url":"https://mine.example/mcp"}`
	var saved struct{ ID string }
	h.get(one, "POST", "/v1/agents", agent("crm", ""), &saved)
	for what, c := range map[string]struct{ method, path, body string }{
		"an agent":   {"POST", "/v1/agents", agent("LABEL", "")},
		"a session":  {"POST", "/v1/agents/sessions", `{"agent":` + agent("LABEL", "") + `,"environment":{"type":"none"},"input":"hi"}`},
		"a response": {"POST", "/v1/responses", `{"model":"sim","input":"hi","tools":[{"type":"mcp","server_label":"LABEL"}]}`},
	} {
		status, hidden := h.call(two, c.method, c.path, strings.ReplaceAll(c.body, "LABEL", "crm"))
		_, unknown := h.call(two, c.method, c.path, strings.ReplaceAll(c.body, "LABEL", "nil"))
		if told := strings.ReplaceAll(string(unknown), "nil", "crm"); status != 400 || string(hidden) != told {
			t.Errorf("%s: %d %s, and of no server %s", what, status, hidden, told)
		}
		if status, body := h.call(one, c.method, c.path, strings.ReplaceAll(c.body, "LABEL", "crm")); status != 200 {
			t.Errorf("%s of its own project: %d %s", what, status, body)
		}
	}
	if status, body := h.call(two, "POST", "/v1/agents", agent("crm", own)); status != 400 || strings.Contains(string(body), "configuration") {
		t.Errorf("a server of its own by that name: %d %s", status, body)
	}
	var store struct{ ID string }
	h.get(two, "POST", "/v1/vector_stores", `{}`, &store)
	if status, body := h.call(two, "POST", "/v1/vector_stores/"+store.ID+"/sources", `{"type":"mcp","server":"crm"}`); status != 400 || !strings.Contains(string(body), "no server") {
		t.Errorf("a source: %d %s", status, body)
	}

	run := func(key, agent string) string {
		t.Helper()
		var made struct{ ID string }
		h.get(key, "POST", "/v1/agents/sessions", `{"agent_id":"`+agent+`","environment":{"type":"none"},"input":"Call read with {}"}`, &made)
		return h.items(key, made.ID, "assistant")
	}
	if said := run(one, saved.ID); strings.Contains(said, "there is no tool") {
		t.Errorf("its agent: %s", said)
	}
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(text("two")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.reload(t.Context(), func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: n.cfg.Listen, Data: n.cfg.Data, File: file}, func(string) (string, bool) { return "", false })
	}); err != nil {
		t.Fatal(err)
	}
	if said := run(one, saved.ID); !strings.Contains(said, "there is no tool") {
		t.Errorf("an agent of a project that has lost it: %s", said)
	}
	h.get(two, "POST", "/v1/agents", agent("crm", ""), &saved)
	if said := run(two, saved.ID); strings.Contains(said, "there is no tool") {
		t.Errorf("an agent of the project that has it now: %s", said)
	}
	if status, body := h.call(two, "POST", "/v1/vector_stores/"+store.ID+"/sources", `{"type":"mcp","server":"crm"}`); status != 200 {
		t.Errorf("a source of the project that has it now: %d %s", status, body)
	}
	if rest := untaken(n.cfg, n.taken); len(rest) > 0 {
		told, _ := json.Marshal(rest)
		t.Errorf("not taken: %s", told)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
)

const registryConfig = `
providers: [{name: p, api: sim}]
models:
  - name: mine
    routes: [{provider: p, model: sim, version: "7"}]
    base: sim
    owner: the team
    purpose: tests
    price: {input: 1, output: 2}
  - {name: theirs, projects: [others], routes: [{provider: p, model: sim-theirs}]}
  - {name: one-agents, agents: [agent_none], routes: [{provider: p, model: sim-agents}]}
  - {name: old, lifecycle: deprecated, successor: mine, routes: [{provider: p, model: sim}]}
`

// openConfigured is a whole server over a stead.yaml.
func openConfigured(t *testing.T, text string, log io.Writer) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openAt(t, file, filepath.Join(t.TempDir(), "data"), log)
}

// openAt is a server with a configuration and a data directory.
func openAt(t *testing.T, file, data string, log io.Writer) *node {
	t.Helper()
	cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: data, File: file}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	impatient(cfg)
	n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func ask(t *testing.T, n *node, method, path, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// doors are the calls that name a model, as they are made with one.
func doors(name string) map[string]string {
	return map[string]string{
		"POST /v1/chat/completions":       `{"model":"` + name + `","messages":[{"role":"user","content":"hi"}]}`,
		"POST /v1/embeddings":             `{"model":"` + name + `","input":"hi"}`,
		"POST /v1/responses":              `{"model":"` + name + `","input":"hi"}`,
		"POST /v1/responses ":             `{"model":"` + name + `","input":"hi","store":false}`,
		"POST /v1/responses/compact":      `{"model":"` + name + `","input":"hi"}`,
		"POST /v1/responses/input_tokens": `{"model":"` + name + `","input":"hi"}`,
		"POST /v1/agents/sessions":        `{"agent":{"model":"` + name + `"},"environment":{"type":"none"},"input":"hi"}`,
		"GET /v1/routes?model=" + name:    "",
	}
}

// A model that the caller's project or agent may not use answers, at every door, as a name does that
// nobody has.
func TestAModelOfOthersIsNotThere(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	for _, name := range []string{"theirs", "one-agents", "p/sim-theirs"} {
		for call, body := range doors(name) {
			method, path, _ := strings.Cut(strings.TrimSpace(call), " ")
			res, got := ask(t, n, method, path, body)
			var e struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(got), &e); err != nil || res.StatusCode != 404 && res.StatusCode != 400 || e.Error.Code != "model_not_found" || strings.Contains(got, "others") {
				t.Errorf("%s of %s: %d %s", call, name, res.StatusCode, got)
			}
			if strings.Contains(name, "/") {
				continue // whatever is behind a provider's slash, the provider is asked
			}
			nobodys := strings.ReplaceAll(name, "s", "z")
			_, none := ask(t, n, method, strings.ReplaceAll(path, name, nobodys), strings.ReplaceAll(body, `"`+name+`"`, `"`+nobodys+`"`))
			if strings.ReplaceAll(none, nobodys, name) != got {
				t.Errorf("%s tells %s from a name that nobody has:\n%s\n%s", call, name, got, none)
			}
		}
	}
	if _, got := ask(t, n, "GET", "/v1/models", ""); strings.Contains(got, "theirs") || !strings.Contains(got, `"id":"one-agents"`) {
		t.Errorf("the list: %s", got)
	}
	if res, _ := ask(t, n, "GET", "/v1/models/theirs", ""); res.StatusCode != 404 {
		t.Errorf("GET of a model of others: %d", res.StatusCode)
	}
	_, made := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"mine"},"environment":{"type":"none"},"input":"hi"}`)
	var s struct{ ID string }
	if err := json.Unmarshal([]byte(made), &s); err != nil || s.ID == "" {
		t.Fatalf("%s", made)
	}
	if res, got := ask(t, n, "POST", "/v1/agents/sessions/"+s.ID, `{"agent":{"model":"theirs"}}`); !strings.Contains(got, `"code":"model_not_found"`) {
		t.Errorf("a session was moved to a model of others: %d %s", res.StatusCode, got)
	}
}

func TestTheRegistryIsShown(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	_, got := ask(t, n, "GET", "/v1/models/mine", "")
	for _, want := range []string{`"object":"model"`, `"owned_by":"the team"`, `"lifecycle":"active"`, `"base":"sim"`, `"purpose":"tests"`, `"input":100000000`, `"version":"7"`, `"restricted":false`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if _, got := ask(t, n, "GET", "/v1/models/p%2Fsim", ""); !strings.Contains(got, `"id":"p/sim"`) {
		t.Errorf("a name with a slash: %s", got)
	}
}

func TestDeprecatedModelsSaySo(t *testing.T) {
	var log bytes.Buffer
	n := openConfigured(t, registryConfig, &log)
	const warning = `299 stead "the model old is deprecated: use mine"`
	for call, body := range doors("old") {
		method, path, _ := strings.Cut(strings.TrimSpace(call), " ")
		if method == "GET" || strings.HasSuffix(path, "input_tokens") { // they call nothing
			continue
		}
		if res, got := ask(t, n, method, path, body); res.StatusCode != 200 || res.Header.Get("Warning") != warning {
			t.Errorf("%s: %d, Warning %q, %s", call, res.StatusCode, res.Header.Get("Warning"), got)
		}
	}
	if res, got := ask(t, n, "GET", "/v1/models/old", ""); !strings.Contains(got, `"lifecycle":"deprecated","successor":"mine"`) || res.Header.Get("Warning") != warning {
		t.Errorf("%s", got)
	}
	n.stop()
	if c := strings.Count(log.String(), "a deprecated model is in use"); c != 1 {
		t.Errorf("the log says so %d times: want once a project\n%s", c, log.String())
	}
}

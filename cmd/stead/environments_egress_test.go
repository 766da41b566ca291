package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
)

// TestAWrongWayOutIsFoundAtTheStart: and named as the operator wrote it, not when the first agent's
// environment is opened.
func TestAWrongWayOutIsFoundAtTheStart(t *testing.T) {
	for _, c := range []struct{ egress, field, says string }{
		{`{private: ["10.0.0.0/8", "10.1.2.3/8"]}`, "environments.egress.private[1]", "10.1.2.3/8"},
		{`{private: ["not a name"]}`, "environments.egress.private[0]", "not a name"},
		{`{private: ["inside.example:443"]}`, "environments.egress.private[0]", "port"},
		{`{credentials: [{variable: TOKEN, hosts: ["api.example.com", "10.0.0.1"], value: v}]}`, "environments.egress.credentials[0].hosts[1]", "10.0.0.1"},
		{`{limits: {up_bytes: -1}}`, "environments.egress.limits.up_bytes", "-1 is not between 0 and"},
		{`{limits: {connections: 5000}}`, "environments.egress.limits.connections", "5000 is not between 0 and 4096"},
		{`{private: ["10.0.0.0/8", "inside.example"], credentials: [{variable: TOKEN, hosts: ["*.example.com"], value: v}], proxy: "http://127.0.0.1:3128"}`, "", ""},
	} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		text := "environments:\n  driver: none\n  egress: " + c.egress + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: file}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err == nil {
			n.stop()
		}
		wrong, ok := errors.AsType[*stead.Error](err)
		switch {
		case c.field == "":
			if err != nil {
				t.Errorf("%s: %v", c.egress, err)
			}
		case !ok || wrong.Kind != stead.KindInvalid || wrong.Param != c.field || !strings.Contains(wrong.Message, c.field) || !strings.Contains(wrong.Message, c.says):
			t.Errorf("%s: %v, want one that names %s and says %q", c.egress, err, c.field, c.says)
		}
	}
}

// TestTheOperatorsLimitsAreThoseOfTheWayOut: each under its own name.
func TestTheOperatorsLimitsAreThoseOfTheWayOut(t *testing.T) {
	way, err := egressOf(config.Egress{Limits: config.EgressLimits{UpBytes: 1, DownBytes: 2, BytesPerSecond: 3, Connections: 4, PerMinute: 5}})
	if want := (egress.Limits{UpBytes: 1, DownBytes: 2, BytesPerSecond: 3, Connections: 4, PerMinute: 5}); err != nil || way.Limits != want {
		t.Errorf("%+v, %v; want %+v", way.Limits, err, want)
	}
}

// TestPoliciesDecideAboutConnections out of an environment: what one forbids does not leave, and is on record with its reason.
func TestPoliciesDecideAboutConnections(t *testing.T) {
	needComputer(t)
	var got atomic.Int32
	began, cut := make(chan bool), make(chan bool)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			close(began)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "more ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
			close(cut)
			return
		}
		got.Add(1)
		_, _ = io.WriteString(w, "page "+r.URL.Path)
	}))
	defer outside.Close()
	n := openConfigured(t, `providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}]}]
environments: {egress: {private: ["127.0.0.1/32"]}}
policies:
  inline: |
    @id("no-diary") @reason("diaries are private")
    forbid (principal, action == Action::"network.connect", resource == Host::"127.0.0.1") when { context.path like "/diary*" };
    @id("ask") @reason("somebody should look") @approval("approver")
    forbid (principal, action == Action::"network.connect", resource == Host::"127.0.0.1") when { context.path like "/ask*" };
`, io.Discard)
	h := &house{t: t, base: n.base}
	said := func(id string) string {
		var s struct{ Status string }
		for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
			if h.get("", "GET", "/v1/agents/sessions/"+id, "", &s); s.Status == "idle" {
				break
			}
		}
		_, items := h.call("", "GET", "/v1/agents/sessions/"+id+"/items", "")
		return string(items)
	}
	fetches := func(path string) (id string, call []byte) {
		t.Helper()
		command := `env -u no_proxy -u NO_PROXY python3 -c "import urllib.request as u; print(u.urlopen('` + outside.URL + path + `').read())" 2>&1 | tail -1`
		call = asJSON(t, "Call shell with "+string(asJSON(t, map[string]string{"command": command})))
		var s struct{ ID, Status string }
		h.get("", "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"environment"}]},"environment":{"type":"openai_hosted","network":{"access":"enabled"}},"input":`+string(call)+`}`, &s)
		return s.ID, call
	}
	fetch := func(path string) string {
		id, _ := fetches(path)
		return said(id)
	}
	if said := fetch("/news"); !strings.Contains(said, "page /news") {
		t.Errorf("what is allowed is not there: %s", said)
	}
	if said := fetch("/diary/today"); !strings.Contains(said, "403") || got.Load() != 1 {
		t.Errorf("what is forbidden: %s; %d requests", said, got.Load())
	}
	if _, log := h.call("", "GET", "/v1/audit_records?action=network.connect&decision=deny", ""); !strings.Contains(string(log), "diaries are private") || strings.Contains(string(log), "reason_digest") {
		t.Errorf("on record is %s", log)
	}
	// One that needs an approval is refused, asked about, and passes once when the agent tries again.
	id, call := fetches("/ask?of=lamps")
	if said := said(id); !strings.Contains(said, "403") || got.Load() != 1 {
		t.Fatalf("what is to be asked about: %s; %d requests", said, got.Load())
	}
	var waits struct {
		Data []struct{ ID, Effect, Session string }
	}
	if h.get("", "GET", "/v1/approvals", "", &waits); len(waits.Data) != 1 || waits.Data[0].Effect != "network.connect" {
		t.Fatalf("%+v", waits)
	}
	if _, shown := h.call("", "GET", "/v1/approvals/"+waits.Data[0].ID, ""); !strings.Contains(string(shown), "?of=lamps") {
		t.Errorf("shown is %s", shown)
	}
	decide(t, n, waits.Data[0].ID, `{"decision":"approve"}`)
	for range 2 {
		if status, body := h.call("", "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.message","input":`+string(call)+`}]}`); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, body)
		}
		waitFor(t, func() bool {
			_, body := h.call("", "GET", "/v1/agents/sessions/"+id, "")
			return strings.Contains(string(body), `"status":"idle"`)
		})
	}
	if said := said(id); got.Load() != 2 || !strings.Contains(said, "page /ask") {
		t.Errorf("%d requests: %s", got.Load(), said)
	}
	if _, log := h.call("", "GET", "/v1/audit_records?action=approval.ask", ""); strings.Count(string(log), `"approval.ask"`) != 2 {
		t.Errorf("on record is %s", log)
	}
	endless, _ := fetches("/endless")
	<-began
	// What somebody wrote stands beside the record of what is refused for it.
	must(t, n, "POST", "/v1/kill_switches", `{"scope":"tool","of":"host:127.0.0.1","reason":"it is Mr. Miller's"}`)
	select {
	case <-cut:
	case <-time.After(30 * time.Second):
		t.Errorf("what was under way when it was stopped goes on")
	}
	if said := said(endless); !strings.Contains(said, "IncompleteRead") {
		t.Errorf("what was cut off: %s", said)
	}
	if said := fetch("/news"); !strings.Contains(said, "403") || got.Load() != 2 {
		t.Errorf("what is stopped: %s; %d requests", said, got.Load())
	}
	var log struct {
		Data []struct {
			Record json.RawMessage
			Texts  []struct{ Text string }
		}
	}
	h.get("", "GET", "/v1/audit_records?action=network.connect&decision=deny&limit=1", "", &log)
	if len(log.Data) != 1 || strings.Contains(string(log.Data[0].Record), "Miller") || len(log.Data[0].Texts) != 1 || !strings.Contains(log.Data[0].Texts[0].Text, "Miller") {
		t.Errorf("on record is %+v", log)
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

package main

import (
	"crypto/hmac"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-dev/stead/internal/audit/stream"
)

// hook is a receiver over TLS that believes nothing unsigned.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	away   bool
	ids    map[string]int
	events []stream.Event
	bodies string
	wrong  []string
}

const hookSecret = "whsec-for-a-test"

func newHook(t *testing.T) *hook {
	h := &hook{ids: map[string]int{}}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil || h.away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
		if !hmac.Equal([]byte("v1,"+stream.Sign([]byte(hookSecret), id, at, body)), []byte(r.Header.Get("Webhook-Signature"))) {
			h.wrong = append(h.wrong, "the signature of "+id)
		}
		var e stream.Event
		if err := json.Unmarshal(body, &e); err != nil {
			h.wrong = append(h.wrong, err.Error())
		}
		h.bodies += string(body) + "\n"
		if h.ids[id]++; h.ids[id] == 1 {
			h.events = append(h.events, e)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// hookScript runs a receiver over TLS that writes a line a webhook, "TYPE REQUEST ID", into hook.log, and refuses them while there is a file
// hook.away. Its certificate is in ca.pem: hook VARIABLE.
func hookScript(ts *testscript.TestScript, _ bool, args []string) {
	log, away := ts.MkAbs("hook.log"), ts.MkAbs("hook.away")
	var mu sync.Mutex
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var e stream.Event
		_, gone := os.Stat(away)
		if gone == nil || json.NewDecoder(r.Body).Decode(&e) != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s %s %s\n", e.Type, e.Data.ID, r.Header.Get("Webhook-Id"))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(srv.Close)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	ts.Setenv(args[0], srv.URL)
}

// has waits for an event about a request.
func (h *hook) has(t *testing.T, what, id string) stream.Event {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		h.mu.Lock()
		for _, e := range h.events {
			if e.Type == what && e.Data.ID == id {
				h.mu.Unlock()
				return e
			}
		}
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Fatalf("no %s of %s: %+v", what, id, h.events)
	return stream.Event{}
}

// TestWebhooksAboutApprovals: whoever watches is told of what sessions and requests of the API ask, and what becomes of it, once each,
// signed, in order, though the receiver is away and the server restarts; and of nothing that was before.
func TestWebhooksAboutApprovals(t *testing.T) {
	h := newHook(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	text := registryConfig + `
environments: {driver: bare}
public_url: https://stead.acme.example
policies:
  inline: |
    @id("vaults") @reason("vaults hold money") @approval("approver") @approval_expires("2h") forbid(principal, action == Action::"vault.write", resource);
    @id("notes") @approval("approver") @approval_expires("1s") @approval_default("allow") forbid(principal, action == Action::"memory.write", resource);
    @id("calls") @approval("approver") forbid(principal, action == Action::"tool.call", resource) unless { context.text like "*quick*" };
    @id("quick") @approval("approver") @approval_expires("1s") forbid(principal, action == Action::"tool.call", resource) when { context.text like "*quick*" };
`
	hooks := fmt.Sprintf("approvals:\n  webhooks:\n    - {url: %s/hook?a=1, secret: %s, ca: %s}\n", h.URL, hookSecret, ca)
	first := openConfigured(t, text, io.Discard)
	before := vaultAsked(t, first, "before")
	first.stop()
	n := openAgain(t, first, text+hooks)

	// Of requests of the API.
	q := vaultAsked(t, n, "hush-hush")
	e := h.has(t, "approval.asked", q)
	if d := e.Data; d.Kind != "request" || d.What != "POST /v1/vaults" || d.Effect != "vault.write" || d.AskedBy != "user:local" || len(d.Digest) != 64 || d.OnExpiry != "deny" ||
		d.ExpiresAt < time.Now().Add(time.Hour).Unix() || d.URL != "https://stead.acme.example/v1/approvals/"+q || len(d.Policies) != 1 || len(d.Roles) != 2 || !strings.Contains(d.Reason, "vaults hold money") {
		t.Errorf("%+v", d)
	}
	decide(t, n, q, `{"decision":"delegate","to":{"kind":"user","id":"local"},"reason":"on leave"}`)
	if e := h.has(t, "approval.delegated", q); e.Data.To != "user local" || e.Data.By != "user:local" || e.Data.Reason != "on leave" {
		t.Errorf("%+v", e.Data)
	}
	h.mu.Lock()
	h.away = true
	h.mu.Unlock()
	decide(t, n, q, `{"decision":"approve","reason":"it was ordered"}`)

	// Of sessions: asked, changed and asked anew, approved; and one that nobody answers.
	s := makesShellCall(t, n, "true")
	asked := sessionAsks(t, n, s, "")
	decide(t, n, asked, `{"decision":"deny","reason":"not today"}`)
	quick := sessionAsks(t, n, makesShellCall(t, n, "echo quick"), "")
	_, body := ask(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`)
	lapses := requestIn(t, body)
	waitFor(t, func() bool {
		_, body := ask(t, n, "GET", "/metrics", "")
		return strings.Contains(body, `stead_audit_stream_failing{stream="approvals-`) && strings.Contains(body, "} 1\n")
	})
	n.stop()
	h.mu.Lock()
	h.away = false
	h.mu.Unlock()
	time.Sleep(time.Second) // what ends now ends while no node is there
	openAgain(t, n, text+hooks)
	h.has(t, "approval.approved", q)
	if e := h.has(t, "approval.asked", asked); e.Data.Kind != "session" || e.Data.What != "environment/shell" || e.Data.Session == "" || e.Data.Agent == "" || e.Data.ExpiresAt != 0 {
		t.Errorf("%+v", e.Data)
	}
	if e := h.has(t, "approval.denied", asked); e.Data.Reason != "not today" {
		t.Errorf("%+v", e.Data)
	}
	h.has(t, "approval.asked", quick)
	h.has(t, "approval.expired", quick)
	h.has(t, "approval.asked", lapses)
	if e := h.has(t, "approval.expired", lapses); e.Data.OnExpiry != "allow" {
		t.Errorf("%+v", e.Data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrong) > 0 || strings.Contains(h.bodies, "hush") || strings.Contains(h.bodies, before) {
		t.Errorf("%v\n%s", h.wrong, h.bodies)
	}
	seen := map[string]bool{}
	for _, e := range h.events {
		if key := e.Type + e.Data.ID; seen[key] {
			t.Errorf("told twice: %s", key)
		} else {
			seen[key] = true
		}
	}
}

func requestIn(t *testing.T, body string) string {
	t.Helper()
	var said struct {
		Error struct{ Approval struct{ ID string } }
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || said.Error.Approval.ID == "" {
		t.Fatalf("nothing waits: %s", body)
	}
	return said.Error.Approval.ID
}

func vaultAsked(t *testing.T, n *node, name string) string {
	t.Helper()
	_, body := ask(t, n, "POST", "/v1/vaults", `{"name":"`+name+`"}`)
	return requestIn(t, body)
}

func decide(t *testing.T, n *node, id, decision string) {
	t.Helper()
	if res, body := ask(t, n, "POST", "/v1/approvals/"+id, decision); res.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %d %s", decision, res.StatusCode, body)
	}
}

func makesShellCall(t *testing.T, n *node, command string) string {
	t.Helper()
	res, body := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"mine","tools":[{"type":"environment"}]},"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"`+command+`\"}"}`)
	var s struct{ ID string }
	if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	return s.ID
}

// sessionAsks is the request that a session waits with, which is another one than not.
func sessionAsks(t *testing.T, n *node, session, not string) (id string) {
	t.Helper()
	waitFor(t, func() bool {
		_, body := ask(t, n, "GET", "/v1/approvals", "")
		var list struct {
			Data []struct {
				ID      string
				Session *string `json:"session_id"`
			}
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Data {
			if a.Session != nil && *a.Session == session && a.ID != not {
				id = a.ID
			}
		}
		return id != ""
	})
	return id
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// openAgain is a server on the data of another that has stopped.
func openAgain(t *testing.T, n *node, text string) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openAt(t, file, n.cfg.Data, io.Discard)
}

package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// guarded is a tool server that lets in who brings the right token, and that quotes it, as none should.
type guarded struct {
	*httptest.Server
	mu      sync.Mutex
	accepts string
	let     int // requests with it
	refused int
}

func openGuarded(t *testing.T, accepts string) *guarded {
	t.Helper()
	g := &guarded{accepts: accepts}
	s := mcp.NewServer(&mcp.Implementation{Name: "guarded", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "you are " + r.Extra.Header.Get("Authorization")}}}, nil, nil
	})
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		ok := r.Header.Get("Authorization") == "Bearer "+g.accepts
		if ok {
			g.let++
		} else {
			g.refused++
		}
		g.mu.Unlock()
		if !ok {
			http.Error(w, "not you: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) accept(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accepts = token
}

func (g *guarded) seen() (let, refused int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.let, g.refused
}

// vaulted is a server, and a session on it.
type vaulted struct {
	t    *testing.T
	n    *node
	said *syncBuffer // all that it answers, and logs
}

// post makes something and returns its id.
func (v *vaulted) post(path, body string) string {
	v.t.Helper()
	res, got := ask(v.t, v.n, "POST", path, body)
	_, _ = v.said.Write([]byte(got)) // a buffer takes everything
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(got), &made); err != nil || res.StatusCode/100 != 2 {
		v.t.Fatalf("POST %s: %d %s", path, res.StatusCode, got)
	}
	return made.ID
}

// whoami lets the session's agent call the tool, and returns the turn's call: what it brought, or its error.
func (v *vaulted) whoami(session string) (output, failure string) {
	v.t.Helper()
	res, got := ask(v.t, v.n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call whoami with {}"}]}`)
	if res.StatusCode != http.StatusAccepted {
		v.t.Fatalf("%d %s", res.StatusCode, got)
	}
	return v.lastCall(session)
}

// settle waits until the session is idle.
func (v *vaulted) settle(session string) {
	v.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, got := ask(v.t, v.n, "GET", "/v1/agents/sessions/"+session, "")
		if strings.Contains(got, `"status":"idle"`) {
			break
		}
		if time.Since(begin) > patience {
			v.t.Fatalf("the turn does not end: %s", got)
		}
	}
}

func (v *vaulted) lastCall(session string) (output, failure string) {
	v.t.Helper()
	v.settle(session)
	_, got := ask(v.t, v.n, "GET", "/v1/agents/sessions/"+session+"/items?limit=100", "")
	_, _ = v.said.Write([]byte(got)) // a buffer takes everything
	var list struct {
		Data []struct {
			Type          string
			Output, Error json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(got), &list); err != nil {
		v.t.Fatal(err)
	}
	for _, it := range list.Data { // the newest first
		if it.Type == "mcp_call" {
			return string(it.Output), string(it.Error)
		}
	}
	v.t.Fatalf("no call among %s", got)
	return "", ""
}

func openVaulted(t *testing.T, config string) *vaulted {
	t.Helper()
	said := &syncBuffer{}
	const models = "limits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n"
	return &vaulted{t, openConfigured(t, models+config, said), said}
}

const (
	firstToken  = "sk-first/Token+of&the<vault>=="
	secondToken = "sk-second/Token+of&the<vault>=="
)

// credential puts a token for a server into a new vault.
func (v *vaulted) credential(server, token string) (vault, id string) {
	v.t.Helper()
	vault = v.post("/v1/vaults", `{"name":"v"}`)
	text, _ := json.Marshal(token) // a text always does
	return vault, v.post("/v1/vaults/"+vault+"/credentials", `{"name":"c","auth":{"type":"static_bearer","mcp_server_url":"`+server+`","token":`+string(text)+`}}`)
}

// session is one whose agent calls the server at once.
func (v *vaulted) session(server, rest string) string {
	v.t.Helper()
	return v.post("/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"guarded","require_approval":"never","transport":{"type":"http","server_url":"`+server+`"}}]},
		"environment":{"type":"none"},"input":"Call whoami with {}"`+rest+`}`)
}

// used are the audit records of uses of credentials.
func (v *vaulted) used() []auditRecord {
	v.t.Helper()
	_, got := ask(v.t, v.n, "GET", "/v1/audit_records?action=credential.use&limit=100&order=asc", "")
	_, _ = v.said.Write([]byte(got)) // a buffer takes everything
	var list struct {
		Data []struct{ Record auditRecord }
	}
	if err := json.Unmarshal([]byte(got), &list); err != nil {
		v.t.Fatal(err)
	}
	var out []auditRecord
	for _, d := range list.Data {
		out = append(out, d.Record)
	}
	return out
}

type auditRecord struct{ Session, Resource, Decision, Detail, Reason string }

// A token of a vault goes to the server whose URL it names, counts as it is at each request, and is nowhere else:
// not in answers, not in the log, not on the disk.
func TestAVaultsTokenIsAtItsServerAndNowhereElse(t *testing.T) {
	g := openGuarded(t, firstToken)
	v := openVaulted(t, "")
	vault, credential := v.credential(g.URL+"/", firstToken) // the slash at its end does not count
	id := v.session(g.URL, `,"vault_ids":["`+vault+`"]`)
	output, failure := v.lastCall(id)
	if let, refused := g.seen(); !strings.Contains(output, "you are Bearer [redacted]") || let == 0 || refused > 0 {
		t.Fatalf("%q %s, let in %d times, refused %d times", output, failure, let, refused)
	}
	at, _ := url.Parse(g.URL)
	records := v.used()
	if let, _ := g.seen(); len(records) < let {
		t.Errorf("%d requests with the token, and %d audit records", let, len(records))
	}
	for _, r := range records {
		if r.Session != id || r.Resource != vault+"/"+credential || r.Decision != "allow" || r.Detail != "to "+at.Host {
			t.Errorf("audited %+v", r)
		}
	}
	g.accept(secondToken)
	text, _ := json.Marshal(secondToken) // a text always does
	v.post("/v1/vaults/"+vault+"/credentials/"+credential, `{"auth":{"type":"static_bearer","token":`+string(text)+`}}`)
	if output, failure = v.whoami(id); !strings.Contains(output, "you are Bearer [redacted]") {
		t.Errorf("rotated: %q %s", output, failure)
	}
	g.accept("a-third-token")
	if output, failure = v.whoami(id); output != "null" || !strings.Contains(failure, "refused the credential "+credential) {
		t.Errorf("one that the server does not take: %q %s", output, failure)
	}
	g.accept(secondToken)
	let, refused := g.seen()
	if _, got := ask(t, v.n, "DELETE", "/v1/vaults/"+vault+"/credentials/"+credential, ""); !strings.Contains(got, `"deleted":true`) {
		t.Fatal(got)
	}
	if output, failure = v.whoami(id); output != "null" || failure == "null" {
		t.Errorf("deleted: %q %s", output, failure)
	}
	if l, _ := g.seen(); l != let || refused == 0 {
		t.Errorf("a deleted credential was let in %d times", l-let)
	}
	v.nowhere(id, map[string]string{"first": firstToken, "second": secondToken})
}

// nowhere searches all that was said, and what is on the disk.
func (v *vaulted) nowhere(session string, secrets map[string]string) {
	v.t.Helper()
	for _, path := range []string{"/v1/agents/sessions/" + session + "/export", "/v1/agents/sessions/" + session, "/v1/audit_records?limit=100", "/v1/usage_records", "/v1/vaults", "/metrics"} {
		_, got := ask(v.t, v.n, "GET", path, "")
		_, _ = v.said.Write([]byte(got)) // a buffer takes everything
	}
	data := v.n.cfg.Data
	v.n.stop()
	search(v.t, secrets, "the log and the answers", []byte(v.said.String()))
	files := 0
	err := filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(name)
		search(v.t, secrets, name, b)
		return err
	})
	if err != nil || files == 0 {
		v.t.Errorf("%d files, %v", files, err)
	}
}

// An OAuth token that its server refuses is renewed, and the call made once; when the endpoint refuses as well, the call
// fails with what a person must do.
func TestAnOAuthTokenIsRenewed(t *testing.T) {
	g := openGuarded(t, secondToken)
	refresh, revoked := "a-refresh-token/1", false
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("refresh_token") != refresh || revoked {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		refresh = "a-refresh-token/2"
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": secondToken, "token_type": "bearer", "expires_in": 3600, "refresh_token": refresh})
	}))
	t.Cleanup(issuer.Close)
	v := openVaulted(t, "")
	vault := v.post("/v1/vaults", `{}`)
	auth, _ := json.Marshal(map[string]any{"type": "mcp_oauth", "mcp_server_url": g.URL, "access_token": firstToken, "refresh": map[string]any{ // texts always do
		"client_id": "c", "refresh_token": refresh, "token_endpoint": issuer.URL, "token_endpoint_auth": map[string]string{"type": "none"}}})
	credential := v.post("/v1/vaults/"+vault+"/credentials", `{"name":"c","auth":`+string(auth)+`}`)
	id := v.session(g.URL, `,"vault_ids":["`+vault+`"]`)
	if output, failure := v.lastCall(id); !strings.Contains(output, "you are Bearer [redacted]") {
		t.Errorf("%s %s", output, failure)
	}
	if _, refused := g.seen(); refused != 1 {
		t.Errorf("the token that had ended was sent %d times", refused)
	}
	revoked = true
	g.accept("a-third-token")
	if _, failure := v.whoami(id); !strings.Contains(failure, "needs to be authorized anew") {
		t.Errorf("the call fails with %s", failure)
	}
	_, got := ask(t, v.n, "GET", "/v1/vaults/"+vault+"/credentials/"+credential, "")
	if !strings.Contains(got, "answered invalid_grant") {
		t.Errorf("the credential is %s", got)
	}
	v.nowhere(id, map[string]string{"first": firstToken, "second": secondToken, "refresh": "a-refresh-token/1", "refreshed": "a-refresh-token/2"})
}

// What a session names must be there, and fit.
func TestVaultsOfASessionAreChecked(t *testing.T) {
	g := openGuarded(t, firstToken)
	v := openVaulted(t, "")
	vault, credential := v.credential(g.URL, firstToken)
	twin, _ := v.credential(g.URL, firstToken)
	elsewhere, other := v.credential("https://mcp.example", firstToken)
	create := func(tool, vaults string) string {
		return `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"guarded","transport":{"type":"http","server_url":"` + g.URL + `"}` + tool + `}]},"environment":{"type":"none"},"input":"hi","vault_ids":[` + vaults + `]}`
	}
	for name, c := range map[string]struct{ body, param, says string }{
		"no such vault":    {create("", `"vault_none"`), "vault_ids[0]", "no vault"},
		"twice the same":   {create("", `"`+vault+`","`+vault+`"`), "vault_ids[1]", "second time"},
		"two for the URL":  {create("", `"`+vault+`","`+twin+`"`), "agent.tools[0].credential_id", "2 credentials"},
		"none of that id":  {create(`,"credential_id":"cred_none"`, `"`+vault+`"`), "agent.tools[0].credential_id", "cred_none"},
		"for another URL":  {create(`,"credential_id":"`+other+`"`, `"`+elsewhere+`"`), "agent.tools[0].credential_id", "another URL"},
		"without vaults":   {create(`,"credential_id":"`+credential+`"`, ""), "agent.tools[0].credential_id", "no vaults"},
		"chosen among two": {create(`,"credential_id":"`+credential+`"`, `"`+vault+`","`+twin+`"`), "", ""},
	} {
		_, got := ask(t, v.n, "POST", "/v1/agents/sessions", c.body)
		var answer struct {
			ID    string
			Error struct{ Param, Message string }
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Error.Param != c.param || !strings.Contains(answer.Error.Message, c.says) || (answer.ID == "") != (c.param != "") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A file comes from another server: whose vaults it names there, nobody chose here.
func TestAnImportedSessionHasNoVaults(t *testing.T) {
	v := openVaulted(t, "")
	vault := v.post("/v1/vaults", `{}`)
	id := v.post("/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"hi","vault_ids":["`+vault+`"]}`)
	v.settle(id)
	_, file := ask(t, v.n, "GET", "/v1/agents/sessions/"+id+"/export", "")
	_, copied := ask(t, v.n, "POST", "/v1/agents/sessions/"+id+"/fork", "{}")
	_, imported := ask(t, v.n, "POST", "/v1/agents/sessions/import", file)
	if !strings.Contains(copied, `"vault_ids":["`+vault+`"]`) || !strings.Contains(imported, `"vault_ids":[]`) {
		t.Errorf("a fork %s\nan import %s", copied, imported)
	}
}

// A policy decides about each use, by the credential and where it is sent.
func TestAPolicyForbidsToUseACredential(t *testing.T) {
	g := openGuarded(t, firstToken)
	v := openVaulted(t, "policies:\n  inline: |\n    @id(\"stay\")\n    forbid (principal, action == Action::\"credential.use\", resource) when { context.destination like \"127.0.0.1:*\" };\n")
	vault, credential := v.credential(g.URL, firstToken)
	tool := `{"type":"mcp","server_label":"guarded","required":true,"require_approval":"never","transport":{"type":"http","server_url":"` + g.URL + `"}}`
	id := v.post("/v1/agents/sessions", `{"agent":{"model":"sim","tools":[`+tool+`]},"environment":{"type":"none"},"input":"hi","vault_ids":["`+vault+`"]}`)
	for begin := time.Now(); len(v.used()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("nobody asked to use it")
		}
	}
	if r := v.used()[0]; r.Decision != "deny" || r.Session != id || r.Resource != vault+"/"+credential {
		t.Errorf("audited %+v", r)
	}
	if let, refused := g.seen(); let+refused > 0 {
		t.Errorf("%d requests were sent", let+refused)
	}
}

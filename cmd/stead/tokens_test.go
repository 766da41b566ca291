package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

type madeToken struct {
	ID, Secret string
	SessionID  string `json:"session_id"`
	ExpiresAt  int64  `json:"expires_at"`
	Principal  struct{ ID string }
}

// token makes one of a session, with a key.
func (h *house) token(key, session, params string) (made madeToken) {
	h.t.Helper()
	h.get(key, "POST", "/v1/agents/sessions/"+session+"/tokens", params, &made)
	return made
}

// openedByTokens are the routes that a session token opens, in its own session.
func openedByTokens() []string {
	const s = "/v1/agents/sessions/{id}"
	return []string{
		"GET " + s + "/events", "POST " + s + "/events", "GET " + s + "/items", "GET " + s + "/turns", "GET " + s + "/turns/{turn}", "GET " + s + "/turns/{turn}/items",
		"GET " + s + "/subagents", "GET " + s + "/subagents/{part}", "GET " + s + "/subagents/{part}/items", "GET " + s + "/subagents/{part}/turns",
		"GET " + s + "/subagents/{part}/turns/{turn}", "GET " + s + "/subagents/{part}/turns/{turn}/items",
		"GET " + s + "/artifacts", "GET " + s + "/artifacts/{part}", "GET " + s + "/artifacts/{part}/content",
	}
}

// The other side of the authorisation matrix: whatever scope a session token has, every other route refuses it, other
// sessions are not there, and no header makes another project of it.
func TestASessionTokenOpensItsSessionAlone(t *testing.T) {
	h := openHouse(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	h.get("", "GET", "/openapi.json", "", &doc)
	find, _ := h.things()
	table := accessTable()
	const session = "/v1/agents/sessions/{id}"
	own := strings.TrimPrefix(find(session), "/v1/agents/sessions/")
	var other struct{ ID string }
	h.get(h.keys["O"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &other)
	all := h.token(h.keys["O"], own, `{"scope":["read","write","approve","execute"]}`)
	for path, methods := range doc.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			row := table[method+" "+path]
			if row.roles == nobody {
				continue
			}
			status, body := h.call(all.Secret, method, find(path), row.body)
			if opened := status != http.StatusForbidden; opened != slices.Contains(openedByTokens(), method+" "+path) || status == http.StatusUnauthorized {
				t.Errorf("%s %s: %d %.200s", method, path, status, body)
			}
			if path != session && !strings.HasPrefix(path, session+"/") {
				continue
			}
			elsewhere := strings.Replace(find(path), own, other.ID, 1)
			if status, body := h.call(all.Secret, method, elsewhere, row.body); status != http.StatusNotFound {
				t.Errorf("%s %s of another session: %d %.200s", method, path, status, body)
			}
		}
	}
	if status, _ := h.call("", "GET", "/v1/agents/sessions/"+own+"/items?access_token="+all.Secret+"&token="+all.Secret, ""); status != http.StatusUnauthorized {
		t.Errorf("a secret in a URL: %d", status)
	}
}

func TestScopesOfASessionToken(t *testing.T) {
	h := openHouse(t)
	asked := h.request() // in a session that the owner made
	session := "sess_" + strings.Split(asked, "_")[1]
	read := h.token(h.keys["P"], session, `{"scope":["read"]}`)
	write := h.token(h.keys["P"], session, `{"scope":["write"]}`)
	approve := h.token(h.keys["O"], session, `{"scope":["read","approve"],"expires_after_seconds":60}`)
	if left := time.Until(time.Unix(approve.ExpiresAt, 0)); left > time.Minute || left < 50*time.Second || time.Until(time.Unix(read.ExpiresAt, 0)) < 14*time.Minute {
		t.Errorf("%s are left", left)
	}
	at := "/v1/agents/sessions/" + session
	message := `{"events":[{"type":"agent.session.input.message","input":"hi"}]}`
	answer := `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"` + asked + `","response":{"decision":"approve"}}]}`
	for _, c := range []struct {
		what, token, method, path, body string
		status                          int
	}{
		{"read", read.Secret, "GET", at + "/items", "", 200},
		{"read writes", read.Secret, "POST", at + "/events", message, 403},
		{"write reads", write.Secret, "GET", at + "/items", "", 403},
		{"write", write.Secret, "POST", at + "/events", message, 202},
		{"write approves", write.Secret, "POST", at + "/events", answer, 403},
		{"approve writes", approve.Secret, "POST", at + "/events", message, 403},
		{"approve", approve.Secret, "POST", at + "/events", answer, 202},
	} {
		if status, body := h.call(c.token, c.method, c.path, c.body); status != c.status {
			t.Errorf("%s: %d, want %d: %.300s", c.what, status, c.status, body)
		}
	}
	if status, body := h.call(h.keys["P"], "POST", at+"/tokens", `{"scope":["approve"]}`); status != http.StatusForbidden {
		t.Errorf("an operator gives what it may not: %d %s", status, body)
	}
	// Making is in the audit log, with whom it was and what it was made with; so is the approval, with the token.
	var log struct {
		Data []struct {
			Record struct {
				Action, Session string
				Principal       struct{ ID, Key string }
			}
		}
	}
	h.get(h.keys["O"], "GET", "/v1/audit_records?action=session_token.write&decision=allow", "", &log)
	if len(log.Data) != 4 || log.Data[0].Record.Session != session || !strings.HasPrefix(log.Data[0].Record.Principal.Key, "key_") {
		t.Errorf("the audit log has %+v", log.Data)
	}
	h.get(h.keys["O"], "GET", "/v1/audit_records?action=approval.give&decision=allow&limit=1", "", &log)
	if len(log.Data) != 1 || log.Data[0].Record.Principal.Key != approve.ID {
		t.Errorf("the audit log has %+v of the approval", log.Data)
	}
}

// A page follows with a token; the stream says when that is over, and another token goes on where it was.
func TestAStreamEndsWithItsToken(t *testing.T) {
	h := openHouse(t)
	var ada struct{ Secret string }
	h.get(h.keys["O"], "POST", "/v1/api_keys", `{"role":"agent","bound":true,"principal":{"kind":"user","id":"ada"}}`, &ada)
	var s struct{ ID string }
	h.get(ada.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	// A back end with a key of its own hands tokens to ada's browser: they are ada's.
	var tok madeToken
	for life := 1; ; life *= 4 {
		tok = h.token(h.keys["D"], s.ID, fmt.Sprintf(`{"scope":["read"],"expires_after_seconds":%d}`, life))
		if tok.Principal.ID != "ada" {
			t.Errorf("it stands for %q", tok.Principal.ID)
		}
		last, end := h.streamed(tok.Secret, s.ID)
		late := time.Since(time.Unix(tok.ExpiresAt, 0))
		if last == "" && life < 60 && late > 0 {
			continue // on a busy machine it was over before the stream began
		}
		if !strings.Contains(end, `"token_expired"`) || last == "" || late > 10*time.Second {
			t.Errorf("the stream's last event was %q after %q, %s after the token's end", end, last, late)
		}
		break
	}
	if status, body := h.call(tok.Secret, "GET", "/v1/agents/sessions/"+s.ID+"/events", ""); status != http.StatusUnauthorized || !strings.Contains(string(body), "invalid_session_token") {
		t.Errorf("again: %d %s", status, body)
	}
}

// streamed follows a session from its beginning until the stream ends: the last id, and the last event's data.
func (h *house) streamed(key, session string) (last, data string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.base+"/v1/agents/sessions/"+session+"/events?after=0", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last = id
		}
		if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = d
		}
	}
	return last, data
}

// A token with the scope execute is as good as the environment's own, for its session and its time.
func TestASessionTokenIsAnExecutors(t *testing.T) {
	h := openHouse(t)
	var dev struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"developer"}`, &dev)
	var ids [2]string
	for i := range ids {
		var s struct{ ID string }
		h.get(dev.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"self_hosted","workspace_directory":"/workspace"},"input":"Say hi"}`, &s)
		ids[i] = strings.TrimPrefix(s.ID, "sess_")
	}
	execute := h.token(dev.Secret, "sess_"+ids[0], `{"scope":["execute"]}`).Secret
	read := h.token(dev.Secret, "sess_"+ids[0], `{"scope":["read"]}`).Secret
	for _, c := range []struct {
		what, secret, id string
		status           int // 400: it is let in, and then found to be no WebSocket
	}{{"execute", execute, ids[0], 400}, {"read", read, ids[0], 401}, {"another session's", execute, ids[1], 401}, {"a key", dev.Secret, ids[0], 401}} {
		if status, body := h.call(c.secret, "GET", "/v1/agents/environments/env_"+c.id+"/executor", ""); status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.what, status, c.status, body)
		}
	}
	// With the address and its token one is the session's computer: who may only look sees no token.
	for role, whole := range map[string]bool{"owner": true, "developer": true, "auditor": false, "approver": false} {
		var key, s struct {
			Secret      string
			Environment struct {
				RemoteURL string `json:"remote_url"`
			}
		}
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`"}`, &key)
		h.get(key.Secret, "GET", "/v1/agents/sessions/sess_"+ids[0], "", &s)
		if url := s.Environment.RemoteURL; !strings.Contains(url, ids[0]) || strings.HasSuffix(url, "#") == whole {
			t.Errorf("the %s is shown %q", role, url)
		}
	}
}

// An executor finds its environment in whichever project it is, by the environment's own token and by one of its
// session; what a token says of its project is no way into another.
func TestAnExecutorServesItsProject(t *testing.T) {
	h := openHouse(t)
	for _, project := range []string{"default", "ours"} {
		var dev struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"developer","project":"`+project+`"}`, &dev)
		var s struct {
			ID          string
			Environment struct {
				ID        string
				RemoteURL string `json:"remote_url"`
			}
		}
		h.get(dev.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"self_hosted","workspace_directory":"/workspace"},"input":"Say hi"}`, &s)
		door, own, _ := strings.Cut(s.Environment.RemoteURL, "#")
		for _, token := range []string{own, h.token(dev.Secret, s.ID, `{"scope":["execute"]}`).Secret} {
			if status, body := h.call(token, "GET", strings.TrimPrefix(door, h.base), ""); status != http.StatusBadRequest {
				t.Fatalf("%s: %d, want 400, since it is no WebSocket: %s", project, status, body)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan int)
			go func() {
				a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, env: func(string) (string, bool) { return "", false }}
				ended <- a.main(ctx, []string{"executor", "--remote", door + "#" + token, "--workspace", t.TempDir(), "--sandbox", "none"})
			}()
			status := func() (got struct{ Status string }) {
				h.get(dev.Secret, "GET", "/v1/agents/environments/"+s.Environment.ID, "", &got)
				return got
			}
			for end := time.Now().Add(20 * time.Second); status().Status != "connected"; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s: the environment is %s", project, status().Status)
				}
			}
			stop()
			<-ended
		}
		forged, _, _ := strings.Cut(own, ".")
		for _, token := range []string{forged + ".b3RoZXI", forged + ".", strings.TrimSuffix(own, "x") + "x"} {
			if status, body := h.call(token, "GET", strings.TrimPrefix(door, h.base), ""); status != http.StatusUnauthorized {
				t.Errorf("%s: a token of another project: %d %s", project, status, body)
			}
		}
	}
}

// Who was turned away is in the audit log: the first for a reason at once, however often they try.
func TestStrangersAreInTheAuditLog(t *testing.T) {
	h := openHouse(t)
	for _, key := range []string{"sk-stead-0a-00ff", "sk-stead-0a-00ff", "sk-stead-0a-00ff", "", "nonsense"} {
		if status, _ := h.call(key, "GET", "/v1/agents", ""); status != http.StatusUnauthorized {
			t.Fatal(status)
		}
	}
	if status, _ := h.call("x", "GET", "/v1/agents/environments/env_1/executor", ""); status != http.StatusUnauthorized {
		t.Fatal(status)
	}
	var log struct {
		Data []struct {
			Record struct{ Action, Resource, Decision, From, Reason, Detail string }
		}
	}
	for begin := time.Now(); len(log.Data) < 4; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("the audit log has %+v", log.Data)
		}
		h.get(h.root, "GET", "/v1/audit_records?action=authenticate&order=asc", "", &log)
	}
	reasons := map[string]int{}
	for _, d := range log.Data {
		reasons[d.Record.Detail+" "+d.Record.Resource]++
		if d.Record.From != "127.0.0.1" || d.Record.Decision != "deny" {
			t.Errorf("%+v", d.Record)
		}
	}
	if len(log.Data) != 4 || reasons["GET /v1/agents key_0a"] != 1 || reasons["GET /v1/agents "] != 2 || reasons["GET /v1/agents/environments/env_1/executor "] != 1 {
		t.Errorf("the audit log has %v", reasons)
	}
}

// What a page may read says how the session stands and what was said in it, and nothing of how it is set up: by no route.
func TestASessionTokenShowsNoSetUp(t *testing.T) {
	h := openHouse(t)
	follow := func(key, id, end string) (seen []string, types map[string]int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.base+"/v1/agents/sessions/"+id+"/events?after=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for types = map[string]int{}; types[end] == 0 && lines.Scan(); {
			if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				seen = append(seen, d)
			}
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok && types[end] == 0 {
				types[kind]++
			}
		}
		lines.Scan() // the last one's data
		return append(seen, lines.Text()), types
	}
	var s struct{ ID string }
	h.get(h.keys["O"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","instructions":"SECRET-instructions","tools":[
		{"type":"function","name":"look","description":"SECRET-description","parameters":{"type":"object","properties":{}}},
		{"type":"mcp","server_label":"far","transport":{"type":"http","server_url":"https://SECRET-host.example/mcp"}}]},
		"metadata":{"case":"SECRET-metadata"},"environment":{"type":"none"},"input":"Call look with {}"}`, &s)
	read := h.token(h.keys["O"], s.ID, `{"scope":["read"]}`).Secret
	const waits = "agent.session.requires_action"
	mine, types := follow(h.keys["O"], s.ID, waits)
	if text := strings.Join(mine, "\n"); strings.Count(text, "SECRET-") < 4 {
		t.Fatalf("the key's own stream has no set-up: %s", text)
	}
	page, same := follow(read, s.ID, waits)
	if !maps.Equal(types, same) || types["agent.session.created"] != 1 {
		t.Errorf("the page has events %v, and the key %v", same, types)
	}
	var last struct {
		Session struct {
			ID, Status string
			Required   []struct{ Type, Name string } `json:"required_actions"`
			Agent      *struct{ Tools []any }
			Metadata   map[string]string
		}
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(page[len(page)-1], "data: ")), &last); err != nil {
		t.Fatal(err)
	}
	if got := last.Session; got.ID != s.ID || got.Status != "requires_action" || len(got.Required) != 1 || got.Required[0].Name != "look" || got.Agent == nil || got.Agent.Tools == nil || got.Metadata == nil {
		t.Errorf("the page is shown %+v", got)
	}
	// A response's instructions come with each, and as messages of the developer's.
	var made struct {
		ID    string
		Stead struct {
			Session string `json:"session_id"`
		}
	}
	h.get(h.keys["O"], "POST", "/v1/responses", `{"model":"sim","instructions":"SECRET-instructions","input":[{"role":"developer","content":"SECRET-developer"},{"role":"user","content":"Say hi"}]}`, &made)
	id := "sess_" + strings.Split(made.ID, "_")[1]
	token := h.token(h.keys["O"], id, `{"scope":["read"]}`).Secret
	told, _ := follow(token, id, "agent.session.idle")
	all := append(page, told...)
	for _, at := range []string{s.ID, id} {
		key := map[string]string{s.ID: read, id: token}[at]
		for _, path := range []string{"/items", "/turns", "/artifacts"} {
			status, body := h.call(key, "GET", "/v1/agents/sessions/"+at+path, "")
			if status != http.StatusOK {
				t.Errorf("%s: %d", path, status)
			}
			all = append(all, string(body))
		}
	}
	for _, text := range all {
		if strings.Contains(text, "SECRET-") {
			t.Errorf("the page reads %s", text)
		}
	}
	if text := strings.Join(all, ""); !strings.Contains(text, "Say hi") {
		t.Error("the page does not see what was said")
	}
}

package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What is stopped ends within a second, also where it is under way, and nothing of it begins anew until the switch is
// lifted; who did it stands in the audit log.
func TestAKillSwitchStopsAnAgent(t *testing.T) {
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey}
	post := func(path, body string) (id string) {
		var made struct{ ID string }
		h.get(h.root, "POST", path, body, &made)
		return made.ID
	}
	wild := post("/v1/agents", `{"model":"sim","name":"wild"}`)
	tame := post("/v1/agents", `{"model":"sim","name":"tame"}`)
	start := func(agent, input string) string {
		return post("/v1/agents/sessions", `{"agent_id":"`+agent+`","environment":{"type":"none"},"input":"`+input+`"}`)
	}
	type turn struct {
		Status string
		Error  *struct{ Message string }
	}
	last := func(session string) turn {
		var list struct{ Data []turn }
		h.get(h.root, "GET", "/v1/agents/sessions/"+session+"/turns", "", &list)
		return list.Data[0]
	}
	ends := func(session string) turn {
		t.Helper()
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if got := last(session); got.Status != "queued" && got.Status != "in_progress" {
				return got
			}
			if time.Since(begin) > patience {
				t.Fatal("the turn does not end")
			}
		}
	}
	busy, calm := start(wild, "Wait 60s"), start(tame, "Wait 2s")
	waitFor(t, func() bool { return last(busy).Status == "in_progress" && last(calm).Status != "queued" })
	sw := post("/v1/kill_switches", `{"scope":"agent","of":"`+wild+`","reason":"it deletes tickets"}`)
	if got := ends(busy); got.Status != "failed" || got.Error == nil || !strings.Contains(got.Error.Message, "it deletes tickets") {
		t.Errorf("what was under way: %+v", got)
	}
	for what, want := range map[string]struct {
		agent string
		code  int
	}{"its sessions": {wild, 403}, "another agent's": {tame, 200}} {
		code, body := h.call(h.root, "POST", "/v1/agents/sessions", `{"agent_id":"`+want.agent+`","environment":{"type":"none"},"input":"hi"}`)
		if code != want.code {
			t.Errorf("%s: %d %s", what, code, body)
		}
	}
	if got := ends(calm); got.Status != "completed" {
		t.Errorf("another agent's turn: %+v", got)
	}
	if code, body := h.call(h.root, "GET", "/v1/agents/sessions/"+busy, ""); code != 200 {
		t.Errorf("what is stopped can't be looked at: %d %s", code, body)
	}
	if code, body := h.call(h.root, "DELETE", "/v1/kill_switches/"+sw, ""); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if got := ends(start(wild, "hi")); got.Status != "completed" {
		t.Errorf("after it was lifted: %+v", got)
	}
	var log struct {
		Data []struct {
			Record struct{ Detail string }
		}
	}
	h.get(h.root, "GET", "/v1/audit_records?action=kill_switch.write&order=asc", "", &log)
	if len(log.Data) != 2 || !strings.HasPrefix(log.Data[0].Record.Detail, "POST") || !strings.HasPrefix(log.Data[1].Record.Detail, "DELETE") {
		t.Errorf("in the audit log: %+v", log.Data)
	}
}

// Whoever is stopped calls nothing of the API any more, by a key or by a token of a session, within a second, but looks at switches and lifts them; others
// go on, and the log says who tried what.
func TestAKillSwitchStopsAUsersCalls(t *testing.T) {
	h := openHouse(t)
	user := func(id, role string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"one","principal":{"kind":"user","id":"`+id+`"}}`, &made)
		return made.Secret
	}
	eve, bob := user("eve", "developer"), user("bob", "developer")
	var s, token struct{ ID, Secret string }
	h.get(eve, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	h.get(eve, "POST", "/v1/agents/sessions/"+s.ID+"/tokens", `{"scope":["read"]}`, &token)
	var others, handed struct{ ID, Secret string } // a token that she made serves whom the session serves
	h.get(bob, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &others)
	h.get(eve, "POST", "/v1/agents/sessions/"+others.ID+"/tokens", `{"scope":["read","write"]}`, &handed)
	boss := user("boss", "owner")
	var sw, own struct{ ID string }
	h.get(boss, "POST", "/v1/kill_switches", `{"scope":"user","of":"eve","reason":"her laptop is lost"}`, &sw)
	for _, c := range []struct{ key, method, path, body string }{
		{eve, "GET", "/v1/agents/sessions", ""}, {eve, "GET", "/v1/agents/sessions/" + s.ID + "/items", ""}, {eve, "POST", "/v1/agents", `{"model":"sim"}`}, {eve, "GET", "/v1/agents/sessions/" + s.ID + "/events", ""},
		{eve, "DELETE", "/v1/agents/sessions/" + s.ID, ""}, {token.Secret, "GET", "/v1/agents/sessions/" + s.ID + "/items", ""}, {eve, "POST", "/v1/chat/completions", `{"model":"sim","messages":[{"role":"user","content":"hi"}]}`},
		{handed.Secret, "GET", "/v1/agents/sessions/" + others.ID + "/items", ""}, {handed.Secret, "POST", "/v1/agents/sessions/" + others.ID + "/events", `{"events":[{"type":"agent.session.input.message","input":"Say hi"}]}`},
	} {
		status, got := h.call(c.key, c.method, c.path, c.body)
		if status != 403 || !strings.Contains(string(got), `"code":"kill_switch"`) || !strings.Contains(string(got), "her laptop is lost") {
			t.Errorf("%s %s: %d %.300s", c.method, c.path, status, got)
		}
	}
	if status, got := h.call(bob, "GET", "/v1/agents/sessions", ""); status != 200 {
		t.Errorf("another user: %d %s", status, got)
	}
	var log struct {
		Data []struct {
			Record struct{ Detail, Decision, Reason string }
			Texts  []struct{ Text string }
		}
	}
	h.get(boss, "GET", "/v1/audit_records?action=api.call&principal=eve&order=asc", "", &log)
	if len(log.Data) != 7 || log.Data[0].Record.Detail != "GET /v1/agents/sessions" || log.Data[0].Record.Decision != "deny" {
		t.Errorf("in the audit log: %+v", log.Data)
	}
	for _, d := range log.Data {
		if d.Record.Reason != "" || len(d.Texts) != 1 || !strings.Contains(d.Texts[0].Text, "her laptop is lost") {
			t.Errorf("why she was stopped stands in the record, and not beside it: %+v", d)
		}
	}
	status, said := h.exchanged(url.Values{"grant_type": {exchange}, "subject_token": {eve}, "subject_token_type": {typeKey}, "resource": {"urn:stead:session:" + s.ID}})
	if why, _ := said["error_description"].(string); status != 400 || !strings.Contains(why, "her laptop is lost") {
		t.Errorf("a token in exchange for her key: %d %v", status, said)
	}
	h.get(boss, "POST", "/v1/kill_switches", `{"scope":"user","of":"boss","reason":"by mistake"}`, &own)
	if status, _ := h.call(boss, "GET", "/v1/agents", ""); status != 403 {
		t.Errorf("who stopped themselves: %d", status)
	}
	h.get(boss, "GET", "/v1/kill_switches", "", &struct{}{})
	for _, id := range []string{own.ID, sw.ID} {
		h.get(boss, "DELETE", "/v1/kill_switches/"+id, "", &struct{}{})
	}
	for _, key := range []string{boss, eve} {
		if status, got := h.call(key, "GET", "/v1/agents/sessions", ""); status != 200 {
			t.Errorf("lifted: %d %s", status, got)
		}
	}
}

func TestAKillSwitchCutsAModelsCalls(t *testing.T) {
	n := openConfigured(t, "providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}, {name: other, routes: [{provider: sim, model: sim-other}]}, {name: alias, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	type answer struct {
		code int
		body string
	}
	call := func(model, input string) answer {
		res, body := ask(t, n, "POST", "/v1/chat/completions", `{"model":"`+model+`","messages":[{"role":"user","content":"`+input+`"}]}`)
		return answer{res.StatusCode, body}
	}
	under := make(chan answer, 1)
	go func() { under <- call("sim", "Wait 60s") }()
	set := func() string {
		res, body := ask(t, n, "POST", "/v1/kill_switches", `{"scope":"model","of":"sim","reason":"the provider was breached"}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(body), &made); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		return made.ID
	}
	time.Sleep(200 * time.Millisecond) // it is under way, or is refused before: both end it
	sw := set()
	for what, got := range map[string]answer{"under way": <-under, "a new one": call("sim", "hi"), "by an alias": call("alias", "hi"), "by default": call("default", "hi"), "by its provider": call("sim/sim", "hi")} {
		if got.code != 403 || !strings.Contains(got.body, "the provider was breached") {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if got := call("other", "hi"); got.code != 200 {
		t.Errorf("another model: %+v", got)
	}
	for body, param := range map[string]string{
		`{"scope":"agent","reason":"r"}`: "of", `{"scope":"project","of":"x","reason":"r"}`: "of", `{"scope":"agent","of":"x"}`: "reason", `{"scope":"all","reason":"r"}`: "scope",
	} {
		if res, got := ask(t, n, "POST", "/v1/kill_switches", body); res.StatusCode != 400 || !strings.Contains(got, `"param":"`+param+`"`) {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
	}
	if res, body := ask(t, n, "DELETE", "/v1/kill_switches/"+sw, ""); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if got := call("sim", "hi"); got.code != 200 {
		t.Errorf("after it was lifted: %+v", got)
	}
}

// What an agent left running in its environment ends with it, though no turn is under way.
func TestAKillSwitchEndsAnEnvironment(t *testing.T) {
	n := openConfigured(t, "providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\nenvironments: {driver: bare}\n", io.Discard)
	h := &house{t: t, base: n.base}
	post := func(path, body string) (id string) {
		var made struct{ ID string }
		h.get("", "POST", path, body, &made)
		return made.ID
	}
	agent := post("/v1/agents", `{"model":"sim","tools":[{"type":"environment"}]}`)
	session := post("/v1/agents/sessions", `{"agent_id":"`+agent+`","environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"echo kept > file\"}"}`)
	becomes := func(want string) {
		t.Helper()
		var e struct{ Status string }
		for begin := time.Now(); e.Status != want; time.Sleep(5 * time.Millisecond) {
			if h.get("", "GET", "/v1/agents/environments/env_"+strings.TrimPrefix(session, "sess_"), "", &e); time.Since(begin) > patience {
				t.Fatalf("the environment is %s and not %s", e.Status, want)
			}
		}
	}
	turns := func(n int) {
		t.Helper()
		var list struct{ Data []struct{ Status string } }
		for begin := time.Now(); len(list.Data) != n || list.Data[0].Status != "completed"; time.Sleep(5 * time.Millisecond) {
			if h.get("", "GET", "/v1/agents/sessions/"+session+"/turns", "", &list); time.Since(begin) > patience {
				t.Fatalf("turns: %+v", list.Data)
			}
		}
	}
	turns(1)
	becomes("connected")
	sw := post("/v1/kill_switches", `{"scope":"agent","of":"`+agent+`","reason":"it mines coins"}`)
	becomes("disconnected")
	if code, body := h.call("", "DELETE", "/v1/kill_switches/"+sw, ""); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := h.call("", "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call shell with {\"command\": \"cat file\"}"}]}`); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	turns(2)
	if _, body := h.call("", "GET", "/v1/agents/sessions/"+session+"/items", ""); !strings.Contains(string(body), "kept") {
		t.Errorf("its files are not there any more: %s", body)
	}
}

// A tool server is stopped by its host, whatever label an agent gives it; sessions are steered by what they have.
func TestAKillSwitchStopsAServerByItsHost(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "refund"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return said("refunded"), nil, nil
	})
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	defer func() { srv.CloseClientConnections(); srv.Close() }()
	n := openConfigured(t, "mcp_servers: [{label: crm, url: '"+srv.URL+"'}]\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	refund := func(label string) (id string, done bool) {
		t.Helper()
		own := `,"transport":{"type":"http","server_url":"` + srv.URL + `"}`
		if label == "crm" {
			own = ""
		}
		_, got := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"`+label+`"`+own+`}]},"metadata":{"team":"`+label+`"},"environment":{"type":"none"},"input":"Call refund with {}"}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(got), &made); err != nil || made.ID == "" {
			t.Fatal(got)
		}
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if _, got = ask(t, n, "GET", "/v1/agents/sessions/"+made.ID+"/turns", ""); strings.Contains(got, `"completed"`) || strings.Contains(got, `"failed"`) {
				_, items := ask(t, n, "GET", "/v1/agents/sessions/"+made.ID+"/items", "")
				return made.ID, strings.Contains(items, "refunded")
			}
			if time.Since(begin) > patience {
				t.Fatal("the turn does not end: " + got)
			}
		}
	}
	for _, of := range []string{"crm", "host:" + strings.TrimPrefix(srv.URL, "http://"), "host:127.0.0.1"} {
		_, got := ask(t, n, "POST", "/v1/kill_switches", `{"scope":"tool","of":"`+of+`","reason":"it pays strangers"}`)
		var sw struct{ ID string }
		if err := json.Unmarshal([]byte(got), &sw); err != nil || sw.ID == "" {
			t.Fatal(got)
		}
		for _, label := range []string{"crm", "shop", "shop2"} {
			if _, done := refund(label); done {
				t.Errorf("%s is stopped, and %s refunds", of, label)
			}
		}
		ask(t, n, "DELETE", "/v1/kill_switches/"+sw.ID, "")
	}
	if _, done := refund("shop"); !done {
		t.Error("what was lifted is stopped")
	}
	for filter, want := range map[string]int{`{"tool":"shop"}`: 4, `{"tool":"shop","labels":{"team":"shop"}}`: 4, `{"tool":"shop","labels":{"team":"crm"}}`: 0, `{"model":"sim"}`: 10, `{"model":"else"}`: 0, `{"tool":"crm","model":"sim"}`: 3} {
		_, got := ask(t, n, "POST", "/v1/agents/sessions/control", `{"action":"pause","dry_run":true,"filter":`+filter+`}`)
		var done struct{ Matched int }
		if err := json.Unmarshal([]byte(got), &done); err != nil || done.Matched != want {
			t.Errorf("%s: %s", filter, got)
		}
		if got := fitting(t, n, filter); got != want {
			t.Errorf("listed by %s are %d, want %d", filter, got, want)
		}
	}
	if res, got := ask(t, n, "GET", "/v1/agents/sessions?labels=shop", ""); res.StatusCode != 400 || !strings.Contains(got, "labels[KEY]=VALUE") {
		t.Errorf("%d %s", res.StatusCode, got)
	}
	var out strings.Builder
	a := &app{in: strings.NewReader(""), out: &out, err: &out, env: func(string) (string, bool) { return "", false }}
	if code := a.main(t.Context(), []string{"sessions", "list", "--tool", "shop", "--model", "sim", "--label", "team=shop", "--server", n.base, "-o", "json"}); code != 0 || strings.Count(out.String(), `"object": "agent.session",`) != 4 {
		t.Errorf("the command line lists %d: %.300s", code, out.String())
	}
}

// fitting counts, in pages of three, the sessions that fit a filter of control.
func fitting(t *testing.T, n *node, filter string) (count int) {
	t.Helper()
	var f struct {
		Tool, Model string
		Labels      map[string]string
	}
	if err := json.Unmarshal([]byte(filter), &f); err != nil {
		t.Fatal(err)
	}
	q := url.Values{"limit": {"3"}}
	for name, value := range map[string]string{"tool": f.Tool, "model": f.Model} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for k, v := range f.Labels {
		q.Set("labels["+k+"]", v)
	}
	for {
		var page struct {
			Data    []struct{ ID string }
			HasMore bool   `json:"has_more"`
			LastID  string `json:"last_id"`
		}
		if err := json.Unmarshal([]byte(must(t, n, "GET", "/v1/agents/sessions?"+q.Encode(), "")), &page); err != nil {
			t.Fatal(err)
		}
		if count += len(page.Data); !page.HasMore {
			return count
		}
		q.Set("after", page.LastID)
	}
}

// What is stopped is there: names are those that other commands take, and a slip of the pen is told at once.
func TestAKillSwitchNamesWhatIsThere(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop"}, nil)
	for _, name := range []string{"refund", "look"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return said("%sed", name), nil, nil
		})
	}
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	defer func() { srv.CloseClientConnections(); srv.Close() }()
	n := openConfigured(t, "mcp_servers: [{label: shop, url: '"+srv.URL+"'}, {label: away, url: 'http://127.0.0.1:1/'}]\nproviders: [{name: sim, api: sim}]\nmodels: [{name: house, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	agent := func(name, tools string) string {
		return idOf(must(t, n, "POST", "/v1/agents", `{"model":"house","name":"`+name+`","tools":[`+tools+`]}`))
	}
	clerk := agent("clerk", `{"type":"mcp","server_label":"shop"}`)
	agent("twin", "")
	agent("twin", `{"type":"mcp","server_label":"own","transport":{"type":"http","server_url":"https://tools.example.com/mcp"}}`)
	vault := idOf(must(t, n, "POST", "/v1/vaults", `{}`))
	credential := idOf(must(t, n, "POST", "/v1/vaults/"+vault+"/credentials", `{"name":"mail","auth":{"type":"static_bearer","mcp_server_url":"https://mail.example.com/mcp","token":"t0p-s3cret-mail"}}`))
	set := func(scope, of, more string) (int, string) {
		res, body := ask(t, n, "POST", "/v1/kill_switches", `{"scope":"`+scope+`","of":"`+of+`","reason":"it pays strangers"`+more+`}`)
		return res.StatusCode, body
	}
	for _, c := range [][3]string{
		{"agent", clerk, clerk}, {"agent", "clerk", clerk}, {"model", "house", "house"}, {"model", "sim/sim", "sim/sim"}, {"model", "default", "default"}, {"tool", "shop", "shop"}, {"tool", "shop/refund", "shop/refund"},
		{"tool", "refund", "shop/refund"}, {"tool", "own", "own"}, {"tool", "own/anything", "own/anything"}, {"tool", "shell", "environment/shell"}, {"tool", "away/anything", "away/anything"},
		{"tool", "host:tools.example.com", "host:tools.example.com"}, {"credential", credential, credential}, {"credential", "mail", credential}, {"credential", vault + "/" + credential, credential}, {"user", "whoever", "whoever"},
	} {
		code, body := set(c[0], c[1], "")
		if has(t, c[0]+" "+c[1], 200, body, `"of":"`+c[2]+`"`, `"unknown":false`); code == 200 {
			must(t, n, "DELETE", "/v1/kill_switches/"+idOf(body), "")
		}
	}
	for _, c := range [][3]string{
		{"agent", "clrk", `\"clerk\"`}, {"agent", "agent_0123", "unknown: true"}, {"model", "huose", `\"house\"`}, {"tool", "shpo", `\"shop\"`}, {"tool", "shop/refnd", `\"shop/refund\"`}, {"tool", "wire_money", "unknown: true"},
		{"tool", "environment/shel", `\"environment/shell\"`}, {"credential", "mial", `\"mail\"`},
	} {
		code, body := set(c[0], c[1], "")
		if code != 400 || !strings.Contains(body, `"param":"of"`) || !strings.Contains(body, c[2]) {
			t.Errorf("%s %s: %d %s", c[0], c[1], code, body)
		}
		if code, body = set(c[0], c[1], `,"unknown":true`); code != 200 || !strings.Contains(body, `"of":"`+c[1]+`"`) || !strings.Contains(body, `"unknown":true`) {
			t.Errorf("%s %s on purpose: %d %s", c[0], c[1], code, body)
		}
	}
	if code, body := set("agent", "twin", ""); code != 409 || strings.Count(body, "agent_") != 2 {
		t.Errorf("a name of two: %d %s", code, body)
	}
	if code, body := set("tool", "host:elsewhere.example", ""); code != 200 || !strings.Contains(body, `"unknown":true`) {
		t.Errorf("a host that nothing is known of: %d %s", code, body)
	}
	_, body := set("tool", "refund", "")
	session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent_id":"`+clerk+`","environment":{"type":"none"},"input":"Call refund with {}"}`))
	idle(t, n, session)
	if got := itemsOf(t, n, session); strings.Contains(got, "refunded") || !strings.Contains(got, "it pays strangers") {
		t.Errorf("%s and the tool was called: %s", body, got)
	}
	for _, c := range []struct {
		args []string
		said string
	}{{[]string{"agent", "clerk"}, "clerk is the agent " + clerk}, {[]string{"agent", "clrk"}, "Did you mean"}, {[]string{"agent", "clrk", "--unknown"}, "Nothing that is known here is called clrk"}} {
		var out strings.Builder
		a := app{out: &out, err: &out, env: func(string) (string, bool) { return "", false }}
		a.main(t.Context(), append([]string{"kill-switches", "set", "--server", n.base, "--reason", "it deletes tickets"}, c.args...))
		if !strings.Contains(out.String(), c.said) {
			t.Errorf("%v: %s", c.args, out.String())
		}
	}
}

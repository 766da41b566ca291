package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/identity"
)

// The authorisation matrix: every route of the server's own document, and who may call it. Letters:
// Owner, oPerator, Developer, Approver, aUditor, aGent. A route without a row fails the test.

const (
	everybody = "OPDAUG"
	nobody    = "-" // open to all: the route asks for no key
)

// access says who may call a route, and with which body.
type access struct{ roles, body string }

func accessTable() map[string]access {
	const (
		reads, makes, writes, ends = everybody, "ODG", "OPDG", "OPD"
		config, configRead         = "OD", "OPDUG"
		message                    = `{"events":[{"type":"agent.session.input.message","input":"hi"}]}`
	)
	session := "/v1/agents/sessions/{id}"
	t := map[string]access{
		"POST /v1/agents": {config, `{"model":"sim"}`}, "GET /v1/agents": {reads, ""}, "GET /v1/agents/{id}": {reads, ""},
		"POST /v1/agents/{id}": {config, `{"name":"x"}`}, "DELETE /v1/agents/{id}": {config, ""},

		"POST /v1/agents/sessions": {makes, `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"hi"}`}, "GET /v1/agents/sessions": {reads, ""},
		"GET " + session: {reads, ""}, "POST " + session: {writes, `{"metadata":{}}`}, "DELETE " + session: {ends, ""},
		"POST " + session + "/events": {writes, message}, "GET " + session + "/events": {reads, ""},
		"POST " + session + "/pause": {writes, ""}, "POST " + session + "/resume": {writes, ""}, "POST " + session + "/fork": {makes, `{}`},
		"GET " + session + "/export": {reads, ""}, "POST /v1/agents/sessions/import": {makes, "{}"}, "POST /v1/agents/sessions/control": {"OP", `{"action":"resume","filter":{}}`},
		"DELETE " + session + "/artifacts/{part}": {writes, ""},
		"POST " + session + "/tokens":             {writes, `{"scope":["read"]}`}, "GET " + session + "/tokens": {"OPDUG", ""}, "DELETE " + session + "/tokens/{token}": {writes, ""},

		"POST /v1/agents/environments": {makes, `{"environment":{"type":"openai_hosted"}}`}, "GET /v1/agents/environments": {configRead, ""},
		"GET /v1/agents/environments/{id}": {configRead, ""}, "GET /v1/agents/environments/{id}/files": {configRead, ""}, "GET /v1/agents/environments/{id}/files/content": {configRead, ""},
		"POST /v1/agents/environments/{id}/files":   {writes, `{"type":"inline","path":"/workspace/a","data":"eA=="}`},
		"GET /v1/agents/environments/{id}/executor": {nobody, ""},

		"POST /v1/agents/environments/templates": {config, `{"name":"t"}`}, "GET /v1/agents/environments/templates": {configRead, ""},
		"GET /v1/agents/environments/templates/{id}": {configRead, ""}, "POST /v1/agents/environments/templates/{id}": {config, `{"name":"u"}`}, "DELETE /v1/agents/environments/templates/{id}": {config, ""},

		"POST /v1/responses": {makes, `{"model":"sim","input":"hi"}`}, "GET /v1/responses/{id}": {reads, ""}, "DELETE /v1/responses/{id}": {ends, ""},
		"POST /v1/responses/{id}/cancel":     {reads, ""}, // of one that has ended, it only reads
		"GET /v1/responses/{id}/input_items": {reads, ""},
		// Whoever may have a model called may call it: policy.ModelCall.
		"POST /v1/chat/completions": {writes, `{"model":"sim","messages":[{"role":"user","content":"hi"}]}`}, "POST /v1/embeddings": {writes, `{"model":"sim","input":"hi"}`},
		"POST /v1/responses/compact": {writes, `{"model":"sim","input":"hi"}`}, "POST /v1/responses/input_tokens": {reads, `{"model":"sim","input":"hi"}`},
		"POST /v1/conversations": {makes, `{}`}, "GET /v1/conversations/{id}": {reads, ""}, "POST /v1/conversations/{id}": {writes, `{"metadata":{}}`}, "DELETE /v1/conversations/{id}": {ends, ""},
		"POST /v1/conversations/{id}/items": {writes, `{"items":[{"role":"user","content":"x"}]}`}, "GET /v1/conversations/{id}/items": {reads, ""}, "GET /v1/conversations/{id}/items/{item}": {reads, ""}, "DELETE /v1/conversations/{id}/items/{item}": {writes, ""},

		"GET /v1/approvals": {reads, ""}, "GET /v1/approvals/{id}": {reads, ""}, "POST /v1/approvals/{id}": {"OA", `{"decision":"approve"}`},
		"POST /v1/api_keys": {"O", `{"role":"agent"}`}, "GET /v1/api_keys": {"OU", ""}, "GET /v1/api_keys/{id}": {"OU", ""}, "DELETE /v1/api_keys/{id}": {"O", ""}, "POST /v1/api_keys/{id}/rotate": {"O", "{}"},
		"GET /v1/workload_keys": {"OU", ""}, "POST /v1/workload_keys/rotate": {"O", ""},
		"GET /v1/audit_records": {"OU", ""}, "GET /v1/audit_checkpoints": {"OU", ""},
		"GET /v1/retention": {"ODPU", ""}, "POST /v1/erasures": {"OD", `{"user":"nobody-known"}`}, "GET /v1/erasures": {"OU", ""}, "GET /v1/erasures/{id}": {"OU", ""},
		"GET /v1/usage": {"OPDU", ""}, "GET /v1/usage_records": {"OPDU", ""}, "GET /v1/usage/statement": {"OPDU", ""}, "POST /v1/usage/verify": {"OPDU", `{}`},
		"GET /v1/kill_switches": {"OPDU", ""}, "GET /v1/kill_switches/{id}": {"OPDU", ""}, "POST /v1/kill_switches": {"OP", `{"scope":"agent","of":"agent_x","unknown":true,"reason":"r"}`}, "DELETE /v1/kill_switches/{id}": {"OP", ""},
		"GET /v1/budgets": {"OPDU", ""}, "GET /v1/budgets/{id}": {"OPDU", ""}, "POST /v1/budgets": {"OP", `{"scope":"project","limit":{"calls":1000000}}`},
		"POST /v1/budgets/{id}": {"OP", `{}`}, "DELETE /v1/budgets/{id}": {"OP", ""},
		"GET /v1/policies": {"ODPU", ""}, "GET /v1/policies/schema": {"ODPU", ""}, "GET /v1/routes": {reads, ""}, "GET /v1/capacity": {reads, ""}, "GET /v1/capacity/commitments": {"OPDU", ""}, "GET /v1/models": {reads, ""}, "GET /v1/models/{id}": {reads, ""}, "GET /metrics": {"", ""},
		"GET /v1/policy_sets": {"ODPU", ""}, "GET /v1/policy_sets/{id}": {"ODPU", ""}, "GET /v1/policy_sets/{id}/versions": {"ODPU", ""}, "GET /v1/policy_sets/{id}/versions/{version}": {"ODPU", ""},
		"POST /v1/policy_sets/validate": {"ODPU", `{"text":"permit(principal, action, resource);"}`},
		"POST /v1/policy_sets":          {"O", `{"name":"q","mode":"shadow","text":"permit(principal, action, resource);"}`}, "POST /v1/policy_sets/{id}": {"O", `{"description":"d","expected_version":1}`},
		"POST /v1/policy_sets/{id}/rollback": {"O", `{"version":1,"expected_version":2}`}, "DELETE /v1/policy_sets/{id}": {"O", ""},
		"GET /v1/semantic_models": {"ODPUG", ""}, "GET /v1/semantic_models/{id}": {"ODPUG", ""}, "GET /v1/semantic_models/{id}/versions": {"ODPUG", ""}, "GET /v1/semantic_models/{id}/versions/{version}": {"ODPUG", ""},
		"POST /v1/semantic_models/validate": {"ODPUG", `{"text":` + strconv.Quote(accessModel) + `}`}, "POST /v1/semantic_models/describe": {"ODPUG", `{}`},
		"POST /v1/semantic_models/query": {"ODPG", `{"entity":"thing"}`},
		"POST /v1/semantic_models":       {"O", `{"text":` + strconv.Quote(strings.NewReplacer("name: things", "name: others", "thing:", "other:").Replace(accessModel)) + `}`}, "POST /v1/semantic_models/{id}": {"O", `{"text":` + strconv.Quote(accessModel) + `,"expected_version":1}`},
		"DELETE /v1/semantic_models/{id}": {"O", ""},
		"GET /v1/model_figures":           {"OPDU", ""}, "POST /v1/models/{id}/feedback": {writes, `{"id":"turn_x","score":1}`},
		"GET /healthz": {nobody, ""}, "GET /readyz": {nobody, ""}, "GET /openapi.json": {nobody, ""},
		// A browser that an authorization server sends back has no key, nor has the user who opens a link: a sealed ticket, and a state
		// with a cookie, are the proof, each of one consent. Whoever has neither learns nothing and changes nothing.
		"GET /v1/oauth/consent": {nobody, ""}, "POST /v1/oauth/consent": {nobody, "ticket=x"}, "GET /v1/oauth/callback/{issuer}": {nobody, ""}, "GET /v1/oauth/clients/{issuer}": {nobody, ""},
		"POST /v1/oauth/token": {nobody, ""}, "GET /.well-known/jwks.json": {nobody, ""}, "GET /.well-known/openid-configuration": {nobody, ""},
	}
	stores, entries := "/v1/memory_stores", "/v1/memory_stores/{id}/memories"
	for call, body := range map[string]string{
		"POST " + stores: `{"name":"m"}`, "POST " + stores + "/{id}": `{"name":"n"}`, "DELETE " + stores + "/{id}": "",
		"POST " + entries: `{"content":"x"}`, "POST " + entries + "/batch": `{"memories":[{"content":"x"}]}`, "POST " + entries + "/{memory}": `{"content":"y"}`,
		"POST " + entries + "/{memory}/redact": `{}`, "DELETE " + entries + "/{memory}": "",
	} {
		t[call] = access{writes, body}
	}
	for _, path := range []string{"", "/{id}", "/{id}/memories", "/{id}/memories/{memory}", "/{id}/memories/{memory}/versions"} {
		t["GET "+stores+path] = access{configRead, ""}
	}
	const bearer = `"type":"static_bearer","token":"a-token-of-some-length"`
	for call, body := range map[string]string{
		"POST /v1/vaults": `{"name":"v"}`, "POST /v1/vaults/rekey": "", "POST /v1/vaults/{id}": `{"name":"w"}`, "DELETE /v1/vaults/{id}": "",
		"POST /v1/vaults/{id}/credentials": `{"name":"c","auth":{` + bearer + `,"mcp_server_url":"https://mcp.example"}}`, "POST /v1/vaults/{id}/credentials/{credential}": `{"auth":{` + bearer + `}}`,
		"DELETE /v1/vaults/{id}/credentials/{credential}": "",
	} {
		t[call] = access{ends, body}
	}
	for _, path := range []string{"", "/{id}", "/{id}/credentials", "/{id}/credentials/{credential}"} {
		t["GET /v1/vaults"+path] = access{"OPDU", ""}
	}
	t["POST "+stores+"/forget"] = access{writes, `{"filters":{"session_id":"s"}}`}
	t["POST "+stores+"/{id}/forget"] = access{writes, `{"filters":{"session_id":"s"}}`}
	t["POST "+stores+"/{id}/ingest"] = access{writes, `{"session_id":"SESSION"}`}
	t["POST "+stores+"/{id}/search"] = access{configRead, `{"query":"x"}`}
	for _, path := range []string{"/items", "/turns", "/turns/{turn}", "/turns/{turn}/items", "/subagents", "/subagents/{part}", "/subagents/{part}/items", "/subagents/{part}/turns",
		"/subagents/{part}/turns/{turn}", "/subagents/{part}/turns/{turn}/items", "/traces", "/artifacts", "/artifacts/{part}", "/artifacts/{part}/content"} {
		t["GET "+session+path] = access{reads, ""}
	}
	for _, noun := range []string{"/v1/files", "/v1/skills"} {
		t["POST "+noun], t["GET "+noun] = access{config, "form"}, access{configRead, ""}
		for _, path := range []string{"/{id}", "/{id}/content"} {
			t["GET "+noun+path] = access{configRead, ""}
		}
		t["DELETE "+noun+"/{id}"] = access{config, ""}
	}
	t["POST /v1/skills/{id}"], t["POST /v1/skills/{id}/versions"] = access{config, `{"default_version":"1"}`}, access{config, "form"}
	for _, path := range []string{"", "/{version}", "/{version}/content"} {
		t["GET /v1/skills/{id}/versions"+path] = access{configRead, ""}
	}
	vectors := "/v1/vector_stores"
	for call, body := range map[string]string{
		"POST " + vectors: `{"name":"v"}`, "POST " + vectors + "/{id}": `{"name":"w"}`, "DELETE " + vectors + "/{id}": "",
		"POST " + vectors + "/{id}/files": `{"file_id":"file_x"}`, "POST " + vectors + "/{id}/files/{file}": `{"attributes":{}}`, "DELETE " + vectors + "/{id}/files/{file}": "",
		"POST " + vectors + "/{id}/file_batches": `{"file_ids":["file_x"]}`, "POST " + vectors + "/{id}/file_batches/{batch}/cancel": "",
		"POST " + vectors + "/{id}/sources": `{"type":"directory","directory":"d"}`, "POST " + vectors + "/{id}/sources/{source}/sync": "", "DELETE " + vectors + "/{id}/sources/{source}": "",
		"POST " + vectors + "/{id}/sources/{source}": `{"access_default":"deny"}`,
		"GET " + vectors + "/{id}/sources":           "", "GET " + vectors + "/{id}/sources/{source}": "", // what they show is of all documents, whoever may read them
	} {
		t[call] = access{config, body}
	}
	for _, path := range []string{"", "/{id}", "/{id}/files", "/{id}/files/{file}", "/{id}/files/{file}/content", "/{id}/file_batches/{batch}", "/{id}/file_batches/{batch}/files"} {
		t["GET "+vectors+path] = access{configRead, ""}
	}
	t["POST "+vectors+"/{id}/search"] = access{configRead, `{"query":"x"}`}
	t["DELETE /v1/skills/{id}/versions/{version}"] = access{config, ""}
	return t
}

// house is a server with auth mode keys, and a key of each role in two projects.
type house struct {
	t    *testing.T
	base string
	root string
	keys map[string]string // role's letter → secret; "x" + letter in the other project
}

// accessModel is a semantic model that can be uploaded.
const accessModel = "name: things\nsources: {s: {database: books}}\nentities: {thing: {table: things, key: [id], attributes: {id: {type: text}}}}\n"

func letter(role string) string {
	return map[string]string{"owner": "O", "operator": "P", "developer": "D", "approver": "A", "auditor": "U", "agent": "G"}[role]
}

func openHouse(t *testing.T) *house { return openHouseWith(t, "") }

func openHouseWith(t *testing.T, more string) *house {
	t.Helper()
	empty := filepath.Join(t.TempDir(), "empty.db") // a database without tables
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	more += "semantic: {databases: [{name: books, driver: sqlite, dsn: " + strconv.Quote(empty) + ", uploads: {projects: [one, two], tables: [things]}}]}\n"
	n := openConfigured(t, more+"auth: {mode: keys}\nlimits: {drain_seconds: 1}\nsources: {directories: [{name: d, path: \""+t.TempDir()+"\", projects: [one, two]}]}\nenvironments: {driver: bare}\nidentity: {trust_domain: acme.example, issuer: \"https://stead.acme.example\"}\n"+
		"providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	for _, role := range identity.Roles() {
		for prefix, project := range map[string]string{"": "one", "x": "two"} {
			var made struct{ Secret string }
			h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"`+project+`"}`, &made)
			h.keys[prefix+letter(role)] = made.Secret
		}
	}
	return h
}

// call sends a request; body "form" is a file of one kind or the other.
func (h *house) call(key, method, path, body string) (int, []byte) {
	h.t.Helper()
	var in io.Reader
	kind := "application/json"
	switch body {
	case "":
	case "form":
		in, kind = form(path)
	default:
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.base+path, in)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, nil // it has no end
	}
	out, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, out
}

func form(path string) (io.Reader, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if strings.Contains(path, "files") {
		_ = w.WriteField("purpose", "user_data")
		f, _ := w.CreateFormFile("file", "a.txt")
		_, _ = f.Write([]byte("a"))
	} else {
		f, _ := w.CreateFormFile("files[]", "x/SKILL.md")
		_, _ = f.Write([]byte("---\nname: x\ndescription: d\n---\nhi\n"))
	}
	_ = w.Close() // a buffer takes everything
	return &b, w.FormDataContentType()
}

// get sends a request that must succeed.
func (h *house) get(key, method, path, body string, out any) {
	h.t.Helper()
	status, data := h.call(key, method, path, body)
	if status/100 != 2 {
		h.t.Fatalf("%s %s: %d %s", method, path, status, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		h.t.Fatal(err)
	}
}

// things makes one of each noun in project one, and returns how they stand in paths, and their ids.
func (h *house) things() (find func(pattern string) string, ids map[string]string) {
	ids = h.town(h.keys["O"], "mirrorone").ids
	return func(pattern string) string {
		if strings.HasPrefix(pattern, "/v1/models/{id}") {
			return strings.Replace(pattern, "{id}", "sim", 1)
		}
		if strings.Contains(pattern, "{issuer}") {
			return strings.Replace(pattern, "{issuer}", "nobody", 1)
		}
		return filled(h.t, pattern, func(_ int, noun string) string { return ids[noun] })
	}, ids
}

// request makes a session that asks for an approval, and returns the question's id.
func (h *house) request() string {
	var s struct{ ID string }
	h.get(h.keys["O"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"environment","require_approval":"always"}]},
		"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"true\"}"}`, &s)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		var list struct{ Data []struct{ ID string } }
		h.get(h.keys["O"], "GET", "/v1/approvals", "", &list)
		if len(list.Data) > 0 {
			return list.Data[0].ID
		}
	}
	h.t.Fatal("nobody is asked")
	return ""
}

// neverDone are the routes that can't succeed here, and what whoever may call them is answered.
var neverDone = map[string]int{
	"GET /v1/agents/environments/{id}/executor":      http.StatusUnauthorized, // it is for an executor's own token
	"GET /v1/agents/environments/{id}/files/content": http.StatusBadRequest,   // what is asked about is in the query
	"GET /v1/routes":                                                   http.StatusBadRequest,
	"GET /v1/usage/statement":                                          http.StatusNotFound,
	"GET /v1/agents/sessions/{id}/artifacts/{part}":                    http.StatusNotFound, // the session has none
	"GET /v1/agents/sessions/{id}/artifacts/{part}/content":            http.StatusNotFound,
	"DELETE /v1/agents/sessions/{id}/artifacts/{part}":                 http.StatusNotFound,
	"GET /v1/agents/sessions/{id}/subagents/{part}":                    http.StatusNotFound, // nor has any
	"GET /v1/agents/sessions/{id}/subagents/{part}/items":              http.StatusNotFound,
	"GET /v1/agents/sessions/{id}/subagents/{part}/turns":              http.StatusNotFound,
	"GET /v1/agents/sessions/{id}/subagents/{part}/turns/{turn}":       http.StatusNotFound,
	"GET /v1/agents/sessions/{id}/subagents/{part}/turns/{turn}/items": http.StatusNotFound,
	"POST /v1/semantic_models/query":                                   http.StatusBadRequest, // its database has no such table
	"POST /v1/agents/sessions/import":                                  http.StatusBadRequest, // of no file
	"POST /v1/responses/{id}/cancel":                                   http.StatusBadRequest, // it is not one of the background
	"DELETE /v1/skills/{id}/versions/{version}":                        http.StatusConflict,   // its only one
	"GET /v1/oauth/callback/{issuer}":                                  http.StatusNotFound,   // no consent is asked for
	"GET /v1/oauth/clients/{issuer}":                                   http.StatusNotFound,
	"GET /v1/oauth/consent":                                            http.StatusNotFound,
	"POST /v1/oauth/consent":                                           http.StatusNotFound,
	"POST /v1/oauth/token":                                             http.StatusBadRequest, // of no grant
}

// usedUp says that what a call is about can be had once: those who come later find nothing there.
func usedUp(call string) bool {
	return strings.HasPrefix(call, "DELETE") || call == "POST /v1/approvals/{id}"
}

// cell is what a role is to be answered: 2 means any success.
func cell(call string, row access, role string, first bool) int {
	status, never := neverDone[call]
	switch {
	case row.roles != nobody && !strings.Contains(row.roles, role):
		return http.StatusForbidden
	case never:
		return status
	case usedUp(call) && !first:
		return http.StatusNotFound
	}
	return 2
}

// turns orders the roles that try a call: who may not comes first, since the others use up what there is; and of
// those it is another one at each call who comes first.
func turns(n int, row access) []string {
	roles := []string{"U", "A", "G", "P", "D", "O"}
	roles = append(roles[n%len(roles):], roles[:n%len(roles)]...)
	slices.SortStableFunc(roles, func(a, b string) int {
		may := func(role string) int { return min(strings.Index(row.roles, role), 0) }
		return may(a) - may(b)
	})
	return roles
}

func TestEveryRouteAndRole(t *testing.T) {
	h := openHouse(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	h.get("", "GET", "/openapi.json", "", &doc)
	table := accessTable()
	var calls []string
	for path, methods := range doc.Paths {
		for method := range methods {
			calls = append(calls, strings.ToUpper(method)+" "+path)
		}
	}
	// What deletes comes last, so that there is something to delete.
	slices.SortFunc(calls, func(a, b string) int {
		da, db := strings.HasPrefix(a, "DELETE"), strings.HasPrefix(b, "DELETE")
		if da != db {
			return map[bool]int{true: 1, false: -1}[da]
		}
		if da {
			a, b = b, a // and what lies within something before that
		}
		return strings.Compare(a, b)
	})
	find, ids := h.things()
	named := strings.NewReplacer("file_x", ids["file"], "SESSION", ids["session"], "turn_x", ids["turn"])
	for n, call := range calls {
		row, ok := table[call]
		if !ok {
			t.Errorf("%s has no row in accessTable: say who may call it", call)
			continue
		}
		method, pattern, _ := strings.Cut(call, " ")
		path := find(pattern)
		row.body = named.Replace(row.body)
		first := true
		for _, role := range turns(n, row) {
			status, body := h.call(h.keys[role], method, path, row.body)
			want := cell(call, row, role, first)
			if status != want && status/100 != want {
				t.Errorf("%s by %s: %d %.200s, want %d", call, role, status, body, want)
			}
			first = first && want == http.StatusForbidden
		}
		// Nobody gets in without a key, and to the other project's people, who may do it there, there is nothing here.
		if status, body := h.call("", method, path, row.body); (status == http.StatusUnauthorized) == (row.roles == nobody) && status != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d %.200s", call, status, body)
		}
		if strings.Contains(pattern, "{id}") && row.roles != nobody && !strings.HasPrefix(pattern, "/v1/models") {
			for _, role := range turns(n, row) {
				status, body := h.call(h.keys["x"+role], method, path, row.body)
				may := strings.Contains(row.roles, role) // else the role may be refused before anything is looked for
				if status != http.StatusNotFound && (may || status != http.StatusForbidden) {
					t.Errorf("%s by %s of another project: %d %.200s, want 404", call, role, status, body)
				}
			}
		}
	}
	for call := range table {
		if !slices.Contains(calls, call) {
			t.Errorf("accessTable has %s, which is no route", call)
		}
	}
}

func TestABoundKeySeesItsOwnSessions(t *testing.T) {
	h := openHouse(t)
	var keys [2]string
	for i, user := range []string{"ada", "bob"} {
		var made struct{ Secret string }
		h.get(h.keys["O"], "POST", "/v1/api_keys", `{"role":"agent","bound":true,"principal":{"kind":"user","id":"`+user+`"}}`, &made)
		keys[i] = made.Secret
	}
	var s struct{ ID string }
	h.get(keys[0], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	for _, call := range []string{"GET /v1/agents/sessions/", "GET /v1/agents/sessions/%/items", "GET /v1/agents/sessions/%/traces", "POST /v1/agents/sessions/%/pause", "GET /v1/agents/sessions/%/export", "GET /v1/agents/sessions/%/events"} {
		method, path, _ := strings.Cut(call, " ")
		path = strings.TrimSuffix(strings.Replace(path+"%", "%", s.ID, 1), "%")
		if status, body := h.call(keys[1], method, path, ""); status != http.StatusNotFound {
			t.Errorf("%s by another user: %d %.200s", call, status, body)
		}
		if status, body := h.call(keys[0], method, path, ""); status/100 != 2 {
			t.Errorf("%s by its user: %d %.200s", call, status, body)
		}
	}
	for i, want := range []int{1, 0} {
		var list struct{ Data []struct{ ID string } }
		h.get(keys[i], "GET", "/v1/agents/sessions", "", &list)
		if len(list.Data) != want {
			t.Errorf("user %d sees %d sessions, want %d", i, len(list.Data), want)
		}
		user := []string{"ada", "bob"}[i]
		if h.get(h.keys["A"], "GET", "/v1/agents/sessions?user="+user, "", &list); len(list.Data) != want {
			t.Errorf("%d sessions of %s are listed, want %d", len(list.Data), user, want)
		}
		if h.get(keys[1-i], "GET", "/v1/agents/sessions?user="+user, "", &list); len(list.Data) != 0 {
			t.Errorf("another user sees %d sessions of %s", len(list.Data), user)
		}
	}
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/identity"
)

// Two projects with mirrored data. Whatever names something of one (an id in the path, a part of something, a cursor, a filter, an id in
// a body, a digest) is tried with the other's key, and answered to the byte as a name that there never was. Nothing that the other is
// told has an id or a text of the first, and the first is as it was.

// town is one project's data: an id of each noun.
type town struct {
	key string
	ids map[string]string
}

// nounOf says what an id in a path is of: by the path before it and its name.
var nounOf = []struct{ path, noun string }{
	{"/v1/agents/sessions/{id}/turns/{turn}", "turn"}, {"/v1/agents/sessions/{id}/tokens/{token}", "token"}, {"/v1/agents/sessions/{id}/artifacts/{part}", "artifact"},
	{"/v1/agents/sessions/{id}/subagents/{part}/turns/{turn}", "turn"}, {"/v1/agents/sessions/{id}/subagents/{part}", "subagent"},
	{"/v1/agents/sessions/{id}", "session"}, {"/v1/agents/environments/templates/{id}", "template"}, {"/v1/agents/environments/{id}", "environment"}, {"/v1/agents/{id}", "agent"},
	{"/v1/responses/{id}", "response"}, {"/v1/conversations/{id}/items/{item}", "conversation item"}, {"/v1/conversations/{id}", "conversation"}, {"/v1/approvals/{id}", "approval"},
	{"/v1/files/{id}", "file"}, {"/v1/skills/{id}/versions/{version}", "version"}, {"/v1/skills/{id}", "skill"}, {"/v1/api_keys/{id}", "key"}, {"/v1/budgets/{id}", "budget"},
	{"/v1/kill_switches/{id}", "kill switch"}, {"/v1/erasures/{id}", "erasure"}, {"/v1/policy_sets/{id}/versions/{version}", "version"}, {"/v1/policy_sets/{id}", "policy set"},
	{"/v1/semantic_models/{id}/versions/{version}", "version"}, {"/v1/semantic_models/{id}", "semantic model"},
	{"/v1/memory_stores/{id}/memories/{memory}", "memory"}, {"/v1/memory_stores/{id}", "memory store"}, {"/v1/vaults/{id}/credentials/{credential}", "credential"}, {"/v1/vaults/{id}", "vault"},
	{"/v1/vector_stores/{id}/files/{file}", "attached file"}, {"/v1/vector_stores/{id}/file_batches/{batch}", "batch"}, {"/v1/vector_stores/{id}/sources/{source}", "source"}, {"/v1/vector_stores/{id}", "vector store"},
}

// ofNoProject are the routes with an id in the path that is of the server.
var ofNoProject = []string{"/v1/models/{id}", "/v1/models/{id}/feedback", "/v1/oauth/callback/{issuer}"}

// bodyIDs are ids in bodies: a call, a body with %s, and of which noun the id is. They are tried in this order, and then with ids of one's
// own, which must be answered otherwise than nobody's, so that each row proves something.
var bodyIDs = []bodyID{
	{"POST /v1/agents/sessions", `{"agent_id":"%s","environment":{"type":"none"},"input":"hi"}`, "agent"},
	{"POST /v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"hi","vault_ids":["%s"]}`, "vault"},
	{"POST /v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted","environment_template_id":"%s"}}`, "template"},
	{"POST /v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted","files":[{"type":"file_id","file_id":"%s","path":"/workspace/a"}]}}`, "file"},
	{"POST /v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted","skills":[{"type":"skill_reference","skill_id":"%s"}]}}`, "skill"},
	{"POST /v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted","environment_id":"%s"}}`, "free environment"},
	{"POST /v1/agents/environments", `{"environment":{"type":"openai_hosted","environment_template_id":"%s"}}`, "template"},
	{"POST /v1/agents/environments/{id}/files", `{"type":"file_id","file_id":"%s","path":"/workspace/b"}`, "file"},
	{"POST /v1/approvals/{id}", `{"decision":"approve","digest":"%s"}`, "digest"},
	{"POST /v1/agents/sessions/{id}/events", `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"%s","response":{"type":"mcp_tool_call","decision":"approve"}}]}`, "other approval"},
	{"POST /v1/agents/sessions/{id}/fork", `{"item_id":"%s"}`, "item"},
	{"POST /v1/agents/sessions/control", `{"action":"pause","filter":{"agent_id":"%s"}}`, "agent"},
	{"POST /v1/responses", `{"model":"sim","input":"hi","previous_response_id":"%s"}`, "response"},
	{"POST /v1/responses", `{"model":"sim","input":"hi","conversation":"%s"}`, "conversation"},
	{"POST /v1/responses", `{"model":"sim","input":"hi","tools":[{"type":"file_search","vector_store_ids":["%s"]}]}`, "vector store"},
	{"POST /v1/responses", `{"model":"sim","input":[{"role":"user","content":[{"type":"input_file","file_id":"%s"}]}]}`, "file"},
	{"POST /v1/responses/input_tokens", `{"model":"sim","input":"hi","previous_response_id":"%s"}`, "response"},
	{"POST /v1/responses/input_tokens", `{"model":"sim","input":"hi","conversation":"%s"}`, "conversation"},
	{"POST /v1/responses/compact", `{"model":"sim","input":"hi","previous_response_id":"%s"}`, "response"},
	{"POST /v1/models/sim/feedback", `{"id":"%s","score":1}`, "turn"},
	{"POST /v1/models/sim/feedback", `{"id":"%s","score":1}`, "response"},
	{"POST /v1/memory_stores/{id}/search", `{"query":"mirror","filters":{"session_id":"%s"}}`, "session"},
	{"POST /v1/memory_stores/{id}/memories", `{"content":"x","supersedes":"%s"}`, "memory"},
	{"POST /v1/memory_stores/{id}/memories/batch", `{"memories":[{"content":"x","supersedes":"%s"}]}`, "memory"},
	{"POST /v1/memory_stores/forget", `{"filters":{"session_id":"%s"}}`, "session"},
	{"POST /v1/memory_stores/{id}/ingest", `{"session_id":"%s"}`, "session"},
	{"POST /v1/memory_stores/{id}/forget", `{"filters":{"session_id":"%s"}}`, "session"},
	{"POST /v1/vector_stores", `{"name":"v","file_ids":["%s"]}`, "file"},
	{"POST /v1/vector_stores/{id}/files", `{"file_id":"%s"}`, "file"},
	{"POST /v1/vector_stores/{id}/file_batches", `{"file_ids":["%s"]}`, "file"},
	{"POST /v1/erasures", `{"session_id":"%s"}`, "session"},
}

type bodyID struct{ call, body, noun string }

// queryIDs are the query parameters that name something, and what nouns those can be; none: what the list itself shows.
var queryIDs = map[string][]string{
	"after": nil, "before": nil, "starting_after": nil, "agent_id": {"agent"}, "session_id": {"session"}, "user": {"user"}, "project": {"project"}, "principal": {"principal"}, "resource": {"session", "memory store", "vault"},
	"turn_id": {"turn"}, "environment_id": {"environment"}, "label": {"label"}, "metadata": {"label"},
	"without_label": {"label"}, "written_by": {"principal"},
}

// plainQuery are those that name nothing of a project.
var plainQuery = []string{"action", "decision", "at", "capped", "month", "from", "to", "kind", "status", "provider", "model", "group_by", "ticket", "state", "code", "error", "iss", "format", "stream",
	"calls", "filter", "limit", "order", "purpose", "version", "include_obfuscation", "type", "page", "path", "scope", "until", "as_of", "tool", "labels"}

// made is the id of what a call makes.
func (h *house) made(key, method, path, body string) string {
	h.t.Helper()
	var out struct{ ID string }
	h.get(key, method, path, body, &out)
	return out.ID
}

// first waits for a list to have something, and returns the first one's field.
func (h *house) first(key, path, field string) string {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		var list struct{ Data []map[string]any }
		if h.get(key, "GET", path, "", &list); len(list.Data) > 0 {
			return list.Data[0][field].(string)
		}
	}
	h.t.Fatalf("GET %s lists nothing", path)
	return ""
}

// town makes a project's data by its owner's key; name stands in its texts.
func (h *house) town(key, name string) *town {
	h.t.Helper()
	ids := map[string]string{"subagent": "part_1", "artifact": "part_1", "version": "1", "principal": "user:" + name + "-user", "label": "of=" + name, "user": name + "-user", "project": map[string]string{"mirrorone": "one", "mirrortwo": "two"}[name]}
	mk := func(noun, path, body string) string {
		ids[noun] = h.made(key, "POST", path, body)
		return ids[noun]
	}
	session := mk("session", "/v1/agents/sessions", `{"agent":{"model":"sim"},"metadata":{"of":"`+name+`"},"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"mkdir -p outputs /workspace/outputs; echo `+name+` > /workspace/outputs/a.txt\"}"}`)
	h.idle(key, session)
	sessions := "/v1/agents/sessions/" + session
	ids["turn"], ids["item"] = h.first(key, sessions+"/turns", "id"), h.first(key, sessions+"/items", "id")
	ids["environment"] = "env_" + strings.TrimPrefix(session, "sess_")
	mk("free environment", "/v1/agents/environments", `{"environment":{"type":"openai_hosted"}}`)
	ids["token"] = h.token(key, session, `{"scope":["read"]}`).ID
	const waits = `{"agent":{"model":"sim","tools":[{"type":"environment","require_approval":"always"}]},"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"true\"}"}`
	for _, noun := range []string{"approval", "other approval"} {
		waiting := h.made(key, "POST", "/v1/agents/sessions", waits)
		var s struct {
			RequiredActions []struct {
				RequestID string `json:"request_id"`
				Request   struct{ Digest string }
			} `json:"required_actions"`
		}
		for until := time.Now().Add(20 * time.Second); len(s.RequiredActions) == 0 && time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			h.get(key, "GET", "/v1/agents/sessions/"+waiting, "", &s)
		}
		if len(s.RequiredActions) == 0 {
			h.t.Fatal("nobody is asked")
		}
		ids[noun], ids["digest"], ids["waiting session"] = s.RequiredActions[0].RequestID, cmp.Or(ids["digest"], s.RequiredActions[0].Request.Digest), waiting
	}
	mk("agent", "/v1/agents", `{"model":"sim","name":"`+name+`"}`)
	mk("template", "/v1/agents/environments/templates", `{"name":"`+name+`"}`)
	mk("conversation", "/v1/conversations", `{"items":[{"role":"user","content":"`+name+`"}]}`)
	ids["conversation item"] = h.first(key, "/v1/conversations/"+ids["conversation"]+"/items", "id")
	mk("response", "/v1/responses", `{"model":"sim","input":"Say `+name+`"}`)
	mk("file", "/v1/files", "form")
	mk("skill", "/v1/skills", "form")
	mk("key", "/v1/api_keys", `{"role":"agent","name":"`+name+`"}`)
	mk("budget", "/v1/budgets", `{"scope":"project","limit":{"calls":1000000}}`)
	mk("kill switch", "/v1/kill_switches", `{"scope":"agent","of":"agent_nobody","unknown":true,"reason":"`+name+`"}`)
	mk("erasure", "/v1/erasures", `{"user":"nobody-of-`+name+`"}`)
	mk("policy set", "/v1/policy_sets", `{"name":"`+name+`","mode":"shadow","text":"permit(principal, action, resource);"}`)
	things := accessModel // as the bodies of accessTable name it
	if name != "mirrorone" {
		things = strings.Replace(things, "name: things", "name: "+name, 1)
	}
	mk("semantic model", "/v1/semantic_models", `{"text":`+strconv.Quote(things)+`}`)
	mk("vault", "/v1/vaults", `{"name":"`+name+`"}`)
	mk("credential", "/v1/vaults/"+ids["vault"]+"/credentials", `{"name":"c","auth":{"type":"static_bearer","token":"a-token-of-`+name+`","mcp_server_url":"https://mcp.example"}}`)
	mk("memory store", "/v1/memory_stores", `{"name":"`+name+`"}`)
	mk("memory", "/v1/memory_stores/"+ids["memory store"]+"/memories", `{"content":"the mirror of `+name+`","source":{"session_id":"`+session+`","item_id":"`+ids["item"]+`"}}`)
	mk("vector store", "/v1/vector_stores", `{"name":"`+name+`"}`)
	mk("source", "/v1/vector_stores/"+ids["vector store"]+"/sources", `{"type":"directory","directory":"d"}`)
	mk("attached file", "/v1/vector_stores/"+ids["vector store"]+"/files", `{"file_id":"`+ids["file"]+`"}`)
	mk("batch", "/v1/vector_stores/"+ids["vector store"]+"/file_batches", `{"file_ids":["`+ids["file"]+`"]}`)
	for range 2000 { // nothing moves by itself any more
		var e, f, b struct{ Status string }
		h.get(key, "GET", "/v1/erasures/"+ids["erasure"], "", &e)
		h.get(key, "GET", "/v1/vector_stores/"+ids["vector store"]+"/files/"+ids["attached file"], "", &f)
		h.get(key, "GET", "/v1/vector_stores/"+ids["vector store"]+"/file_batches/"+ids["batch"], "", &b)
		if e.Status == "completed" && f.Status != "in_progress" && b.Status != "in_progress" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return &town{key: key, ids: ids}
}

var hexes = regexp.MustCompile(`[0-9a-f]{16,}`)

// nobodys is an id of the same form that nothing has.
func nobodys(id string) string {
	if !hexes.MatchString(id) { // it has a name
		return id + "-nobodys"
	}
	return hexes.ReplaceAllStringFunc(id, func(digits string) string {
		last := len(digits) - 8
		return digits[:last] + strings.Map(func(r rune) rune { return rune("fedcba9876543210"[strings.IndexRune("0123456789abcdef", r)]) }, digits[last:])
	})
}

var blanks = regexp.MustCompile(`\{[a-z]+\}`)

// filled puts ids into a route's path, in order.
func filled(t *testing.T, pattern string, of func(n int, noun string) string) string {
	t.Helper()
	out, last := "", 0
	for n, at := range blanks.FindAllStringIndex(pattern, -1) {
		noun := ""
		for _, x := range nounOf {
			if x.path == pattern[:at[1]] {
				noun = x.noun
			}
		}
		if noun == "" {
			t.Errorf("%s: it is not known of what the id in %s is: give nounOf a row", pattern, pattern[:at[1]])
			return ""
		}
		out += pattern[last:at[0]] + url.PathEscape(of(n, noun))
		last = at[1]
	}
	return out + pattern[last:]
}

// alike is an answer without what two requests may differ in: the id that was asked for, new ids and times.
func alike(status int, body []byte, sent string) string {
	text := string(body)
	if sent != "" {
		text = strings.ReplaceAll(text, sent, "SENT")
		if len(sent) > 80 {
			text = strings.ReplaceAll(text, sent[:80], "SENT")
		}
	}
	text = hexes.ReplaceAllString(text, "HEX")
	return fmt.Sprint(status, " ", regexp.MustCompile(`[0-9]{10,}`).ReplaceAllString(text, "TIME"))
}

// mirrors is the fuzzer: a house with two towns, of which the second tries what the first has.
type mirrors struct {
	*house
	one, two *town
	tries    int
}

// tells fails the test where an answer has an id or a text of the first town that was not sent.
func (m *mirrors) tells(what, sent string, body []byte) {
	m.t.Helper()
	text := string(body)
	if sent != "" {
		text = strings.ReplaceAll(text, sent, "")
	}
	for noun, id := range m.one.ids {
		if len(id) > 12 && noun != "digest" && strings.Contains(text, id) && sent != id && !strings.Contains(sent, strings.TrimLeft(id, "abcdefghijklmnopqrstuvwxyz_")) {
			m.t.Errorf("%s tells the other project's %s %s: %.300s", what, noun, id, body)
		}
	}
	if strings.Contains(text, "mirrorone") && !strings.Contains(sent, "mirrorone") {
		m.t.Errorf("%s tells a text of the other project: %.300s", what, body)
	}
}

// try sends a request twice by the second town: with an id of the first, and with one of nobody. The answers must be the same.
func (m *mirrors) try(key, method string, request func(id string) (path, body string), noun, id string) {
	m.t.Helper()
	m.tries++
	other := nobodys(id)
	path, body := request(id)
	status, said := m.call(key, method, path, body)
	path2, body2 := request(other)
	status2, said2 := m.call(key, method, path2, body2)
	what := method + " " + path + " " + body
	if a, b := alike(status, said, id), alike(status2, said2, other); a != b {
		m.t.Errorf("%s with the other project's %s is answered %.400s\nwith nobody's %.400s", what, noun, a, b)
	}
	m.tells(what, id, said)
}

// paths tries the ids of a route's path: the first one alone, and each inner one within what is the second town's own.
func (m *mirrors) paths(key, method, pattern, body string) {
	count := strings.Count(pattern, "{")
	for foreign := range count {
		var noun, id string
		filled(m.t, pattern, func(n int, of string) string {
			if n == foreign {
				noun, id = of, m.one.ids[of]
			}
			return m.one.ids[of]
		})
		if id == "" || id == m.two.ids[noun] || foreign > 0 && !hexes.MatchString(id) { // versions are numbers
			continue
		}
		place := func(id string) string {
			return filled(m.t, pattern, func(n int, of string) string {
				switch {
				case n == foreign:
					return id
				case n < foreign:
					return m.two.ids[of]
				}
				return cmp.Or(m.one.ids[of], m.two.ids[of])
			})
		}
		if strings.Contains(place(id)+"/", "//") {
			continue // these two have none of it
		}
		m.try(key, method, func(id string) (string, string) { return place(id), body }, noun, id)
	}
}

// lists tries a list's cursors and filters, and what it shows.
func (m *mirrors) lists(key, pattern string, query []string) {
	own := filled(m.t, pattern, func(_ int, noun string) string { return m.two.ids[noun] })
	if strings.Contains(own+"/", "//") {
		return
	}
	theirs := filled(m.t, pattern, func(_ int, noun string) string { return m.one.ids[noun] })
	_, body := m.call(key, "GET", own, "")
	m.tells("GET "+own, "", body)
	mine := string(body)
	var list struct{ Data []struct{ ID string } }
	_, body = m.call(m.one.key, "GET", theirs, "")
	_ = json.Unmarshal(body, &list) // what is no list has no cursors
	for _, name := range query {
		nouns, names := queryIDs[name]
		if !names && !slices.Contains(plainQuery, name) {
			m.t.Errorf("GET %s: it is not known what the query parameter %s names: give queryIDs or plainQuery an entry", pattern, name)
		}
		for _, noun := range nouns {
			if m.one.ids[noun] == "" { // it is nobody's own
				continue
			}
			m.try(key, "GET", func(id string) (string, string) { return own + "?" + name + "=" + url.QueryEscape(id), "" }, noun, m.one.ids[noun])
		}
		if names && nouns == nil && len(list.Data) > 0 && hexes.MatchString(list.Data[0].ID) && !strings.Contains(mine, list.Data[0].ID) {
			m.cursor(key, own, name, list.Data[0].ID)
		}
	}
}

// cursor goes on behind an id of the first town. A cursor is a place, and no thing: an id before all of the second's and one behind all
// are answered each by that place.
func (m *mirrors) cursor(key, path, name, id string) {
	m.try(key, "GET", func(id string) (string, string) { return path + "?limit=100&" + name + "=" + url.QueryEscape(id), "" }, "cursor", id)
}

// routes are those of the server's own document, with the query parameters of each.
func (h *house) routes() map[string][]string {
	h.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Ref string `json:"$ref"`
			}
		}
		Components struct {
			Parameters map[string]struct{ Name, In string }
		}
	}
	h.get("", "GET", "/openapi.json", "", &doc)
	out := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			call := strings.ToUpper(method) + " " + path
			out[call] = []string{}
			for _, p := range op.Parameters {
				if c := doc.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]; c.In == "query" {
					out[call] = append(out[call], c.Name)
				}
			}
		}
	}
	return out
}

// volatile are what changes by being looked at, or by the other project's requests to the server as a whole.
var volatile = []string{"/v1/audit_records", "/v1/audit_checkpoints", "/v1/api_keys", "/v1/api_keys/{id}", "/metrics", "/v1/usage", "/v1/usage/statement", "/v1/usage_records",
	"/v1/model_figures", "/v1/capacity", "/v1/agents/sessions/{id}/events", "/v1/agents/sessions/{id}/export", "/v1/capacity/commitments", "/v1/agents/environments/{id}/executor"}

// nothingThere are the routes of what this server has none of.
var nothingThere = []string{"/subagents/{part}", "/environments/{id}/files/content", "/artifacts/{part}"}

// seen is all that a town's owner can read of it. What can't be read proves nothing, and fails the test.
func (m *mirrors) seen(of *town, routes map[string][]string) map[string]string {
	out := map[string]string{}
	for call := range routes {
		pattern, get := strings.CutPrefix(call, "GET ")
		if !get || slices.Contains(volatile, pattern) || slices.Contains(ofNoProject, pattern) || accessTable()[call].roles == nobody {
			continue
		}
		path := filled(m.t, pattern, func(_ int, noun string) string { return of.ids[noun] })
		if pattern == "/v1/routes" {
			path += "?model=sim"
		}
		status, body := m.call(of.key, "GET", path, "")
		if status != http.StatusOK && !slices.ContainsFunc(nothingThere, func(part string) bool { return strings.Contains(pattern, part) }) {
			m.t.Errorf("%s with ids of its own is answered %d %.300s", call, status, body)
		}
		out[call] = fmt.Sprint(status, " ", string(body))
	}
	return out
}

// resting is what is seen of a town once nothing in it moves by itself any more.
func (m *mirrors) resting(of *town, routes map[string][]string) map[string]string {
	m.t.Helper()
	seen := m.seen(of, routes)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		time.Sleep(100 * time.Millisecond) // polls with a deadline
		again := m.seen(of, routes)
		if maps.Equal(seen, again) {
			return seen
		}
		seen = again
	}
	m.t.Fatal("the first town does not come to rest")
	return nil
}

// bodies tries ids in bodies, and then the second town's own: where that is answered as nobody's is, the row proves nothing.
func (m *mirrors) bodies(key string) {
	send := func(b bodyID) (method, path string) {
		method, pattern, _ := strings.Cut(b.call, " ")
		at := func(_ int, noun string) string {
			if noun == "session" && b.noun == "other approval" {
				return m.two.ids["waiting session"]
			}
			return m.two.ids[noun]
		}
		if strings.Contains(pattern, "/models/sim/") {
			return method, pattern
		}
		return method, filled(m.t, pattern, at)
	}
	for _, b := range bodyIDs {
		if m.one.ids[b.noun] == "" {
			continue
		}
		method, path := send(b)
		m.try(key, method, func(id string) (string, string) { return path, fmt.Sprintf(b.body, id) }, b.noun, m.one.ids[b.noun])
	}
	for _, b := range bodyIDs {
		own := m.two.ids[b.noun]
		if m.one.ids[b.noun] == "" {
			continue
		}
		method, path := send(b)
		status, said := m.call(key, method, path, fmt.Sprintf(b.body, own))
		status2, said2 := m.call(key, method, path, fmt.Sprintf(b.body, nobodys(own)))
		if status != http.StatusForbidden && alike(status, said, own) == alike(status2, said2, nobodys(own)) {
			m.t.Errorf("%s %s: with an id of its own it is answered as with nobody's: %d %.300s", b.call, b.body, status, said)
		}
	}
}

func TestMirroredProjects(t *testing.T) {
	h := openHouse(t)
	m := &mirrors{house: h, one: h.town(h.keys["O"], "mirrorone"), two: h.town(h.keys["xO"], "mirrortwo")}
	routes, table := h.routes(), accessTable()
	before := m.resting(m.one, routes)
	each := func(do func(method, pattern, body string)) {
		for _, call := range slices.Sorted(maps.Keys(routes)) {
			row, ok := table[call]
			if !ok {
				t.Errorf("%s has no row in accessTable: it is not tried", call)
			}
			method, pattern, _ := strings.Cut(call, " ")
			if ok && row.roles != nobody && !slices.Contains(ofNoProject, pattern) {
				do(method, pattern, row.body)
			}
		}
	}
	each(func(method, pattern, _ string) { // before anything of the first was named
		if method == "GET" && pattern != "/metrics" && !strings.HasSuffix(pattern, "/events") {
			m.lists(m.two.key, pattern, routes[method+" "+pattern])
		}
	})
	each(func(method, pattern, body string) { m.paths(m.two.key, method, pattern, body) })
	m.bodies(m.two.key)
	m.unchanged(before)
	t.Logf("%d names were tried", m.tries)
}

// unchanged fails the test where the first town is not as it was.
func (m *mirrors) unchanged(before map[string]string) {
	m.t.Helper()
	for call, was := range before {
		if now := m.seen(m.one, map[string][]string{call: nil})[call]; now != was {
			m.t.Errorf("%s of the first was %.600s\nand is now %.600s", call, was, now)
		}
	}
}

// bound makes a key of a user's that is bound to them.
func (h *house) bound(owner, role, user string) string {
	h.t.Helper()
	var made struct{ Secret string }
	h.get(owner, "POST", "/v1/api_keys", `{"role":"`+role+`","bound":true,"principal":{"kind":"user","id":"`+user+`"}}`, &made)
	return made.Secret
}

// mine makes what a user has in a project with a key of theirs that is bound: the rest is everybody's, as owner has it.
func (h *house) mine(owner *town, user string) *town {
	h.t.Helper()
	key, ids := h.bound(owner.key, string(identity.Agent), user), maps.Clone(owner.ids)
	for _, noun := range []string{"approval", "other approval", "digest", "waiting session", "free environment", "token"} {
		delete(ids, noun)
	}
	session := h.made(key, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted"},"input":"Say `+user+`"}`)
	h.idle(key, session)
	sessions := "/v1/agents/sessions/" + session
	ids["session"], ids["environment"], ids["user"] = session, "env_"+strings.TrimPrefix(session, "sess_"), user
	ids["turn"], ids["item"] = h.first(key, sessions+"/turns", "id"), h.first(key, sessions+"/items", "id")
	ids["token"] = h.token(key, session, `{"scope":["read"]}`).ID
	ids["conversation"] = h.made(key, "POST", "/v1/conversations", `{"items":[{"role":"user","content":"`+user+`"}]}`)
	ids["conversation item"] = h.first(key, "/v1/conversations/"+ids["conversation"]+"/items", "id")
	ids["response"] = h.made(key, "POST", "/v1/responses", `{"model":"sim","input":"Say `+user+`"}`)
	ids["memory"] = h.made(key, "POST", "/v1/memory_stores/"+ids["memory store"]+"/memories", `{"content":"the mirror of `+user+`","scope":{"type":"user","id":"`+user+`"},"source":{"session_id":"`+session+`","item_id":"`+ids["item"]+`"}}`)
	ids["file"] = h.made(h.bound(owner.key, string(identity.Developer), user), "POST", "/v1/files", "form")
	ids["budget"] = h.made(owner.key, "POST", "/v1/budgets", `{"name":"the purse of `+user+`","scope":"user","of":"`+user+`","limit":{"calls":1000}}`)
	return &town{key: key, ids: ids}
}

// TestMirroredUsers is the same within a project, by keys of every role that are bound to another user.
func TestMirroredUsers(t *testing.T) {
	h := openHouse(t)
	all := h.town(h.keys["O"], "mirrortwo") // whose texts everybody may see
	m := &mirrors{house: h, one: h.mine(all, "mirrorone-ada"), two: h.mine(all, "bob")}
	for noun, id := range m.two.ids {
		if m.one.ids[noun] == id {
			delete(m.one.ids, noun) // it is nobody's own
		}
	}
	shared := maps.Clone(all.ids)
	routes, table := h.routes(), accessTable()
	watched := map[string][]string{}
	for call := range routes {
		if strings.HasPrefix(call, "GET /v1/agents/sessions/{id}") || strings.HasPrefix(call, "GET /v1/conversations/") || strings.HasPrefix(call, "GET /v1/responses/") {
			watched[call] = nil
		}
	}
	ada := &town{key: m.one.key, ids: maps.Clone(shared)}
	maps.Copy(ada.ids, m.one.ids)
	before := m.resting(ada, watched)
	for _, role := range identity.Roles() {
		key := m.two.key
		if role != string(identity.Agent) {
			key = h.bound(all.key, role, "bob")
		}
		for _, call := range slices.Sorted(maps.Keys(routes)) {
			method, pattern, _ := strings.Cut(call, " ")
			if row := table[call]; row.roles != nobody && !slices.Contains(ofNoProject, pattern) {
				m.paths(key, method, pattern, row.body)
				if method == "GET" && pattern != "/metrics" && !strings.HasSuffix(pattern, "/events") {
					m.lists(key, pattern, routes[call])
				}
			}
		}
	}
	m.bodies(m.two.key)
	for call, was := range before {
		if now := m.seen(ada, map[string][]string{call: nil})[call]; now != was {
			t.Errorf("%s of the first was %.600s\nand is now %.600s", call, was, now)
		}
	}
	t.Logf("%d names were tried", m.tries)
}

package server

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
)

// memoryDoor is a door with the real service of memory over SQLite, and one store.
func memoryDoor(t *testing.T) (*door, string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := open(t, filled(), func(c *Config) {
		c.Memory = memory.NewService(memory.Config{Documents: s, Store: s, Policy: policy.AllowLocal{}, Now: time.Now})
	})
	res, body := d.call("POST", "/v1/memory_stores", `{"name":"notes","description":"of the team","metadata":{"a":"b"}}`)
	return d, "/v1/memory_stores/" + d.id(200, res, body)
}

func TestMemoryStores(t *testing.T) {
	d, store := memoryDoor(t)
	d.says("GET "+store, "", 200, `"object":"memory_store"`, `"name":"notes"`, `"metadata":{"a":"b"}`)
	d.says("POST "+store, `{"description":null}`, 200, `"description":""`, `"name":"notes"`)
	d.says("GET /v1/memory_stores", "", 200, `"has_more":false`, `"name":"notes"`)
	d.says("POST /v1/memory_stores", `{}`, 400, `"param":"name"`)
	d.says("DELETE "+store, "", 200, `"object":"memory_store.deleted"`)
	d.says("GET "+store, "", 404)
	d.says("POST "+store+"/search", `{"query":"x"}`, 404)
}

func TestMemoriesAreAddedFoundChangedAndForgotten(t *testing.T) {
	d, store := memoryDoor(t)
	res, body := d.call("POST", store+"/memories", `{"content":"The deploy window is on Tuesdays","kind":"fact","labels":["ops"],"scope":{"type":"team","id":"sre"},"source":{"author":"Ada","at":1700000000}}`, "Idempotency-Key: k")
	id := d.id(200, res, body)
	res, body = d.call("POST", store+"/memories", `{"content":"The deploy window is on Tuesdays","kind":"fact","labels":["ops"],"scope":{"type":"team","id":"sre"},"source":{"author":"Ada","at":1700000000}}`, "Idempotency-Key: k")
	if again := d.id(200, res, body); again != id {
		t.Errorf("the same request made %s and %s", id, again)
	}
	d.says("POST "+store+"/memories/batch", `{"memories":[{"content":"Lunch is at noon"},{"content":"The garden has roses"}]}`, 200, `"Lunch is at noon"`, `"confidence":1`)
	d.says("GET "+store+"/memories?limit=2", "", 200, `"has_more":true`)
	found := d.says("POST "+store+"/search", `{"query":"when do we deploy?","limit":1,"explain":true,"filters":{"labels":["ops"],"scopes":[{"type":"team","id":"sre"}]}}`, 200,
		`"object":"memory.search"`, id, `"explain":{`, `"deploi"`)
	var hits wireHits
	if err := json.Unmarshal([]byte(found), &hits); err != nil || len(hits.Data) != 1 || hits.Data[0].Score <= 0 {
		t.Errorf("found %s (%v)", found, err)
	}
	d.says("POST "+store+"/search", `{"query":"deploy","filters":{"scopes":[{"type":"user","id":"sre"}]}}`, 200, `"data":[]`)

	one := store + "/memories/" + id
	res, _ = d.call("GET", one, "")
	if tag := res.Header.Get("ETag"); tag != `"1"` {
		t.Errorf("ETag %s", tag)
	}
	d.says("POST "+one, `{"content":"The deploy window is on Mondays","expected_version":1}`, 200, `"version":2`, `"labels":["ops"]`)
	d.says("POST "+one, `{"content":"x","expected_version":1}`, 409, "at version 2, not 1")
	if res, _ := d.call("DELETE", one, "", `If-Match: "1"`); res.StatusCode != 409 {
		t.Errorf("an old version was deleted: %d", res.StatusCode)
	}
	d.says("GET "+one+"/versions", "", 200, "Mondays", "Tuesdays")
	d.says("POST "+one+"/redact", "", 200, `"redacted":true`, `"content":""`)
	if got := d.says("GET "+one+"/versions", "", 200); strings.Contains(got, "days") {
		t.Errorf("redacted, and still there: %s", got)
	}
	d.says("DELETE "+one, "", 200, `"object":"memory.deleted"`)
	d.says("GET "+one, "", 404)
	d.says("POST "+store+"/search", `{"query":"deploy window"}`, 200, `"data":[]`)
}

// A search gives the entries before and after each hit when it is asked to, and says what had no room.
func TestMemorySearchGivesContext(t *testing.T) {
	d, store := memoryDoor(t)
	d.says("POST "+store+"/memories/batch", `{"memories":[{"content":"good morning","kind":"item","source":{"session_id":"s","index":1}},
		{"content":"the zeppelin landed","kind":"item","source":{"session_id":"s","index":2}},{"content":"oh nice","kind":"item","source":{"session_id":"s","index":3}}]}`, 200)
	got := d.says("POST "+store+"/search", `{"query":"zeppelin","limit":1,"context":2,"explain":true}`, 200, `"context":[{"memory":{`, `"place":-1`, `"place":1`, `"left_out":0`)
	var hits wireHits
	if err := json.Unmarshal([]byte(got), &hits); err != nil || len(hits.Data) != 1 || len(*hits.Data[0].Context) != 2 {
		t.Fatalf("found %s (%v)", got, err)
	}
	if near := *hits.Data[0].Context; near[0].Memory.Content != "good morning" || near[1].Memory.Content != "oh nice" || near[1].ContextOf != hits.Data[0].Memory.ID {
		t.Errorf("around the hit: %+v", near)
	}
	d.says("POST "+store+"/search", `{"query":"zeppelin","limit":1,"context":1,"token_budget":5}`, 200, `"context":[]`, `"left_out":2`)
	if got := d.says("POST "+store+"/search", `{"query":"zeppelin","limit":1}`, 200); strings.Contains(got, `"context"`) {
		t.Errorf("nobody asked for context: %s", got)
	}
	d.says("POST "+store+"/search", `{"query":"x","context":11}`, 400, `"param":"context"`)
}

// TestMemoriesAreListedByFiltersAndForgottenOnTrial: a list is narrowed by what stands beside the contents, page by page, and a dry run counts.
func TestMemoriesAreListedByFiltersAndForgottenOnTrial(t *testing.T) {
	d, store := memoryDoor(t)
	d.says("POST "+store+"/memories/batch", `{"memories":[{"content":"one","scope":{"type":"team","id":"a:b"},"labels":["x","y"],"metadata":{"k":"v"},"source":{"at":1700000000}},
		{"content":"two","kind":"episode","labels":["x"],"valid_until":1700000000},{"content":"three","scope":{"type":"team","id":"a:b"}}]}`, 200)
	list := func(query, want string) {
		t.Helper()
		var got struct {
			Data    []struct{ Content string }
			HasMore bool `json:"has_more"`
		}
		if err := json.Unmarshal([]byte(d.says("GET "+store+"/memories?order=asc&"+query, "", 200)), &got); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, m := range got.Data {
			texts = append(texts, m.Content)
		}
		if said := strings.Join(texts, " ") + map[bool]string{true: " …"}[got.HasMore]; said != want {
			t.Errorf("%s lists %q, not %q", query, said, want)
		}
	}
	for query, want := range map[string]string{
		"": "one two three", "scope=team:a:b": "one three", "scope=team:a:b&limit=1": "one …", "label=x&label=y": "one", "without_label=y": "two three", "kind=episode&kind=passage": "two",
		"metadata[k]=v": "one", "until=2023-11-15": "one", "from=1700000001": "two three", "as_of=2023-11-01": "two", "as_of=2026-01": "one", "written_by=local&scope=project": "two",
		"written_by=user:local&scope=project": "two", "written_by=service:local": "",
	} {
		list(query, want)
	}
	for query, param := range map[string]string{"kind=fakt": "kind[0]", "scope=clan:x": "scope[0].type", "scope=team": "scope[0].id", "from=then": "from", "from=2026-01&until=2025-01": "until", "colour=red": "colour", "written_by=agent:sess_1": "written_by"} {
		d.says("GET "+store+"/memories?"+query, "", 400, `"param":"`+param+`"`)
	}
	for _, path := range []string{store + "/forget", "/v1/memory_stores/forget"} {
		d.says("POST "+path, `{"filters":{"scopes":[{"type":"team","id":"a:b"}]},"dry_run":true}`, 200, `"forgotten":2,"memory_stores":1,"dry_run":true`)
	}
	list("", "one two three")
	for filters, param := range map[string]string{`{"kinds":["fakt"]}`: "filters.kinds[0]", `{"scopes":[{"type":"clan"}]}`: "filters.scopes[0].type", `{"scopes":[{"type":"team"}]}`: "filters.scopes[0].id", `{"written_by":"agent:sess_1"}`: "filters.written_by"} {
		d.says("POST "+store+"/forget", `{"filters":`+filters+`}`, 400, `"param":"`+param+`"`)
	}
	d.says("POST "+store+"/forget", `{"filters":{"scopes":[{"type":"team","id":"a:b"}]}}`, 200, `"forgotten":2,"memory_stores":1,"dry_run":false`)
	list("", "two")
	id := regexp.MustCompile(`mem_[0-9a-f]+`).FindString(d.says("GET "+store+"/memories", "", 200))
	d.says("DELETE "+store+"/memories/"+id+"?cited=maybe", "", 400, `"param":"cited"`)
	d.says("DELETE "+store+"/memories/"+id+"?cited=true", "", 200, `"object":"memory.deleted"`)
	list("", "")
}

func TestMemoriesThatAreWrong(t *testing.T) {
	d, store := memoryDoor(t)
	for body, param := range map[string]string{
		`{}`:                                                "content",
		`{"content":" \n\t\u00a0"}`:                         "content",
		`{"content":"x","kind":"rumour"}`:                   "kind",
		`{"content":"x","confidence":2}`:                    "confidence",
		`{"content":"x","importance":"a"}`:                  "importance",
		`{"content":"x","scope":{"type":"user"}}`:           "scope.id",
		`{"content":"x","labels":[""]}`:                     "labels[0]",
		`{"content":"x","valid_from":20,"valid_until":10}`:  "valid_until",
		`{"content":"x","ttl_seconds":0}`:                   "ttl_seconds",
		`{"content":"x","source":{"at":"yesterday"}}`:       "source.at",
		`{"content":"` + strings.Repeat("x", 70_000) + `"}`: "content",
	} {
		d.says("POST "+store+"/memories", body, 400, `"param":"`+param+`"`)
	}
	d.says("POST "+store+"/memories/mem_none", `{"ttl_seconds":0}`, 400, `"param":"ttl_seconds"`)
	d.says("POST "+store+"/memories", `{"content":"x","supersedes":"mem_none"}`, 404)
	d.says("POST "+store+"/memories/batch", `{"memories":[{"content":"x"},{"content":""}]}`, 400, `"param":"memories[1].content"`)
	d.says("POST "+store+"/search", `{}`, 400, `"param":"query"`)
	d.says("POST "+store+"/search", `{"query":"x","limit":1000}`, 400, `"param":"limit"`)
	d.says("GET "+store+"/memories/mem_none", "", 404)
}

// TestWhatAMemoryRequestDoesNotKnowIsRefused: a filter that is passed over would forget too much, a life that is would keep for ever.
func TestWhatAMemoryRequestDoesNotKnowIsRefused(t *testing.T) {
	d, store := memoryDoor(t)
	one := store + "/memories/" + regexp.MustCompile(`mem_[0-9a-f]+`).FindString(d.says("POST "+store+"/memories", `{"content":"The garden has roses"}`, 200))
	for _, c := range []struct{ call, body, param string }{
		{store + "/forget", `{"filters":{"kinds":["fact"],"scope":{"type":"user","id":"ada"}}}`, "filters.scope"},
		{store + "/forget", `{"filters":{"kinds":["fact"],"label":"old"}}`, "filters.label"},
		{"/v1/memory_stores/forget", `{"filters":{"kinds":["fact"]},"dryrun":true}`, "dryrun"},
		{store + "/search", `{"query":"garden","filters":{"scope":{"type":"user","id":"ada"}}}`, "filters.scope"},
		{store + "/search", `{"query":"garden","max_num_results":1}`, "max_num_results"},
		{store + "/memories", `{"content":"x","ttl":60}`, "ttl"},
		{store + "/memories", `{"content":"x","scope":{"type":"user","user":"ada"}}`, "scope.user"},
		{store + "/memories", `{"content":"x","source":{"session":"s"}}`, "source.session"},
		{store + "/memories/batch", `{"memories":[{"content":"x","validUntil":3}]}`, "memories[0].validUntil"},
		{one, `{"ttl":60}`, "ttl"},
		{one + "/redact", `{"expected_version":7}`, "expected_version"},
		{store + "/ingest", `{"session_id":"s","scopes":[]}`, "scopes"},
		{store, `{"label":"x"}`, "label"},
	} {
		d.says("POST "+c.call, c.body, 400, `"param":"`+c.param+`"`)
	}
	d.says("GET "+one, "", 200, `"version":1`, "roses")
	d.says("POST "+one, `{"ttl_seconds":60}`, 200, `"version":2`, `"expires_at":1`)
	d.says("POST "+one, `{"ttl_seconds":null}`, 200, `"expires_at":null`)
}

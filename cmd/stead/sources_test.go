package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A directory with documents of several kinds, rules of access and policies about labels: each user, and each agent that acts for
// one, finds what that one may read, cited by version and place; the others don't know that there is more.
func TestSourcesKnowWhoMayRead(t *testing.T) {
	docs := t.TempDir()
	for name, text := range map[string]string{
		"letter.docx":   docx(t, "Letters to Austria weigh 20 grams."),
		"guide.md":      "# Guide\n\nAustria is closed on Mondays.\n",
		"hr/bonus.md":   "The bonus for Austria is secret.\n",
		"plans/2027.md": "Austria will be larger.\n",
	} {
		at := filepath.Join(docs, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	n := openConfigured(t, `
auth: {mode: keys}
limits: {drain_seconds: 1}
providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}]}]
sources: {directories: [{name: office, path: "`+docs+`", projects: [one]}]}
policies:
  inline: |
    forbid(principal, action == Action::"vector_store.file.read", resource)
    when { context.file_labels.contains("plan") }
    unless { principal in User::"ada" };
`, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey}
	key := func(project, role, principal string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"`+project+`","principal":{"kind":"user","id":"`+principal+`"}}`, &made)
		return made.Secret
	}
	owner, ada, bob, eve := key("one", "owner", "olga"), key("one", "developer", "ada"), key("one", "developer", "bob"), key("two", "owner", "eve")

	var made struct{ ID string }
	h.get(owner, "POST", "/v1/vector_stores", `{"name":"office"}`, &made)
	store := "/v1/vector_stores/" + made.ID
	spec := `{"type":"directory","directory":"office","access":[{"paths":["hr/"],"principals":["user:ada"],"labels":["confidential"]},{"paths":["plans/"],"labels":["plan"]}]}`
	if status, body := h.call(eve, "POST", "/v1/vector_stores", `{}`); status != 200 {
		t.Fatal(string(body))
	} else if status, body := h.call(eve, "POST", "/v1/vector_stores/"+idOf(string(body))+"/sources", spec); status != 400 || !strings.Contains(string(body), `"param":"directory"`) {
		t.Errorf("a directory of another project: %d %s", status, body)
	}
	var source struct {
		ID, Status string
		Sync       struct{ Documents struct{ Added, Failed int } } `json:"last_sync"`
	}
	h.get(owner, "POST", store+"/sources", spec, &source)
	for until := time.Now().Add(30 * time.Second); source.Status != "completed"; time.Sleep(10 * time.Millisecond) {
		if h.get(owner, "GET", store+"/sources/"+source.ID, "", &source); time.Now().After(until) {
			t.Fatalf("it does not end: %+v", source)
		}
	}
	if source.Sync.Documents.Added != 4 || source.Sync.Documents.Failed != 0 {
		t.Fatalf("it did %+v", source.Sync)
	}

	all := map[string]string{ // what is found, with where it stands
		"letter.docx": `"uri":"directory://office/letter.docx"`, "guide.md": `"heading":"Guide","lines":[1,3]`,
		"hr/bonus.md": `"labels":["confidential"]`, "plans/2027.md": `"labels":["plan"]`,
	}
	for who, c := range map[string]struct {
		key  string
		sees string
	}{
		"ada": {ada, "letter.docx guide.md hr/bonus.md plans/2027.md"}, "bob": {bob, "letter.docx guide.md"}, "olga": {owner, "letter.docx guide.md"},
	} {
		answers := map[string]string{}
		_, body := h.call(c.key, "POST", store+"/search", `{"query":"Austria","max_num_results":50}`)
		answers["the search"] = string(body)
		_, body = h.call(c.key, "GET", store+"/files", "")
		answers["the list"] = string(body)
		_, body = h.call(c.key, "POST", "/v1/responses", `{"model":"sim","include":["file_search_call.results"],"input":"Call file_search with {\"queries\":[\"Austria\"]}","tools":[{"type":"file_search","vector_store_ids":["`+made.ID+`"]}]}`)
		answers["the response"] = string(body)
		_, counts := h.call(c.key, "GET", store, "")
		if many := len(strings.Fields(c.sees)); !strings.Contains(string(counts), `"total":`+string(rune('0'+many))) {
			t.Errorf("%s counts %s, want %d", who, counts, many)
		}
		for what, body := range answers {
			for name, cite := range all {
				sees := strings.Contains(" "+c.sees+" ", " "+name+" ")
				if strings.Contains(body, name) != sees {
					t.Errorf("%s of %s: %s is there: %v; %s", what, who, name, !sees, body)
				}
				if what == "the list" || what == "the response" && !strings.HasPrefix(cite, `"heading`) {
					continue
				}
				if strings.Contains(body, cite) != sees {
					t.Errorf("%s of %s: %s is there: %v; %s", what, who, cite, !sees, body)
				}
			}
		}
	}
	if status, _ := h.call(bob, "GET", store+"/files?after=file_x", ""); status != 400 {
		t.Error("a cursor that is none was taken")
	}
	if status, _ := h.call(eve, "GET", store+"/sources/"+source.ID, ""); status != 404 {
		t.Errorf("another project reads the source: %d", status)
	}
}

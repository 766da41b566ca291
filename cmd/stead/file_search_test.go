package main

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stored makes a vector store with one file, and waits until it can be searched.
func stored(t *testing.T, n *node, name, text string) string {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("purpose", "assistants") // to memory
	part, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = io.WriteString(part, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(n.base+"/v1/files", w.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, made := ask(t, n, "POST", "/v1/vector_stores", `{"name":"manuals","file_ids":["`+idOf(string(body))+`"]}`)
	store := idOf(made)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, body := ask(t, n, "GET", "/v1/vector_stores/"+store, ""); strings.Contains(body, `"completed":1`) {
			return store
		} else if time.Now().After(until) {
			t.Fatal("the file stays in progress", body)
		}
	}
}

// idOf is the first id of an answer.
func idOf(body string) string {
	_, id, _ := strings.Cut(body, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// A response searches vector stores: the search is shown as the API has it, with what it found when that is
// asked for, it is told again from the journal without being made again, and it is a tool call on record.
func TestResponsesSearchFiles(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	store := stored(t, n, "shop.md", "# Shop\n\nRefunds take thirty days.")
	tools := `"tools":[{"type":"file_search","vector_store_ids":["` + store + `"],"max_num_results":3}]`
	body := `{"model":"mine",` + tools + `,"include":["file_search_call.results"],"input":"Call file_search with {\"queries\":[\"refunds\"]}"}`
	found := []string{`"type":"file_search_call"`, `"queries":["refunds"]`, `"filename":"shop.md"`, `Refunds take thirty days.`}

	res, whole := ask(t, n, "POST", "/v1/responses", body)
	has(t, "the response", res.StatusCode, whole, append(found, `"status":"completed"`, `"type":"message"`)...)
	id := idOf(whole)
	_, told := ask(t, n, "GET", "/v1/responses/"+id+"?stream=true", "")
	has(t, "its stream", 200, told, append(found, `response.file_search_call.in_progress`, `response.file_search_call.searching`, `response.file_search_call.completed`)...)
	if strings.Index(told, "file_search_call.searching") > strings.Index(told, "file_search_call.completed") {
		t.Errorf("it is completed before it searches:\n%s", told)
	}

	_, bare := ask(t, n, "POST", "/v1/responses", strings.Replace(body, `"include":["file_search_call.results"],`, "", 1))
	has(t, "a response that was not asked to include them", 200, bare, `"queries":["refunds"],"results":null`)

	if res, _ := ask(t, n, "DELETE", "/v1/vector_stores/"+store, ""); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, again := ask(t, n, "GET", "/v1/responses/"+id+"?stream=true", ""); again != told {
		t.Errorf("told again, without the store, as\n%s\nand before as\n%s", again, told)
	}
	_, late := ask(t, n, "GET", "/v1/responses/"+idOf(bare)+"?include[]=file_search_call.results", "")
	has(t, "the results asked for later", 200, late, found...)

	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, records := ask(t, n, "GET", "/v1/usage_records?kind=tool_call", "")
		if strings.Count(records, `"name":"file_search/file_search"`) >= 2 {
			break
		} else if time.Now().After(until) {
			t.Fatal("the searches are not on record as tool calls: ", records)
		}
	}
}

func TestFileSearchIsChecked(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	store := stored(t, n, "shop.md", "Refunds take thirty days.")
	for body, want := range map[string]string{
		`"tools":[{"type":"file_search","vector_store_ids":["vs_missing"]}]`:                              `"param":"tools[0].vector_store_ids[0]"`,
		`"tools":[{"type":"file_search"}]`:                                                                `"param":"tools[0].vector_store_ids"`,
		`"tools":[{"type":"file_search","vector_store_ids":["` + store + `"],"max_num_results":51}]`:      `"param":"tools[0].max_num_results"`,
		`"tools":[{"type":"file_search","vector_store_ids":["` + store + `"],"filters":{"type":"like"}}]`: `"param":"tools[0].filters.type"`,
		`"tool_choice":{"type":"file_search"}`:                                                            `"param":"tool_choice.type"`,
		`"store":false,"tools":[{"type":"file_search","vector_store_ids":["` + store + `"]}]`:             `"param":"tools[0].vector_store_ids[0]"`,
	} {
		if res, got := ask(t, n, "POST", "/v1/responses", `{"model":"mine","input":"Say hi",`+body+`}`); res.StatusCode/100 != 4 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
	}
	_, forced := ask(t, n, "POST", "/v1/responses", `{"model":"mine","tool_choice":{"type":"file_search"},"input":"Call file_search with {\"queries\":[\"refunds\"]}","tools":[{"type":"file_search","vector_store_ids":["`+store+`"]}]}`)
	has(t, "a response that must search", 200, forced, `"type":"file_search_call"`)
}

// An agent has the tool as well: its calls are a tool server's in the session.
func TestAgentsSearchFiles(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	store := stored(t, n, "shop.md", "Refunds take thirty days.")
	res, made := ask(t, n, "POST", "/v1/agents/sessions", `{"stream":true,"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"file_search","vector_store_ids":["`+store+`"]}]},"input":"Call file_search with {\"queries\":[\"refunds\"]}"}`)
	has(t, "the session", res.StatusCode, made, `"type":"file_search"`, `"server_label":"file_search"`, `thirty days`, `agent.session.turn.completed`)
}

// has fails the test unless an answer is a success and has all of the texts.
func has(t *testing.T, what string, status int, got string, want ...string) {
	t.Helper()
	if status != 200 {
		t.Errorf("%s: %d", what, status)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: no %s in\n%s", what, w, got)
		}
	}
}

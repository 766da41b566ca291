package main

import (
	"encoding/json"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// lenient are the routes of which fields that they do not have are passed over: they are others' contracts, whose clients send what later versions of these
// have, and what is passed on to an upstream is for that to know.
func lenient() []string {
	return []string{
		"/v1/agents", "/v1/agents/{id}", "/v1/chat/completions", "/v1/conversations", "/v1/conversations/{id}", "/v1/conversations/{id}/items", "/v1/embeddings",
		"/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens", "/v1/skills/{id}", "/v1/vector_stores", "/v1/vector_stores/{id}",
		"/v1/vector_stores/{id}/file_batches", "/v1/vector_stores/{id}/files", "/v1/vector_stores/{id}/files/{file}", "/v1/vector_stores/{id}/search",
	}
}

// TestFieldsThatARequestDoesNotHaveAreRefused: on each route of our own, by name, for what they ask for would not happen. A new route is held to it.
func TestFieldsThatARequestDoesNotHaveAreRefused(t *testing.T) {
	n := openConfigured(t, "auth: {mode: keys}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]json.RawMessage `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
	}
	h.get(h.root, "GET", "/openapi.json", "", &doc)
	made := func(path, body string) string {
		t.Helper()
		var out struct{ ID string }
		h.get(h.root, "POST", path, body, &out)
		return out.ID
	}
	there := map[string]string{ // what must be there to be changed
		"/v1/vaults/{id}":        made("/v1/vaults", `{"name":"v"}`),
		"/v1/memory_stores/{id}": made("/v1/memory_stores", `{"name":"m"}`),
	}
	variable, asked := regexp.MustCompile(`\{[^}]*\}`), 0
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, op := range doc.Paths[path] {
			if _, isJSON := op.RequestBody.Content["application/json"]; !isJSON || slices.Contains(lenient(), path) {
				continue
			}
			id := there[path]
			if id == "" {
				id = "x_1"
			}
			asked++
			status, body := h.call(h.root, strings.ToUpper(method), variable.ReplaceAllString(path, id), `{"reson":"a field that nothing has"}`)
			if status != 400 || !strings.Contains(string(body), "reson is not a field of") && !strings.Contains(string(body), `unknown field \"reson\"`) {
				t.Errorf("%s %s passes a field over that it does not have: %d %s", method, path, status, body)
			}
		}
	}
	if asked < 30 {
		t.Errorf("only %d routes were asked", asked)
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// An idempotency key is its caller's: another user's request with the same key, and the same body, makes something of its own, and one
// with another body hears of no conflict. The caller's own repeat, by another of their keys too, makes nothing twice.
func TestIdempotencyKeysAreTheirCallers(t *testing.T) {
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	for _, id := range []string{`a\nb`, `\u0000`, `a\u001fada\u001f`} { // they stand in lists and logs
		if status, got := h.call(h.root, "POST", "/v1/api_keys", `{"role":"agent","principal":{"kind":"user","id":"`+id+`"}}`); status != http.StatusBadRequest || !strings.Contains(string(got), `"principal.id"`) {
			t.Errorf("a key for %s: %d %s", id, status, got)
		}
	}
	user := func(id string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"developer","project":"one","bound":true,"principal":{"kind":"user","id":"`+id+`"}}`, &made)
		return made.Secret
	}
	send := func(key, path, body, idempotency string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, n.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", idempotency)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ ID string }
		_ = json.Unmarshal(text, &made)
		if res.StatusCode/100 != 2 {
			return res.StatusCode, string(text)
		}
		return res.StatusCode, made.ID
	}
	ada, again, bea := user("ada"), user("ada"), user("bea")
	for path, bodies := range map[string][2]string{
		"/v1/agents/sessions": {`{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"hi"}`, `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"other"}`},
		"/v1/responses":       {`{"model":"sim","input":"hi"}`, `{"model":"sim","input":"other"}`},
		"/v1/conversations":   {`{}`, `{"metadata":{"a":"b"}}`},
		"/v1/agents":          {`{"model":"sim","name":"a"}`, `{"model":"sim","name":"b"}`},
		"/v1/memory_stores":   {`{"name":"a"}`, `{"name":"b"}`},
		"/v1/vector_stores":   {`{"name":"a"}`, `{"name":"b"}`},
		"/v1/vaults":          {`{"name":"a"}`, `{"name":"b"}`},
	} {
		_, first := send(ada, path, bodies[0], "order-4711 of "+path)
		status, second := send(bea, path, bodies[0], "order-4711 of "+path)
		if status/100 != 2 || second == first || second == "" {
			t.Errorf("%s: another user's key: %d %s, and the first made %s", path, status, second, first)
		}
		if status, got := send(bea, path, bodies[1], "order-4711 of "+path); path != "/v1/memory_stores" && (status != http.StatusConflict || strings.Contains(got, first)) {
			t.Errorf("%s: their own key for another request: %d %s", path, status, got)
		}
		if status, got := send(user("eve"), path, bodies[1], "order-4711 of "+path); status/100 != 2 {
			t.Errorf("%s: another user's key for another request: %d %s", path, status, got)
		}
		if status, got := send(again, path, bodies[0], "order-4711 of "+path); got != first {
			t.Errorf("%s: the same user's repeat: %d %s, and the first made %s", path, status, got, first)
		}
	}
	if status, got := send(ada, "/v1/agents", `{"model":"sim"}`, strings.Repeat("k", 1000)); status != http.StatusBadRequest {
		t.Errorf("a key that is too long: %d %s", status, got)
	}
}

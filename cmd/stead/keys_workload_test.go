package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// An owner replaces the key that signs, by the command line: the other node publishes it within a second or so, and it is in the
// audit log.
func TestTheWorkloadKeyIsRotated(t *testing.T) {
	text := "auth: {mode: keys, root_key: \"" + strings.Repeat("r", 40) + "\"}\ndatabase: \"" + pgtest.URL(t) + "\"\nseal_key: \"" + strings.Repeat("A", 43) + "=\"\n" +
		"limits: {drain_seconds: 1}\nenvironments: {driver: none}\nidentity: {trust_domain: acme.example, issuer: \"https://stead.acme.example\"}\n" +
		"providers: [{name: sim, api: sim}]\n"
	a, b := openConfigured(t, text, io.Discard), openConfigured(t, text, io.Discard)
	h := &house{t: t, base: a.base, root: a.rootKey}
	other := &house{t: t, base: b.base, root: b.rootKey}
	keys := map[string]string{}
	for _, role := range []string{"owner", "developer"} {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"one"}`, &made)
		keys[role] = made.Secret
	}
	kids := func(h *house) (out []string) {
		var set struct{ Keys []struct{ Kid string } }
		h.get("", "GET", "/.well-known/jwks.json", "", &set)
		for _, k := range set.Keys {
			out = append(out, k.Kid)
		}
		return out
	}
	if one := kids(other); len(one) != 1 || kids(h)[0] != one[0] {
		t.Fatalf("the nodes publish %v and %v", one, kids(h))
	}
	if status, body := h.call(keys["developer"], "POST", "/v1/workload_keys/rotate", ""); status != 403 {
		t.Errorf("a developer: %d %s", status, body)
	}
	if status, body := h.call(keys["owner"], "POST", "/v1/workload_keys/rotate", `{"at":1}`); status != 400 {
		t.Errorf("with a field: %d %s", status, body)
	}
	stead := func(args ...string) string {
		t.Helper()
		var out, failed bytes.Buffer
		env := func(name string) (string, bool) { return keys["owner"], name == envKey }
		app := &app{in: strings.NewReader(""), out: &out, err: &failed, env: env}
		if code := app.main(t.Context(), append(args, "--server", h.base)); code != 0 {
			t.Fatalf("%v: %d %s", args, code, &failed)
		}
		return out.String()
	}
	var next struct {
		ID, Status string
		From       int64 `json:"signs_from"`
	}
	if err := json.Unmarshal([]byte(stead("keys", "workload", "rotate", "-o", "json")), &next); err != nil || next.Status != "next" {
		t.Fatalf("%+v, %v", next, err)
	}
	if ahead := time.Until(time.Unix(next.From, 0)); ahead < workload.SignAfter-time.Minute || ahead > workload.SignAfter {
		t.Errorf("it signs in %s", ahead)
	}
	for began := time.Now(); len(kids(other)) != 2; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("the other node does not publish the new key")
		}
	}
	if kids(other)[1] != next.ID {
		t.Errorf("the other node publishes %v, not %s", kids(other), next.ID)
	}
	var again struct{ ID string }
	if other.get(keys["owner"], "POST", "/v1/workload_keys/rotate", "", &again); again.ID != next.ID {
		t.Errorf("the other node, asked again, has %s sign", again.ID)
	}
	if list := stead("keys", "workload", "list"); strings.Count(list, "\n") != 3 || !strings.Contains(list, "signing") || !strings.Contains(list, "next") {
		t.Errorf("the list is\n%s", list)
	}
	var log struct {
		Data []struct {
			Record struct{ Action, Resource, Decision, Detail string }
		}
	}
	h.get(keys["owner"], "GET", "/v1/audit_records?action=key.write&resource=workload", "", &log)
	if len(log.Data) != 3 || log.Data[0].Record.Decision != "allow" || log.Data[2].Record.Decision != "deny" || log.Data[0].Record.Detail != "POST /v1/workload_keys/rotate" {
		t.Errorf("the audit log has %+v", log.Data)
	}
}

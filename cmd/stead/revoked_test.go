package main

import (
	"strings"
	"testing"
)

// A call that waited for an approval when the last key of whom it is for was revoked is not made, whoever approves it, and the reason is told;
// one whose user has another key, or whose key was rotated, is.
func TestAnApprovalDoesNotOutliveTheKey(t *testing.T) {
	h := governed(t, `@id("ask") @approval("approver") forbid(principal, action == Action::"tool.call", resource);`)
	user := func(id, role string) (key, secret string) {
		var made struct{ ID, Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"one","principal":{"kind":"user","id":"`+id+`"}}`, &made)
		return made.ID, made.Secret
	}
	_, boss := user("boss", "owner")
	for _, c := range []struct {
		name  string
		then  func(key string)
		makes bool
	}{
		{"revoked", func(key string) { h.get(boss, "DELETE", "/v1/api_keys/"+key, "", &struct{}{}) }, false},
		{"other", func(key string) {
			user("other", "developer")
			h.get(boss, "DELETE", "/v1/api_keys/"+key, "", &struct{}{})
		}, true},
		{"rotated", func(key string) { h.get(boss, "POST", "/v1/api_keys/"+key+"/rotate", `{}`, &struct{}{}) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, secret := user(c.name, "developer")
			var s struct{ ID string }
			h.get(secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"environment"}]},"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"echo was made\"}"}`, &s)
			request := h.asked(boss)
			c.then(key)
			if status, got := h.call(boss, "POST", "/v1/approvals/"+request, `{"decision":"approve"}`); status != 202 {
				t.Fatalf("%d %s", status, got)
			}
			var items, turns []byte
			eventually(t, "the end of the turn", func() bool {
				_, turns = h.call(boss, "GET", "/v1/agents/sessions/"+s.ID+"/turns", "")
				return strings.Contains(string(turns), `"status":"completed"`) || strings.Contains(string(turns), `"status":"failed"`)
			})
			_, items = h.call(boss, "GET", "/v1/agents/sessions/"+s.ID+"/items?limit=100", "")
			if made := strings.Contains(string(items), `was made\n`); made != c.makes {
				t.Errorf("made: %v\n%s\n%s", made, items, turns)
			}
			if told := strings.Contains(string(items)+string(turns), "was revoked"); told == c.makes {
				t.Errorf("told: %v\n%s\n%s", told, items, turns)
			}
		})
	}
}

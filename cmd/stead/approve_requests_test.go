package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/policy"
)

// TestEveryChangeCanWait: of every route that changes something, policies can want an approval; then nothing happens, and the answer says
// which request waits. What can't wait is named here, with the reason.
func TestEveryChangeCanWait(t *testing.T) {
	var heads []string
	for _, e := range policy.Approvable() {
		if e != policy.ToolCall {
			heads = append(heads, `Action::"`+string(e)+`"`)
		}
	}
	h := openHouseWith(t, "policies:\n  inline: |\n    @approval(\"owner\") forbid(principal == User::\"ada\", action in ["+strings.Join(heads, ", ")+"], resource);\n")
	var made struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"owner","project":"one","principal":{"kind":"user","id":"ada"}}`, &made)
	find, _ := h.things()
	unread := []string{"POST /v1/agents/sessions/import"} // what is no file is refused as such: TestUploadsWaitForApproval
	free := []string{
		"POST /v1/approvals/{id}", "POST /v1/kill_switches", "DELETE /v1/kill_switches/{id}", // answers and stops
		"POST /v1/oauth/token", "GET /v1/agents/environments/{id}/executor",
		"POST /v1/responses/input_tokens", "POST /v1/responses/{id}/cancel", "POST /v1/usage/verify", "POST /v1/memory_stores/{id}/search", "POST /v1/vector_stores/{id}/search",
		"POST /v1/semantic_models/query", "POST /v1/semantic_models/describe", "POST /v1/semantic_models/validate", // they read
	}
	for call, row := range accessTable() { // policy sets can't wait: nobody could let go again what they lock
		method, pattern, _ := strings.Cut(call, " ")
		if method == http.MethodGet || slices.Contains(free, call) || strings.HasPrefix(pattern, "/v1/policy_sets") || !strings.Contains(row.roles, "O") || slices.Contains(unread, call) {
			continue
		}
		status, body := h.call(made.Secret, method, find(pattern), row.body)
		var said struct {
			Error struct {
				Message, Code string
				Approval      *struct{ ID, Digest string }
			}
		}
		if err := json.Unmarshal(body, &said); err != nil {
			t.Errorf("%s: %d %s", call, status, body)
			continue
		}
		switch e := said.Error; {
		case status != http.StatusForbidden || e.Code != policy.CodeApproval || e.Approval == nil || !strings.HasPrefix(e.Approval.ID, "apr_") || len(e.Approval.Digest) != 64:
			t.Errorf("%s: %d %s", call, status, body)
		}
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/oauth/oauthtest"
)

// An end user whose key is bound to them, and may make no vault, is asked for their consent and has it kept in a vault of their own: for
// their sessions alone, whoever else names that vault. Who erases the user erases it.
func TestABoundUsersConsents(t *testing.T) {
	authority := oauthtest.NewAuthority(false)
	t.Cleanup(authority.Close)
	guarded := oauthtest.NewTools(authority, false)
	t.Cleanup(guarded.Close)
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\nprivate_tool_servers: [127.0.0.1/32]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	key := func(role, rest string) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"one"`+rest+`}`, &made)
		return made.Secret
	}
	bound := func(id string) string { return key("agent", `,"bound":true,"principal":{"kind":"user","id":"`+id+`"}`) }
	ada, bea, developer, owner := bound("ada"), bound("bea"), key("developer", ""), key("owner", "")
	body := func(rest string) string {
		return `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"guarded","require_approval":"never","transport":{"type":"http","server_url":"` + guarded.URL + `/mcp","auth":"oauth"}}]},"environment":{"type":"none"},"input":"Call whoami with {}"` + rest + `}`
	}
	begin := func(key, rest string) string {
		t.Helper()
		var s struct{ ID string }
		h.get(key, "POST", "/v1/agents/sessions", body(rest), &s)
		return s.ID
	}
	link := func(key, session string) string {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			var s struct {
				Status  string
				Actions []consentAction `json:"required_actions"`
			}
			h.get(key, "GET", "/v1/agents/sessions/"+session, "", &s)
			if s.Status == "requires_action" && len(s.Actions) == 1 {
				return s.Actions[0].Request.URL
			}
			if s.Status == "idle" || time.Now().After(deadline) {
				_, items := h.call(key, "GET", "/v1/agents/sessions/"+session+"/items", "")
				t.Fatalf("it asks for nothing: %s", items)
			}
		}
	}
	consents := func(key, session string) {
		t.Helper()
		if res, text := openBrowser(t).accept(link(key, session)); res.StatusCode != http.StatusOK || !strings.Contains(text, "Thank you") {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		h.items(key, session, "you are known")
	}
	vaults := func() map[string]string {
		t.Helper()
		var list struct{ Data []struct{ ID, Name string } }
		h.get(owner, "GET", "/v1/vaults", "", &list)
		out := map[string]string{}
		for _, v := range list.Data {
			_, credentials := h.call(owner, "GET", "/v1/vaults/"+v.ID+"/credentials", "")
			out[v.ID] = string(credentials)
		}
		return out
	}

	if status, text := h.call(developer, "POST", "/v1/agents/sessions", body("")); status != http.StatusBadRequest || !strings.Contains(string(text), "vault_ids") {
		t.Errorf("a key that many may have: %d %s", status, text)
	}
	consents(ada, begin(ada, ""))
	h.items(ada, begin(ada, ""), "you are known") // nobody is asked again
	own := ""
	for id, credentials := range vaults() {
		if own != "" || strings.Count(credentials, `"mcp_oauth"`) != 1 {
			t.Errorf("the vault %s has %s", id, credentials)
		}
		own = id
	}
	if status, text := h.call(bea, "POST", "/v1/agents/sessions", body(`,"vault_ids":["`+own+`"]`)); status != http.StatusBadRequest {
		t.Errorf("another user names it: %d %s", status, text)
	}
	consents(bea, begin(bea, "")) // who is asked herself
	if len(vaults()) != 2 {
		t.Errorf("there are %v", vaults())
	}
	if status, text := h.call(developer, "POST", "/v1/agents/sessions", body(`,"vault_ids":["`+own+`"]`)); status != http.StatusBadRequest {
		t.Errorf("a developer names it: %d %s", status, text)
	}

	var erasure struct{ ID, Status string }
	h.get(owner, "POST", "/v1/erasures", `{"user":"ada"}`, &erasure)
	for deadline := time.Now().Add(20 * time.Second); erasure.Status != "completed"; time.Sleep(5 * time.Millisecond) {
		h.get(owner, "GET", "/v1/erasures/"+erasure.ID, "", &erasure)
		if time.Now().After(deadline) {
			t.Fatalf("the erasure is %s", erasure.Status)
		}
	}
	left := vaults()
	if _, there := left[own]; there || len(left) != 1 {
		told, _ := json.Marshal(left)
		t.Errorf("after the erasure there are %s", told)
	}
	link(bound("ada"), begin(bound("ada"), "")) // and they are asked anew
}

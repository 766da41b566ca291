package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWhatAnApprovalCovers: what was asked about and no more, and all of that.
func TestWhatAnApprovalCovers(t *testing.T) {
	h := governed(t, `@id("m") @approval("owner") forbid(principal == User::"ada", action == Action::"model.call", resource);
    @id("new") @approval("owner") forbid(principal == User::"ada", action == Action::"session.create", resource);
    @id("del") @approval("owner") @approval_separate("") forbid(principal == User::"boss", action == Action::"session.delete", resource);`, "ada", "bob")
	for name, role := range map[string]string{"boss": "owner", "chief": "owner", "eve": "approver"} {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"one","principal":{"kind":"user","id":"`+name+`"}}`, &made)
		h.keys[name] = made.Secret
	}
	t.Run("a stateless response, once", h.oneStatelessResponse)
	t.Run("an agent and a template, as they were", h.approvedAsItWas)
	t.Run("an erasure, to its end", h.approvedErasure)
	t.Run("of several stores each", h.approvedForgetting)
}

// yes approves the one question that there is.
func (h *house) yes(t *testing.T, key, decision string) {
	t.Helper()
	if status, body := h.call(key, "POST", "/v1/approvals/"+h.asked(key), `{"decision":"`+decision+`"}`); status != http.StatusAccepted {
		t.Fatalf("%s: %d %s", decision, status, body)
	}
}

// oneStatelessResponse: nothing of it is kept, so that its Idempotency-Key makes no repeat of it the same.
func (h *house) oneStatelessResponse(t *testing.T) {
	send := func() int {
		r, err := http.NewRequest("POST", h.base+"/v1/responses", strings.NewReader(`{"model":"sim","store":false,"input":"Say hello"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+h.keys["ada"])
		r.Header.Set("Idempotency-Key", "k1")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if status := send(); status != http.StatusForbidden {
		t.Fatalf("asks: %d", status)
	}
	h.yes(t, h.keys["boss"], "approve")
	for i, want := range []int{http.StatusOK, http.StatusForbidden, http.StatusForbidden} {
		if status := send(); status != want {
			t.Errorf("call %d by one approval: %d, want %d", i+1, status, want)
		}
	}
	h.yes(t, h.keys["boss"], "deny")
}

// approvedAsItWas: what a request names by id may be changed by whoever asks. What was approved of it is not.
func (h *house) approvedAsItWas(t *testing.T) {
	var agent, template struct{ ID string }
	h.get(h.keys["ada"], "POST", "/v1/agents", `{"name":"clerk","model":"sim","instructions":"be kind"}`, &agent)
	h.get(h.keys["ada"], "POST", "/v1/agents/environments/templates", `{"name":"t"}`, &template)
	own := ""
	create := func() int {
		status, body := h.call(h.keys["ada"], "POST", "/v1/agents/sessions", `{"agent_id":"`+agent.ID+`","environment":{"type":"openai_hosted","environment_template_id":"`+template.ID+`"`+own+`}}`)
		if status != http.StatusForbidden && status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return status
	}
	want := func(what string, status int) {
		t.Helper()
		if got := create(); got != status {
			t.Errorf("%s: %d, want %d", what, got, status)
		}
	}
	want("asks", http.StatusForbidden)
	if _, shown := h.call(h.keys["boss"], "GET", "/v1/approvals/"+h.asked(h.keys["boss"]), ""); !strings.Contains(string(shown), "version 1 of agent "+agent.ID) {
		t.Errorf("which version it is does not show: %s", shown)
	}
	h.yes(t, h.keys["boss"], "approve")
	h.get(h.keys["ada"], "POST", "/v1/agents/"+agent.ID, `{"name":"clerk","model":"sim","instructions":"steal"}`, &struct{}{})
	want("another version of the agent", http.StatusForbidden)
	h.yes(t, h.keys["boss"], "approve")
	h.get(h.keys["ada"], "POST", "/v1/agents/environments/templates/"+template.ID, `{"name":"t","env":{"A":"b"}}`, &struct{}{})
	want("another template", http.StatusForbidden)
	h.yes(t, h.keys["boss"], "approve")
	want("as it was approved", http.StatusOK)
	want("once", http.StatusForbidden)
	h.yes(t, h.keys["boss"], "deny")

	own = `,"env":{"OWN":"x"}` // what the request says itself is its own, and the rest the template's all the same
	want("asks with something of its own", http.StatusForbidden)
	h.yes(t, h.keys["boss"], "approve")
	h.get(h.keys["ada"], "POST", "/v1/agents/environments/templates/"+template.ID, `{"name":"t","env":{"A":"c"}}`, &struct{}{})
	want("another template behind something of its own", http.StatusForbidden)
	h.yes(t, h.keys["boss"], "deny")
}

// approvedErasure: what is done behind the request is done under its approval.
func (h *house) approvedErasure(t *testing.T) {
	for name, body := range map[string]string{
		"a session": `{"session_id":"SESSION"}`, "an item": `{"session_id":"SESSION","item_id":"ITEM"}`, "a user": `{"user":"bob"}`, "with its copies": `{"session_id":"SESSION","forks":true}`,
	} {
		var s struct{ ID string }
		h.get(h.keys["bob"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted"},"input":"Say hello"}`, &s)
		h.idle(h.keys["bob"], s.ID)
		var items struct{ Data []struct{ ID string } }
		h.get(h.keys["bob"], "GET", "/v1/agents/sessions/"+s.ID+"/items", "", &items)
		body = strings.NewReplacer("SESSION", s.ID, "ITEM", items.Data[0].ID).Replace(body)
		if name == "with its copies" {
			h.get(h.keys["bob"], "POST", "/v1/agents/sessions/"+s.ID+"/fork", `{}`, &struct{}{})
		}
		if status, said := h.call(h.keys["boss"], "POST", "/v1/erasures", body); status != http.StatusForbidden {
			t.Fatalf("%s asks: %d %s", name, status, said)
		}
		h.yes(t, h.keys["chief"], "approve")
		var e struct{ ID, Status, Problem string }
		h.get(h.keys["boss"], "POST", "/v1/erasures", body, &e)
		for until := time.Now().Add(patience); e.Status != "completed" && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			h.get(h.keys["boss"], "GET", "/v1/erasures/"+e.ID, "", &e)
		}
		if e.Status != "completed" {
			t.Errorf("the erasure of %s: %+v", name, e)
		}
	}
}

// approvedForgetting: of what is forgotten in several stores each takes what policies want of it, and nothing is forgotten before that.
func (h *house) approvedForgetting(t *testing.T) {
	const anna = `{"filters":{"scopes":[{"type":"user","id":"anna"}]}}`
	stores := make([]string, 2)
	for i := range stores {
		var s struct{ ID string }
		h.get(h.keys["bob"], "POST", "/v1/memory_stores", `{"name":"m"}`, &s)
		h.get(h.keys["bob"], "POST", "/v1/memory_stores/"+s.ID+"/memories", `{"content":"Anna earns ninety thousand","scope":{"type":"user","id":"anna"}}`, &struct{}{})
		stores[i] = s.ID
	}
	left := func() (n int) {
		for _, id := range stores {
			var list struct{ Data []struct{ ID string } }
			h.get(h.keys["bob"], "GET", "/v1/memory_stores/"+id+"/memories?limit=100", "", &list)
			n += len(list.Data)
		}
		return n
	}
	set := func(name, text string) {
		body, err := json.Marshal(map[string]string{"name": name, "text": text})
		if err != nil {
			t.Fatal(err)
		}
		h.get(h.keys["boss"], "POST", "/v1/policy_sets", string(body), &struct{}{})
	}
	forget := func(want, still int) {
		t.Helper()
		if status, body := h.call(h.keys["bob"], "POST", "/v1/memory_stores/forget", anna); status != want || left() != still {
			t.Fatalf("%d, want %d: %s; %d are left, want %d", status, want, body, left(), still)
		}
	}
	set("hr", `@id("hr") @approval("owner") @approval_count("2") forbid(principal, action == Action::"memory.write", resource == MemoryStore::"`+stores[1]+`");`)
	forget(http.StatusForbidden, 2)
	h.yes(t, h.keys["boss"], "deny")
	set("any", `@id("any") @approval("approver") forbid(principal, action == Action::"memory.write", resource);`)
	body := strings.Replace(anna, "{", "{ ", 1) // another request
	forgetAnew := func() (int, []byte) { return h.call(h.keys["bob"], "POST", "/v1/memory_stores/forget", body) }
	if status, said := forgetAnew(); status != http.StatusForbidden {
		t.Fatalf("asks: %d %s", status, said)
	}
	h.yes(t, h.keys["eve"], "approve")
	for _, owner := range []string{"boss", "chief"} {
		if status, said := forgetAnew(); status != http.StatusForbidden || left() != 2 {
			t.Fatalf("by what an approver gave: %d %s; %d are left", status, said, left())
		}
		h.yes(t, h.keys[owner], "approve")
	}
	if status, said := forgetAnew(); status != http.StatusOK || left() != 0 {
		t.Errorf("approved for each: %d %s; %d are left", status, said, left())
	}
}

package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// governed is a house whose policies are these, with a key of each user, who are developers of project one.
func governed(t *testing.T, policies string, users ...string) *house {
	t.Helper()
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n"+
		"policies:\n  inline: |\n    "+policies+"\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	for _, user := range users {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"developer","project":"one","principal":{"kind":"user","id":"`+user+`"}}`, &made)
		h.keys[user] = made.Secret
	}
	return h
}

// idle waits until a session rests.
func (h *house) idle(key, session string) {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		var got struct{ Status string }
		if h.get(key, "GET", "/v1/agents/sessions/"+session, "", &got); got.Status == "idle" {
			return
		}
	}
	h.t.Fatal("the session does not come to rest")
}

// TestPoliciesAboutWhomAnAgentActsFor: what somebody may not do with stores, their agents do not do for them: by tools, by recall,
// by files of a computer and by what is remembered after a turn.
func TestPoliciesAboutWhomAnAgentActsFor(t *testing.T) {
	h := governed(t, `@id("eve") forbid(principal in User::"eve", action in [Action::"memory.read", Action::"vector_store.read", Action::"memory.write"], resource);`, "ada", "eve")
	var store, vectors struct{ ID string }
	h.get(h.keys["ada"], "POST", "/v1/memory_stores", `{"name":"m"}`, &store)
	h.get(h.keys["ada"], "POST", "/v1/memory_stores/"+store.ID+"/memories", `{"content":"Anna earns ninety thousand"}`, &struct{}{})
	h.get(h.keys["ada"], "POST", "/v1/vector_stores", `{"name":"v"}`, &vectors)
	memories := func() int {
		var list struct{ Data []struct{ ID string } }
		h.get(h.keys["ada"], "GET", "/v1/memory_stores/"+store.ID+"/memories?limit=100", "", &list)
		return len(list.Data)
	}
	agent := func(memory string) string {
		return `{"agent":{"model":"sim","tools":[{"type":"environment"},{"type":"memory","memory_stores":[{"id":"` + store.ID + `","access":"read_write","path":"memory/team"}]` + memory + `},
			{"type":"file_search","vector_store_ids":["` + vectors.ID + `"]}]},"environment":{"type":"openai_hosted"},"input":"Say hello"}`
	}
	const extracts = `,"recall":{"mode":"always","token_budget":1000,"max_num_results":8}`
	for _, c := range []struct{ name, says, shows string }{
		{"memory_search", `Call memory_search with {\"query\": \"what does Anna earn\"}`, "ninety thousand"},
		{"file_search", `Call file_search with {\"queries\": [\"Anna\"]}`, `\"results\"`},
		{"memory_add", `Call memory_add with {\"content\": \"Anna was dismissed\"}`, "Remembered as"},
		{"recall", `Say what Anna earns`, "ninety thousand"},
		{"a mount", `Call shell with {\"command\": \"cat memory/team/*/*.md memory/team/*.md\"}`, "ninety thousand"},
	} {
		for _, user := range []string{"eve", "ada"} {
			tools := ""
			if c.name == "recall" {
				tools = extracts
			}
			var s struct{ ID string }
			h.get(h.keys[user], "POST", "/v1/agents/sessions", strings.Replace(agent(tools), "Say hello", c.says, 1), &s)
			h.idle(h.keys[user], s.ID)
			_, items := h.call(h.keys[user], "GET", "/v1/agents/sessions/"+s.ID+"/items?limit=100", "")
			if got := strings.Contains(string(items), c.shows); got != (user == "ada") {
				t.Errorf("%s, for %s: %.1500s", c.name, user, items)
			}
		}
	}
	if n := memories(); n != 2 {
		t.Errorf("the store has %d memories: one was there, and ada's agent made one", n)
	}
}

// TestOnePersonIsNotTwo: who has approved does not approve again as the user whom a token of theirs stands for, nor the other way round.
func TestOnePersonIsNotTwo(t *testing.T) {
	h := governed(t, `@id("two") @approval("approver") @approval_count("2") forbid(principal, action == Action::"tool.call", resource);`, "ada")
	for _, name := range []string{"first", "second"} {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", `{"role":"owner","project":"one","principal":{"kind":"user","id":"`+name+`"}}`, &made)
		h.keys[name] = made.Secret
	}
	for _, tokenFirst := range []bool{false, true} {
		var s struct{ ID string }
		h.get(h.keys["ada"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted"},"input":"Call shell with {\"command\": \"true\"}"}`, &s)
		request := h.asked(h.keys["ada"])
		token := h.token(h.keys["first"], s.ID, `{"scope":["approve"]}`).Secret
		byToken := func() (int, []byte) {
			return h.call(token, "POST", "/v1/agents/sessions/"+s.ID+"/events", `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"`+request+`","response":{"type":"mcp_tool_call","decision":"approve"}}]}`)
		}
		byKey := func(key string) func() (int, []byte) {
			return func() (int, []byte) {
				return h.call(key, "POST", "/v1/approvals/"+request, `{"decision":"approve"}`)
			}
		}
		ways := []func() (int, []byte){byKey(h.keys["first"]), byToken}
		if tokenFirst {
			slices.Reverse(ways)
		}
		for i, want := range []int{http.StatusAccepted, http.StatusConflict} {
			if status, body := ways[i](); status != want {
				t.Errorf("token first %v: approval %d is %d %s", tokenFirst, i+1, status, body)
			}
		}
		if status, body := byKey(h.keys["second"])(); status != http.StatusAccepted {
			t.Errorf("somebody else: %d %s", status, body)
		}
		h.idle(h.keys["ada"], s.ID)
	}
}

// asked waits for the one question that there is.
func (h *house) asked(key string) string {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		var list struct{ Data []struct{ ID string } }
		if h.get(key, "GET", "/v1/approvals", "", &list); len(list.Data) > 0 {
			return list.Data[0].ID
		}
	}
	h.t.Fatal("nobody is asked")
	return ""
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReplayAsksAboutAllThatSessionsDid: policies that refuse something when they are in force say so of sessions that did it before; those
// that were in force change nothing; and what stands in no journal is named.
func TestReplayAsksAboutAllThatSessionsDid(t *testing.T) {
	const inForce = `@id("asks") @approval("owner") forbid(principal, action == Action::"tool.call", resource == Tool::"function/refund");
@id("trial") @mode("shadow") forbid(principal, action == Action::"model.call", resource);`
	inline, _ := json.Marshal(inForce)
	n := openConfigured(t, "policies: {inline: "+string(inline)+"}\nenvironments: {driver: bare}\n"+registryConfig, io.Discard)
	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"m"}`))
	must(t, n, "POST", "/v1/memory_stores/"+store+"/memories", `{"content":"Anna lives in Oslo"}`)
	file := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "p.cedar")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"old","tools":[{"type":"environment"},{"type":"function","name":"refund","parameters":{"type":"object"}},
		{"type":"memory","memory_stores":[{"id":"`+store+`","access":"read_write"}],"recall":{"mode":"always","token_budget":1000,"max_num_results":8}}],"multi_agent":{"enabled":true}},
		"environment":{"type":"openai_hosted"},"input":"Call memory_search with {\"query\":\"Anna\"}\nCall memory_add with {\"content\":\"Anna likes tea\"}\nCall shell with {\"command\":\"true\"}\nThen call create_subagent with {\"message\":\"Say hi\"}"}`))
	send := func(event string) {
		t.Helper()
		if res, got := ask(t, n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[`+event+`]}`); res.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", event, res.StatusCode, got)
		}
	}
	shown := func() string { return must(t, n, "GET", "/v1/agents/sessions/"+session, "") }
	idle(t, n, session)
	send(`{"type":"agent.session.input.message","input":"Call refund with {\"amount\":400}"}`)
	held := comes(t, `"request_id":"req_`, shown)
	request := regexp.MustCompile(`req_[0-9a-f_]+`).FindString(held)
	answered(t, n, request, `{"decision":"approve","arguments":{"amount":300}}`, "k", http.StatusAccepted)
	answered(t, n, request, `{"decision":"approve","arguments":{"amount":300}}`, "k", http.StatusAccepted) // again, since the answer to it was lost
	answered(t, n, request, `{"decision":"deny"}`, "k", http.StatusConflict)
	answered(t, n, request, `{"decision":"approve","arguments":{"amount":300}}`, "another", http.StatusNotFound)
	answered(t, n, request, `{"decision":"happened"}`, "another", http.StatusNotFound)
	asked := comes(t, `"function_call"`, shown)
	if !strings.Contains(asked, `"amount":300`) {
		t.Fatalf("the application is asked %s", asked)
	}
	var of struct {
		Actions []struct {
			CallID string `json:"call_id"`
			TurnID string `json:"turn_id"`
		} `json:"required_actions"`
	}
	if err := json.Unmarshal([]byte(asked), &of); err != nil {
		t.Fatal(err)
	}
	send(`{"type":"agent.session.input.tool_result","call_id":"` + of.Actions[0].CallID + `","turn_id":"` + of.Actions[0].TurnID + `","success":true,"output":"paid"}`)
	idle(t, n, session)

	run := func(policies string) (out, said string) {
		t.Helper()
		var o, e strings.Builder
		a := &app{in: strings.NewReader(""), out: &o, err: &e, env: func(string) (string, bool) { return "", false }}
		if code := a.main(t.Context(), []string{"policy", "replay", "--server", n.base, "--policies", file(policies), session}); code != 0 {
			t.Fatalf("%s: %d %s", policies, code, e.String())
		}
		return o.String(), e.String()
	}
	out, said := run(inForce)
	if !strings.Contains(out, "Nothing of what was asked about would change.") || !strings.Contains(said, "not asked: memory.entry.write, of 1 sessions: which entries were written is in no journal") {
		t.Errorf("the policies in force: %s%s", out, said)
	}
	rows := func(out string) (rows []string) {
		for _, line := range strings.Split(out, "\n") {
			if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(line, "sess_") {
				rows = append(rows, strings.Join(f[2:], " "))
			}
		}
		return rows
	}
	for effect, of := range map[string]string{
		"session.create": "agent_", "session.write": "allow deny", "model.call": "old allow deny", "tool.call": "memory/memory_search allow deny", "memory.read": store + " allow deny", "memory.write": store + " allow deny",
		"memory.entry.read": store + " allow deny", "environment.prepare": "allow deny", "environment.open": "allow deny", "environment.save": "allow deny", "subagent.create": "allow deny", "approval.give": "allow deny",
	} {
		out, _ := run(`@id("no") forbid(principal, action == Action::"` + effect + `", resource);`)
		if got := rows(out); !slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, effect+" ") && strings.Contains(r, of) }) {
			t.Errorf("%s is forbidden: %s", effect, out)
		}
	}
	// The call as it was asked for, and as it was made.
	out, _ = run(`@id("small") forbid(principal, action == Action::"tool.call", resource == Tool::"function/refund") when { context.numbers.hasTag("amount") && context.numbers.getTag("amount") == decimal("300.0") };`)
	if got := rows(out); len(got) != 2 || !strings.HasPrefix(got[0], "tool.call function/refund approval allow") || !strings.HasPrefix(got[1], "tool.call function/refund allow deny") {
		t.Errorf("what was edited: %s", out)
	}
}

// answered answers what waits, with an idempotency key.
func answered(t *testing.T, n *node, request, body, key string, want int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+"/v1/approvals/"+request, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); res.StatusCode != want {
		t.Errorf("%s with key %s: %d %s, want %d", body, key, res.StatusCode, got, want)
	}
}

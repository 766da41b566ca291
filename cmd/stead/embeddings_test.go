package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// embedding is a server whose memories get vectors of sim, and what more its configuration says.
func embedding(t *testing.T, database, more string) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(registryConfig+"memory: {embeddings: {model: mine, dimensions: 1024}}\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: file, Database: database}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	impatient(cfg)
	n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

// becomes asks again until an answer has something in it.
func becomes(t *testing.T, n *node, method, path, body, want string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := must(t, n, method, path, body)
		if strings.Contains(got, want) {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("%s %s does not come to have %s: %s", method, path, want, got)
		}
	}
}

// Vectors are made behind the write, and found by; sessions' recall and vector stores use them as well; the calls are
// usage of the project.
func TestMemoriesAreFoundByVectors(t *testing.T) {
	test := func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		search := "/v1/memory_stores/" + store + "/search"
		must(t, n, "POST", "/v1/memory_stores/"+store+"/memories/batch", `{"memories":[
			{"content":"projekt7788a"},{"content":"Soup on Mondays"},{"content":"The lift is being repaired"},{"content":"Anna has the keys"}]}`)
		// To words alone, names with digits in them are the same or not: another number is another thing.
		got := becomes(t, n, "POST", search, `{"query":"projekt7788b","explain":true}`, `"near":`)
		has(t, "a search", 200, got, `"method":"hybrid"`, `"method_reason":null`, "projekt7788a", `"words":0`, `"similarity":0.`)
		if strings.Contains(got, "Soup") {
			t.Errorf("what is near to nothing is found as well: %s", got)
		}
		session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory",
			"memory_stores":[{"id":"`+store+`"}],"recall":{"mode":"budgeted"}}]},"input":"projekt7788b"}`))
		idle(t, n, session)
		has(t, "a recall", 200, itemsOf(t, n, session), `"type":"memory_recall"`, "projekt7788a", `"method":"hybrid"`, `"near":`)
		files := stored(t, n, "shop.md", "# Projekt7788c\n\nprojekt7788a\n\n# Canteen\n\nSoup on Mondays.")
		becomes(t, n, "POST", "/v1/vector_stores/"+files+"/search", `{"query":"projekt7788b","ranking_options":{"hybrid_search":{"embedding_weight":1,"text_weight":0}}}`, "projekt7788a")
		has(t, "with words alone", 200, must(t, n, "POST", "/v1/vector_stores/"+files+"/search", `{"query":"projekt7788b","ranking_options":{"hybrid_search":{"embedding_weight":0,"text_weight":1}}}`), `"data":[]`)
		becomes(t, n, "GET", "/v1/usage_records?user=memory", "", `"model":"mine"`)
	}
	t.Run("SQLite", func(t *testing.T) { test(t, embedding(t, "", "")) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, embedding(t, pgtest.URL(t), "")) })
}

// Policies, budgets and kill switches stand before the calls: what they refuse is found by its words, the answer says
// why, and no write fails.
func TestWhatStandsBeforeEmbeddings(t *testing.T) {
	n := embedding(t, "", "budgets: [{name: small, scope: user, limit: {calls: 4}}]\n"+`policies:
  inline: |
    permit (principal, action, resource);
    forbid (principal, action == Action::"model.call", resource) when { context.labels.hasTag("memory") && context.labels.getTag("memory") == "secret" };
`)
	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
	search := "/v1/memory_stores/" + store + "/search"
	must(t, n, "POST", "/v1/memory_stores/"+store+"/memories", `{"content":"The photographers meet in the harbour"}`)
	becomes(t, n, "POST", search, `{"query":"photographers","explain":true}`, `"near":`)
	must(t, n, "POST", "/v1/memory_stores/"+store+"/memories/batch", `{"memories":[{"content":"Telescopes in the cellar","labels":["secret"]},{"content":"Telescopes on the roof"}]}`)
	got := becomes(t, n, "POST", search, `{"query":"telescopes","explain":true}`, `"near":`)
	if strings.Count(got, `"near":`) != 1 || strings.Count(got, "Telescopes") != 4 && strings.Count(got, "Telescopes") != 2 {
		t.Errorf("what a policy keeps from the model has no vector, and is found by its words: %s", got)
	}
	sw := idOf(must(t, n, "POST", "/v1/kill_switches", `{"scope":"model","of":"mine","reason":"too dear"}`))
	has(t, "a stopped model", 200, must(t, n, "POST", search, `{"query":"harbour photographers"}`), `"method":"lexical"`, "too dear", "The photographers meet")
	must(t, n, "POST", "/v1/memory_stores/"+store+"/memories", `{"content":"Anna has the keys"}`)
	must(t, n, "DELETE", "/v1/kill_switches/"+sw, "")
	for i := range 3 {
		must(t, n, "POST", search, fmt.Sprintf(`{"query":"photographers %d"}`, i))
	}
	has(t, "a budget that is used up", 200, must(t, n, "POST", search, `{"query":"who has the keys?"}`), `"method":"lexical"`, "small", "Anna has the keys")
}

// Policies decide about what is written by its scope: an agent remembers for its user, and nothing for all.
func TestPoliciesHoldWhatAgentsRemember(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		must(t, n, "POST", "/v1/policy_sets", `{"name":"scopes","mode":"enforce","text":"@id(\"keep\") forbid(principal is Agent, action == Action::\"memory.entry.write\", resource) when { context.scope == \"project\" };"}`)
		say := func(scope string) string {
			session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory",
				"memory_stores":[{"id":"`+store+`","access":"read_write"}]}]},"input":"Call memory_add with {\"content\": \"The door is blue.\", \"kind\": \"fact\", \"scope\": \"`+scope+`\"}"}`))
			idle(t, n, session)
			return itemsOf(t, n, session)
		}
		has(t, "for all", 200, say("project"), "a policy does not let this be written (fact of scope project)", "policy scopes/keep")
		has(t, "for its user", 200, say("user"), "memory_")
		has(t, "people write for all", 200, must(t, n, "POST", "/v1/memory_stores/"+store+"/memories", `{"content":"The roof is red."}`), "roof")
		if kept := must(t, n, "GET", "/v1/memory_stores/"+store+"/memories", ""); strings.Count(kept, "door is blue") != 1 {
			t.Errorf("kept is %s", kept)
		}
	})
}

// Policies hide entries by their scope, kind and labels, from the API and from agents that act for somebody.
func TestPoliciesHideMemories(t *testing.T) {
	n := openConfigured(t, registryConfig+`policies:
  inline: |
    @id("own")
    forbid(principal, action == Action::"memory.entry.read", resource) when { context.scope == "user" && !context.own };
    @id("salaries")
    forbid(principal is Agent, action == Action::"memory.entry.read", resource) when { context.entry_labels.contains("salary") };
`, io.Discard)
	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
	must(t, n, "POST", "/v1/memory_stores/"+store+"/memories/batch", `{"memories":[{"content":"The budget is discussed on Fridays"},
		{"content":"The budget of mine","scope":{"type":"user","id":"local"}},{"content":"The budget of mallory","scope":{"type":"user","id":"mallory"}},
		{"content":"The budget for salaries","labels":["salary"]}]}`)
	got := must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"budget"}`)
	has(t, "a search", 200, got, "on Fridays", "of mine", "for salaries")
	if strings.Contains(got, "mallory") {
		t.Errorf("another user's is found: %s", got)
	}
	session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","scopes":"all",
		"memory_stores":[{"id":"`+store+`"}],"recall":{"mode":"always"}}]},"input":"Call memory_search with {\"query\":\"budget\"}"}`))
	idle(t, n, session)
	items := itemsOf(t, n, session)
	has(t, "an agent", 200, items, "on Fridays", "of mine", `"memory_search"`)
	if strings.Contains(items, "mallory") || strings.Contains(items, "for salaries") {
		t.Errorf("what is hidden is found by the agent: %s", items)
	}
	has(t, "the agent as it is shown", 200, must(t, n, "GET", "/v1/agents/sessions/"+session, ""), `"scopes":"all"`)
}

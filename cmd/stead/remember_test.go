package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// onBoth runs a test against a server on each database.
func onBoth(t *testing.T, test func(t *testing.T, n *node)) {
	t.Run("SQLite", func(t *testing.T) { test(t, openOn(t, "")) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, openOn(t, pgtest.URL(t))) })
}

// openOn is a server with a model on a database; "": SQLite.
func openOn(t *testing.T, database string) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(registryConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: file, Database: database}
	cfg, err := config.Load(flags, func(string) (string, bool) { return "", false })
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

// must is ask, for what must succeed.
func must(t *testing.T, n *node, method, path, body string) string {
	t.Helper()
	res, got := ask(t, n, method, path, body)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, got)
	}
	return got
}

// itemsOf are a session's items, as they are listed.
func itemsOf(t *testing.T, n *node, session string) string {
	t.Helper()
	return must(t, n, "GET", "/v1/agents/sessions/"+session+"/items?limit=100&order=asc", "")
}

// What a session is shown before a turn: entries that bear on the message, of its own scopes alone, with their
// sources and why they came; as data that a model can't take for anything else.
func TestSessionsRecall(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		must(t, n, "POST", "/v1/memory_stores/"+store+"/memories/batch", `{"memories":[
			{"content":"Invoices for the Hamburg customer go out in German","labels":["finance"]},
			{"content":"Invoices for the Hamburg customer are paid by anna","scope":{"type":"user","id":"local"}},
			{"content":"Invoices for the Hamburg customer: the password of mallory","scope":{"type":"user","id":"mallory"}},
			{"content":"Invoices for the Hamburg customer, says team blue","scope":{"type":"team","id":"blue"}},
			{"content":"Invoices for the Hamburg customer, says team red","scope":{"type":"team","id":"red"}},
			{"content":"The canteen has soup on Mondays"}]}`)
		made := must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","teams":["blue"],
			"memory_stores":[{"id":"`+store+`"}],"recall":{"mode":"budgeted"}}]},"input":"Which language do invoices for the Hamburg customer have?"}`)
		has(t, "the session", 200, made, `"recall":{"mode":"budgeted","token_budget":1000,"max_num_results":8,"context":1}`, `"teams":["blue"]`)
		session := idOf(made)
		idle(t, n, session)
		items := itemsOf(t, n, session)
		has(t, "its items", 200, items, `"type":"memory_recall"`, "go out in German", "paid by anna", "team blue", `"explain":{"words":`, `"labels":["finance"]`)
		for _, not := range []string{"mallory", "team red", "canteen"} {
			if strings.Contains(items, not) {
				t.Errorf("a session of another scope is shown %q:\n%s", not, items)
			}
		}
		if strings.Index(items, "memory_recall") > strings.Index(items, `"role":"assistant"`) {
			t.Error("what is remembered comes after the answer")
		}

		has(t, "a bad mode", 200, invalid(t, n, store, `{"mode":"sometimes"}`), `"param":"agent.tools[0].recall.mode"`)
		has(t, "a bad budget", 200, invalid(t, n, store, `{"mode":"always","token_budget":16001}`), `"param":"agent.tools[0].recall.token_budget"`)
	})
}

// What is said in one session is remembered after its turn, with what it cites and what it cost, and shown to the
// next one of the same user; each message can be searched.
func TestSessionsRemember(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		tool := `{"type":"memory","memory_stores":[{"id":"` + store + `","access":"read_write"}],"recall":{"mode":"always"},"extraction":{"strategies":["fact","preference","episode"]}}`
		begin := func(text string) string {
			return idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[`+tool+`]},"input":"`+text+`"}`))
		}
		memories := func() string { return must(t, n, "GET", "/v1/memory_stores/"+store+"/memories?limit=100", "") }
		first := begin("My favourite editor is vim. My token is ghp_aB3aB3aB3aB3aB3aB3aB3aB3.")
		known := comes(t, `"kind":"episode"`, memories)
		has(t, "what is remembered", 200, known, "The user's favourite editor is vim.", `"sources":[{"session_id":"`+first+`","item_id":"msg_`, `"kind":"item"`, `"labels":["untrusted"]`, `"scope":{"type":"user","id":"local"}`)
		if strings.Contains(known, "ghp_") {
			t.Errorf("a secret is remembered:\n%s", known)
		}
		has(t, "a search of what was said", 200, must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"editor","filters":{"kinds":["item"],"session_id":"`+first+`"}}`), "My favourite editor is vim")
		comes(t, first, func() string { return must(t, n, "GET", "/v1/usage_records?kind=model_call&session_id="+first, "") })
		if calls := must(t, n, "GET", "/v1/usage_records?kind=model_call&session_id="+first, ""); strings.Count(calls, `"object":"usage.record"`) != 2 || !strings.Contains(calls, `"turn_id":null`) {
			t.Errorf("the model calls on record are %s", calls)
		}

		second := begin("Which editor is my favourite?")
		idle(t, n, second)
		has(t, "the next session", 200, itemsOf(t, n, second), `"type":"memory_recall"`, "The user's favourite editor is vim.")
		third := begin("My favourite editor is emacs.")
		comes(t, `"superseded_by":"mem_`, memories)
		now := must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"favourite editor","filters":{"kinds":["preference"]}}`)
		if !strings.Contains(now, "emacs") || strings.Contains(now, "vim") {
			t.Errorf("what is true now is %s", now)
		}

		comes(t, third+`_`, func() string { return episodeOf(memories(), third) })
		has(t, "a deleted session", 200, must(t, n, "DELETE", "/v1/agents/sessions/"+third, ""), `"deleted":true`, `"memories":{"removed":4,"changed":0}`)
		if left := memories(); strings.Contains(left, third) || strings.Contains(left, "emacs") || strings.Contains(left, `"superseded_by":"mem_`) {
			t.Errorf("what was remembered of a deleted session is left: %s", left)
		}
		has(t, "the audit log", 200, must(t, n, "GET", "/v1/audit_records?action=memory.forget", ""), third, "4 memories removed, 0 lost a source")
		has(t, "a user who is forgotten", 200, must(t, n, "POST", "/v1/memory_stores/forget", `{"filters":{"scopes":[{"type":"user","id":"local"}]}}`), `"object":"memory.forgotten"`, `"memory_stores":1`)
		if left := memories(); strings.Contains(left, `"object":"memory"`) {
			t.Errorf("of a user who is forgotten %s is left", left)
		}
	})
}

// episodeOf is what of a list speaks of a session once its episode is there, which is written last.
func episodeOf(list, session string) string {
	for _, entry := range strings.Split(list, `"object":"memory"`) {
		if strings.Contains(entry, `"kind":"episode"`) && strings.Contains(entry, session) {
			return session + "_"
		}
	}
	return ""
}

// invalid is the answer to an agent whose recall is wrong.
func invalid(t *testing.T, n *node, store, recall string) string {
	t.Helper()
	res, got := ask(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","memory_stores":[{"id":"`+store+`"}],"recall":`+recall+`}]}}`)
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("%s: %d", recall, res.StatusCode)
	}
	return got
}

// idle waits until a session has nothing to do.
func idle(t *testing.T, n *node, session string) {
	t.Helper()
	comes(t, `"status":"idle"`, func() string { return must(t, n, "GET", "/v1/agents/sessions/"+session, "") })
}

// comes waits until what is read holds a text.
func comes(t *testing.T, want string, read func() string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got := read()
		if strings.Contains(got, want) {
			return got
		} else if time.Now().After(deadline) {
			t.Fatalf("%s never came: %s", want, got)
		}
	}
}

// What tools said is searchable as messages are, untrusted and with its tool, and goes with its session; a tool over memories
// says nothing of its own.
func TestToolOutputsAreSearchable(t *testing.T) {
	shop, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	n := openConfigured(t, registryConfig+"mcp_servers: [{label: shop, url: \""+shop.url+"\"}]\n", io.Discard)
	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
	begin := func(more string) string {
		return idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"mcp","server_label":"shop","require_approval":"never"},
			{"type":"memory","memory_stores":[{"id":"`+store+`","access":"read_write"}],"extraction":{"strategies":[]`+more+`}}]},
			"input":"Call find_order with {\"order\":\"4711\"}\nThen call memory_search with {\"query\":\"order\"}"}`))
	}
	session := begin("")
	idle(t, n, session)
	search := func() string {
		return must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"order 4711","limit":50,"filters":{"metadata":{"tool":"shop/find_order"}}}`)
	}
	got := comes(t, `"tool":"shop/find_order"`, search)
	has(t, "what a tool said", 200, got, `"kind":"item"`, `"labels":["untrusted"]`, `"author":"tool"`, `"session_id":"`+session+`"`, "4711")
	if all := must(t, n, "GET", "/v1/memory_stores/"+store+"/memories?limit=100", ""); strings.Contains(all, "memory_search") && strings.Contains(all, `"tool":"memory`) {
		t.Errorf("what was found in the memory is remembered again: %s", all)
	}
	has(t, "taken in again", 200, must(t, n, "POST", "/v1/memory_stores/"+store+"/ingest", `{"session_id":"`+session+`"}`), `"added":0`)
	other := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"other"}`))
	all := must(t, n, "POST", "/v1/memory_stores/"+other+"/ingest", `{"session_id":"`+session+`"}`)
	alone := must(t, n, "POST", "/v1/memory_stores/"+idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"third"}`))+"/ingest", `{"session_id":"`+session+`","tool_outputs":false}`)
	if all == alone || !strings.Contains(all, `"items":3`) || !strings.Contains(alone, `"items":2`) {
		t.Errorf("with tools %s, without %s", all, alone)
	}
	must(t, n, "DELETE", "/v1/agents/sessions/"+session, "")
	if left := search(); strings.Contains(left, "find_order\"") {
		t.Errorf("it outlives its session: %s", left)
	}
	quiet := begin(`,"tool_outputs":false`)
	idle(t, n, quiet)
	comes(t, quiet, func() string { return must(t, n, "GET", "/v1/memory_stores/"+store+"/memories?limit=100", "") })
	if left := search(); strings.Contains(left, quiet) {
		t.Errorf("it was told not to: %s", left)
	}
}

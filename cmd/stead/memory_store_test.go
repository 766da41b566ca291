package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestAStoreThatIsNotThereIsNoAgents: whoever makes an agent, or a session with one, or changes one, is told which of its memory stores there is not.
func TestAStoreThatIsNotThereIsNoAgents(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": func(testing.TB) string { return "" }, "PostgreSQL": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			n := openOn(t, database(t))
			store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
			agent := func(stores ...string) string {
				return `"model":"mine","tools":[{"type":"memory","memory_stores":[{"id":"` + strings.Join(stores, `"},{"id":"`) + `"}]}]`
			}
			made := idOf(must(t, n, "POST", "/v1/agents", `{"name":"a",`+agent(store)+`}`))
			for _, c := range []struct{ path, body, param string }{
				{"/v1/agents", `{"name":"b",` + agent(store, store+"x") + `}`, "tools[0].memory_stores[1].id"},
				{"/v1/agents/" + made, `{` + agent("memstore_mistyped") + `}`, "tools[0].memory_stores[0].id"},
				{"/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{` + agent("memstore_mistyped") + `},"input":"Say hello"}`, "agent.tools[0].memory_stores[0].id"},
			} {
				res, got := ask(t, n, "POST", c.path, c.body)
				if res.StatusCode != http.StatusBadRequest || !strings.Contains(got, `"param":"`+c.param+`"`) || !strings.Contains(got, "there is no memory store") {
					t.Errorf("%s: %d %s, want one about %s", c.path, res.StatusCode, got, c.param)
				}
			}
		})
	}
}

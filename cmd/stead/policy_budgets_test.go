package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestPoliciesSeeBudgets: from 80 per cent on the large model is refused, and once all is used a tool wants an approval; the journal has what was seen,
// and a replay asks with that.
func TestPoliciesSeeBudgets(t *testing.T) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			const near = `@id("near") @reason("four fifths are used") forbid(principal, action == Action::"model.call", resource == Model::"large") when { context has budgets && context.budgets.used >= 80 };`
			text := "policies:\n  inline: |\n    " + near + `
    @id("all-used") @approval("owner") forbid(principal, action == Action::"tool.call", resource == Tool::"function/order") when { context has budgets && context.budgets.exhausted };
    @id("no-more-turns") forbid(principal, action in [Action::"session.write", Action::"session.create"], resource) when { context has budgets && context.budgets.exhausted };
budgets: [{name: day, scope: project, period: day, limit: {calls: 5}}]
providers: [{name: sim, api: sim}]
models: [{name: large, routes: [{provider: sim, model: sim}]}, {name: small, routes: [{provider: sim, model: sim}]}]
`
			if driver == "postgres" {
				text += "database: " + pgtest.URL(t) + "\n"
			}
			n := openConfigured(t, text, io.Discard)
			body := `{"model":"large","messages":[{"role":"user","content":"Say hi"}]}`
			for range 4 {
				must(t, n, "POST", "/v1/chat/completions", body)
			}
			if res, got := ask(t, n, "POST", "/v1/chat/completions", body); res.StatusCode != http.StatusForbidden || !strings.Contains(got, "four fifths are used") {
				t.Errorf("at 80 per cent: %d %s", res.StatusCode, got)
			}
			session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"small","tools":[{"type":"function","name":"order","parameters":{"type":"object"}}]},"environment":{"type":"none"},"input":"Call order with {}"}`))
			comes(t, `"request_id":"req_`, func() string { return must(t, n, "GET", "/v1/agents/sessions/"+session, "") })
			export := must(t, n, "GET", "/v1/agents/sessions/"+session+"/export", "")
			if !strings.Contains(export, `"budgets":{"used":100,"exhausted":true,"tightest":"config_day"}`) || strings.Count(export, `"budgets":{`) < 2 {
				t.Errorf("the journal has %s", export)
			}
			res, got := ask(t, n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Say more"}]}`)
			if res.StatusCode != http.StatusForbidden || !strings.Contains(got, "no-more-turns") {
				t.Errorf("more turns: %d %s", res.StatusCode, got)
			}
			if res, _ := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"small"},"environment":{"type":"none"},"input":"Say hi"}`); res.StatusCode != http.StatusForbidden {
				t.Errorf("another session: %d", res.StatusCode)
			}
			// The function was decided with what was there then: a replay sees it, and says of what it does not.
			run := func(policies string) string {
				t.Helper()
				path := filepath.Join(t.TempDir(), "p.cedar")
				if err := os.WriteFile(path, []byte(policies), 0o600); err != nil {
					t.Fatal(err)
				}
				var o, e strings.Builder
				a := &app{in: strings.NewReader(""), out: &o, err: &e, env: func(string) (string, bool) { return "", false }}
				if code := a.main(t.Context(), []string{"policy", "replay", "--server", n.base, "--policies", path, session}); code != 0 {
					t.Fatalf("%s: %d %s", policies, code, e.String())
				}
				return o.String() + e.String()
			}
			if got := run(`forbid(principal, action == Action::"tool.call", resource) when { context has budgets && context.budgets.used == 100 };`); !strings.Contains(got, "function/order") || !strings.Contains(got, "deny") || strings.Contains(got, "how far budgets") {
				t.Errorf("the replay: %s", got)
			}
			if got := run(`forbid(principal, action == Action::"model.call", resource == Model::"small") when { context has budgets && context.budgets.used >= 0 };`); !strings.Contains(got, "not asked: model.call, of 1 sessions: with how far budgets were used up") {
				t.Errorf("of what no policy looked at: %s", got)
			}
		})
	}
}

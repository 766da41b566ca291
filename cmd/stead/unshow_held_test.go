package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// openHolding is a node whose policies are these besides permitting everything.
func openHolding(t *testing.T, database, policies string) *node {
	t.Helper()
	text := registryConfig + "policies:\n  inline: |\n    permit(principal, action, resource);\n    " + policies + "\n"
	if database != "" {
		text += "database: " + database + "\n"
	}
	return openConfigured(t, text, io.Discard)
}

// TestPoliciesThatKeepSessions: a policy that lets some people alone delete sessions lets them take what they erase out of these, too; one that keeps them from
// everybody holds the erasure, which says so, to people and to programs.
func TestPoliciesThatKeepSessions(t *testing.T) {
	const word = "Quetzalcoatlus"
	for name, database := range map[string]func(testing.TB) string{"SQLite": func(testing.TB) string { return "" }, "PostgreSQL": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			for policy, some := range map[string]bool{
				`@id("some") forbid(principal, action == Action::"session.delete", resource) unless { principal == User::"local" };`: true,
				`@id("hold") forbid(principal, action == Action::"session.delete", resource);`:                                       false,
			} {
				n := openHolding(t, database(t), policy)
				s := newShower(t, n)
				secret := s.add("The salary of Ada is known to " + word + ".")
				shown := s.begin("always", "What is the salary of Ada?")
				if !strings.Contains(s.says(shown), word) {
					t.Fatal("it was not shown")
				}
				request := `{"memory_store_id":"` + s.store + `","memory_id":"` + secret + `"}`
				if some {
					c := s.erased(request)
					if c.Erased.ShownSessions != 1 || strings.Contains(s.says(shown), word) {
						t.Errorf("%s: %+v, and it says %s", policy, c, s.says(shown))
					}
					continue
				}
				var e struct{ ID, Problem string }
				e.ID = idOf(must(t, n, "POST", "/v1/erasures", request))
				got := comes(t, `"status":"`+erasure.Held+`"`, func() string { return must(t, n, "GET", "/v1/erasures/"+e.ID, "") })
				if err := json.Unmarshal([]byte(got), &e); err != nil || !strings.Contains(e.Problem, "1 that are kept by a policy") || !strings.Contains(s.says(shown), word) {
					t.Errorf("%v: %s", err, got)
				}
				var out, said strings.Builder
				a := &app{in: strings.NewReader(""), out: &out, err: &said, env: func(string) (string, bool) { return "", false }}
				if code := a.main(t.Context(), []string{"erase", "--server", n.base, "--erasure", e.ID}); code == 0 || !strings.Contains(said.String(), "is held") {
					t.Errorf("the command ends with %d: %s%s", code, out.String(), said.String())
				}
			}
		})
	}
}

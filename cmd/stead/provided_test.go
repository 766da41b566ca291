package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// providedPolicies are about tools that a model's provider runs.
const providedPolicies = `
policies:
  inline: |
    @id("no-code") @reason("code runs here") forbid(principal, action == Action::"tool.call", resource == Tool::"provider/code_interpreter");
    @id("no-refunds") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");
    @id("no-secrets") forbid(principal, action == Action::"tool.call", resource in Server::"crm") when { context.text like "*secret*" };
    @id("ask-mail") @approval("owner") forbid(principal, action == Action::"tool.call", resource == Tool::"provider/connector_gmail");
    @id("wires") forbid(principal, action == Action::"tool.call", resource == Tool::"function/wire") when { context.labels.hasTag("untrusted") };
`

// manyTools are as many entries of a list of tools.
func manyTools(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"type":"tool_%d"}`, i))
	}
	return strings.Join(all, ",")
}

// TestToolsOfProvidersAreGoverned: what a provider runs itself is decided before it is offered, at each door; what is allowed is passed on byte for byte,
// and recorded; what a kill switch stops is refused by its type, its server's label and address.
func TestToolsOfProvidersAreGoverned(t *testing.T) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			var mu sync.Mutex
			var heard [][]byte
			up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body) // what can't be read was not passed on
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, upstreamSaid) // who hears it is the test
			}))
			t.Cleanup(up.Close)
			text := providedPolicies + "mcp_servers: [{label: crm2, url: 'https://crm2.example/mcp'}]\nproviders: [{name: chat, api: chat, base_url: " + up.URL + "}, {name: up, api: responses, base_url: " + up.URL +
				"}]\nmodels: [{name: chat, routes: [{provider: chat, model: x}]}, {name: up, routes: [{provider: up, model: x}]}]\n"
			if driver == "postgres" {
				text += "database: " + pgtest.URL(t) + "\n"
			}
			n := openConfigured(t, text, io.Discard)
			responses := func(tools string) (*http.Response, string) {
				return ask(t, n, "POST", "/v1/responses", `{"model":"up","store":false,  "input":"hi","tools":[`+tools+`]}`)
			}
			mcp := func(label, more string) string {
				return `{"type":"mcp","server_label":"` + label + `","server_url":"https://` + label + `.example/mcp"` + more + `}`
			}
			refused := func(what string, status int, res *http.Response, got string, says ...string) {
				t.Helper()
				for _, s := range says {
					if res.StatusCode != status || !strings.Contains(got, s) {
						t.Errorf("%s: %d %s, want %d and %q", what, res.StatusCode, got, status, s)
					}
				}
			}

			for _, tools := range []string{`{"type":"web_search"}`, mcp("shop", `,"allowed_tools":["look"]`), `{"type":"function","name":"look"},{"type":"image_generation"}`,
				`{"type":"tool_search","execution":"client"}`} {
				before := len(heard)
				if res, got := responses(tools); res.StatusCode != 200 || got != upstreamSaid {
					t.Errorf("%s: %d %s", tools, res.StatusCode, got)
				} else if want := `{"model":"x","store":false,  "input":"hi","tools":[` + tools + `]}`; len(heard) != before+1 || !bytes.Equal(heard[before], []byte(want)) {
					t.Errorf("passed on as %q, want %s", heard[before:], want)
				}
			}
			if res, got := ask(t, n, "POST", "/v1/chat/completions", `{"model":"chat","messages":[],"web_search_options":{}}`); got != upstreamSaid {
				t.Errorf("a chat that searches: %d %s", res.StatusCode, got)
			}

			passed := len(heard)
			for tools, says := range map[string][]string{
				`{"type":"code_interpreter","container":{"type":"auto"}}`: {"provider/code_interpreter", "policy no-code forbids it: code runs here"},
				mcp("shop", ``): {"the tool shop, which", "no-refunds"},
				mcp("shop", `,"allowed_tools":["look","refund"]`):                       {"shop/refund", "no-refunds"},
				mcp("crm", `,"allowed_tools":["look"]`):                                 {"crm/look", "no-secrets", "its arguments can't be looked at"},
				`{"type":"mcp","server_label":"mail","connector_id":"connector_gmail"}`: {"provider/connector_gmail", "ask-mail asks for approval", "nobody can be asked"},
			} {
				res, got := responses(tools)
				refused(tools, 403, res, got, append(says, `"param":"tools"`)...)
			}
			for _, label := range []string{"provider", "function", "crm2", "a/b", ""} {
				res, got := responses(strings.Replace(mcp(label, `,"allowed_tools":["web_search"]`), `"https://`+label, `"https://x`, 1))
				refused("a server called "+label, 400, res, got, "server_label")
			}
			for _, at := range []string{" https://x.example/mcp", "https://ｘ.example/mcp"} {
				res, got := responses(strings.Replace(mcp("x", ``), "https://x.example/mcp", at, 1))
				refused("a server whose address others may read otherwise", 400, res, got, "a host in ASCII")
			}
			res, got := responses(manyTools(1025))
			refused("more tools than are decided", 400, res, got, "at most 1024 tools", `"param":"tools"`)
			res, got = ask(t, n, "POST", "/v1/responses", `{"model":"up","store":false,"input":"hi","prompt":{"id":"pmpt_1"}}`)
			refused("tools that nobody here knows", 403, res, got, "prompt: what is kept at the model's provider may bring tools", `"param":"prompt"`)
			// What it brings may be of a stranger: a function that is not for such calls is decided, and so the call can't be passed on.
			res, got = responses(`{"type":"function","name":"wire"},{"type":"web_search"}`)
			refused("a function beside it", 400, res, got, "tools[1].type")
			res, got = ask(t, n, "POST", "/v1/chat/completions", `{"model":"chat","messages":[],"tools":[{"type":"code_interpreter"}]}`)
			refused("in a chat", 403, res, got, "provider/code_interpreter")

			for of, tools := range map[string]string{
				"web_search": `{"type":"web_search_preview"}`, "provider/image_generation": `{"type":"image_generation"}`, "books": mcp("books", `,"allowed_tools":["x"]`),
				"cars/sell": mcp("cars", ``), "host:evil.example": strings.Replace(mcp("nice", ``), "nice.example", "evil.example", 1),
			} {
				sw := idOf(must(t, n, "POST", "/v1/kill_switches", `{"scope":"tool","of":"`+of+`","unknown":true,"reason":"it was taken over"}`))
				res, got := responses(tools)
				refused("stopped "+of, 403, res, got, "it offers the tool", "it was taken over", sw)
			}
			res, got = ask(t, n, "POST", "/v1/chat/completions", `{"model":"chat","messages":[],"web_search_options":{}}`)
			refused("a chat that searches", 403, res, got, "provider/web_search")
			res, got = ask(t, n, "POST", "/v1/chat/completions", `{"model":"chat","messages":[],"plugins":[{"id":"web"}]}`)
			refused("a chat with a plugin that searches", 403, res, got, "provider/web_search")
			if len(heard) != passed {
				t.Errorf("%d calls were passed on all the same: %q", len(heard)-passed, heard[passed:])
			}

			log := must(t, n, "GET", "/v1/audit_records?action=tool.call&order=asc&limit=100", "")
			for _, want := range []string{`"resource":"provider/web_search"`, `"resource":"shop/look"`, `"policies":["no-code"]`, "arguments that are not seen, to shop.example:443"} {
				if !strings.Contains(log, want) {
					t.Errorf("%s is not in the log: %s", want, log)
				}
			}
		})
	}
}

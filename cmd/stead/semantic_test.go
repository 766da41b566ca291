package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

const storeModel = `
name: store
version: 4
owner: data@store.example
sources: {books: {database: books}}
entities:
  order:
    table: orders
    key: [id]
    synonyms: [purchase]
    attributes:
      id: {type: text}
      buyer: {type: text, hidden: true}
      status: {type: text, values: [open, delivered], synonyms: [state]}
      cents: {type: integer}
      changed: {type: timestamp}
    freshness: {attribute: changed, within: 24h}
    rows:
      - {roles: [owner], all: true}
      - where: [{attribute: buyer, principal: id}]
metrics:
  revenue: {description: What was paid., entity: order, aggregate: sum, of: cents, dimensions: [status], time: changed, unit: US cents, synonyms: [sales]}
  orders: {description: Number of orders., entity: order, aggregate: count, dimensions: [status], synonyms: [sales]}
actions:
  pay_back:
    description: Pay an order back.
    synonyms: [refund]
    tool: shop/refund_order
    arguments: {properties: {order: {type: string, maxLength: 3}}, required: [order]}
    with: {cents: 500}
    approval: true
    entity: order
    key: {id: order}
    preconditions: [{says: The order was delivered., where: [{attribute: status, value: delivered}]}]
`

// bookshop is a configuration with a semantic model over a database of one kind, filled with the orders of ada and bob.
func bookshop(t *testing.T, driver, tools string) string {
	t.Helper()
	dsn, open := filepath.Join(t.TempDir(), "books.db"), "sqlite"
	if driver == "postgres" {
		dsn, open = pgtest.URL(t), "pgx"
	}
	db, err := sql.Open(open, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE orders (id TEXT PRIMARY KEY, buyer TEXT, status TEXT, cents INTEGER, changed TIMESTAMP);
		INSERT INTO orders VALUES ('1', 'ada', 'open', 100, '2026-01-05 10:00:00'), ('2', 'ada', 'delivered', 250, '2026-01-06 10:00:00'), ('3', 'bob', 'open', 70777, '2026-01-07 10:00:00')`); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "store.yaml")
	if err := os.WriteFile(file, []byte(storeModel), 0o600); err != nil {
		t.Fatal(err)
	}
	// The dollar of ${…} would be read from the environment.
	return "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n" +
		fmt.Sprintf("mcp_servers: [{label: shop, url: %q}]\nsemantic:\n  databases: [{name: books, driver: %s, dsn: %q}]\n  models: [{file: %q, projects: [one]}]\n", tools, driver, dsn, file)
}

// shelved is the database of a bookshop.
func shelved(t *testing.T, config string) *sql.DB {
	t.Helper()
	_, rest, _ := strings.Cut(config, "databases: [{name: books, driver: ")
	driver, rest, _ := strings.Cut(rest, ", dsn: \"")
	dsn, _, _ := strings.Cut(rest, "\"")
	if driver == "postgres" {
		driver = "pgx"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// keyOf makes a key of a user.
func (h *house) keyOf(role, project, user string) string {
	h.t.Helper()
	var made struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"`+role+`","project":"`+project+`","principal":{"kind":"user","id":"`+user+`"}}`, &made)
	return made.Secret
}

// says runs a session to its answer.
func (h *house) says(key, tools, input, want string) (string, string) {
	h.t.Helper()
	var made struct{ ID string }
	text, _ := json.Marshal(input)
	h.get(key, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[`+tools+`]},"environment":{"type":"none"},"input":`+string(text)+`}`, &made)
	return made.ID, comes(h.t, want, func() string {
		_, body := h.call(key, "GET", "/v1/agents/sessions/"+made.ID, "")
		_, items := h.call(key, "GET", "/v1/agents/sessions/"+made.ID+"/items?limit=100&order=asc", "")
		return string(body) + string(items)
	})
}

const semanticTools = `{"type":"semantic","models":["store"]},{"type":"mcp","server_label":"shop","require_approval":"never"}`

// An agent describes, asks and acts in terms of the business, in both kinds of database: it sees the rows of the user for whom it
// works, an answer says what it means, and an act is the tool server's call, with approval.
func TestAgentsAskInTermsOfTheBusiness(t *testing.T) {
	till, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			config := bookshop(t, driver, till.url)
			if driver == "postgres" { // sessions are there too
				config += "database: " + pgtest.URL(t) + "\n"
			}
			n := openConfigured(t, config, io.Discard)
			h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
			ada, bob, boss, other := h.keyOf("agent", "one", "ada"), h.keyOf("agent", "one", "bob"), h.keyOf("owner", "one", "eve"), h.keyOf("agent", "two", "ada")

			_, got := h.says(ada, semanticTools, "Call describe with {}\nThen call describe with {\"term\":\"refund\"}\nThen call query with {\"metrics\":[\"revenue\",\"orders\"],\"dimensions\":[\"state\"]}", `"status":"idle"`)
			has(t, "what ada is told", 200, unquoted(got), `"metrics":[{"name":"orders"`, `"preconditions":["The order was delivered."]`, `"needs_approval":true`,
				`"rows":[["delivered",250,1],["open",100,1]]`, `"definition":"sum of cents over order, in time by changed"`, `"model":{"name":"store","version":4`, `"source":["books: orders"]`, `STALE: the newest data of order is of 2026-01-06T10:00:00Z`, `"server_label":"semantic"`)
			for _, not := range []string{"70777", "buyer", "2026-01-07"} {
				if strings.Contains(got, not) {
					t.Errorf("ada's agent is shown %s:\n%s", not, got)
				}
			}
			_, got = h.says(bob, semanticTools, `Call query with {"metrics":["revenue"],"time":{"from":"2026-01-01","grain":"month"}}`, `"status":"idle"`)
			has(t, "what bob is told", 200, unquoted(got), `"rows":[["2026-01-01",70777]]`)
			_, got = h.says(boss, semanticTools, `Call query with {"entity":"order","order":[{"by":"cents","descending":true}]}`, `"status":"idle"`)
			has(t, "what the owner is told", 200, unquoted(got), `"rows":[[70777,"2026-01-07T10:00:00Z","3","open"]`)
			if strings.Contains(got, "only the rows count") {
				t.Errorf("the owner is told of rows that it can't see:\n%s", got)
			}

			_, got = h.says(ada, semanticTools, "Call query with {\"metrics\":[\"revenu\"]}\nCall query with {\"metrics\":[\"sales\"]}\nCall act with {\"action\":\"pay_bac\"}\nCall act with {\"action\":\"pay_back\",\"arguments\":{\"order\":5}}\nCall refund_order with {\"order\":\"1\",\"cents\":9}", `"status":"idle"`)
			has(t, "what is wrong", 200, unquoted(got), `Did you mean revenue?`, `"sales" is ambiguous`, `Did you mean pay_back?`, `he arguments do not fit the action pay_back`, `there is no tool "refund_order"`)
			if strings.Contains(got, "refunded") {
				t.Errorf("something was paid back:\n%s", got)
			}

			// An act waits for a person, is the server's call, and happens once.
			id, got := h.says(ada, semanticTools, `Call act with {"action":"refund","arguments":{"order":"2"}}`, `"requires_action"`)
			has(t, "what a person is asked", 200, unquoted(got), `"name":"refund_order"`, `"server_label":"shop"`, `"order":"2"`, `"cents":500`)
			_, request, _ := strings.Cut(got, `"request_id":"`)
			request, _, _ = strings.Cut(request, `"`)
			answer := `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"` + request + `","response":{"decision":"approve"}}]}`
			// Whoever approves changes what the action leaves open: neither what it sets, nor what its own schema refuses.
			edit := func(arguments string) string {
				return strings.Replace(answer, `"approve"`, `"approve","arguments":`+arguments, 1)
			}
			for arguments, want := range map[string]string{
				`{"order":"2","cents":90000}`:            "it is the action pay_back, which sets what its tool gets: cents is always 500",
				`{"order":"2000","cents":500}`:           "the arguments do not fit",
				`{"order":"2","cents":500,"to":"else"}`:  "the arguments do not fit",
				`{"cents":500}`:                          "the arguments do not fit",
				`{"order":"2","cents":"500","extra":{}}`: "cents is always 500",
			} {
				code, body := h.call(boss, "POST", "/v1/agents/sessions/"+id+"/events", edit(arguments))
				if code != http.StatusBadRequest {
					t.Errorf("an edit to %s: %d", arguments, code)
				}
				has(t, "an edit to "+arguments, 200, string(body), `"param":"events[0].response.arguments"`, want)
			}
			answer = edit(`{"order":"2"}`)
			if code, body := h.call(boss, "POST", "/v1/agents/sessions/"+id+"/events", answer); code != http.StatusAccepted && code != http.StatusOK {
				t.Fatalf("approved: %d %s", code, body)
			}
			done := comes(t, "refunded 5.00 USD for order 2", func() string {
				_, items := h.call(ada, "GET", "/v1/agents/sessions/"+id+"/items?limit=100&order=asc", "")
				return string(items)
			})
			if strings.Count(done, `"type":"mcp_call"`) != 1 {
				t.Errorf("the call is there more than once:\n%s", done)
			}

			// What does not hold is not asked about; what no longer holds when it is approved is not done, and neither is what it is changed into.
			_, got = h.says(ada, semanticTools, `Call act with {"action":"refund","arguments":{"order":"1"}}`, `"status":"idle"`)
			has(t, "what was never delivered", 200, unquoted(got), `"The order was delivered." does not hold (status is "open")`)
			_, got = h.says(ada, semanticTools, `Call act with {"action":"refund","arguments":{"order":"3"}}`, `"status":"idle"`)
			has(t, "somebody else's order", 200, unquoted(got), `there is no order with id 3, or none that whoever it is for may see`)
			for to, want := range map[string]string{``: `does not hold (status is "open")`, `,"arguments":{"order":"1","cents":500}`: `of the order with id 1`} {
				if _, err := shelved(t, config).Exec("UPDATE orders SET status = 'delivered' WHERE id = '2'"); err != nil {
					t.Fatal(err)
				}
				id, got := h.says(ada, semanticTools, `Call act with {"action":"refund","arguments":{"order":"2"}}`, `"requires_action"`)
				_, request, _ := strings.Cut(got, `"request_id":"`)
				request, _, _ = strings.Cut(request, `"`)
				if _, err := shelved(t, config).Exec("UPDATE orders SET status = 'open' WHERE id = '2'"); err != nil {
					t.Fatal(err)
				}
				h.call(boss, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"`+request+`","response":{"decision":"approve"`+to+`}}]}`)
				refused := comes(t, `"status":"failed"`, func() string {
					_, items := h.call(ada, "GET", "/v1/agents/sessions/"+id+"/items?limit=100&order=asc", "")
					return string(items)
				})
				if has(t, "what holds no more", 200, unquoted(refused), `The call was not made. The action pay_back is not taken`, want); strings.Contains(refused, "refunded") {
					t.Errorf("it was paid back:\n%s", refused)
				}
			}

			// Another project has no such model, and its agents no tools of it.
			_, got = h.says(other, `{"type":"semantic","models":["store"]}`, `Call query with {"metrics":["revenue"]}`, `"status":"idle"`)
			has(t, "another project", 200, unquoted(got), `there is no tool "query"`)
			_, got = h.says(other, `{"type":"semantic"}`, `Call describe with {}`, `"status":"idle"`)
			if strings.Contains(got, "revenue") {
				t.Errorf("another project sees the model:\n%s", got)
			}
		})
	}
}

// Policies decide about a query by the names that it means, whatever words it uses, and about an act as the call that it is.
func TestPoliciesDecideAboutQueries(t *testing.T) {
	till, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	rules := `
@id("no-revenue") @reason("revenue is for the owner")
forbid(principal, action == Action::"semantic_model.query", resource == SemanticModel::"store") when { context.metrics.contains("revenue") } unless { principal in Role::"owner" };
@id("no-listing") @reason("no rows")
forbid(principal in User::"ada", action == Action::"semantic_model.query", resource) when { context.rows && context.entities.contains("order") };
@id("small") @reason("that is too much")
forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund_order") when { context.numbers.hasTag("cents") && context.numbers.getTag("cents").greaterThan(decimal("100.0")) };`
	config := bookshop(t, "sqlite", till.url) + "policies:\n  inline: |\n" + strings.ReplaceAll(rules, "\n", "\n    ") + "\n"
	n := openConfigured(t, config, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	ada, eve := h.keyOf("agent", "one", "ada"), h.keyOf("owner", "one", "eve")
	id, got := h.says(ada, semanticTools, "Call query with {\"metrics\":[\"Revenue\"]}\nCall query with {\"metrics\":[\"orders\"]}\nCall query with {\"entity\":\"purchase\"}\nCall act with {\"action\":\"refund\",\"arguments\":{\"order\":\"2\"}}", `"requires_action"`)
	has(t, "what ada is told", 200, unquoted(got), "revenue is for the owner", `"rows":[[2]]`, "no rows")
	_, request, _ := strings.Cut(got, `"request_id":"`)
	request, _, _ = strings.Cut(request, `"`)
	h.call(eve, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.mcp_approval_request_result","request_id":"`+request+`","response":{"decision":"approve"}}]}`)
	comes(t, "that is too much", func() string { // the arguments that are always the same are policies' affair too
		_, items := h.call(ada, "GET", "/v1/agents/sessions/"+id+"/items?limit=100&order=asc", "")
		return string(items)
	})
	_, got = h.says(eve, semanticTools, `Call query with {"metrics":["Revenue"]}`, `"status":"idle"`)
	has(t, "what the owner is told", 200, unquoted(got), `"rows":[[71127]]`)
}

// A project uploads a model: its agents have it at once, in each version, and other projects never, whichever database Stead is on.
func TestUploadedModelsAreAnswered(t *testing.T) {
	till, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	for name, database := range map[string]func() string{"SQLite": func() string { return "" }, "PostgreSQL": func() string { return pgtest.URL(t) }} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(bookshop(t, "sqlite", till.url), `}]
  models:`, `, uploads: {projects: [one, two], tables: [orders]}}]
  models:`, 1)
			file := filepath.Join(t.TempDir(), "stead.yaml")
			if err := os.WriteFile(file, []byte(text+"database: \""+database()+"\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			n := openAt(t, file, filepath.Join(t.TempDir(), "data"), io.Discard)
			h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
			ada, bob, boss, other := h.keyOf("agent", "one", "ada"), h.keyOf("agent", "one", "bob"), h.keyOf("owner", "one", "eve"), h.keyOf("owner", "two", "eve")
			own := strings.Replace(strings.Replace(storeModel, "version: 4\n", "", 1), "name: store", "name: own", 1)
			body := func(text string, more string) string {
				quoted, _ := json.Marshal(text)
				return `{"text":` + string(quoted) + more + `}`
			}
			post := func(key, path, body string, want int, says ...string) {
				t.Helper()
				code, got := h.call(key, "POST", path, body)
				if code != want {
					t.Errorf("%s: %d %s, want %d", path, code, got, want)
				}
				has(t, path, 200, unquoted(string(got)), says...)
			}
			const models = "/v1/semantic_models"
			post(boss, models, body(storeModel, ""), 400, "it says 4, and this is version 1")
			post(boss, models, body(strings.Replace(storeModel, "version: 4\n", "", 1), ""), 409, "the configuration has a semantic model store")
			post(ada, models, body(own, ""), 403)
			post(boss, models, body(own, ""), 200, `"version":1`, `"metrics":2`)
			post(boss, models+"/query", `{"model":"own","metrics":["revenue"]}`, 200, `"rows":[[71127]]`, `"model":{"name":"own","version":1`)
			post(ada, models+"/query", `{"model":"own","metrics":["revenue"]}`, 200, `"rows":[[350]]`)
			post(ada, models+"/query", `{"metrics":["revenue"]}`, 400, "several semantic models know that", "own, store")
			post(boss, models+"/query", `{"model":"own","metrics":["revenu"]}`, 400, "Did you mean revenue?")
			post(boss, models+"/describe", `{"term":"revenue","model":"own"}`, 200, `"definition":"sum of cents over order, in time by changed"`)

			// Its next version holds at once: cancelled orders do not count any more, and bob sees none of it.
			next := strings.Replace(own, "of: cents,", "of: cents, where: [{attribute: status, value: delivered}],", 1)
			post(boss, models+"/smod_own", body(next, ""), 400, "expected_version")
			post(boss, models+"/smod_own", body(next, `,"expected_version":7`), 409)
			post(boss, models+"/smod_own", body(next, `,"expected_version":1`), 200, `"version":2`)
			_, got := h.says(ada, `{"type":"semantic","models":["own"]}`, `Call query with {"metrics":["revenue"]}`, `"status":"idle"`)
			has(t, "ada", 200, unquoted(got), `"rows":[[250]]`, `"version":2`, "where status equals delivered")
			_, got = h.says(bob, `{"type":"semantic","models":["own"]}`, `Call query with {"metrics":["revenue"]}`, `"status":"idle"`)
			has(t, "bob", 200, unquoted(got), `"rows":[[null]]`)

			// Project two may read the same table by a model of its own, and has none of project one's.
			post(other, models+"/query", `{"metrics":["revenue"]}`, 400, "there is no semantic model here")
			post(other, models+"/smod_own", body(next, `,"expected_version":2`), 404)
			post(other, models, body(strings.Replace(own, "[{attribute: buyer, principal: id}]", `[{attribute: buyer, value: "x' OR '1'='1"}]`, 1), ""), 200)
			two := h.keyOf("agent", "two", "ada")
			_, got = h.says(two, `{"type":"semantic"}`, `Call query with {"metrics":["orders"]}`, `"status":"idle"`)
			has(t, "project two", 200, unquoted(got), `"rows":[[0]]`, `"version":1`)

			_, log := h.call(boss, "GET", "/v1/audit_records?limit=100", "")
			has(t, "the audit log", 200, string(log), `"semantic_model.write"`, `"semantic_model.query"`, `"own"`)
		})
	}
}

// unquoted takes off the quotes of texts within JSON.
func unquoted(s string) string {
	return strings.NewReplacer(`\\\"`, `"`, `\"`, `"`, `\u003c`, "<", `\u003e`, ">").Replace(s)
}

// A response that is kept has the tools as well: it describes and asks for its user, and an action waits for the application's
// approval as any call of a tool server does, is checked again then, and is made once.
func TestResponsesAskInTermsOfTheBusiness(t *testing.T) {
	till, err := openShop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer till.Close()
	config := bookshop(t, "sqlite", till.url)
	n := openConfigured(t, config, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	ada := h.keyOf("agent", "one", "ada")
	respond := func(more, input string) string {
		t.Helper()
		text, _ := json.Marshal(input)
		code, body := h.call(ada, "POST", "/v1/responses", `{"model":"sim","tools":[`+semanticTools+`],`+more+`"input":`+string(text)+`}`)
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		return string(body)
	}
	got := respond("", "Call describe with {\"term\":\"refund\"}\nCall query with {\"metrics\":[\"revenue\"],\"dimensions\":[\"state\"]}\nCall refund_order with {\"order\":\"1\",\"cents\":9}")
	has(t, "a response", 200, unquoted(got), `"type":"mcp_call","server_label":"semantic","name":"query"`, `"rows":[["delivered",250],["open",100]]`, `"checked":["The order was delivered."]`, `"tools":[{"type":"semantic","models":["store"]}`, `"status":"completed"`)
	if strings.Contains(got, "refunded") || strings.Contains(got, "70777") {
		t.Errorf("what was not to be offered or seen:\n%s", got)
	}
	got = respond("", `Call act with {"action":"refund","arguments":{"order":"1"}}`)
	has(t, "an action that may not be taken", 200, unquoted(got), `does not hold (status is "open")`)

	for _, then := range []struct{ status, want string }{{"open", `does not hold (status is "open")`}, {"delivered", "refunded 5.00 USD for order 2"}} {
		got = respond("", `Call act with {"action":"refund","arguments":{"order":"2"}}`)
		has(t, "an action", 200, unquoted(got), `"type":"mcp_approval_request","server_label":"shop","name":"refund_order"`, `"order":"2"`, `"cents":500`)
		_, request, _ := strings.Cut(got, `{"id":"mcpr_`)
		request, _, _ = strings.Cut(request, `"`)
		if _, err := shelved(t, config).Exec("UPDATE orders SET status = '" + then.status + "' WHERE id = '2'"); err != nil {
			t.Fatal(err)
		}
		code, body := h.call(ada, "POST", "/v1/responses", `{"model":"sim","tools":[`+semanticTools+`],"previous_response_id":"`+idOf(got)+`","input":[{"type":"mcp_approval_response","approve":true,"approval_request_id":"mcpr_`+request+`"}]}`)
		has(t, "approved, while it is "+then.status, code, unquoted(string(body)), then.want)
		if _, err := shelved(t, config).Exec("UPDATE orders SET status = 'delivered' WHERE id = '2'"); err != nil {
			t.Fatal(err)
		}
	}
	for body, want := range map[string]string{
		`"tools":[{"type":"semantic","models":[]}]`:                       `"param":"tools[0].models"`,
		`"tools":[{"type":"semantic"},{"type":"semantic"}]`:               `"param":"tools[1].server_label"`,
		`"store":false,"tools":[{"type":"semantic"}]`:                     `"param":"tools[0].type"`,
		`"tools":[{"type":"semantic"}],"tool_choice":{"type":"semantic"}`: `"param":"tool_choice.type"`,
	} {
		if code, got := h.call(ada, "POST", "/v1/responses", `{"model":"sim","input":"Say hi",`+body+`}`); code != http.StatusBadRequest || !strings.Contains(string(got), want) {
			t.Errorf("%s: %d %s", body, code, got)
		}
	}
}

package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
	"github.com/stead-dev/stead/internal/usage/budget"
	"github.com/stead-dev/stead/internal/usage/meter"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

// meteredDoor is a door over the journal and the records of one session.
func meteredDoor(t *testing.T) (*door, []usage.Record) {
	t.Helper()
	store := journaltest.NewMemory(time.Now)
	events := sessiontest.Journal(3, 200).Events
	_, err := store.Send(t.Context(), sessiontest.Key, journal.Input{Create: &journal.Creation{Agent: "agent_1"}, Events: events, If: -1, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	records, err := meter.Fold(sessiontest.Key, events)
	if err != nil {
		t.Fatal(err)
	}
	records[0].User = `=1+1,"x"`
	rows, err := usage.Rows(records)
	if err == nil {
		err = store.AddUsage(t.Context(), stead.DefaultProject, rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	documents := documenttest.NewMemory()
	return open(t, filled(), func(c *Config) {
		c.Usage = account.New(account.Config{Store: store, Policy: policy.AllowLocal{}, Now: time.Now, Terms: account.Terms{Commitments: []usage.Commitment{
			{Name: "c", Provider: "p", Pool: "=pool", Start: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Months: 12, Tokens: 5, Shortfall: 1_000_000}}}})
		c.Budgets = budget.New(budget.Config{Store: struct {
			*journaltest.Memory
			usage.Ledger
		}{store, usagetest.NewMemory()}, Documents: documents, Policy: policy.AllowLocal{}, Now: time.Now,
			Fixed: []usage.Budget{{ID: "config_all", Name: "all", Scope: usage.ScopeSession, Period: usage.PeriodTotal, Limit: usage.Amount{Calls: 9}}}})
	}), records
}

func TestBudgets(t *testing.T) {
	d, records := meteredDoor(t)
	calls := 0
	for _, r := range records {
		calls += int(usage.AmountOf(&r).Calls)
	}
	for body, param := range map[string]string{
		`{}`: "scope", `{"scope":"galaxy"}`: "scope", `{"scope":"project"}`: "limit", `{"scope":"project","limit":{"calls":0}}`: "limit.calls",
		`{"scope":"project","of":"x","limit":{"calls":1}}`: "of", `{"scope":"user","period":"week","limit":{"calls":1}}`: "period",
		`{"scope":"user","limit":{"tokens":1.5}}`: "limit.tokens", `{"scope":"user","limit":{"calls":1},"on_limit":"ask"}`: "on_limit",
		// What nobody knows would limit nothing: it is refused, and the answer says the words that there are.
		`{"scope":"user","limit":{"calls":1},"onlimit":"wait"}`: "onlimit", `{"scope":"user","limit":{"calls":1},"perod":"day"}`: "perod",
		`{"scope":"project","limit":{"usd":1,"calls":5}}`: "limit.usd",
	} {
		d.says("POST /v1/budgets", body, 400, `"param":"`+param+`"`)
	}
	_, body := d.call("POST", "/v1/budgets", `{"scope":"project","name":"all calls","limit":{"calls":5,"cost_microcents":7}}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || !strings.HasPrefix(made.ID, "budget_") {
		t.Fatalf("%s: %v", body, err)
	}
	one := "/v1/budgets/" + made.ID
	d.says("GET "+one, "", 200, `"calls":5`, `"tokens":null`, fmt.Sprintf(`"calls":%d`, calls), `"of":null`)
	d.says("POST "+one, `{"limit":{"cost_microcents":null,"tokens":10}}`, 200, `"limit":{"cost_microcents":null,"tokens":10,"calls":5,`)
	d.says("POST "+one, `{"scope":"user"}`, 400, `"param":"scope"`)
	d.says("POST "+one, `{"onlimit":"wait"}`, 400, `"param":"onlimit"`, "on_limit")
	d.says("POST "+one, `{"limit":{"usd":1}}`, 400, `"param":"limit.usd"`, "cost_microcents, tokens, calls, duration_ms")
	d.says("POST "+one, `{"limit":{"calls":null,"tokens":null}}`, 400, `"param":"limit"`)
	d.says("GET /v1/budgets", "", 200, `"id":"config_all"`, `"id":"`+made.ID+`"`)
	d.says("GET /v1/budgets?order=asc&limit=1", "", 200, `"id":"`+made.ID+`"`, `"has_more":true`)
	d.says("GET /v1/budgets?order=asc&after="+made.ID, "", 200, `"id":"config_all"`, `"has_more":false`)
	d.says("POST /v1/budgets/config_all", `{"name":"x"}`, 409, "stead.yaml")
	d.says("DELETE /v1/budgets/config_all", "", 409, "stead.yaml")
	d.says("DELETE "+one, "", 200, `"deleted":true`)
	d.says("GET "+one, "", 404)
}

func TestUsage(t *testing.T) {
	d, records := meteredDoor(t)
	d.says("GET /v1/usage_records?limit=1&order=asc", "", 200, `"object":"list"`, `"id":"`+records[0].ID+`"`, `"has_more":true`, `"region":null`)
	d.says("GET /v1/usage_records?order=asc&after="+records[0].ID, "", 200, `"id":"`+records[1].ID+`"`)
	d.says("GET /v1/usage_records?kind=egress", "", 200, `"data":[]`)
	d.says("GET /v1/usage_records?kind=nonsense", "", 400, `"param":"kind"`)
	d.says("GET /v1/usage_records?after=agent_1", "", 400, `"param":"after"`)
	d.says("GET /v1/usage_records?from=2026-13", "", 400, `"param":"from"`)
	d.says("GET /v1/usage_records?from=2026-11-02&to=2026-11-01", "", 400, `"param":"to"`)
	d.says("GET /v1/usage?group_by=kind,day", "", 200, `"group_by":["kind","day"]`, `"kind":"model_call"`)
	d.says("GET /v1/usage?group_by=subagent", "", 200, `"group_by":["subagent"]`)
	d.says("GET /v1/usage?group_by=kind,kind", "", 400, `"param":"group_by"`)
	d.says("GET /v1/usage?format=xml", "", 400, `"param":"format"`)
	d.says("POST /v1/usage/verify", `{"repair":1}`, 400, `"param":"repair"`)
	d.says("POST /v1/usage/verify", "", 200, `"ok":false`, `"difference_count":1`, `"what":"different"`)
}

// A value that a user chose is neither a new column nor a formula of whoever opens the file.
func TestUsageAsCSV(t *testing.T) {
	d, _ := meteredDoor(t)
	res, body := d.call("GET", "/v1/usage?group_by=user&format=csv", "")
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/csv") {
		t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	lines := strings.Split(body, "\n")
	if !strings.HasPrefix(lines[0], "user,records,calls,") || !strings.Contains(body, `"'=1+1,""x""",1,`) {
		t.Errorf("the report is\n%s", body)
	}
}

// Commitments stand as of a time, in JSON that the schema knows and in CSV.
func TestCommitments(t *testing.T) {
	d, _ := meteredDoor(t)
	const at = "at=2020-07-01"
	d.says("GET /v1/capacity/commitments?"+at, "", 200, `"name":"c"`, `"unit":"tokens"`, `"pool":"=pool"`, `"period_start":1577836800`, `"period_end":1609459200`,
		`"as_of":1593561600`, `"committed":5`, `"used":0`, `"remaining":5`, `"elapsed_basis_points":4972`, `"shortfall_microcents":5`)
	d.says("GET /v1/capacity/commitments?at=soon", "", 400, `"param":"at"`)
	d.says("GET /v1/capacity/commitments?format=xml", "", 400, `"param":"format"`)
	res, body := d.call("GET", "/v1/capacity/commitments?format=csv&"+at, "")
	if res.StatusCode != 200 || !strings.HasPrefix(body, "name,provider,pool,unit,") || !strings.Contains(body, "\nc,p,'=pool,tokens,1577836800,1609459200,1593561600,5,0,0,5,0,0,4972,0,5\n") {
		t.Errorf("%d\n%s", res.StatusCode, body)
	}
}

package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/semantic/sqlread"
	uploads "github.com/stead-dev/stead/internal/semantic/upload"
)

// semanticDoor is a server with semantic models, over an SQLite database without tables.
func semanticDoor(t *testing.T) *door {
	t.Helper()
	db, err := sqlread.Open(sqlread.Config{Name: "books", Dialect: semantic.SQLite, DSN: ":memory:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	models := uploads.NewService(uploads.Config{
		Documents: documenttest.NewMemory(), Policy: policy.AllowLocal{}, Now: time.Now, Schema: func(json.RawMessage) error { return nil },
		Grants: func(string, stead.ProjectID) []string { return []string{"*", "sqlite_schema"} }, Taken: func(stead.ProjectID, string) bool { return false },
	})
	answers, err := layer.New(layer.Config{Databases: map[string]semantic.Database{"books": db}, Uploaded: models, Policy: policy.AllowLocal{}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, filled(), func(c *Config) { c.SemanticModels, c.SemanticLayer = models, answers })
}

func TestSemanticModels(t *testing.T) {
	const (
		all = "/v1/semantic_models"
		one = all + "/smod_shop"
		// A query that reads no table: databases are tried elsewhere.
		model = "name: shop\nsources: {s: {database: books}}\nentities: {order: {query: SELECT 'a' AS id UNION ALL SELECT 'b', key: [id], attributes: {id: {type: text, description: its number}}}}\n" +
			"metrics: {orders: {description: how many, entity: order, aggregate: count, dimensions: [id]}}\n"
	)
	text := func(s string) string { return `"text":` + strconv.Quote(s) }
	table := strings.Replace(model, "query: SELECT 'a' AS id UNION ALL SELECT 'b'", "table: sqlite_schema", 1)
	table = strings.Replace(table, "id: {type: text,", "id: {type: text, column: name,", 1)
	d := semanticDoor(t)
	d.says("GET "+all, "", 200, `"data":[]`)
	d.says("POST "+all, `{}`, 400, `"param":"text"`)
	d.says("POST "+all, `{`+text(model)+`}`, 400, "an uploaded model names tables")
	d.says("POST "+all, `{`+text(table)+`,"name":"x"}`, 400, `"param":"name"`)
	d.says("POST "+all+"/validate", `{`+text(strings.Replace(table, "aggregate: count", "aggregate: cuont", 1))+`}`, 400, `"param":"text"`, "line 4: metrics.orders.aggregate", "Did you mean count?")
	d.says("POST "+all+"/validate", `{`+text(table)+`}`, 200, `"object":"semantic_model.validation"`, `"metrics":[{"name":"orders","description":"how many"}]`)
	d.says("POST "+all, `{`+text(table)+`}`, 200, `"id":"smod_shop"`, `"object":"semantic_model"`, `"version":1`, `"metrics":1`, `"problem":null`)
	d.says("POST "+all, `{`+text(table)+`}`, 409, "already", "next version")
	res, _ := d.call("GET", one, "")
	if tag := res.Header.Get("ETag"); tag != `"1"` {
		t.Errorf("ETag %s", tag)
	}
	d.says("POST "+one, `{`+text(table)+`}`, 400, `"param":"expected_version"`)
	for range 2 {
		if res, body := d.call("POST", one, `{`+text("# changed\n"+table)+`}`, `If-Match: "1"`, "Idempotency-Key: k"); res.StatusCode != http.StatusOK || !strings.Contains(body, `"version":2`) {
			t.Errorf("the second version: %d %s", res.StatusCode, body)
		}
	}
	d.says("GET "+all, "", 200, `"version":2`, `"first_id":"smod_shop"`)
	d.says("GET "+one+"/versions?limit=1", "", 200, `"first_id":"2"`, `"has_more":true`, `"object":"semantic_model.version"`)
	d.says("GET "+one+"/versions/1", "", 200, `"version":1`, `"text":"name: shop`)
	d.says("GET "+one+"/versions/9", "", 404)
	d.says("POST "+all+"/describe", `{"term":"order"}`, 200, `"object":"semantic_description"`, `"kind":"entity"`, `"description":"its number"`)
	d.says("POST "+all+"/describe", `{}`, 200, `"models":[{"model":{"name":"shop","version":2`)
	d.says("POST "+all+"/query", `{"metrics":["orders"]}`, 200, `"object":"semantic_answer"`, `"rows":[[0]]`, `"definition":"count over order"`)
	d.says("POST "+all+"/query", `{"metrics":["order"]}`, 400, "Did you mean orders?")
	d.says("POST "+all+"/query", `{"sql":"SELECT 1"}`, 400, "unknown field")
	d.says("DELETE "+one, "", 200, `"object":"semantic_model.deleted"`)
	d.says("GET "+one, "", 404)
}

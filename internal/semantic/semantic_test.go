package semantic

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

func shop(t testing.TB) *Model {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// edited is the model with one of its texts replaced.
func edited(t *testing.T, old, with string) error {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) < 1 {
		t.Fatalf("the model has no %q", old)
	}
	_, err = Parse([]byte(strings.Replace(string(text), old, with, 1)))
	return err
}

func says(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", want)
		return
	}
	e, ok := err.(*stead.Error)
	if !ok {
		t.Errorf("%v is no error of ours", err)
		return
	}
	for _, w := range want {
		if text := e.Message + " " + e.Hint; !strings.Contains(text, w) {
			t.Errorf("it says %q, not %q", text, w)
		}
	}
}

// What is wrong in a model is found before anybody asks it, with its line.
func TestModelsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		old, with string
		want      []string
	}{
		"a misspelt key":              {"    table: customers", "    tabel: customers", []string{"line 9", `unknown field "tabel"`}},
		"a key twice":                 {"  billing: {", "  buyer_of: {", []string{"line 58", "buyer_of", "already"}},
		"an unknown source":           {"    table: orders", "    table: orders\n    source: warehous", []string{"line 22: entities.purchase.source", `no source "warehous"`, "Did you mean warehouse?"}},
		"a wrong type":                {"amount: {type: number, column", "amount: {type: numbr, column", []string{"entities.purchase.attributes.amount", "Did you mean number?"}},
		"a list for a text":           {"description: Somebody who buys.", "description: [a]", []string{"line 10", "text"}},
		"a relation to nobody":        {"to: customer,", "to: custmer,", []string{"relations.buyer_of.to", "Did you mean customer"}},
		"an unknown join":             {"on: {customer_id: id}", "on: {custmer_id: id}", []string{"relations.buyer_of.on", "Did you mean customer_id?"}},
		"a join by no key":            {"on: {customer_id: id}", "on: {status: country}", []string{"relations.buyer_of", "only if it is joined by its key (id)"}},
		"types that differ":           {"on: {customer_id: id}", "on: {status: id}", []string{"purchase.status is of type text and customer.id of type integer"}},
		"a strange cardinality":       {"on: {customer_id: id}, cardinality: many_to_one", "on: {customer_id: id}, cardinality: some", []string{"relations.buyer_of.cardinality", "many_to_one"}},
		"ambiguous ways":              {"billing.city, shipping.city", "address.city", []string{"ambiguous", "billing.city, shipping.city"}},
		"a fan-out":                   {"dimensions: [status, express, customer.country, billing.city", "dimensions: [line.product, billing.city", []string{"more than once", "has many line"}},
		"no relation":                 {"dimensions: [product, customer.country, purchase.status]", "dimensions: [wherehouse.name]", []string{`no entity "wherehouse"`}},
		"an unknown operand":          {"of: amount\n", "of: amout\n", []string{"metrics.revenue.of", "Did you mean amount?"}},
		"a sum of texts":              {"of: amount\n", "of: status\n", []string{"status is of type text"}},
		"SQL for an expression":       {"of: amount\n", "of: amount); DROP TABLE orders; --\n", []string{"metrics.revenue.of", "an expression is names and numbers"}},
		"a hidden dimension":          {"dimensions: [status, express, customer.country]", "dimensions: [customer.rep]", []string{`no attribute of customer "rep"`}},
		"a metric of itself":          {"formula: revenue / orders", "formula: average_order / orders", []string{"circle", "average_order → average_order"}},
		"a circle of metrics":         {"formula: revenue / pieces", "formula: b / pieces\n  b:\n    description: x\n    formula: revenue_per_piece * 2", []string{"circle: b → revenue_per_piece → b"}},
		"an unknown metric":           {"formula: revenue / orders", "formula: revenu / orders", []string{"Did you mean revenue"}},
		"a condition of nothing":      {"attribute: status, op: not_equals", "attribute: statu, op: not_equals", []string{"metrics.revenue.where[0].attribute", "Did you mean status"}},
		"an operator":                 {"op: not_equals, value: cancelled", "op: not_equal, value: cancelled", []string{"Did you mean not_equals"}},
		"a value of an enumeration":   {"op: not_equals, value: cancelled", "op: not_equals, value: canceled", []string{"Did you mean cancelled?"}},
		"who asks, in a metric":       {"op: not_equals, value: cancelled", "op: not_equals, principal: id", []string{"a metric is the same for everybody"}},
		"a principal's attribute":     {"principal: id", "principal: ids", []string{"entities.customer.rows[1].where[0].principal", "Did you mean id"}},
		"a rule through nothing":      {"through: buyer_of", "through: buyer", []string{"Did you mean buyer_of"}},
		"a rule through what is open": {"through: buyer_of", "through: billing", []string{"everybody sees every address"}},
		"rules in a circle":           {"{attribute: rep, principal: id}", "{through: buyer_of}", []string{"circle: customer → purchase → customer"}},
		"a rule of nothing":           {"- where: [{attribute: rep, principal: id}]", "- roles: [agent]", []string{"entities.customer.rows[1]", "all: true, or where"}},
		"no rule":                     {"    rows:\n      - where: [{through: line_of}]", "    rows: []", []string{"no rule lets no row through"}},
		"an aggregate":                {"aggregate: count_distinct", "aggregate: distinct", []string{"Did you mean count_distinct"}},
		"a freshness":                 {"within: 24h", "within: soon", []string{`"soon" is no duration`}},
		"a tool":                      {"tool: erp/refund", "tool: refund", []string{"actions.refund_order.tool", "SERVER/TOOL"}},
		"an argument twice":           {"with: {channel: agent}", "with: {order_id: 1}", []string{"actions.refund_order.with.order_id"}},
		"a name":                      {"  revenue:\n", "  Revenue!:\n", []string{"is no name"}},
		"the name of times":           {"  products:\n", "  time:\n", []string{"column of times"}},
		"an anchor":                   {"version: 3", "version: &v 3", []string{"line 2", "anchors"}},
		"a table":                     {"table: orders", "table: a.b.c", []string{"is no table"}},
		"two statements":              {"table: orders", "query: SELECT 1; DROP TABLE orders", []string{"one SELECT"}},
		"no SELECT":                   {"table: orders", "query: DELETE FROM orders", []string{"one SELECT"}},
		"no version":                  {"version: 3", "version: 0", []string{"line 2: version"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, edited(t, c.old, c.with), c.want...) })
	}
}

// A text of a few KB is read in no time, however its metrics and rules lead to each other: what they make is bounded.
func TestModelsThatGrowAreRefused(t *testing.T) {
	const head = "name: big\nversion: 1\nsources: {s: {database: db}}\n"
	const order = "entities: {order: {table: orders, key: [id], attributes: {id: {type: text}}}}\nmetrics:\n  m00: {description: x, entity: order, aggregate: count}\n"
	metrics := func(n int, formula func(i int) string) string {
		text := head + order
		for i := 1; i < n; i++ {
			text += fmt.Sprintf("  m%02d: {description: x, formula: %s}\n", i, formula(i))
		}
		return text
	}
	rules := func(n, ways int) string { // each entity's rules lead to the next one's, in several ways
		entities, relations := "entities:\n", "relations:\n"
		for i := range n {
			rows := "[{where: [{attribute: id, principal: id}]}]"
			if i < n-1 {
				rows = "[" + strings.Join(slices.Repeat([]string{fmt.Sprintf("{where: [{through: r%02d}]}", i)}, ways), ", ") + "]"
				relations += fmt.Sprintf("  r%02d: {from: e%02d, to: e%02d, on: {id: id}, cardinality: one_to_one}\n", i, i, i+1)
			}
			entities += fmt.Sprintf("  e%02d: {table: t, key: [id], attributes: {id: {type: text}}, rows: %s}\n", i, rows)
		}
		return head + entities + relations
	}
	sum := func(i int) string { return fmt.Sprintf("m%02d + m%02d", i-1, max(i-2, 0)) }
	for name, c := range map[string]struct{ text, want string }{
		"formulas of two":        {metrics(60, sum), "more than 300 names, numbers and signs"},
		"formulas that fit":      {metrics(12, sum), ""},
		"one after the other":    {metrics(90, func(i int) string { return fmt.Sprintf("m%02d * 2", i-1) }), ""},
		"signs":                  {metrics(90, func(i int) string { return fmt.Sprintf("\"- - - - m%02d\"", i-1) }), "more than 300"},
		"rules through two ways": {rules(40, 2), "more than 1000 conditions"},
		"rules through many":     {rules(40, 1), "they lead through 9 relations, one behind the other: the limit is 8"},
		"rules that are many":    {rules(8, 6), "more than 1000 conditions"},
		"rules that fit":         {rules(8, 2), ""},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() { _, err := Parse([]byte(c.text)); done <- err }()
			select {
			case err := <-done:
				if c.want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				says(t, err, c.want)
			case <-time.After(20 * time.Second):
				t.Error("it is not read yet")
			}
		})
	}
}

// A term that is wrong, or means several things, is answered with what may have been meant.
func TestTermsThatAreNotThere(t *testing.T) {
	m := shop(t)
	for name, c := range map[string]struct {
		q    Query
		want []string
	}{
		"a misspelt metric":        {Query{Metrics: []string{"revenu"}}, []string{`no metric "revenu"`, "Did you mean revenue"}},
		"a synonym, misspelt":      {Query{Metrics: []string{"turnovr"}}, []string{`Did you mean revenue (also called "turnover")?`}},
		"a synonym of two":         {Query{Metrics: []string{"sales"}}, []string{`"sales" is ambiguous`, "orders (How many orders there are.)", "revenue (What was sold"}},
		"nothing like it":          {Query{Metrics: []string{"xyzzy"}}, []string{"There are: average_order, list_value"}},
		"a dimension it has not":   {Query{Metrics: []string{"orders"}, Dimensions: []string{"billing.city"}}, []string{"by which orders can be cut", "There are: status, express, customer.country"}},
		"a misspelt dimension":     {Query{Metrics: []string{"orders"}, Dimensions: []string{"contry"}}, []string{"Did you mean customer.country"}},
		"an ambiguous dimension":   {Query{Metrics: []string{"revenue"}, Dimensions: []string{"city"}}, []string{"ambiguous", "billing.city", "shipping.city"}},
		"a synonym of two of them": {Query{Metrics: []string{"pieces"}, Dimensions: []string{"state"}}, []string{"ambiguous", "product", "purchase.status"}},
		"not shared":               {Query{Metrics: []string{"revenue", "pieces"}, Dimensions: []string{"product"}}, []string{"by which revenue and pieces can be cut", "customer.country"}},
		"a hidden one":             {Query{Entity: "customer", Dimensions: []string{"rep"}}, []string{`no attribute of customer "rep"`}},
		"a filter of a hidden one": {Query{Entity: "customer", Filters: []Filter{{Dimension: "rep", Values: []any{"ada"}}}}, []string{`no attribute of customer "rep"`}},
		"a fan-out":                {Query{Entity: "purchase", Dimensions: []string{"line.product"}}, []string{"more than once", "Use a metric of line"}},
		"an ambiguous way":         {Query{Entity: "purchase", Dimensions: []string{"address.city"}}, []string{"ambiguous", "billing.city, shipping.city"}},
		"a value":                  {Query{Metrics: []string{"orders"}, Filters: []Filter{{Dimension: "status", Values: []any{"shiped"}}}}, []string{"filter of status", "Did you mean shipped?"}},
		"a value's type":           {Query{Entity: "purchase", Filters: []Filter{{Dimension: "amount", Operator: "at_least", Values: []any{"1 OR 1=1"}}}}, []string{"is not a number"}},
		"an operator":              {Query{Entity: "purchase", Filters: []Filter{{Dimension: "amount", Operator: ">", Values: []any{"1"}}}}, []string{`no operator ">"`, "at_least"}},
		"an order":                 {Query{Metrics: []string{"orders"}, Order: []Order{{By: "order"}}}, []string{"Did you mean orders"}},
		"a grain":                  {Query{Metrics: []string{"orders"}, Time: &Range{Grain: "months"}}, []string{"Did you mean month"}},
		"a time":                   {Query{Metrics: []string{"orders"}, Time: &Range{From: "yesterday"}}, []string{"time.from"}},
		"a range that is empty":    {Query{Metrics: []string{"orders"}, Time: &Range{From: "2026-02-01", To: "2026-02-01"}}, []string{"after"}},
		"time of what has none":    {Query{Metrics: []string{"pieces"}, Time: &Range{Grain: "day"}}, []string{"pieces has no time"}},
		"nothing":                  {Query{}, []string{"a query names metrics"}},
		"too much":                 {Query{Metrics: []string{"orders"}, Limit: MaxRows + 1}, []string{"limit is 1 to 1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := m.Prepare(c.q, Principal{ID: "ada"}, SQLite)
			says(t, err, c.want...)
		})
	}
	_, err := ReadQuery([]byte(`{"metrics":["revenue"],"sql":"SELECT 1"}`))
	says(t, err, `unknown field "sql"`, "model, metrics")
	for query, want := range map[string][]string{
		`{"metrics":["revenue"],"filters":[{"dimension":"country","values":["NO"]},{"dimension":"country","value":"NO"}]}`: {`unknown field "value" in filters[1]`, "Did you mean values?", "dimension, operator, values"},
		`{"metrics":["revenue"],"time":{"form":"2026-01-01"}}`:                                                             {`unknown field "form" in time`, "from, to, grain"},
		`{"metrics":["revenue"],"order":[{"by":"revenue","desc":true}]}`:                                                   {`unknown field "desc" in order[0]`, "by, descending"},
	} {
		_, err := ReadQuery([]byte(query))
		says(t, err, want...)
	}
}

// A word of an entity's own, which is no term, leads to it: what describe and query call by that name is found all the same.
func TestWordsOfEntitiesLeadToThem(t *testing.T) {
	m := shop(t)
	for word, want := range map[string]string{
		"Status": "attribute of purchase (status)", "land": "attribute of customer (country)", "state": "attribute of line (product): describe that. It is an attribute of purchase (status)",
		"cancelled": "value of an attribute of purchase (status)", "rep": "There are: ",
	} {
		_, err := m.Describe(word, Principal{ID: "ada"}, nil)
		says(t, err, "there is no term", want)
		if e := err.(*stead.Error); strings.Contains(e.Hint, "(rep)") {
			t.Errorf("%q tells what is hidden: %s", word, e.Hint)
		}
	}
}

func TestTermsMeanWhatTheyShould(t *testing.T) {
	m := shop(t)
	for word, want := range map[string]string{"Revenue": "revenue", "TURNOVER": "revenue", "average order": "average_order", "average-order": "average_order"} {
		if got, _, err := m.FindMetric(word); err != nil || got != want {
			t.Errorf("%q is %q, %v, not %q", word, got, err, want)
		}
	}
	for _, word := range []string{"customer.country", "country", "land", "Customer.Country"} {
		p, err := m.Prepare(Query{Metrics: []string{"revenue"}, Dimensions: []string{word}}, Principal{}, SQLite)
		if err != nil || p.Dimensions[0] != "customer.country" {
			t.Errorf("%q is %v, %v", word, p, err)
		}
	}
}

func TestExpressions(t *testing.T) {
	column := func(n string) string { return `t.` + quote(n) }
	for text, want := range map[string]string{
		"a":             `t."a"`,
		"a + b * 2":     `(t."a" + (t."b" * 2))`,
		"(a - 1.50)/b":  `(CAST((t."a" - 1.50) AS REAL) / NULLIF(t."b", 0))`,
		"-a * -(b)":     `((- t."a") * (- t."b"))`,
		" a\n- b - c ":  `((t."a" - t."b") - t."c")`,
		"a*2.0 / b / c": `(CAST((CAST((t."a" * 2.0) AS REAL) / NULLIF(t."b", 0)) AS REAL) / NULLIF(t."c", 0))`,
	} {
		e, err := parseExpression(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := e.sql(SQLite, column); got != want {
			t.Errorf("%q is %s, not %s", text, got, want)
		}
	}
	for _, text := range []string{"", "a b", "a +", "(a", "a)", "a; b", "a.b", "a --", "1e5", "'a'", "count(a)", "a || b", "1a", strings.Repeat("(", 99) + "a", strings.Repeat("a+", 999)} {
		if e, err := parseExpression(text); err == nil {
			t.Errorf("%q is %+v", text, e)
		}
	}
}

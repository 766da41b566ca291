package semantic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What metrics of several entities have in common is one column, by ways that mean the same, whatever it is called.
func TestWhatMetricsHaveInCommon(t *testing.T) {
	const text = `
name: a
version: 1
sources: {s: {database: d}}
entities:
  customer: {table: c, key: [id], attributes: {id: {type: integer}, country: {type: text}, status: {type: text}}}
  address: {table: a, key: [id], attributes: {id: {type: integer}, city: {type: text}}}
  order: {table: o, key: [id], attributes: {id: {type: integer}, buyer: {type: integer}, ship: {type: integer}, bill: {type: integer}, before: {type: integer}, status: {type: text, synonyms: [state]}}}
  line: {table: l, key: [id], attributes: {id: {type: integer}, of: {type: integer}, n: {type: integer}}}
  ticket: {table: t, key: [id], attributes: {id: {type: integer}, from: {type: integer}, status: {type: text, synonyms: [state]}}}
relations:
  buyer_of: {from: order, to: customer, on: {buyer: id}, cardinality: many_to_one}
  shipping: {from: order, to: address, on: {ship: id}, cardinality: many_to_one}
  billing: {from: order, to: address, on: {bill: id}, cardinality: many_to_one}
  replaces: {from: order, to: order, on: {before: id}, cardinality: many_to_one}
  line_of: {from: line, to: order, on: {of: id}, cardinality: many_to_one}
  reporter: {from: ticket, to: customer, on: {from: id}, cardinality: many_to_one}
metrics:
  orders: {description: x, entity: order, aggregate: count, dimensions: [%s]}
  lines: {description: x, entity: line, aggregate: count, dimensions: [%s]}
  tickets: {description: x, entity: ticket, aggregate: count, dimensions: [status, customer.country, customer.status]}
  all: {description: x, formula: orders + lines + tickets}
  both: {description: x, formula: lines + orders%s}
`
	read := func(orders, lines, both string) (*Model, error) {
		return Parse([]byte(fmt.Sprintf(text, orders, lines, both)))
	}
	for name, c := range map[string]struct{ orders, lines, all, both string }{
		"the only way":            {"buyer_of.country", "customer.country", "buyer_of.country", "customer.country"},
		"by way of the other":     {"status", "order.status", "", "order.status"},
		"two ways, the same":      {"shipping.city, billing.city", "line_of.billing.city", "", "line_of.billing.city"},
		"two ways, another":       {"shipping.city", "line_of.billing.city", "", ""},
		"two ways, of either":     {"shipping.city, billing.city", "line_of.shipping.city, line_of.billing.city", "", "line_of.shipping.city line_of.billing.city"},
		"the one before":          {"status", "line_of.replaces.status", "", ""},
		"the one before, of both": {"status, replaces.status", "order.status, line_of.replaces.status", "", "order.status line_of.replaces.status"},
		"called alike":            {"status", "customer.status", "", ""},
	} {
		m, err := read(c.orders, c.lines, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if all, both := strings.Join(m.Metrics["all"].Dimensions, " "), strings.Join(m.Metrics["both"].Dimensions, " "); all != c.all || both != c.both {
			t.Errorf("%s: all is cut by %q, not %q, and both by %q, not %q", name, all, c.all, both, c.both)
		}
	}
	m, err := read("status, customer.country", "order.status, customer.country", ", dimensions: [order.status]")
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]string{"status": "order.status", "order status": "", "order.status": "order.status", "order.state": "order.status", "state": "order.status"} {
		p, err := m.Prepare(Query{Metrics: []string{"both"}, Dimensions: []string{word}}, Principal{}, PostgreSQL)
		if want != "" && (err != nil || !slices.Contains(p.Dimensions, want)) {
			t.Errorf("%q is %v, %v", word, p, err)
		}
	}
	_, err = m.Prepare(Query{Metrics: []string{"both"}, Dimensions: []string{"country"}}, Principal{}, SQLite)
	says(t, err, "no dimension", "order.status") // its author left it out
	for _, word := range []string{"status", "state"} {
		_, err = m.Prepare(Query{Metrics: []string{"orders", "tickets"}, Dimensions: []string{word}}, Principal{}, SQLite)
		says(t, err, "ambiguous", "order.status (of orders)", "ticket.status (of tickets)", "customer.country")
	}
	_, err = read("status", "customer.status, order.status", ", dimensions: [customer.status]")
	says(t, err, "metrics.both.dimensions[0]", "order.status")
	_, err = Parse([]byte(strings.Replace(fmt.Sprintf(text, "status", "order.status", ""), "formula: orders + lines + tickets", "formula: orders + tickets, dimensions: [status]", 1)))
	says(t, err, "ambiguous", "order.status (of orders)", "ticket.status (of tickets)", "nothing by which all of them")
}

// Models with many dimensions are read, and asked, in no time.
func TestManyDimensionsInCommon(t *testing.T) {
	const metrics, attributes = 40, 400
	var all, dims, formula []string
	for i := range attributes {
		all = append(all, fmt.Sprintf("a%d: {type: text}", i))
		dims = append(dims, fmt.Sprintf("a%d", i))
	}
	text := "name: big\nversion: 1\nsources: {s: {database: db}}\nentities: {e: {table: t, key: [a0], attributes: {" + strings.Join(all, ", ") + "}}}\nmetrics:\n"
	for i := range metrics {
		text += fmt.Sprintf("  m%d: {description: x, entity: e, aggregate: count, dimensions: [%s]}\n", i, strings.Join(dims, ", "))
		formula = append(formula, fmt.Sprintf("m%d", i))
	}
	begin := time.Now()
	m, err := Parse([]byte(text + "  f: {description: x, formula: " + strings.Join(formula, " + ") + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Prepare(Query{Metrics: append(formula[:MaxMetrics-1], "f"), Dimensions: dims[:MaxDimensions]}, Principal{}, SQLite); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

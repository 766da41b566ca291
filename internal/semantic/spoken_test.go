package semantic

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever a query calls a column, policies hear of it as entity.attribute.
func TestPoliciesHearOfColumns(t *testing.T) {
	m := shop(t)
	for name, c := range map[string]struct {
		q    Query
		want []string
	}{
		"by the entity":       {Query{Entity: "purchase", Dimensions: []string{"customer.country"}}, []string{"customer.country"}},
		"by a relation":       {Query{Entity: "purchase", Dimensions: []string{"buyer_of.country"}}, []string{"buyer_of.country", "customer.country"}},
		"by relations":        {Query{Entity: "line", Dimensions: []string{"line_of.buyer_of.country"}}, []string{"line_of.buyer_of.country", "customer.country"}},
		"by itself":           {Query{Entity: "customer", Dimensions: []string{"land"}}, []string{"country", "customer.country"}},
		"all that there is":   {Query{Entity: "customer"}, []string{"country", "id", "customer.country", "customer.id"}},
		"in a filter":         {Query{Entity: "purchase", Dimensions: []string{"id"}, Filters: []Filter{{Dimension: "buyer_of.country", Values: []any{"DE"}}}}, []string{"id", "buyer_of.country", "purchase.id", "customer.country"}},
		"of a metric":         {Query{Metrics: []string{"pieces"}, Dimensions: []string{"product", "purchase.status"}}, []string{"product", "purchase.status", "line.product"}},
		"filtered, a formula": {Query{Metrics: []string{"revenue_per_piece"}, Filters: []Filter{{Dimension: "land", Values: []any{"DE"}}}}, []string{"customer.country"}},
	} {
		p, err := m.Prepare(c.q, Principal{ID: "ada"}, SQLite)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(p.Dimensions, c.want) {
			t.Errorf("%s: policies hear of %q, not %q", name, p.Dimensions, c.want)
		}
	}
}

// Rows that can't be listed can't be listed, or guessed by filters, from an entity beside them either.
func TestUnlistedRowsHaveNoOtherWay(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse([]byte(strings.Replace(string(text), "    table: customers\n", "    table: customers\n    listed: false\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]Query{
		"itself":        {Entity: "customer"},
		"by its name":   {Entity: "purchase", Dimensions: []string{"id", "customer.country"}},
		"by a relation": {Entity: "purchase", Dimensions: []string{"buyer_of.id"}},
		"by a filter":   {Entity: "purchase", Dimensions: []string{"id"}, Filters: []Filter{{Dimension: "customer.country", Values: []any{"DE"}}}},
	} {
		_, err := m.Prepare(q, Principal{ID: "ada"}, SQLite)
		t.Log(name)
		says(t, err, "not listed")
	}
	if _, err := m.Prepare(Query{Metrics: []string{"revenue"}, Dimensions: []string{"country"}}, Principal{ID: "ada"}, SQLite); err != nil {
		t.Errorf("its metrics can't be cut: %v", err)
	}
}

package semantic

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.sql")

// The SQL of a query changes only where somebody wants it to.
func TestSQLIsAsItWas(t *testing.T) {
	m := shop(t)
	ada, boss := Principal{ID: "ada", Role: "developer"}, Principal{ID: "eve", Role: "owner"}
	for name, c := range map[string]struct {
		q   Query
		who Principal
	}{
		"sum":      {Query{Metrics: []string{"revenue"}, Dimensions: []string{"country"}, Time: &Range{From: "2026-01-01", To: "2026-04-01", Grain: "week"}}, boss},
		"rows_of":  {Query{Metrics: []string{"pieces"}, Dimensions: []string{"product"}, Filters: []Filter{{Dimension: "purchase.status", Operator: "in", Values: []any{"open", "shipped"}}}}, ada},
		"formula":  {Query{Metrics: []string{"average_order", "revenue_per_piece"}, Order: []Order{{By: "average_order", Descending: true}}, Dimensions: []string{"country"}, Limit: 5}, ada},
		"listing":  {Query{Entity: "order", Dimensions: []string{"id", "shipping.city"}, Filters: []Filter{{Dimension: "amount", Operator: "at_least", Values: []any{"12.50"}}, {Dimension: "billing.city", Operator: "contains", Values: []any{"50%_"}}}}, boss},
		"stranger": {Query{Metrics: []string{"orders"}}, Principal{Role: "developer"}},
	} {
		for _, d := range []Dialect{SQLite, PostgreSQL} {
			p, err := m.Prepare(c.q, c.who, d)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range p.Statements {
				fmt.Fprintf(&b, "%s\n-- %#v\n\n", s.SQL, s.Args)
			}
			file := filepath.Join("testdata", name+"."+string(d)+".sql")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("%s is\n%s, not\n%s", file, b.String(), want)
			}
		}
	}
}

// The example is right, and its words mean something.
func TestTheExample(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "semantic", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Prepare(Query{Metrics: []string{"turnover", "average order"}, Dimensions: []string{"state", "country"}}, Principal{ID: "ada"}, PostgreSQL); err != nil {
		t.Error(err)
	}
	if d := m.Define("revenue"); d.Definition != "sum of amount over order where status not equals cancelled, in time by placed_at" || d.Owner != "data@shop.example" {
		t.Errorf("revenue is %+v", d)
	}
}

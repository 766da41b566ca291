package sqlread

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/semantic"
)

// till are orders, some with a refund of their own state, and whose they are as numbers.
const till = `
CREATE TABLE till_orders (id INTEGER PRIMARY KEY, owner INTEGER, rep %s, status TEXT, amount NUMERIC(12,2), placed_at TIMESTAMP);
CREATE TABLE till_refunds (id INTEGER PRIMARY KEY, order_id INTEGER, status TEXT, amount NUMERIC(12,2), at TIMESTAMP);
INSERT INTO till_orders VALUES (1, 7, 'ada', 'open', 10, '2026-01-05 10:00:00'), (2, 7, 'ADA', 'shipped', 20, '2026-02-05 10:00:00'), (3, 8, 'bob', NULL, 40, '2026-03-05 10:00:00');
INSERT INTO till_refunds VALUES (1, 2, 'open', 5, '2026-02-06 10:00:00'), (2, 1, 'paid', 1, '2026-02-07 10:00:00');
`

const tillModel = `
name: till
version: 1
sources: {warehouse: {database: warehouse}}
entities:
  order:
    table: till_orders
    key: [id]
    attributes: {id: {type: integer}, owner: {type: %s, hidden: true}, rep: {type: text}, status: {type: text}, amount: {type: number}, placed_at: {type: timestamp}}
    %s
  refund:
    table: till_refunds
    key: [id]
    attributes: {id: {type: integer}, order_id: {type: integer, hidden: true}, status: {type: text, description: of the bank transfer}, amount: {type: number}, at: {type: timestamp}}
relations:
  refund_of: {from: refund, to: order, on: {order_id: id}, cardinality: many_to_one}
metrics:
  orders: {description: x, entity: order, aggregate: count, dimensions: [status], time: placed_at}
  revenue: {description: x, entity: order, aggregate: sum, of: amount, dimensions: [status], time: placed_at}
  kept: {description: x, entity: order, aggregate: sum, of: amount, where: [{attribute: status, op: not_equals, value: open}], dimensions: [status], time: placed_at}
  shipped: {description: x, entity: order, aggregate: sum, of: amount, where: [{attribute: status, value: shipped}], dimensions: [status], time: placed_at}
  refunded: {description: x, entity: refund, aggregate: sum, of: amount, dimensions: [status, order.status], time: at}
  net: {description: x, formula: revenue - refunded}
  waiting: {description: x, formula: revenue - shipped}
`

func tillOf(t *testing.T, w *warehouse, owner, rows string) *semantic.Model {
	t.Helper()
	m, err := semantic.Parse([]byte(fmt.Sprintf(tillModel, owner, rows)))
	if err != nil {
		t.Fatal(err)
	}
	rep := "TEXT"
	if w.Dialect() == semantic.SQLite {
		rep = "TEXT COLLATE NOCASE"
	}
	if _, err := w.raw.Exec(`DROP TABLE IF EXISTS till_orders; DROP TABLE IF EXISTS till_refunds;` + fmt.Sprintf(till, rep)); err != nil {
		t.Fatal(err)
	}
	return m
}

// Where one of a formula's entities has no rows, nothing is taken away: it is not that nobody knows.
func TestSumsOfNoRows(t *testing.T) {
	onBoth(t, func(t *testing.T, w *warehouse) {
		m := tillOf(t, w, "integer", "")
		month := &semantic.Range{Grain: "month"}
		for name, c := range map[string]struct {
			q    semantic.Query
			want string
		}{
			"by month":               {semantic.Query{Metrics: []string{"net"}, Time: month}, "2026-01-01 | 10.0000\n2026-02-01 | 14.0000\n2026-03-01 | 40.0000\n"},
			"side by side":           {semantic.Query{Metrics: []string{"revenue", "refunded"}, Time: month}, "2026-01-01 | 10.0000 | 0.0000\n2026-02-01 | 20.0000 | 6.0000\n2026-03-01 | 40.0000 | 0.0000\n"},
			"of one entity":          {semantic.Query{Metrics: []string{"waiting"}, Time: month}, "2026-01-01 | 10.0000\n2026-02-01 | 0.0000\n2026-03-01 | 40.0000\n"},
			"in all":                 {semantic.Query{Metrics: []string{"net"}, Time: &semantic.Range{From: "2026-03-01"}}, "40.0000\n"},
			"a sum alone, of none":   {semantic.Query{Metrics: []string{"revenue"}, Time: &semantic.Range{From: "2027-03-01"}}, "<nil>\n"},
			"none of what is wanted": {semantic.Query{Metrics: []string{"shipped"}, Time: month}, "2026-01-01 | <nil>\n2026-02-01 | 20.0000\n2026-03-01 | <nil>\n"},
		} {
			if got := text(w.asks(t, m, boss, c.q).Rows); got != c.want {
				t.Errorf("%s: it is\n%s, not\n%s", name, got, c.want)
			}
		}
	})
}

// What has no value is not equal to one.
func TestNothingIsNotEqual(t *testing.T) {
	onBoth(t, func(t *testing.T, w *warehouse) {
		m := tillOf(t, w, "integer", "rows: [{where: [{attribute: status, op: not_equals, value: open}], roles: [auditor]}, {roles: [owner], all: true}]")
		for name, c := range map[string]struct {
			who  semantic.Principal
			q    semantic.Query
			want string
		}{
			"where":       {boss, semantic.Query{Metrics: []string{"kept"}}, "60.0000\n"},
			"a filter":    {boss, semantic.Query{Metrics: []string{"orders"}, Filters: []semantic.Filter{{Dimension: "status", Operator: "not_equals", Values: []any{"open"}}}}, "2.0000\n"},
			"of several":  {boss, semantic.Query{Entity: "order", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "status", Operator: "not_in", Values: []any{"open", "shipped"}}}}, "3.0000\n"},
			"and a date":  {boss, semantic.Query{Entity: "order", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "placed_at", Operator: "not_equals", Values: []any{"2026-01-05T10:00:00Z"}}}}, "2.0000\n3.0000\n"},
			"not in rows": {semantic.Principal{ID: "a", Role: "auditor"}, semantic.Query{Entity: "order", Dimensions: []string{"id"}}, "2.0000\n"},
		} {
			if got := text(w.asks(t, m, c.who, c.q).Rows); got != c.want {
				t.Errorf("%s: it is\n%s, not\n%s", name, got, c.want)
			}
		}
	})
}

// Who is called almost as somebody else sees nothing of theirs, whatever the database takes for equal.
func TestNobodyIsAlmostSomebody(t *testing.T) {
	onBoth(t, func(t *testing.T, w *warehouse) {
		query := semantic.Query{Entity: "order", Dimensions: []string{"id"}}
		for _, c := range []struct {
			typ, attribute string
			is             string
			want           string
			not            []string
		}{
			{"text", "owner", "7", "1.0000\n2.0000\n", []string{"07", "7.0", "+7", " 7", "7 ", "7e0", "0x7", "７", "7.", "-7"}},
			{"integer", "owner", "7", "1.0000\n2.0000\n", []string{"07", "7.0", "+7", " 7", "7 ", "7e0", "0x7"}},
			{"number", "owner", "7", "1.0000\n2.0000\n", []string{"07", "7.0", "+7", " 7", "7e0", "70e-1", "007.00"}},
			{"text", "rep", "ada", "1.0000\n", []string{"Ada", "ada ", "aDA"}},
		} {
			rows := "rows: [{where: [{attribute: " + c.attribute + ", principal: %s}]}]"
			m := tillOf(t, w, c.typ, fmt.Sprintf(rows, "id"))
			if got := text(w.asks(t, m, semantic.Principal{ID: c.is}, query).Rows); got != c.want {
				t.Errorf("%s %s: %q sees\n%s, not\n%s", c.typ, c.attribute, c.is, got, c.want)
			}
			for _, id := range c.not {
				if got := text(w.asks(t, m, semantic.Principal{ID: id}, query).Rows); got != "" {
					t.Errorf("%s %s: %q sees\n%s", c.typ, c.attribute, id, got)
				}
			}
			m = tillOf(t, w, c.typ, fmt.Sprintf(rows, "label.who"))
			if got := text(w.asks(t, m, semantic.Principal{ID: "x", Labels: map[string][]string{"who": {c.not[0], c.is}}}, query).Rows); got != c.want {
				t.Errorf("%s %s: one of two labels sees\n%s, not\n%s", c.typ, c.attribute, got, c.want)
			}
		}
	})
}

// Metrics of several entities are cut by what is one column: a refund's own status is no order's.
func TestWhatIsCalledAlikeIsNotTheSame(t *testing.T) {
	onBoth(t, func(t *testing.T, w *warehouse) {
		m := tillOf(t, w, "integer", "")
		for name, c := range map[string]struct {
			q       semantic.Query
			want    string
			heading string
		}{
			"a formula":          {semantic.Query{Metrics: []string{"net"}, Dimensions: []string{"order.status"}}, "open | 9.0000\nshipped | 15.0000\n<nil> | 40.0000\n", "order.status"},
			"side by side":       {semantic.Query{Metrics: []string{"refunded", "revenue"}, Dimensions: []string{"order.status"}}, "open | 1.0000 | 10.0000\nshipped | 5.0000 | 20.0000\n<nil> | 0.0000 | 40.0000\n", "order.status"},
			"a filter":           {semantic.Query{Metrics: []string{"net"}, Filters: []semantic.Filter{{Dimension: "order.status", Values: []any{"open"}}}}, "9.0000\n", "net"},
			"of one, by its own": {semantic.Query{Metrics: []string{"refunded"}, Dimensions: []string{"status"}}, "open | 5.0000\npaid | 1.0000\n", "status"},
		} {
			a := w.asks(t, m, boss, c.q)
			if got := text(a.Rows); got != c.want || a.Columns[0].Name != c.heading {
				t.Errorf("%s: it is\n%s (%s), not\n%s", name, got, a.Columns[0].Name, c.want)
			}
		}
		for name, q := range map[string]semantic.Query{
			"a formula":    {Metrics: []string{"net"}, Dimensions: []string{"status"}},
			"side by side": {Metrics: []string{"revenue", "refunded"}, Dimensions: []string{"Status"}},
			"a filter":     {Metrics: []string{"refunded", "revenue"}, Filters: []semantic.Filter{{Dimension: "status", Values: []any{"open"}}}},
		} {
			_, err := m.Prepare(q, boss, w.Dialect())
			if e, ok := err.(*stead.Error); !ok || !strings.Contains(e.Message, "ambiguous") || !strings.Contains(e.Message, "order.status") || !strings.Contains(e.Message, "refund.status") || !strings.Contains(e.Hint, "order.status") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

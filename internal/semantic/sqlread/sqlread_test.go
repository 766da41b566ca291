package sqlread

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/semantic"
)

const schema = `
CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT, rep TEXT);
CREATE TABLE addresses (id INTEGER PRIMARY KEY, city TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, billing_id INTEGER, shipping_id INTEGER, status TEXT, amount NUMERIC(12,2), placed_at TIMESTAMP, express BOOLEAN);
CREATE TABLE order_lines (order_id INTEGER, number INTEGER, product TEXT, pieces INTEGER, price NUMERIC(12,2), PRIMARY KEY (order_id, number));
`

// warehouse is one filled database, opened by us to read, and by the test to compare and to look whether it was written.
type warehouse struct {
	Reader
	raw *sql.DB
	dsn string
}

func model(t testing.TB) *semantic.Model {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := semantic.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// onBoth runs a test over the same rows in both kinds of database.
func onBoth(t *testing.T, test func(t *testing.T, w *warehouse)) {
	for _, c := range []Config{{Name: "warehouse", Dialect: semantic.SQLite}, {Name: "warehouse", Dialect: semantic.PostgreSQL}} {
		t.Run(string(c.Dialect), func(t *testing.T) {
			driver := "sqlite"
			if c.DSN = filepath.Join(t.TempDir(), "shop's?#%.db"); c.Dialect == semantic.PostgreSQL {
				driver, c.DSN = "pgx", pgtest.URL(t)
			}
			raw, err := sql.Open(driver, c.DSN)
			if driver == "sqlite" {
				raw, err = sql.Open(driver, "file:"+strings.NewReplacer("?", "%3F", "#", "%23", "%", "%25").Replace(c.DSN))
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { raw.Close() })
			fill(t, raw)
			r, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			test(t, &warehouse{r, raw, c.DSN})
		})
	}
}

var (
	reps      = []string{"ada", "bob", "eve"}
	countries = []string{"DE", "FR", "IT", ""}
)

// fill makes customers of three representatives, with orders and their lines.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	var b strings.Builder
	b.WriteString("BEGIN;" + schema) // one fsync
	for i := range 12 {
		country := "'" + countries[i%4] + "'"
		if country == "''" {
			country = "NULL"
		}
		fmt.Fprintf(&b, "INSERT INTO customers VALUES (%d, %s, '%s');\n", i+1, country, reps[i%3])
	}
	for i := range 5 {
		fmt.Fprintf(&b, "INSERT INTO addresses VALUES (%d, 'city %d');\n", i+1, i)
	}
	day := time.Date(2026, 1, 1, 10, 30, 0, 0, time.UTC)
	for i := range 150 {
		status := []string{"open", "shipped", "cancelled"}[r.IntN(3)]
		fmt.Fprintf(&b, "INSERT INTO orders VALUES (%d, %d, %d, %d, '%s', %d.%02d, '%s', %t);\n", i+1, 1+r.IntN(12), 1+r.IntN(5), 1+r.IntN(5), status, r.IntN(1000), r.IntN(100),
			day.Add(time.Duration(r.IntN(400*24))*time.Hour).Format(time.DateTime), r.IntN(2) == 0)
		for n := range r.IntN(4) {
			fmt.Fprintf(&b, "INSERT INTO order_lines VALUES (%d, %d, 'product %d', %d, %d.50);\n", i+1, n+1, r.IntN(6), 1+r.IntN(9), r.IntN(50))
		}
	}
	if _, err := db.Exec(b.String() + "COMMIT;"); err != nil {
		t.Fatal(err)
	}
}

// asks runs a query as somebody, and gives the rows of the answer as text.
func (w *warehouse) asks(t *testing.T, m *semantic.Model, who semantic.Principal, q semantic.Query) semantic.Answer {
	t.Helper()
	p, err := m.Prepare(q, who, w.Dialect())
	if err != nil {
		t.Fatal(err)
	}
	tables, err := w.Read(t.Context(), p.Statements, p.Limits)
	if err != nil {
		t.Fatalf("%v\n%s\n%v", err, p.Statements[0].SQL, p.Statements[0].Args)
	}
	a, err := p.Answer(tables, time.Date(2020, 3, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func text(rows [][]any) string {
	var b strings.Builder
	for _, row := range rows {
		for i, v := range row {
			if i > 0 {
				b.WriteString(" | ")
			}
			switch n := v.(type) {
			case float64:
				fmt.Fprintf(&b, "%.4f", n)
			case json.Number:
				f, _ := n.Float64()
				fmt.Fprintf(&b, "%.4f", f)
			case int64:
				fmt.Fprintf(&b, "%.4f", float64(n))
			default:
				fmt.Fprint(&b, v)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// hand runs SQL that somebody wrote.
func (w *warehouse) hand(t *testing.T, query string) string {
	t.Helper()
	tables, err := w.Read(t.Context(), []semantic.Statement{{SQL: query}}, semantic.Limits{Rows: 10_000})
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return text(tables[0].Rows)
}

var (
	boss = semantic.Principal{ID: "boss", Kind: "user", Role: "owner", Project: "default"}
	ada  = semantic.Principal{ID: "ada", Kind: "user", Role: "developer", Project: "default"}
)

// What a query gives is what SQL gives that somebody wrote who knows the tables.
func TestAnswersAreThoseOfHandWrittenSQL(t *testing.T) {
	m := model(t)
	onBoth(t, func(t *testing.T, w *warehouse) {
		month, week, quarter := `strftime('%Y-%m-01', placed_at)`, `date(placed_at, '-' || ((CAST(strftime('%w', placed_at) AS INTEGER) + 6) % 7) || ' days')`, `strftime('%Y-', placed_at) || CASE WHEN strftime('%m', placed_at) < '04' THEN '01' WHEN strftime('%m', placed_at) < '07' THEN '04' WHEN strftime('%m', placed_at) < '10' THEN '07' ELSE '10' END || '-01'`
		real := "REAL"
		if w.Dialect() == semantic.PostgreSQL {
			month, week, quarter = `to_char(placed_at, 'YYYY-MM-01')`, `to_char(placed_at - (extract(isodow from placed_at) - 1) * interval '1 day', 'YYYY-MM-DD')`, `to_char(date_trunc('quarter', placed_at), 'YYYY-MM-DD')`
			real = "numeric"
		}
		for name, c := range map[string]struct {
			who  semantic.Principal
			q    semantic.Query
			hand string
		}{
			"a sum": {boss, semantic.Query{Metrics: []string{"turnover"}}, `SELECT SUM(amount) FROM orders WHERE status <> 'cancelled'`},
			"by a dimension of another entity": {boss, semantic.Query{Metrics: []string{"revenue", "orders"}, Dimensions: []string{"country"}},
				`SELECT c.country, SUM(CASE WHEN o.status <> 'cancelled' THEN o.amount END), COUNT(*) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.country ORDER BY c.country IS NULL, c.country`},
			"by one of two ways": {boss, semantic.Query{Metrics: []string{"revenue"}, Dimensions: []string{"shipping.city"}, Order: []semantic.Order{{By: "revenue", Descending: true}}, Limit: 3},
				`SELECT a.city, SUM(o.amount) s FROM orders o JOIN addresses a ON a.id = o.shipping_id WHERE status <> 'cancelled' GROUP BY a.city ORDER BY s DESC LIMIT 3`},
			"a formula":                     {boss, semantic.Query{Metrics: []string{"average_order"}}, `SELECT CAST(SUM(CASE WHEN status <> 'cancelled' THEN amount END) AS ` + real + `) / COUNT(*) FROM orders`},
			"months":                        {boss, semantic.Query{Metrics: []string{"orders"}, Time: &semantic.Range{From: "2026-02-01", To: "2026-09-15", Grain: "month"}}, `SELECT ` + month + `, COUNT(*) FROM orders WHERE placed_at >= '2026-02-01 00:00:00' AND placed_at < '2026-09-15 00:00:00' GROUP BY 1 ORDER BY 1`},
			"weeks":                         {boss, semantic.Query{Metrics: []string{"orders"}, Time: &semantic.Range{From: "2026-12-01", Grain: "week"}}, `SELECT ` + week + `, COUNT(*) FROM orders WHERE placed_at >= '2026-12-01 00:00:00' GROUP BY 1 ORDER BY 1`},
			"quarters":                      {boss, semantic.Query{Metrics: []string{"orders"}, Time: &semantic.Range{Grain: "quarter"}}, `SELECT ` + quarter + `, COUNT(*) FROM orders GROUP BY 1 ORDER BY 1`},
			"an expression":                 {boss, semantic.Query{Metrics: []string{"list_value"}}, `SELECT SUM(pieces * price) FROM order_lines WHERE EXISTS (SELECT 1 FROM orders)`},
			"different ones":                {boss, semantic.Query{Metrics: []string{"products"}, Dimensions: []string{"country"}}, `SELECT c.country, COUNT(DISTINCT l.product) FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN customers c ON c.id = o.customer_id GROUP BY c.country ORDER BY c.country IS NULL, c.country`},
			"a filter":                      {boss, semantic.Query{Metrics: []string{"orders"}, Filters: []semantic.Filter{{Dimension: "status", Operator: "in", Values: []any{"open", "shipped"}}, {Dimension: "country", Values: []any{"DE"}}, {Dimension: "express", Values: []any{true}}}}, `SELECT COUNT(*) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE status IN ('open', 'shipped') AND country = 'DE' AND express`},
			"no rows":                       {boss, semantic.Query{Metrics: []string{"orders", "revenue"}, Filters: []semantic.Filter{{Dimension: "country", Values: []any{"XX"}}}}, `SELECT 0, NULL`},
			"two entities, side by side":    {boss, semantic.Query{Metrics: []string{"revenue", "pieces"}, Dimensions: []string{"country"}}, `SELECT c.country, (SELECT SUM(o.amount) FROM orders o JOIN customers d ON d.id = o.customer_id WHERE status <> 'cancelled' AND (d.country = c.country OR d.country IS NULL AND c.country IS NULL)), (SELECT SUM(l.pieces) FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN customers d ON d.id = o.customer_id WHERE d.country = c.country OR d.country IS NULL AND c.country IS NULL) FROM (SELECT DISTINCT country FROM customers) c ORDER BY c.country IS NULL, c.country`},
			"a formula over two entities":   {boss, semantic.Query{Metrics: []string{"revenue_per_piece"}}, `SELECT CAST((SELECT SUM(amount) FROM orders WHERE status <> 'cancelled') AS ` + real + `) / (SELECT SUM(pieces) FROM order_lines)`},
			"rows":                          {boss, semantic.Query{Entity: "order", Dimensions: []string{"id", "status", "customer.country"}, Filters: []semantic.Filter{{Dimension: "amount", Operator: "at_least", Values: []any{"900"}}}, Order: []semantic.Order{{By: "id", Descending: true}}}, `SELECT o.id, o.status, c.country FROM orders o JOIN customers c ON c.id = o.customer_id WHERE amount >= 900 ORDER BY o.id DESC`},
			"rows by a part of a text":      {boss, semantic.Query{Entity: "customer", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "country", Operator: "contains", Values: []any{"e"}}}}, `SELECT id FROM customers WHERE country = 'DE' ORDER BY id`},
			"a part that is no pattern":     {boss, semantic.Query{Entity: "customer", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "country", Operator: "contains", Values: []any{"%"}}}}, `SELECT 1 WHERE 1=0`},
			"nothing":                       {boss, semantic.Query{Entity: "customer", Dimensions: []string{"id"}, Filters: []semantic.Filter{{Dimension: "country", Operator: "is_null"}}}, `SELECT id FROM customers WHERE country IS NULL ORDER BY id`},
			"of one's own rows":             {ada, semantic.Query{Metrics: []string{"revenue"}}, `SELECT SUM(amount) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE status <> 'cancelled' AND c.rep = 'ada'`},
			"of one's own rows, two joins":  {ada, semantic.Query{Metrics: []string{"pieces"}, Dimensions: []string{"product"}}, `SELECT product, SUM(pieces) FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN customers c ON c.id = o.customer_id WHERE c.rep = 'ada' GROUP BY product ORDER BY product`},
			"of one's own, in two entities": {ada, semantic.Query{Metrics: []string{"revenue_per_piece"}}, `SELECT CAST((SELECT SUM(amount) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE status <> 'cancelled' AND c.rep = 'ada') AS ` + real + `) / (SELECT SUM(pieces) FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN customers c ON c.id = o.customer_id WHERE c.rep = 'ada')`},
			"of nobody":                     {semantic.Principal{ID: "nobody", Role: "developer"}, semantic.Query{Metrics: []string{"revenue", "orders"}}, `SELECT NULL, 0`},
			"of who is not known":           {semantic.Principal{Role: "developer"}, semantic.Query{Metrics: []string{"orders"}}, `SELECT 0`},
			"of who is called like SQL":     {semantic.Principal{ID: "x' OR '1'='1", Role: "developer"}, semantic.Query{Metrics: []string{"orders"}}, `SELECT 0`},
			"the owner sees no line":        {semantic.Principal{ID: "boss", Role: "auditor"}, semantic.Query{Metrics: []string{"pieces"}}, `SELECT NULL`},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.asks(t, m, c.who, c.q)
				if got, want := text(a.Rows), w.hand(t, c.hand); got != want {
					p, _ := m.Prepare(c.q, c.who, w.Dialect())
					t.Errorf("it is\n%s, not\n%s\n%s\n%v", got, want, p.Statements[0].SQL, p.Statements[0].Args)
				}
				if a.Model.Version != 3 || a.AsOf == "" || len(a.Source) == 0 || len(c.q.Metrics) > 0 && len(a.Definitions) == 0 {
					t.Errorf("the answer does not say where it is from: %+v", a)
				}
			})
		}
	})
}

// Both databases give the same rows.
func TestAnswersAreTheSameInBoth(t *testing.T) {
	m, got := model(t), map[string][]string{}
	onBoth(t, func(t *testing.T, w *warehouse) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 60 {
			q := generated(r)
			got[string(w.Dialect())] = append(got[string(w.Dialect())], fmt.Sprintf("%s\n%s", asJSON(q), text(w.asks(t, m, boss, q).Rows)))
		}
	})
	a, b := got["sqlite"], got["postgres"]
	if len(a) != 60 || len(b) != 60 {
		t.Skip("one of the databases is not here")
	}
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("SQLite:\n%s\nPostgreSQL:\n%s", a[i], b[i])
		}
	}
}

func asJSON(q semantic.Query) string {
	b, _ := json.Marshal(q)
	return string(b)
}

// generated is some query.
func generated(r *rand.Rand) semantic.Query {
	sets := [][]string{{"revenue"}, {"orders"}, {"revenue", "orders"}, {"average_order"}, {"pieces"}, {"list_value", "pieces"}, {"products"}, {"revenue", "pieces"}, {"revenue_per_piece"}, {"average_order", "products"}}
	cuts := map[string][]string{"revenue": {"status", "express", "customer.country", "billing.city", "shipping.city"}, "orders": {"status", "express", "customer.country"}, "average_order": {"status", "express", "customer.country"},
		"pieces": {"product", "customer.country", "purchase.status"}, "list_value": {"product", "customer.country"}, "products": {"customer.country"}, "revenue_per_piece": {"customer.country"}}
	var q semantic.Query
	q.Metrics = sets[r.IntN(len(sets))]
	common := slices.Clone(cuts[q.Metrics[0]])
	for _, n := range q.Metrics[1:] {
		common = slices.DeleteFunc(common, func(d string) bool { return !slices.Contains(cuts[n], d) })
	}
	for _, d := range common {
		if r.IntN(2) == 0 {
			q.Dimensions = append(q.Dimensions, d)
		}
		if r.IntN(3) == 0 {
			switch d {
			case "customer.country":
				q.Filters = append(q.Filters, semantic.Filter{Dimension: d, Operator: []string{"equals", "not_equals"}[r.IntN(2)], Values: []any{countries[r.IntN(3)]}})
			case "status", "purchase.status":
				q.Filters = append(q.Filters, semantic.Filter{Dimension: d, Operator: "in", Values: []any{"open", "cancelled"}})
			case "express":
				q.Filters = append(q.Filters, semantic.Filter{Dimension: d, Values: []any{r.IntN(2) == 0}})
			}
		}
	}
	if q.Metrics[0] == "revenue" && len(q.Metrics) == 1 || q.Metrics[0] == "orders" || q.Metrics[0] == "average_order" && len(q.Metrics) == 1 {
		if r.IntN(2) == 0 {
			q.Time = &semantic.Range{From: "2026-03-01", Grain: semantic.Grains()[1+r.IntN(5)]}
		}
	}
	q.Limit = semantic.MaxRows
	return q
}

// Whatever is asked, nobody sees a number into which a row went that is hidden from them: the answer is the same as over a database
// that never had those rows.
func TestNoNumberHoldsAForeignRow(t *testing.T) {
	m := model(t)
	onBoth(t, func(t *testing.T, w *warehouse) {
		const queries = 80
		var before []string
		r := rand.New(rand.NewPCG(3, 4))
		for range queries {
			before = append(before, text(w.asks(t, m, ada, generated(r)).Rows))
		}
		for _, change := range []string{ // what others have is gone, and what is new of them counts for nothing
			`DELETE FROM order_lines WHERE order_id IN (SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.rep <> 'ada')`,
			`DELETE FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE rep <> 'ada')`,
			`DELETE FROM customers WHERE rep <> 'ada'`,
		} {
			if _, err := w.raw.Exec(change); err != nil {
				t.Fatal(err)
			}
		}
		r = rand.New(rand.NewPCG(3, 4))
		same := 0
		for i := range queries {
			q := generated(r)
			if got := text(w.asks(t, m, ada, q).Rows); got != before[i] {
				t.Errorf("%s gave with others' rows\n%s, and without\n%s", asJSON(q), before[i], got)
			} else if got != "" {
				same++
			}
		}
		if same < queries/2 {
			t.Errorf("only %d of %d queries gave anything", same, queries)
		}
	})
}

// Whatever stands in names and values, it stays a name or a value.
func TestNothingBecomesSQL(t *testing.T) {
	m := model(t)
	vectors := []string{`'`, `"`, `' OR '1'='1`, `x'); DROP TABLE orders; --`, `"; DROP TABLE orders; --`, "revenue\x00", `$1`, `?1`, `*/`, `--`, `\'`, `%`, `_`, `UNION SELECT rep FROM customers`, `revenue) FROM orders; DELETE FROM orders; --`, `ｄｒｏｐ`, `customer.rep`, `customer.country"`}
	onBoth(t, func(t *testing.T, w *warehouse) {
		count := w.hand(t, `SELECT COUNT(*) FROM orders`)
		run := func(v string, who semantic.Principal, q semantic.Query) {
			t.Helper()
			p, err := m.Prepare(q, who, w.Dialect())
			if err != nil {
				if stead.KindOf(err) != stead.KindInvalid {
					t.Errorf("%q: %v", v, err)
				}
				return
			}
			for _, s := range p.Statements {
				if len(v) > 2 && strings.Contains(s.SQL, v) && v != `$1` && v != `?1` {
					t.Errorf("%q stands in the SQL:\n%s", v, s.SQL)
				}
			}
			if _, err := w.Read(t.Context(), p.Statements, p.Limits); err != nil {
				t.Errorf("%q: %v\n%s", v, err, p.Statements[0].SQL)
			}
		}
		for _, v := range vectors {
			run(v, boss, semantic.Query{Metrics: []string{v}})
			run(v, boss, semantic.Query{Entity: v})
			run(v, boss, semantic.Query{Metrics: []string{"revenue"}, Dimensions: []string{v}})
			run(v, boss, semantic.Query{Metrics: []string{"revenue"}, Dimensions: []string{"customer." + v}})
			run(v, boss, semantic.Query{Metrics: []string{"revenue"}, Filters: []semantic.Filter{{Dimension: v, Values: []any{"x"}}}})
			for _, op := range append(semantic.Operators(), v) {
				run(v, boss, semantic.Query{Metrics: []string{"orders"}, Filters: []semantic.Filter{{Dimension: "country", Operator: op, Values: []any{v}}}})
				run(v, boss, semantic.Query{Entity: "purchase", Filters: []semantic.Filter{{Dimension: "amount", Operator: op, Values: []any{v}}}})
				run(v, boss, semantic.Query{Entity: "purchase", Filters: []semantic.Filter{{Dimension: "placed_at", Operator: op, Values: []any{v}}}})
			}
			run(v, boss, semantic.Query{Metrics: []string{"orders"}, Time: &semantic.Range{From: v, To: v, Grain: v}})
			run(v, boss, semantic.Query{Metrics: []string{"orders"}, Time: &semantic.Range{Grain: v}})
			run(v, boss, semantic.Query{Metrics: []string{"orders"}, Order: []semantic.Order{{By: v}}})
			run(v, semantic.Principal{ID: v, Role: stead1(v), Kind: v, Project: v}, semantic.Query{Metrics: []string{"orders"}})
		}
		if got := w.hand(t, `SELECT COUNT(*) FROM orders`); got != count {
			t.Errorf("afterwards there are %s orders, not %s", got, count)
		}
	})
}

func stead1(role string) string { return "developer" + role }

// Nothing can be written, not even by the text of a model; a slow query ends, and what is too long is cut.
func TestOnlyReading(t *testing.T) {
	onBoth(t, func(t *testing.T, w *warehouse) {
		for _, s := range []string{`DELETE FROM orders`, `INSERT INTO addresses VALUES (99, 'x')`, `CREATE TABLE x (a INTEGER)`, `UPDATE orders SET amount = 0`} {
			if _, err := w.Read(t.Context(), []semantic.Statement{{SQL: s}}, semantic.Limits{}); err == nil {
				t.Errorf("%s was done", s)
			}
		}
		if got := w.hand(t, `SELECT COUNT(*) FROM orders`); got != "150.0000\n" {
			t.Errorf("there are %s orders", got)
		}
		tables, err := w.Read(t.Context(), []semantic.Statement{{SQL: `SELECT id FROM orders ORDER BY id`}, {SQL: `SELECT status FROM orders`}}, semantic.Limits{Rows: 5, Bytes: 30})
		if err != nil || len(tables[0].Rows) != 3 || !tables[0].Truncated || !tables[1].Truncated {
			t.Errorf("cut to %+v, %v", tables, err)
		}
		_, err = w.Read(t.Context(), []semantic.Statement{{SQL: `SELECT nothing FROM orders`}}, semantic.Limits{})
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "nothing") || strings.Contains(err.Error(), w.dsn) {
			t.Errorf("a column that is not there: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = w.Read(ctx, []semantic.Statement{{SQL: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1000000000) SELECT COUNT(*) FROM n`}}, semantic.Limits{})
		if err == nil || !strings.Contains(err.Error(), "did not answer within") {
			t.Errorf("a slow one: %v", err)
		}
	})
	for _, c := range []Config{{"w", semantic.SQLite, filepath.Join(t.TempDir(), "none.db")}, {"w", semantic.PostgreSQL, "postgres://u:secretpw@127.0.0.1:1/x"}} {
		r, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Read(t.Context(), []semantic.Statement{{SQL: `SELECT 1`}}, semantic.Limits{})
		if stead.KindOf(err) != stead.KindUnavailable || strings.Contains(err.(*stead.Error).Message, "secretpw") {
			t.Errorf("a database that is not there: %v", err)
		}
		r.Close()
	}
	if _, err := Open(Config{"w", semantic.PostgreSQL, "postgres://u:secretpw@[::1/x"}); err == nil || strings.Contains(err.Error(), "secretpw") {
		t.Errorf("an address that is none: %v", err)
	}
}

// An answer says how new its data is, and that it is too old.
func TestFreshness(t *testing.T) {
	m := model(t)
	onBoth(t, func(t *testing.T, w *warehouse) {
		if _, err := w.raw.Exec(`DELETE FROM orders WHERE id > 0; INSERT INTO orders VALUES (1, 1, 1, 1, 'open', 1, '2020-02-29 12:00:00', true), (2, 2, 1, 1, 'open', 1, '2020-02-28 12:00:00', true)`); err != nil {
			t.Fatal(err)
		}
		a := w.asks(t, m, boss, semantic.Query{Metrics: []string{"revenue"}})
		if f := a.Freshness; len(f) != 1 || f[0].DataAsOf != "2020-02-29T12:00:00Z" || f[0].Stale || f[0].Within != "24h" {
			t.Errorf("fresh data is %+v", f)
		}
		bob := semantic.Principal{ID: "bob", Role: "developer"}
		if a := w.asks(t, m, bob, semantic.Query{Metrics: []string{"revenue"}}); !a.Freshness[0].Stale || !strings.Contains(strings.Join(a.Notes, " "), "STALE: the newest data of purchase is of 2020-02-28T12:00:00Z") {
			t.Errorf("old data is %+v, %v", a.Freshness, a.Notes)
		}
		if _, err := w.raw.Exec(`DELETE FROM orders`); err != nil {
			t.Fatal(err)
		}
		if a := w.asks(t, m, boss, semantic.Query{Metrics: []string{"revenue"}}); !a.Freshness[0].Stale || a.Freshness[0].DataAsOf != "" {
			t.Errorf("no data is %+v, %v", a.Freshness, a.Notes)
		}
	})
}

// A check finds columns that are not there, and keys that are none.
func TestProbes(t *testing.T) {
	m := model(t)
	onBoth(t, func(t *testing.T, w *warehouse) {
		twice := func() map[string]int64 {
			out := map[string]int64{}
			for _, p := range m.Probes(w.Dialect(), "warehouse") {
				tables, err := w.Read(t.Context(), p.Statements, semantic.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				out[p.Entity] = p.Twice(tables)
			}
			return out
		}
		if got := twice(); len(got) != 4 || got["customer"]+got["purchase"]+got["address"]+got["line"] != 0 {
			t.Errorf("before: %v", got)
		}
		if _, err := w.raw.Exec(`DROP TABLE addresses; CREATE TABLE addresses (id INTEGER, city TEXT); INSERT INTO addresses VALUES (1, 'a'), (1, 'b'), (2, 'c'), (2, 'c'), (3, 'd')`); err != nil {
			t.Fatal(err)
		}
		if got := twice(); got["address"] != 2 || got["customer"] != 0 {
			t.Errorf("after: %v", got)
		}
		if _, err := w.raw.Exec(`ALTER TABLE addresses DROP COLUMN city`); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Probes(w.Dialect(), "warehouse") {
			if _, err := w.Read(t.Context(), p.Statements, semantic.Limits{}); (err != nil) != (p.Entity == "address") {
				t.Errorf("%s: %v", p.Entity, err)
			}
		}
	})
}

// A description shows values of rows that whoever asks sees, and no others.
func TestSamples(t *testing.T) {
	m := model(t)
	onBoth(t, func(t *testing.T, w *warehouse) {
		if _, err := w.raw.Exec(`INSERT INTO customers VALUES (50, 'ZZ', 'bob')`); err != nil {
			t.Fatal(err)
		}
		for who, want := range map[string]string{"ada": "DE FR IT", "bob": "DE FR IT ZZ", "nobody": ""} {
			d, err := m.Describe("client", semantic.Principal{ID: who, Role: "developer"}, func(string) (semantic.Dialect, error) { return w.Dialect(), nil })
			if err != nil {
				t.Fatal(err)
			}
			tables, err := w.Read(t.Context(), d.Samples, semantic.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			d.Sample(tables)
			got := strings.Trim(fmt.Sprint(d.Attributes[0].Samples), "[]")
			if d.Attributes[0].Name != "country" || got != want {
				t.Errorf("%s is shown %q, not %q", who, got, want)
			}
			for _, a := range d.Attributes {
				if a.Name == "rep" {
					t.Error("a hidden attribute is described")
				}
			}
		}
	})
}

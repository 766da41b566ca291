package reader

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// limits are those of most tests.
var limits = database.Limits{Rows: 100, Bytes: 64 << 10, ValueBytes: 4 << 10, Time: 20 * time.Second}

// shop is a filled database: as it is read, and as its owner has it.
type shop struct {
	database.Database
	config database.Config
	raw    *sql.DB
}

func openSQLiteShop(t *testing.T, hidden ...string) *shop {
	t.Helper()
	at := filepath.Join(t.TempDir(), "shop's?#%.db")
	raw, err := sql.Open("sqlite", "file:"+strings.NewReplacer("?", "%3F", "#", "%23", "%", "%25").Replace(at))
	if err != nil {
		t.Fatal(err)
	}
	return fill(t, raw, database.Config{Name: "shop", Driver: database.SQLite, DSN: at, Hidden: hidden}, `
CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT);
CREATE TABLE customers ( -- who buys
  id INTEGER PRIMARY KEY,
  /* where
     they live */
  country TEXT REFERENCES countries, -- two letters
  "e mail" TEXT, password TEXT NOT NULL DEFAULT 'secret-default' -- hashed: never shown
);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), status TEXT, amount NUMERIC, placed_at TIMESTAMP, UNIQUE (customer_id, placed_at));
CREATE INDEX orders_by_status ON orders (status, (amount + 1));
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'open';
`)
}

func openPostgresShop(t *testing.T, hidden ...string) *shop {
	t.Helper()
	owner := pgtest.URL(t)
	raw, err := sql.Open("pgx", owner)
	if err != nil {
		t.Fatal(err)
	}
	role := "reader_" + fmt.Sprint(time.Now().UnixNano())
	t.Cleanup(func() {
		again, err := sql.Open("pgx", owner)
		if err == nil {
			defer again.Close()
			_, err = again.Exec("DROP OWNED BY " + role)
		}
		if err == nil {
			_, err = again.Exec("DROP ROLE " + role)
		}
		if err != nil {
			t.Error(err)
		}
	})
	s := fill(t, raw, database.Config{Name: "shop", Driver: database.PostgreSQL, DSN: strings.Replace(owner, "user=postgres", "user="+role, 1), Hidden: hidden}, `
CREATE TYPE status AS ENUM ('open', 'shipped');
CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT);
CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT REFERENCES countries, "e mail" TEXT, password TEXT NOT NULL DEFAULT 'secret-default');
COMMENT ON TABLE customers IS 'who buys';
COMMENT ON COLUMN customers.country IS 'where they live two letters';
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), status status, amount NUMERIC(24,2), placed_at TIMESTAMP, UNIQUE (customer_id, placed_at));
CREATE INDEX orders_by_status ON orders (status, (amount + 1));
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'open';
CREATE SEQUENCE numbers;
CREATE ROLE `+role+` LOGIN; GRANT USAGE ON SCHEMA public TO `+role+`;
GRANT SELECT ON countries, orders, open_orders, numbers TO `+role+`;
GRANT SELECT (id, country, "e mail"), INSERT, UPDATE, DELETE ON customers TO `+role+`; GRANT INSERT, UPDATE, DELETE ON orders TO `+role+`; GRANT USAGE ON numbers TO `+role+`;
GRANT CREATE ON SCHEMA public TO `+role+`;
`)
	return s
}

func fill(t *testing.T, raw *sql.DB, c database.Config, schema string) *shop {
	t.Helper()
	t.Cleanup(func() { raw.Close() })
	if _, err := raw.Exec(schema + `
INSERT INTO countries VALUES ('AT', 'Austria'), ('DE', 'Germany');
INSERT INTO customers VALUES (1, 'AT', 'a@example.com', 'x'), (2, 'DE', NULL, 'y'), (3, 'AT', 'c@example.com', 'z');
INSERT INTO orders VALUES (1, 1, 'open', 12345678901234567.25, '2026-01-02 03:04:05'), (2, 2, 'shipped', 0.10, '2026-01-03 00:00:00'), (3, 1, 'open', NULL, NULL);`); err != nil {
		t.Fatal(err)
	}
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &shop{d, c, raw}
}

func both(t *testing.T, test func(*testing.T, *shop), hidden ...string) {
	t.Run("sqlite", func(t *testing.T) { test(t, openSQLiteShop(t, hidden...)) })
	t.Run("postgres", func(t *testing.T) { test(t, openPostgresShop(t, hidden...)) })
}

// ask is what a tool does: check, then query.
func (s *shop) ask(ctx context.Context, statement string, l database.Limits) (database.Result, error) {
	checked, err := database.Check(s.Driver(), statement)
	if err != nil {
		return database.Result{}, err
	}
	return s.Query(ctx, checked, l)
}

// state is all that is in the tables.
func (s *shop) state(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, q := range []string{"SELECT count(*) FROM countries", "SELECT count(*) FROM customers", "SELECT count(*) || '' || coalesce(max(status), '') FROM (SELECT CAST(status AS TEXT) AS status FROM orders) o"} {
		var v string
		if err := s.raw.QueryRow(q).Scan(&v); err != nil {
			t.Fatal(err)
		}
		out.WriteString(v + ";")
	}
	return out.String()
}

// A statement reads, and its values come as the database writes them.
func TestQuery(t *testing.T) {
	both(t, func(t *testing.T, s *shop) {
		got, err := s.ask(t.Context(), "SELECT id, status, amount, placed_at, amount > 1 AS large FROM orders ORDER BY id DESC;", limits)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(got.Rows)
		want := `[[3,"open",null,null,null],[2,"shipped",0.10,"2026-01-03 00:00:00",false],[1,"open",12345678901234567.25,"2026-01-02 03:04:05",true]]`
		if s.Driver() == database.SQLite { // it has no decimals, and no booleans
			want = `[[3,"open",null,null,null],[2,"shipped",0.1,"2026-01-03 00:00:00",0],[1,"open",12345678901234568,"2026-01-02 03:04:05",1]]`
		}
		if string(text) != want || len(got.Columns) != 5 || got.Columns[3].Name != "placed_at" || !strings.EqualFold(got.Columns[3].Type, "timestamp") || got.Truncated || got.Cut {
			t.Errorf("got %s %+v, want %s", text, got.Columns, want)
		}
		if got, err := s.ask(t.Context(), "SELECT id FROM orders WHERE 1 = 0", limits); err != nil || len(got.Rows) != 0 || len(got.Columns) != 1 {
			t.Errorf("no rows: %+v %v", got, err)
		}
		for _, q := range []string{"WITH a AS (SELECT country FROM customers) SELECT count(*) FROM a", "EXPLAIN SELECT 1", "VALUES (1)", "(SELECT 1)"} {
			if got, err := s.ask(t.Context(), q, limits); q != "(SELECT 1)" && (err != nil || len(got.Rows) == 0) {
				t.Errorf("%s: %+v %v", q, got, err)
			}
		}
		_, err = s.ask(t.Context(), "SELECT nothing FROM orders", limits)
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "nothing") {
			t.Errorf("a column that is not there: %v", err)
		}
	})
}

// Values of types that JSON or drivers know otherwise.
func TestExactValues(t *testing.T) {
	for _, c := range []struct {
		s         *shop
		statement string
		want      string
	}{
		{openPostgresShop(t), `SELECT 9223372036854775807, 'NaN'::float8, 'Infinity'::numeric, 0.1::float8, 'a'::"char", '{1,2}'::int[], '{"b": 1}'::jsonb, '\x00ff'::bytea, interval '1 mon 2 days', timestamptz '2026-01-01 00:00+02', date '2026-02-03', ROW(1,'a')`,
			`[9223372036854775807,"NaN","Infinity",0.1,"a","{1,2}","{\"b\": 1}","\\x00ff","1 mon 2 days","2025-12-31 22:00:00+00","2026-02-03","(1,a)"]`},
		{openSQLiteShop(t), `SELECT 9223372036854775807, 1e999, 2.0, x'00ff', 'é', NULL, date('2026-02-03'), CAST('2026-01-01 00:00' AS TIMESTAMP)`, `[9223372036854775807,"+Inf",2.0,"x'00ff'","é",null,"2026-02-03",2026]`},
	} {
		got, err := c.s.ask(t.Context(), c.statement, limits)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(got.Rows[0]); string(text) != c.want {
			t.Errorf("%s: got %s, want %s", c.s.Driver(), text, c.want)
		}
	}
}

// What attacks try: each is refused, by us or, where that wall is taken away, by the database; and nothing has changed.
func TestAttacks(t *testing.T) {
	attacks := map[string][]string{
		"": {
			"INSERT INTO orders VALUES (9, 1, 'open', 1, NULL)", "UPDATE orders SET status = 'open'", "DELETE FROM orders", "DROP TABLE countries", "CREATE TABLE more (a INT)", "CREATE TEMP TABLE more (a INT)",
			"SELECT 1; DELETE FROM orders", "EXPLAIN ANALYZE DELETE FROM orders", "CREATE VIEW v AS SELECT 1", "ALTER TABLE orders ADD COLUMN x INT", "REINDEX orders",
		},
		database.PostgreSQL: {
			"WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", "WITH x AS (INSERT INTO countries VALUES ('XX', 'x') RETURNING code) SELECT * FROM x", "SELECT * INTO copied FROM orders", "SELECT * FROM orders FOR UPDATE",
			"COPY orders TO PROGRAM 'touch /tmp/stead-was-here'", "COPY orders TO '/tmp/stead-was-here'", "SELECT pg_read_file('/etc/passwd')", "SELECT * FROM pg_ls_dir('/')", "SELECT lo_import('/etc/passwd')",
			"SELECT set_config('transaction_read_only', 'off', false)", "SET TRANSACTION READ WRITE", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "BEGIN; DELETE FROM orders; COMMIT", "COMMIT", "SELECT nextval('numbers')", "SELECT setval('numbers', 9)",
			"LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "NOTIFY a", "DO $$ BEGIN DELETE FROM orders; END $$", "MERGE INTO orders USING countries ON true WHEN MATCHED THEN DELETE", "TRUNCATE orders", "VACUUM", "PREPARE a AS DELETE FROM orders",
			"SELECT query_to_xml('DELETE FROM orders', true, true, '')", "GRANT SELECT ON customers TO public", "SELECT password FROM customers", "SELECT * FROM customers", "SELECT customers FROM customers", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
			"ALTER ROLE CURRENT_USER SUPERUSER", "SET ROLE postgres", "SELECT * FROM pg_authid", "SELECT dblink_exec('dbname=postgres', 'DELETE FROM orders')", "SELECT * FROM pg_shadow",
		},
		database.SQLite: {
			"WITH a AS (SELECT 1) DELETE FROM orders", "WITH a AS (SELECT 1) INSERT INTO countries SELECT 'XX', 'x' FROM a", "PRAGMA query_only = 0", "PRAGMA writable_schema = 1", "PRAGMA journal_mode = DELETE", "PRAGMA database_list", "ATTACH ':memory:' AS other",
			"ATTACH '/tmp/stead-was-here.db' AS other", "VACUUM INTO '/tmp/stead-was-here.db'", "VACUUM", "SELECT load_extension('x')", "SELECT * FROM pragma_database_list", "SELECT writefile('/tmp/stead-was-here', 'x')", "SELECT readfile('/etc/passwd')",
			"SELECT fts3_tokenizer('simple')", "SELECT * FROM sqlite_dbpage", "SELECT 1 FROM dbstat", "CREATE VIRTUAL TABLE v USING fts5(a)", "ANALYZE", "BEGIN IMMEDIATE", "SAVEPOINT a", "REPLACE INTO countries VALUES ('XX', 'x')", "DETACH main",
			"SELECT * FROM pragma_query_only(0)", "SELECT * FROM pragma_journal_mode('delete')",
		},
	}
	both(t, func(t *testing.T, s *shop) {
		before := s.state(t)
		for _, attack := range slices.Concat(attacks[""], attacks[s.Driver()]) {
			if got, err := s.ask(t.Context(), attack, limits); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("%s is taken: %+v %v", attack, got, err)
			}
			// Behind our own wall the database's stands. What does nothing that lasts may pass there.
			got, err := s.Query(t.Context(), attack, limits)
			harmless := slices.ContainsFunc([]string{"BEGIN IMM", "SAVEPOINT", "NOTIFY", "COMMIT", "PREPARE", "SET SESSION", "DO $$", "LOCK"}, func(p string) bool { return strings.HasPrefix(attack, p) })
			if err == nil && !harmless || err != nil && stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("behind the first wall %s is taken: %+v %v", attack, got, err)
			}
		}
		if after := s.state(t); after != before {
			t.Errorf("it was %s, and is %s", before, after)
		}
		for _, f := range []string{"/tmp/stead-was-here", "/tmp/stead-was-here.db"} {
			if _, err := os.Stat(f); err == nil {
				t.Errorf("%s was written", f)
			}
		}
	})
}

// What takes long, or gives much, ends in time, and leaves nothing behind at the server.
func TestWhatIsTooMuch(t *testing.T) {
	both(t, func(t *testing.T, s *shop) {
		endless := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
		short := limits
		short.Time = 300 * time.Millisecond
		began := time.Now()
		if _, err := s.ask(t.Context(), endless, short); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "within 300ms") || time.Since(began) > 15*time.Second {
			t.Errorf("an endless one: %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := s.ask(ctx, endless, limits); err == nil {
			t.Error("one that nobody waits for any more goes on")
		}
		cancel()
		rows := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000000) SELECT i FROM n"
		began = time.Now()
		if got, err := s.ask(t.Context(), rows, limits); err != nil || len(got.Rows) != limits.Rows || !got.Truncated {
			t.Errorf("many rows: %d %v", len(got.Rows), err)
		}
		if s.Driver() == database.PostgreSQL {
			if got, err := s.ask(t.Context(), "SELECT repeat('x', 1000), generate_series(1, 100000000)", limits); err != nil || len(got.Rows) > 65 || !got.Truncated || time.Since(began) > 20*time.Second {
				t.Errorf("many bytes: %d %v", len(got.Rows), err)
			}
			if _, err := s.ask(t.Context(), "SELECT repeat('x', 20000000)", limits); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("a large value: %v", err)
			}
			var left int
			for until := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if err := s.raw.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'reader_%' AND datname = current_database()").Scan(&left); err != nil {
					t.Fatal(err)
				}
				if left == 0 {
					break
				}
				if time.Now().After(until) {
					t.Errorf("%d statements are still there", left)
					break
				}
			}
			return
		}
		if _, err := s.ask(t.Context(), "SELECT length(zeroblob(20000000))", limits); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("a large value: %v", err)
		}
		got, err := s.ask(t.Context(), "SELECT printf('%.*c', 10000, 'é')", limits)
		if err != nil || !got.Cut || len(got.Rows[0][0].(string)) > limits.ValueBytes+3 {
			t.Errorf("a long value: %v", err)
		}
	})
}

// Where something is hidden no statement reaches it: SQLite refuses, of PostgreSQL the rights must be such.
func TestHiddenFromStatements(t *testing.T) {
	s := openSQLiteShop(t, "*.password", "countries")
	for _, q := range []string{"SELECT password FROM customers", "SELECT * FROM customers", "SELECT 1 FROM countries", "SELECT c.name FROM orders o, countries c", "SELECT sql FROM sqlite_schema", "SELECT * FROM pragma_table_info('customers')", "SELECT PASSWORD FROM main.Customers"} {
		if got, err := s.ask(t.Context(), q, limits); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %+v %v", q, got, err)
		}
	}
	if got, err := s.ask(t.Context(), "SELECT id, country FROM customers", limits); err != nil || len(got.Rows) != 3 {
		t.Errorf("what is not hidden: %v", err)
	}
	p := openPostgresShop(t, "*.password") // which the role may not read
	if _, err := p.ask(t.Context(), "SELECT country FROM customers", limits); err != nil {
		t.Error(err)
	}
	p = openPostgresShop(t, "orders.amount")
	if _, err := p.ask(t.Context(), "SELECT 1", limits); stead.KindOf(err) != stead.KindForbidden || !strings.Contains(err.Error(), "public.orders.amount") {
		t.Errorf("a role that reads what is hidden: %v", err)
	}
	c := p.config
	c.DSN, c.Hidden = strings.Replace(c.DSN, "user=reader_", "user=postgres&application_name=", 1), nil
	mighty, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mighty.Query(t.Context(), "SELECT 1", limits); stead.KindOf(err) != stead.KindForbidden || !strings.Contains(err.Error(), "superuser") {
		t.Errorf("a superuser: %v", err)
	}
	if _, err := mighty.Tables(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTables(t *testing.T) {
	both(t, func(t *testing.T, s *shop) {
		tables, err := s.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		schema, text, number, stamp, amount := "main", "TEXT", "INTEGER", "TIMESTAMP", "NUMERIC"
		if s.Driver() == database.PostgreSQL {
			schema, text, number, stamp, amount = "public", "text", "integer", "timestamp without time zone", "numeric(24,2)"
		}
		byName := map[string]database.Table{}
		var names []string
		for _, table := range tables {
			names, byName[table.Name] = append(names, table.ID()), table
		}
		if want := []string{schema + ".countries", schema + ".customers", schema + ".open_orders", schema + ".orders"}; !slices.Equal(names, want) {
			t.Fatalf("tables %v, want %v", names, want)
		}
		customers := byName["customers"]
		want := database.Table{Schema: schema, Name: "customers", Kind: "table", Comment: "who buys", Key: []string{"id"},
			Columns: []database.Column{{Name: "id", Type: number}, {Name: "country", Type: text, Comment: "where they live two letters"}, {Name: "e mail", Type: text}},
			Foreign: []database.Foreign{{Columns: []string{"country"}, Schema: schema, Table: "countries", Refers: []string{"code"}}}, Referring: []database.Foreign{{Columns: []string{"customer_id"}, Schema: schema, Table: "orders", Refers: []string{"id"}}}, Rows: 3}
		if s.Driver() == database.PostgreSQL {
			want.Rows, want.Columns[0].NotNull = -1, true // nobody has analysed it
		}
		if diff := cmp.Diff(want, customers); diff != "" {
			t.Error(diff)
		}
		orders := byName["orders"]
		if len(orders.Indexes) != 2 || orders.Columns[3].Type != amount || orders.Columns[4].Type != stamp || !orders.Identifies("id") || orders.Identifies("status") {
			t.Errorf("orders: %+v", orders)
		}
		md := orders.Markdown("shop", map[string]database.Shown{"status": {Values: []string{"open", "ship`ped\nnow"}, All: true}})
		for _, want := range []string{"# " + schema + ".orders", "Table of the database shop.", "unique (customer_id, placed_at)", "index (status, an expression)", "(customer_id) → " + schema + ".customers (id)", "- `customer_id` "} {
			if !strings.Contains(md, want) {
				t.Errorf("no %q in\n%s", want, md)
			}
		}
		if enum := "One of: `open`, `shipped`"; strings.Contains(md, enum) != (s.Driver() == database.PostgreSQL) || !strings.Contains(md, enum) && !strings.Contains(md, "Values: `open`, `ship'ped now`") {
			t.Error(md)
		}
		samples, err := s.Sample(t.Context(), customers, []string{"country", "e mail"}, 1)
		if err != nil || !samples.Whole || !slices.Equal(samples.Values["country"], []database.SampledValue{{Text: "AT", Rows: 2}, {Text: "DE", Rows: 1}}) || len(samples.Values["e mail"]) != 2 {
			t.Errorf("samples: %v %v", samples, err)
		}
		if _, err := s.raw.Exec("DROP VIEW open_orders"); err != nil {
			t.Fatal(err)
		}
		if tables, err = s.Tables(t.Context()); err != nil || len(tables) != 3 {
			t.Errorf("a view that was dropped is there: %v", err)
		}
		all, _ := json.Marshal(tables)
		if strings.Contains(string(all), "secret-default") || strings.Contains(string(all), "password") || strings.Contains(string(all), "hashed") {
			t.Errorf("what is hidden is told: %s", all)
		}
	}, "*.password")
}

func TestAway(t *testing.T) {
	for _, c := range []database.Config{{Name: "away", Driver: database.PostgreSQL, DSN: "postgres://u:secret-password@127.0.0.1:1/x"}, {Name: "away", Driver: database.SQLite, DSN: filepath.Join(t.TempDir(), "none.db")}} {
		d, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		_, queryErr := d.Query(t.Context(), "SELECT 1", limits)
		_, tablesErr := d.Tables(t.Context())
		for _, err := range []error{queryErr, tablesErr} {
			if stead.KindOf(err) != stead.KindUnavailable || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%s: %v", c.Driver, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(database.Config{Name: "x", Driver: "mysql"}); err == nil {
		t.Error("a driver that there is not")
	}
	if _, err := Open(database.Config{Name: "x", Driver: database.SQLite, DSN: "x", Hidden: []string{"["}}); err == nil {
		t.Error("a pattern that is none")
	}
}

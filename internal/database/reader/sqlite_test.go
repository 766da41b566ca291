package reader

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

// openFile makes a SQLite file by statements.
func openFile(t *testing.T, hidden []string, statements ...string) *shop {
	t.Helper()
	at := filepath.Join(t.TempDir(), "file.db")
	raw, err := sql.Open("sqlite", "file:"+at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	for _, s := range statements {
		if _, err := raw.Exec(s); err != nil {
			t.Fatal(s, err)
		}
	}
	c := database.Config{Name: "file", Driver: database.SQLite, DSN: at, Hidden: hidden}
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &shop{d, c, raw}
}

const guessed = "WITH RECURSIVE c(salary) AS (SELECT 0 UNION ALL SELECT salary + 1 FROM c WHERE salary < 10000) "

// SQLite asks its authorizer nothing for what USING and NATURAL compare, and virtual tables keep what they hold in tables with other names.
func TestNoWayLeadsToWhatIsHidden(t *testing.T) {
	s := openFile(t, []string{"staff.salary", "notes.body", "secret_*", "totals.sum", `odd "name.pin`},
		`CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, salary INTEGER, yearly INTEGER AS (salary * 12), dept INTEGER)`,
		`INSERT INTO staff (id, name, salary, dept) VALUES (1, 'ada', 4321, 1), (2, 'bob', 7777, 2)`,
		`CREATE TABLE depts (dept INTEGER PRIMARY KEY, title TEXT, salary INTEGER)`, `INSERT INTO depts VALUES (1, 'natural', 1), (2, 'using', 2)`,
		`CREATE TABLE secret_x (code TEXT, pin INTEGER)`, `INSERT INTO secret_x VALUES ('a', 42)`,
		`CREATE TABLE "odd ""name" (pin INTEGER)`, `INSERT INTO "odd ""name" VALUES (42)`,
		`CREATE VIRTUAL TABLE notes USING fts5(title, body)`, `INSERT INTO notes VALUES ('hello', 'the secret is xyzzy')`,
		`CREATE VIRTUAL TABLE terms USING fts5vocab(notes, row)`, `CREATE VIRTUAL TABLE found USING fts5(name, pay, content='staff')`, `INSERT INTO found (rowid, name, pay) VALUES (1, 'ada', 'xyzzy')`,
		`CREATE VIRTUAL TABLE pages USING fts5(text)`, `INSERT INTO pages VALUES ('apples and pears')`,
		`CREATE VIEW open_staff AS SELECT id, name FROM staff`, `CREATE VIEW paid AS SELECT name, salary AS pay FROM staff`, `CREATE VIEW totals AS SELECT dept, 42 AS sum FROM depts`,
		`CREATE VIEW matched AS SELECT depts.salary FROM depts JOIN staff USING (salary)`, `CREATE VIEW of_matched AS SELECT * FROM matched`, `CREATE VIEW joined AS SELECT name, title FROM staff JOIN depts USING (dept)`)
	for _, q := range []string{
		guessed + `SELECT staff.name, c.salary FROM c JOIN staff USING (salary)`, guessed + `SELECT name, c.salary FROM c NATURAL JOIN staff`, guessed + `SELECT name FROM c NATURAL LEFT JOIN main."staff"`,
		guessed + `SELECT name FROM c JOIN [Staff] uSiNg ("SALARY")`, guessed + "SELECT name FROM c JOIN `staff`USING/**/('salary')", guessed + `SELECT c.salary FROM staff RIGHT JOIN c USING (salary)`, guessed + `SELECT c.salary FROM staff FULL JOIN c USING (salary)`,
		`WITH c(yearly) AS (SELECT 4321 * 12) SELECT name FROM c JOIN staff USING (yearly)`, `SELECT yearly FROM staff`, `SELECT name FROM staff WHERE EXISTS (SELECT 1 FROM depts NATURAL JOIN staff)`,
		`SELECT 1 FROM secret_x JOIN (SELECT 42 AS pin) USING (pin)`, `WITH g(pin) AS (SELECT 42) SELECT g.pin FROM g NATURAL JOIN secret_x`, `SELECT count(*) FROM secret_x`, `SELECT 42 IN (SELECT pin FROM secret_x)`, `SELECT ('a', 42) IN secret_x`,
		`SELECT 1 FROM "odd ""name" JOIN (SELECT 42 AS pin) USING (pin)`, `SELECT 1 FROM (SELECT 42 AS sum) JOIN totals USING (sum)`, `SELECT sum FROM totals`,
		`SELECT body FROM notes`, `SELECT title FROM notes WHERE notes MATCH 'body:xyzzy'`, `SELECT highlight(notes, 1, '', '') FROM notes`, `SELECT c1 FROM notes_content`, `SELECT block FROM notes_data`, `SELECT 1 FROM notes_content JOIN (SELECT 1 AS id) USING (id)`,
		`SELECT term FROM terms`, `SELECT rowid FROM found WHERE found MATCH 'xyzzy'`, `SELECT block FROM found_data`,
		`SELECT name FROM paid`, `SELECT salary FROM matched`, `SELECT 1 FROM of_matched`, `SELECT salary FROM depts JOIN matched USING (salary)`,
		`SELECT 1 FROM sqlite_schema NATURAL JOIN (SELECT 'staff' AS name)`, `SELECT 1 FROM (SELECT 1 AS pgno) JOIN sqlite_dbpage USING (pgno)`, `SELECT * FROM pragma_table_info('staff')`,
		`SELECT max(id) OVER (PARTITION BY salary) FROM staff`, `SELECT group_concat(name ORDER BY salary) FROM staff`, `VALUES (1) EXCEPT SELECT salary FROM staff`, `EXPLAIN SELECT salary FROM staff`, `SELECT id FROM staff ORDER BY salary`,
	} {
		if got, err := s.ask(t.Context(), q, limits); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v %v", q, got.Rows, err)
		}
	}
	for q, want := range map[string]string{
		`SELECT name, title FROM staff JOIN depts USING (dept) ORDER BY name`: `[["ada","natural"],["bob","using"]]`, // of nothing that is hidden
		`SELECT name FROM joined ORDER BY name`:                               `[["ada"],["bob"]]`,
		`SELECT name FROM open_staff WHERE name <> 'natural using salary'`:    `[["ada"],["bob"]]`,
		`SELECT salary FROM depts JOIN (SELECT 1 AS salary) USING (salary)`:   `[[1]]`,
		`SELECT text FROM pages WHERE pages MATCH 'pears'`:                    `[["apples and pears"]]`,
		`SELECT title FROM depts WHERE title IN ('using', 'natural')`:         `[["natural"],["using"]]`,
	} {
		got, err := s.ask(t.Context(), q, limits)
		if text, _ := json.Marshal(got.Rows); err != nil || string(text) != want {
			t.Errorf("%s: %s %v", q, text, err)
		}
	}
}

// A virtual table reads a view by itself, whatever the view shows, and keeps what it has read.
func TestNoVirtualTableShowsWhatAViewMayNot(t *testing.T) {
	s := openFile(t, []string{"staff.salary"},
		`CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, salary TEXT)`, `INSERT INTO staff VALUES (1, 'Ada', 'kilimanjaro'), (2, 'Bob', 'everest')`,
		`CREATE VIEW v AS SELECT id, name, salary AS pay FROM staff`, `CREATE VIEW "of v" AS SELECT id, pay AS p FROM v`, `CREATE VIEW open AS SELECT id, name FROM staff`,
		`CREATE VIRTUAL TABLE f USING fts5(name, pay, content='v', content_rowid='id')`, `INSERT INTO f(f) VALUES ('rebuild')`, `CREATE VIRTUAL TABLE terms USING fts5vocab('f', 'instance')`,
		`CREATE VIEW found AS SELECT rowid AS id, name FROM f`, `CREATE VIRTUAL TABLE g USING fts5(p, content="of v", content_rowid='id')`, `INSERT INTO g(g) VALUES ('rebuild')`,
		`CREATE VIRTUAL TABLE h USING fts5(name, content=[found], content_rowid=id)`, `INSERT INTO h(rowid, name) VALUES (1, 'Ada')`, `CREATE VIRTUAL TABLE names USING fts5(name, content='open', content_rowid='id')`, `INSERT INTO names(names) VALUES ('rebuild')`)
	for _, q := range []string{
		`SELECT pay FROM v`, `SELECT rowid FROM f WHERE f MATCH 'pay:kilimanjaro'`, `SELECT count(*) FROM f`, `SELECT id, block FROM f_data`, `SELECT pay FROM f`, `SELECT term, doc FROM terms`,
		`SELECT rowid FROM g WHERE g MATCH 'everest'`, `SELECT block FROM g_data`, `SELECT rowid FROM h WHERE h MATCH 'ada'`, `SELECT block FROM h_data`,
	} {
		if got, err := s.ask(t.Context(), q, limits); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v %v", q, got.Rows, err)
		}
	}
	if got, err := s.ask(t.Context(), `SELECT rowid, name FROM names WHERE names MATCH 'ada'`, limits); err != nil || fmt.Sprint(got.Rows) != "[[1 Ada]]" {
		t.Errorf("of a view that shows nothing hidden: %v %v", got.Rows, err)
	}
}

// SQLite reads a table by the smallest index that has all that is asked for, in the index's order.
func TestNothingComesInTheOrderOfWhatIsHidden(t *testing.T) {
	s := openFile(t, []string{"staff.salary", "badges.code"}, `CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, salary INTEGER, dept INTEGER, d DATE, twice INTEGER AS (salary * 2))`,
		`INSERT INTO staff (id, name, salary, dept, d) VALUES (1, 'Ada', 52000, 1, '2020-01-01'), (2, 'Bob', 41000, 1, '2020-01-02'), (3, 'Cyd', 99000, 1, '2020-01-03'), (4, 'Dan', 10, 1, '2020-01-04')`,
		`CREATE INDEX by_salary ON staff(salary)`, `CREATE INDEX by_dept ON staff(dept, salary)`, `CREATE INDEX by_half ON staff(salary / 2, d)`, `CREATE INDEX by_name ON staff(name)`, `CREATE INDEX by_twice ON staff(twice)`,
		`CREATE TABLE badges (of INTEGER, room TEXT, code TEXT, UNIQUE (room, code))`, `INSERT INTO badges VALUES (1, 'lab', 'z'), (2, 'lab', 'a')`,
		`CREATE VIEW people AS SELECT id, name FROM staff INDEXED BY by_salary`, `CREATE VIEW ids AS SELECT id FROM staff`)
	for _, q := range []string{
		`SELECT id FROM staff`, `SELECT name FROM staff INDEXED BY by_salary`, `SELECT group_concat(id) FROM staff`, `SELECT id FROM staff WHERE dept = 1`, `SELECT name FROM staff WHERE dept = 1 LIMIT 1`, `SELECT name FROM staff ORDER BY dept`,
		`SELECT name FROM people`, `SELECT id FROM ids`, `SELECT 1 WHERE EXISTS (SELECT 1 FROM staff WHERE dept = 1)`, `WITH a AS (SELECT id FROM staff) SELECT count(*), (SELECT id FROM a LIMIT 1) FROM staff`, `SELECT d FROM staff INDEXED BY by_half`,
		`SELECT of FROM badges WHERE room = 'lab'`, `SELECT name, (SELECT of FROM badges WHERE room = 'lab' AND of > 0) FROM staff`, `/* EXPLAIN */ SELECT id FROM staff`, `SELECT name FROM staff INDEXED BY by_twice`,
	} {
		if got, err := s.ask(t.Context(), q, limits); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v %v", q, got.Rows, err)
		}
	}
	_, err := s.ask(t.Context(), `SELECT id FROM staff`, limits)
	if e, ok := errors.AsType[*stead.Error](err); !ok || strings.Contains(err.Error(), "salary") || !strings.Contains(e.Hint, `FROM "staff" NOT INDEXED`) {
		t.Errorf("it says nothing of what to write instead: %+v", err)
	}
	for q, want := range map[string]string{
		`SELECT id FROM staff NOT INDEXED`:                                   `[[1],[2],[3],[4]]`,
		`SELECT name FROM staff WHERE +dept = 1`:                             `[["Ada"],["Bob"],["Cyd"],["Dan"]]`,
		`SELECT count(*) FROM staff`:                                         `[[4]]`,
		`SELECT name FROM staff ORDER BY name DESC LIMIT 1`:                  `[["Dan"]]`,
		`SELECT d FROM staff WHERE id = 2`:                                   `[["2020-01-02"]]`,
		`SELECT of FROM badges NOT INDEXED WHERE room = 'lab' ORDER BY room`: `[[1],[2]]`,
	} {
		got, err := s.ask(t.Context(), q, limits)
		if text, _ := json.Marshal(got.Rows); err != nil || string(text) != want {
			t.Errorf("%s: %s %v", q, text, err)
		}
	}
	for _, q := range []string{`EXPLAIN SELECT id FROM staff`, `EXPLAIN QUERY PLAN SELECT id FROM staff`, `-- a
explain SELECT id FROM staff`} {
		if got, err := s.ask(t.Context(), q, limits); err != nil || len(got.Rows) == 0 {
			t.Errorf("%s: %v", q, err)
		}
	}
}

// No single step of a statement takes long, since nothing would end it.
func TestStepsAreShort(t *testing.T) {
	s := openFile(t, nil, `CREATE TABLE t (d DATE)`, `CREATE VIEW v AS SELECT replace('a.b', '.', instr('xé.', '.')) AS x`)
	short := limits
	short.Time = time.Second
	const a, b = "substr(hex(zeroblob(3500000)), 1)", "substr(hex(zeroblob(1750000)), 1) || '1'"
	for _, q := range []string{
		"SELECT instr(" + a + ", " + b + ")", "SELECT length(replace(" + a + ", " + b + ", 'x'))", "SELECT length(trim(" + a + ", 'x' || " + b + "))", "SELECT " + a + " LIKE '%' || " + b, "SELECT " + a + " GLOB '*' || " + b,
		"SELECT " + a + " LIKE '%' || substr(" + a + ", 1, 190) || '1%1'", "SELECT length(replace(" + a + ", '0', " + a + "))", "SELECT json_patch(" + a + ", '{}')", "SELECT unhex(" + a + ", " + b + ")",
	} {
		began := time.Now()
		_, err := s.Query(t.Context(), q, short)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s: %v", q, took, err)
		}
	}
	for q, want := range map[string]string{
		`SELECT x FROM v`: `[["a3b"]]`,
		`SELECT instr('Füße', 'ß'), instr('a', 'b'), instr('a', ''), instr(NULL, 'a'), instr(x'c3bc41', x'41'), instr('ü' || 'A', x'41'), instr(12.5, '.'), instr(1e20, '+')`: `[[3,0,1,null,3,2,3,5]]`,
		`SELECT replace('aXbX', 'X', 'é'), replace('a', '', 'b'), replace('a', NULL, 'b'), replace(11, 1, 2), replace(0.5, '.', ','), replace('aaa', 'a', '')`:                `[["aébé","a",null,"22","0,5",""]]`,
		`SELECT trim('  a '), trim('xéaéx', 'éx'), ltrim('xxa', 'x'), rtrim('axx', 'x'), trim('a', ''), trim(NULL, 'a'), ltrim('  a')`:                                        `[["a","a","a","a","a",null,"a"]]`,
	} {
		got, err := s.ask(t.Context(), q, limits)
		if text, _ := json.Marshal(got.Rows); err != nil || string(text) != want {
			t.Errorf("%s: %s %v", q, text, err)
		}
	}
}

// SQLite's own functions say what those say that stand in their place.
func TestBoundedFunctionsSayTheSame(t *testing.T) {
	s := openFile(t, nil, `CREATE TABLE t (x)`)
	values := []string{"''", "'a'", "'aba'", "'éa'", "'ß'", "NULL", "1", "11", "-1.5", "0.1", "1e100", "1e15", "123456789012345678", "x'61'", "x'c3a9'", "9e999", "-9e999", "100.0", "1e-7", "1e17", "0.1 + 0.2", "0.0"}
	var all []string
	for _, x := range values {
		for _, y := range values {
			all = append(all, fmt.Sprintf("instr(%s, %s), replace(%s, %s, 'q'), trim(%s, %s), ltrim(%s, %s), rtrim(%s, %s)", x, y, x, y, x, y, x, y, x, y))
		}
	}
	for _, q := range all {
		got, err := s.ask(t.Context(), "SELECT "+q, limits)
		if err != nil {
			t.Fatal(q, err)
		}
		want := make([]any, len(got.Columns))
		to := make([]any, len(want))
		for i := range want {
			to[i] = &want[i]
		}
		if err := s.raw.QueryRow("SELECT " + q).Scan(to...); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] = plain(want[i])
		}
		if !slices.Equal(got.Rows[0], want) {
			t.Errorf("%s is %v, and of SQLite %v", q, got.Rows[0], want)
		}
	}
}

// A statement is run once, with columns of times as well, and whatever tables are called.
func TestTimesTakeOneRun(t *testing.T) {
	s := openFile(t, nil, `CREATE TABLE stead (id INTEGER PRIMARY KEY, d DATE, t TIMESTAMP)`, `INSERT INTO stead VALUES (1, '2020-01-02', '2020-01-02 03:04:05.678'), (2, 'never', 7)`)
	got, err := s.ask(t.Context(), `SELECT d, t, d, id AS "d:1" FROM stead ORDER BY id DESC -- all`, limits)
	text, _ := json.Marshal(got.Rows)
	if err != nil || string(text) != `[["never",7,"never",2],["2020-01-02","2020-01-02 03:04:05.678","2020-01-02",1]]` || got.Columns[2].Name != "d" || got.Columns[3].Name != "d:1" || got.Columns[1].Type != "TIMESTAMP" {
		t.Errorf("%s %+v %v", text, got.Columns, err)
	}
	const endless = `WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c) SELECT d, (SELECT count(*) FROM c) FROM stead`
	for range 3 {
		short := limits
		short.Time = 200 * time.Millisecond
		if _, err := s.ask(t.Context(), endless, short); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "within 200ms") {
			t.Error(err)
		}
	}
	if _, err := s.Query(t.Context(), `SELECT d FROM stead WHERE id = ?`, limits); stead.KindOf(err) != stead.KindInvalid { // behind the first wall
		t.Error(err)
	}
}

// Statements keep their places until they have ended; others are told, and what is said of tables does not wait for them.
func TestPlacesAreTaken(t *testing.T) {
	s := openFile(t, nil, `CREATE TABLE t (x)`)
	const endless = `WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c`
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range MaxConns {
		running.Go(func() { _, _ = s.ask(ctx, endless, limits) })
	}
	for d := s.Database.(*sqliteDatabase); len(d.asking) < MaxConns; {
		time.Sleep(time.Millisecond)
	}
	short := limits
	short.Time = 100 * time.Millisecond
	if _, err := s.ask(t.Context(), "SELECT 1", short); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "no place") {
		t.Error(err)
	}
	if tables, err := s.Tables(t.Context()); err != nil || len(tables) != 1 {
		t.Error(tables, err)
	}
	stop()
	running.Wait()
	if _, err := s.ask(t.Context(), "SELECT 1", limits); err != nil {
		t.Error(err)
	}
}

// A view of what is gone, and a table of a module that there is not, are named; the others are told.
func TestABrokenTableStandsAlone(t *testing.T) {
	schema := []string{`CREATE TABLE a (x)`, `CREATE TABLE b (x)`, `CREATE VIEW v AS SELECT x FROM b`, `DROP TABLE b`,
		`PRAGMA writable_schema = 1`, `INSERT INTO sqlite_schema VALUES ('table', 'geo', 'geo', 0, 'CREATE VIRTUAL TABLE geo USING vec0(embedding float[3])')`}
	s := openFile(t, nil, schema...)
	tables, err := s.Tables(t.Context())
	if err != nil || len(tables) != 3 || tables[0].Broken != "" || len(tables[0].Columns) != 1 || tables[1].Broken != "no such module: vec0" || tables[2].Broken != "no such table: main.b" {
		t.Errorf("%+v %v", tables, err)
	}
	if text := tables[2].Markdown("file", nil); !strings.Contains(text, "It can't be read: no such table: main.b.") {
		t.Error(text)
	}
	if got, err := s.ask(t.Context(), "SELECT count(*) FROM a", limits); err != nil || len(got.Rows) != 1 {
		t.Error(err)
	}
	s = openFile(t, []string{"b"}, schema...)
	if tables, err = s.Tables(t.Context()); err != nil || len(tables) != 3 || strings.Contains(fmt.Sprint(tables), "main.b") {
		t.Errorf("%+v %v", tables, err)
	}
	if got, err := s.ask(t.Context(), "SELECT count(*) FROM a", limits); err != nil || len(got.Rows) != 1 {
		t.Error(err)
	}
}

package sql_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/database/reader"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/sql"
)

const schema = `
CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, channel VARCHAR(20), customer_name TEXT, "contactEmail" TEXT, hint TEXT, key_hint TEXT, internal_margin TEXT, code TEXT UNIQUE, amount NUMERIC);
CREATE TABLE hr (id INTEGER PRIMARY KEY, level TEXT);
CREATE TABLE "odd/na.me" (id INTEGER PRIMARY KEY, kind TEXT);
CREATE VIEW shipped AS SELECT * FROM orders WHERE status = 'shipped';
`

// met is what a walk meets: the texts, by path.
func met(t *testing.T, r source.Reader, spec source.Spec) (map[string]string, error) {
	t.Helper()
	out := map[string]string{}
	_, err := r.Walk(t.Context(), source.Walk{Project: "one", Spec: spec, Visit: func(d source.Document) error {
		if d.Err != nil {
			out[d.Path] = d.Err.Error()
			return nil
		}
		c, err := d.Read(context.Background())
		if err != nil {
			return err
		}
		if d.Stamp != "" || c.Name != d.Path+".md" || d.URI != "database://shop/"+d.Path {
			t.Errorf("%+v is %+v", d, c)
		}
		out[d.Path] = string(c.Data)
		return nil
	}})
	return out, err
}

func open(t *testing.T, c database.Config) database.Database {
	t.Helper()
	d, err := reader.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestTablesAreDocuments(t *testing.T) {
	for _, driver := range []string{database.SQLite, database.PostgreSQL} {
		t.Run(driver, func(t *testing.T) {
			config := database.Config{Name: "shop", Driver: driver, DSN: filepath.Join(t.TempDir(), "shop.db"), Hidden: []string{"hr", "*.internal_*"}}
			name, at, main := "sqlite", "file:"+config.DSN, "main."
			if driver == database.PostgreSQL {
				name, at, main = "pgx", pgtest.URL(t), "public."
				config.DSN = at
			}
			raw, err := stdsql.Open(name, at)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { raw.Close() })
			exec := func(statement string) {
				t.Helper()
				if _, err := raw.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			exec(schema)
			for i := range 40 {
				exec(fmt.Sprintf(`INSERT INTO orders VALUES (%d, '%s', 'web %d', 'Ada %d', 'free text', '%s', '%s', 'margin %d', 'c%d', %d)`, i, []string{"open", "shipped"}[i%2], i%9, i,
					[]string{"call me", "mail ada@example.com"}[i%2], []string{"none", "AKIA" + "ABCDEFGHIJKLMNOP"}[i%2], i, i, i))
			}
			exec(`INSERT INTO "odd/na.me" VALUES (1, 'x')`)
			exec(`INSERT INTO hr VALUES (1, 'boss')`)
			exec(`ANALYZE`)
			grant := sql.Grant{Database: open(t, config), Projects: []stead.ProjectID{"one"}, Samples: 3}
			r := sql.New([]sql.Grant{grant})
			spec := source.Spec{Type: source.SQL, Database: "shop"}

			first, err := met(t, r, spec)
			odd := main + "odd%2Fna%2Eme"
			if want := []string{odd, main + "orders", main + "shipped"}; err != nil || !slices.Equal(slices.Sorted(maps.Keys(first)), want) {
				t.Fatalf("met %v %v, want %v", slices.Sorted(maps.Keys(first)), err, want)
			}
			orders := first[main+"orders"]
			for _, want := range []string{"# " + main + "orders", "About 40 rows", "`status` ", "Values: `open`, `shipped`", "For example: `web 0`, `web 1`, `web 2`, …", "`customer_name`", "`contactEmail`", "`hint`", "unique (code)"} {
				if !strings.Contains(orders, want) {
					t.Errorf("no %q in\n%s", want, orders)
				}
			}
			for _, not := range []string{"Ada", "free text", "call me", "ada@example", "AKIA", "none", "margin", "`c1`", "web 3", "boss", "level"} {
				if strings.Contains(orders+first[main+"shipped"], not) {
					t.Errorf("%q is in\n%s", not, orders)
				}
			}
			if strings.Contains(first[main+"shipped"], "Values") {
				t.Error("values of a view are shown")
			}
			if again, err := met(t, r, spec); err != nil || !maps.Equal(first, again) {
				t.Errorf("it is not the same again: %v", err)
			}

			some, err := met(t, r, source.Spec{Type: source.SQL, Database: "shop", Include: []string{main + "o*"}, Exclude: []string{"*.orders"}})
			if err != nil || len(some) != 1 || some[odd] == "" {
				t.Errorf("patterns: %v %v", slices.Sorted(maps.Keys(some)), err)
			}
			grant.Samples = 0
			if none, err := met(t, sql.New([]sql.Grant{grant}), spec); err != nil || strings.Contains(none[main+"orders"], "web") {
				t.Errorf("without samples: %v %s", err, none[main+"orders"])
			}
			exec("DROP VIEW shipped")
			exec("INSERT INTO orders (id, status) VALUES (100, 'open')") // which changes no text
			if later, err := met(t, r, spec); err != nil || len(later) != 2 || later[main+"orders"] != orders {
				t.Errorf("later: %v\n%s", err, later[main+"orders"])
			}
			for _, s := range []source.Spec{{Database: "other"}, {Database: "shop", Path: "x"}} {
				if err := r.Check("one", s); stead.KindOf(err) != stead.KindInvalid {
					t.Errorf("%+v: %v", s, err)
				}
			}
			if err := r.Check("two", spec); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("another project: %v", err)
			}
		})
	}
}

// What a role may not read any more is not there; a database that is away is an error, and not an empty one.
func TestRightsAreFollowed(t *testing.T) {
	owner := pgtest.URL(t)
	raw, err := stdsql.Open("pgx", owner)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	role := fmt.Sprintf("rights_%d", time.Now().UnixNano())
	exec := func(statement string) {
		t.Helper()
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(schema + "CREATE ROLE " + role + " LOGIN; GRANT SELECT ON orders TO " + role + "; GRANT SELECT (id) ON hr TO " + role)
	defer exec("DROP ROLE " + role)
	defer exec("DROP OWNED BY " + role)
	r := sql.New([]sql.Grant{{Database: open(t, database.Config{Name: "shop", Driver: database.PostgreSQL, DSN: strings.Replace(owner, "user=postgres", "user="+role, 1)}), Projects: []stead.ProjectID{"one"}, Samples: 3}})
	spec := source.Spec{Type: source.SQL, Database: "shop"}
	got, err := met(t, r, spec)
	if err != nil || len(got) != 2 || strings.Contains(got["public.hr"], "level") {
		t.Errorf("met %v %v", got, err)
	}
	exec("REVOKE SELECT ON orders FROM " + role)
	if got, err = met(t, r, spec); err != nil || len(got) != 1 {
		t.Errorf("behind a revocation: %v %v", got, err)
	}
	exec("ALTER ROLE " + role + " NOLOGIN")
	if _, err = met(t, r, spec); stead.KindOf(err) != stead.KindForbidden || strings.Contains(err.Error(), role) {
		t.Errorf("a role that may not log in: %v", err)
	}
}

// A sample tells of nobody, and not of what it has not looked at.
func TestSamplesTellOfNobody(t *testing.T) {
	for _, driver := range []string{database.SQLite, database.PostgreSQL} {
		config := database.Config{Name: "shop", Driver: driver, DSN: filepath.Join(t.TempDir(), "shop.db")}
		name, at := "sqlite", "file:"+config.DSN
		if driver == database.PostgreSQL {
			name, at = "pgx", pgtest.URL(t)
			config.DSN = at
		}
		raw, err := stdsql.Open(name, at)
		if err != nil {
			t.Fatal(err)
		}
		people := []string{"customer", "medication", "created_by", "assignee", "Kunde", `"guestHost"`, "allergies", "spouse", "whatsapp"}
		for _, q := range []string{
			`CREATE TABLE visits (id INTEGER PRIMARY KEY, state TEXT, ` + strings.Join(people, " TEXT, ") + ` TEXT, ward TEXT)`, `CREATE TABLE small (id INTEGER PRIMARY KEY, state TEXT, met TEXT)`,
			`INSERT INTO small VALUES (1, 'open', 'x'), (2, 'open', 'x'), (3, 'shipped', 'Ada'), (4, 'shipped', 'x')`, `CREATE VIEW gone AS SELECT id FROM small`,
			`INSERT INTO visits SELECT id, 'open', ` + strings.Repeat(`'Ada Lovelace', `, len(people)) + `'ward ' || id FROM (WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 1003) SELECT id FROM n) n`,
			`INSERT INTO visits (id, state) VALUES (2000, 'cancelled'), (2001, 'cancelled')`,
		} {
			if _, err := raw.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		if driver == database.SQLite {
			if _, err := raw.Exec(`CREATE TABLE b (x); CREATE VIEW broken AS SELECT x FROM b; DROP TABLE b`); err != nil {
				t.Fatal(err)
			}
		}
		raw.Close()
		r := sql.New([]sql.Grant{{Database: open(t, config), Projects: []stead.ProjectID{"one"}, Samples: 5}})
		texts, err := met(t, r, source.Spec{Type: source.SQL, Database: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		var visits, small, broken string
		for path, text := range texts {
			switch _, table, _ := strings.Cut(path, "."); table {
			case "visits":
				visits = text
			case "small":
				small = text
			case "broken":
				broken = text
			}
		}
		if strings.Contains(visits, "Ada") || strings.Contains(visits, "`ward 1") || !strings.Contains(visits, "For example: `open`, …") {
			t.Errorf("%s: %s", driver, visits)
		}
		if strings.Contains(small, "Ada") || !strings.Contains(small, "Values: `open`, `shipped`") || !strings.Contains(small, "For example: `x`, …") {
			t.Errorf("%s: %s", driver, small)
		}
		if driver == database.SQLite && !strings.Contains(broken, "can't be described: no such table: main.b") {
			t.Errorf("a broken view: %q", broken)
		}
	}
}

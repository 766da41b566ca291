package database

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestStatementsThatRead(t *testing.T) {
	for driver, statements := range map[string][]string{
		"": {
			"select 1", " SELECT 1 ; ", "-- a; b\nselect 1 -- c;", "/* ; */ with a as (select 1) select * from a", "values (1), (2)", "(select 1) union (select 2)", "((select 1))",
			"explain select 1", "select ';', '--', 'it''s;'", `select 1 as ";"`, "select 1;--", "select 1; /* b */",
		},
		PostgreSQL: {
			"table a", "explain (analyze, buffers) select 1", "explain analyze verbose with a as (select 1) select 2", "explain (select 1)", "select E'\\';' , $$;$$, $a$ $b$; $$ $a$",
			"/* /* ; */ ; */ select 1", "select pg_relation_size('a'), pg_size_pretty(1::bigint), lower('pg_sleep(')", `select "set_config" from a`, "select $1::int", "select a.\"pg_sleep\" from a",
			"select E'\\'; drop table a --'", "select 1e5, 0x1f, 'a'::text",
		},
		SQLite: {"explain query plan select 1", "select [a;b], `c;d` from t"},
	} {
		for _, s := range statements {
			for _, d := range []string{SQLite, PostgreSQL} {
				if driver != "" && driver != d {
					continue
				}
				got, err := Check(d, s)
				if err != nil || !strings.HasPrefix(s, got) {
					t.Errorf("%s: %s: %q %v", d, s, got, err)
				}
			}
		}
	}
}

func TestStatementsThatAreRefused(t *testing.T) {
	for driver, statements := range map[string][]string{
		"": {
			"", ";", " -- a", "insert into a values (1)", "update a set b = 1", "delete from a", "drop table a", "create table a (b int)", "set a = 1", "begin", "commit", "vacuum", "pragma query_only=0",
			"attach 'a' as b", "select 1; drop table a", "select 1; select 2", "select 1;;", "copy a to program 'id'", "select 'open", "select 1 /* open", `select "open`, "do $$ begin end $$", "call f()", "explain delete from a",
			"explain analyze insert into a values (1)", "explain execute a", "select 1\x00; drop table a", "select \xff", "prepare a as select 1", "1", "'select'",
			"analyze", "reindex", "lock table a", "declare a cursor for select 1", "fetch a", "listen a", "notify a", "discard all", "reset all", "merge into a using b on true when matched then delete",
		},
		SQLite: {"select * from a where b = ?", "select ?1", "select :name", "select @name", "select $name", "select a from b where c = $d(1)"},
		PostgreSQL: {
			"explain (analyze) delete from a", "select /* /* */ 1", "select $$ open", "select pg_sleep(1)", "select PG_Sleep (1)", `select "pg_sleep"(1)`, "select pg_catalog.pg_sleep /**/ (1)",
			`select U&"pg\005fsleep"(1)`, `select u&'a'`, "select * from pg_read_file('/etc/passwd')", "select pg_advisory_lock(1)", "select pg_try_advisory_xact_lock_shared(1)", "select set_config('a', 'b', false)", "select nextval('s')", "select setval('s', 1)",
			"select * from dblink('a', 'b') as t(x int)", "select query_to_xml('delete from a', true, true, '')", "select lo_import('/etc/passwd')", "select lo_get(1)", "select pg_terminate_backend(1)", "select pg_ls_dir('.')",
			"select pg_stat_file('a')", "select pg_reload_conf()", "select ts_stat('select 1')", "select * from crosstab('delete from a') as t(x int)", "select pg_notify('a', 'b')",
		},
	} {
		for _, s := range statements {
			for _, d := range []string{SQLite, PostgreSQL} {
				if driver != "" && driver != d {
					continue
				}
				if got, err := Check(d, s); stead.KindOf(err) != stead.KindInvalid || got != "" {
					t.Errorf("%s: %s is taken: %q %v", d, s, got, err)
				}
			}
		}
	}
	if _, err := Check(SQLite, "select '"+strings.Repeat("a", MaxStatementBytes)+"'"); err == nil {
		t.Error("a statement that is too long is taken")
	}
}

func TestWhatIsHidden(t *testing.T) {
	h := Hiding{"hr.*", "users.password", "*.secret*", "public.odd/name"}
	if err := CheckHidden(h[:3]); err != nil || CheckHidden([]string{"["}) == nil || CheckHidden([]string{""}) == nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{
		"hr.salaries": true, "public.users": false, "public.users.password": true, "public.Users.PASSWORD": true, "public.orders.id": false, "public.orders.secret_key": true, "public.secrets": true,
		"hr.a/b.c": true, "x.a/b.secret": true,
	} {
		parts := strings.Split(name, ".")
		got := h.Table(parts[0], parts[1])
		if len(parts) == 3 {
			got = h.Column(parts[0], parts[1], parts[2])
		}
		if got != want {
			t.Errorf("%s is hidden: %v", name, got)
		}
	}
	shown := h.Show([]Table{
		{Schema: "public", Name: "users", Columns: []Column{{Name: "id"}, {Name: "password"}}, Key: []string{"id"}, Indexes: []Index{{Columns: []string{"id", "password"}}, {Unique: true, Columns: []string{"id"}}},
			Foreign: []Foreign{{Columns: []string{"id"}, Schema: "hr", Table: "salaries", Refers: []string{"user"}}}},
		{Schema: "hr", Name: "salaries", Columns: []Column{{Name: "user"}}},
		{Schema: "public", Name: "orders", Columns: []Column{{Name: "user"}}, Foreign: []Foreign{{Columns: []string{"user"}, Schema: "public", Table: "users", Refers: []string{"id"}}}},
	})
	if len(shown) != 2 || len(shown[0].Columns) != 1 || len(shown[0].Indexes) != 1 || len(shown[0].Foreign) != 0 || len(shown[0].Referring) != 1 || shown[0].Referring[0].ID() != "public.orders" {
		t.Errorf("shown: %+v", shown)
	}
}

// A first row that has no room is cut, each of its values as much as the others; a later one is for another statement.
func TestAFirstRowIsCutToFit(t *testing.T) {
	row := func() []any {
		return []any{strings.Repeat("é", 100), json.Number(strings.Repeat("1", 150)), "short", nil}
	}
	g := Gather{Limits: Limits{Rows: 10, Bytes: 200, ValueBytes: 190}}
	if !g.Add(row()) || g.Add(row()) || !g.Result.Cut || !g.Result.Truncated || len(g.Result.Rows) != 1 {
		t.Fatalf("%+v", g.Result)
	}
	want := []any{strings.Repeat("é", 25) + "…", strings.Repeat("1", 50) + "…", "short", nil}
	if got := g.Result.Rows[0]; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

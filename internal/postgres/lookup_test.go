package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestLookupsNeedNoStatistics: in a database that was never analyzed, whatever is read by its key is one step in the
// primary key's index. Another index that begins alike costs the planner no more there, and reads all rows
// of a store.
func TestLookupsNeedNoStatistics(t *testing.T) {
	url := pgtest.URL(t)
	openTest(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text,
			array_agg(a.attname::text ORDER BY k.n), array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY k.n)
		FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		JOIN pg_class c ON c.oid = i.indrelid
		WHERE i.indisprimary AND c.relnamespace = 'public'::regnamespace GROUP BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	type table struct {
		Index, Name    string
		Columns, Types []string
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 20 {
		t.Fatalf("only %d tables were found", len(tables))
	}
	few := map[string]string{
		"memory_origins": "an entry has few origins",
		"memory_shown":   "a session was shown few entries, beside those of a store",
	}
	for _, tab := range tables {
		if few[tab.Name] != "" {
			continue // its other index has columns of the key alone, and is as good
		}
		var where, args []string
		for i, column := range tab.Columns {
			where = append(where, fmt.Sprintf("%s = $%d::%s", column, i+1, tab.Types[i]))
			args = append(args, "'1'")
		}
		isLookup(t, conn, tab.Index, fmt.Sprintf("SELECT * FROM %s WHERE %s", tab.Name, strings.Join(where, " AND ")), args...)
	}
	ids := "'{1,2,3,4,5,6,7,8,9,10}'"
	isLookup(t, conn, "memories_pkey", memoriesByID, "'1'", "'1'", ids)
	isLookup(t, conn, "memory_keys_pkey", memoriesByKey, "'1'", "'1'", ids)
	isLookup(t, conn, "memory_vectors_pkey", vectorsByID, "'1'", "'1'", "'1'", ids)
}

// isLookup fails where a statement does not find its rows by all columns of an index.
func isLookup(t *testing.T, conn *pgx.Conn, index, statement string, args ...string) {
	t.Helper()
	plan := genericPlan(t, conn, statement, args)
	if !strings.Contains(plan, "using "+index+" ") || strings.Contains(plan, "Filter:") || strings.Contains(plan, "Join") {
		t.Errorf("%s\n%s", statement, plan)
	}
}

// genericPlan is how a prepared statement is carried out whatever its arguments are.
func genericPlan(t *testing.T, conn *pgx.Conn, statement string, args []string) string {
	t.Helper()
	for _, set := range []string{"SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off", "PREPARE lookup AS " + statement} {
		if _, err := conn.Exec(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE lookup("+strings.Join(args, ", ")+")", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "DEALLOCATE lookup"); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

package reader

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

// Tables implements database.Database.
func (d *postgresDatabase) Tables(ctx context.Context) ([]database.Table, error) {
	var out []database.Table
	err := d.with(ctx, d.telling, catalogTimeout, func(ctx context.Context, conn *pgx.Conn) (err error) {
		out, err = tablesOf(ctx, conn)
		return err
	})
	return d.hidden.Show(out), err
}

// What the role may read: tables, views and their columns, those of the system and of extensions apart.
const (
	tablesSQL = `SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.reltuples::float8, coalesce(obj_description(c.oid, 'pg_class'), ''), c.relrowsecurity
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C" LIMIT $1`

	columnsSQL = `SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(col_description(a.attrelid, a.attnum), ''),
(SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid)
FROM pg_attribute a WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attrelid, a.attnum`

	indexesSQL = `SELECT i.indrelid, i.indisunique AND i.indpred IS NULL, i.indisprimary,
(SELECT array_agg(coalesce(a.attname, '')::text ORDER BY k.at) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, at) LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num AND k.num > 0 WHERE k.at <= i.indnkeyatts)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = ANY($1) AND i.indisvalid ORDER BY i.indrelid, x.relname COLLATE "C"`

	foreignSQL = `SELECT f.conrelid, n.nspname, t.relname,
(SELECT array_agg(a.attname::text ORDER BY k.at) FROM unnest(f.conkey) WITH ORDINALITY k(num, at) JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
(SELECT array_agg(a.attname::text ORDER BY k.at) FROM unnest(f.confkey) WITH ORDINALITY k(num, at) JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)
FROM pg_constraint f JOIN pg_class t ON t.oid = f.confrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE f.contype = 'f' AND f.conrelid = ANY($1) AND f.conparentid = 0 ORDER BY f.conrelid, f.conname COLLATE "C"`
)

func tablesOf(ctx context.Context, conn *pgx.Conn) ([]database.Table, error) {
	var out []database.Table
	var oids []uint32
	at := map[uint32]int{}
	err := each(ctx, conn, tablesSQL, database.MaxTables+1, func(rows pgx.Rows) error {
		t := database.Table{Rows: -1}
		var oid uint32
		var kind string
		var about float64
		if err := rows.Scan(&oid, &t.Schema, &t.Name, &kind, &about, &t.Comment, &t.Secured); err != nil {
			return err
		}
		t.Kind = map[string]string{"v": "view", "m": "materialized view", "f": "foreign table"}[kind]
		if t.Kind == "" {
			t.Kind = "table"
		}
		if about >= 0 && (kind == "r" || kind == "m") {
			t.Rows = int64(about)
		}
		at[oid] = len(out)
		oids, out = append(oids, oid), append(out, t)
		return nil
	})
	if err == nil && len(out) > database.MaxTables {
		err = stead.Errorf(stead.KindTooLarge, "the database has more than %d tables that the role may read", database.MaxTables)
	}
	if err != nil {
		return nil, err
	}
	if err := each(ctx, conn, columnsSQL, oids, func(rows pgx.Rows) error {
		var oid uint32
		var c database.Column
		if err := rows.Scan(&oid, &c.Name, &c.Type, &c.NotNull, &c.Comment, &c.Values); err != nil {
			return err
		}
		if t := &out[at[oid]]; len(t.Columns) < database.MaxColumns {
			t.Columns = append(t.Columns, c)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, conn, indexesSQL, oids, func(rows pgx.Rows) error {
		var oid uint32
		var x database.Index
		var primary bool
		if err := rows.Scan(&oid, &x.Unique, &primary, &x.Columns); err != nil {
			return err
		}
		if t := &out[at[oid]]; primary {
			t.Key = x.Columns
		} else {
			t.Indexes = append(t.Indexes, x)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	err = each(ctx, conn, foreignSQL, oids, func(rows pgx.Rows) error {
		var oid uint32
		var f database.Foreign
		if err := rows.Scan(&oid, &f.Schema, &f.Table, &f.Columns, &f.Refers); err != nil {
			return err
		}
		out[at[oid]].Foreign = append(out[at[oid]].Foreign, f)
		return nil
	})
	return readable(out), err
}

// readable takes out what speaks of columns and tables that the role may not read.
func readable(tables []database.Table) []database.Table {
	there := map[string]bool{}
	for _, t := range tables {
		there[t.ID()] = true
	}
	for i := range tables {
		t := &tables[i]
		has := map[string]bool{"": true} // expressions
		for _, c := range t.Columns {
			has[c.Name] = true
		}
		all := func(names []string) bool {
			for _, n := range names {
				if !has[n] {
					return false
				}
			}
			return true
		}
		if !all(t.Key) {
			t.Key = nil
		}
		var indexes []database.Index
		for _, x := range t.Indexes {
			if all(x.Columns) {
				indexes = append(indexes, x)
			}
		}
		var foreign []database.Foreign
		for _, f := range t.Foreign {
			if all(f.Columns) && there[f.ID()] {
				foreign = append(foreign, f)
			}
		}
		t.Indexes, t.Foreign = indexes, foreign
	}
	return tables
}

// each runs a query over the catalog.
func each(ctx context.Context, conn *pgx.Conn, sql string, arg any, row func(pgx.Rows) error) error {
	var args []any
	if arg != nil {
		args = append(args, arg)
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Sample implements database.Database.
func (d *postgresDatabase) Sample(ctx context.Context, t database.Table, columns []string, most int) (database.Sample, error) {
	out := database.Sample{Values: map[string][]database.SampledValue{}}
	err := d.with(ctx, d.telling, catalogTimeout, func(ctx context.Context, conn *pgx.Conn) error {
		table := pgx.Identifier{t.Schema, t.Name}.Sanitize()
		if err := conn.QueryRow(ctx, fmt.Sprintf(wholeSQL, table)).Scan(&out.Whole); err != nil {
			return err
		}
		for _, c := range columns {
			name := pgx.Identifier{c}.Sanitize()
			sql := fmt.Sprintf(`SELECT v, count(*) FROM (SELECT left(%s::text, %d) AS v FROM %s LIMIT %d) s WHERE v IS NOT NULL GROUP BY v ORDER BY count(*) DESC, v COLLATE "C" LIMIT $1`,
				name, sampleBytes, table, database.SampledRows)
			err := each(ctx, conn, sql, most+1, func(rows pgx.Rows) error {
				var v database.SampledValue
				if err := rows.Scan(&v.Text, &v.Rows); err != nil {
					return err
				}
				out.Values[c] = append(out.Values[c], v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

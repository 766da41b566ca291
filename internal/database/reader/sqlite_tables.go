package reader

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

// maxCounted is up to where rows are counted where nobody has analysed a table.
const maxCounted = 100_000

// Tables implements database.Database.
func (d *sqliteDatabase) Tables(ctx context.Context) ([]database.Table, error) {
	var out []database.Table
	err := d.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		out, err = sqliteTables(ctx, tx)
		return err
	})
	return d.hidden.Show(out), err
}

// reading runs our own statements as of one moment.
func (d *sqliteDatabase) reading(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	if err := d.telling.enter(ctx); err != nil {
		return full(ctx, d.name, cap(d.telling), err)
	}
	defer d.telling.leave()
	tx, err := d.catalog.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		defer func() { _ = tx.Rollback() }() // nothing was written
		err = do(ctx, tx)
	}
	if err != nil {
		return d.failed(ctx, catalogTimeout, err)
	}
	return nil
}

func sqliteTables(ctx context.Context, tx *sql.Tx) ([]database.Table, error) {
	var out []database.Table
	made := map[string]string{} // how each was made
	err := list(ctx, tx, `SELECT l.name, l.type, coalesce(s.sql, '') FROM pragma_table_list l LEFT JOIN sqlite_schema s ON s.name = l.name AND s.type IN ('table', 'view')
WHERE l.schema = 'main' AND l.type IN ('table', 'view', 'virtual') AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY l.name`, nil, func(scan func(...any) error) error {
		t := database.Table{Schema: mainSchema, Rows: -1}
		var sql string
		if err := scan(&t.Name, &t.Kind, &sql); err != nil {
			return err
		}
		if t.Kind == "virtual" {
			t.Kind = "virtual table"
		}
		made[t.Name] = sql
		out = append(out, t)
		return nil
	})
	if err == nil && len(out) > database.MaxTables {
		err = stead.Errorf(stead.KindTooLarge, "the database has more than %d tables", database.MaxTables)
	}
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	for i := range out {
		t := out[i]
		err := fillTable(ctx, tx, &out[i], made[t.Name])
		if said, ok := logicError(err); ok { // of a view of what is gone, or of a module that is not built in: the others are there
			t.Broken = said
			out[i], err = t, nil
		}
		if err != nil {
			return nil, err
		}
		keys[strings.ToLower(out[i].Name)] = out[i].Key
	}
	for _, t := range out {
		for i := range t.Foreign {
			if f := &t.Foreign[i]; f.Refers == nil { // the other's primary key is meant
				f.Refers = keys[strings.ToLower(f.Table)]
			}
		}
	}
	return out, nil
}

// logicError is what SQLite says of a statement that it can't carry out as it stands.
func logicError(err error) (string, bool) {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok || e.Code()&primaryCode != sqlite3.SQLITE_ERROR {
		return "", false
	}
	said := strings.TrimSuffix(strings.TrimPrefix(e.Error(), "SQL logic error: "), " (1)")
	const most = 400
	return said[:min(len(said), most)], true
}

func fillTable(ctx context.Context, tx *sql.Tx, t *database.Table, made string) error {
	of, comments := commentsOf(made)
	t.Comment = of
	type part struct {
		name string
		at   int
	}
	var key []part
	err := list(ctx, tx, `SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid`, t.Name, func(scan func(...any) error) error {
		var c database.Column
		var pk int
		if err := scan(&c.Name, &c.Type, &c.NotNull, &pk); err != nil {
			return err
		}
		if pk > 0 {
			key = append(key, part{c.Name, pk})
		}
		c.Comment = comments[strings.ToLower(c.Name)]
		if len(t.Columns) < database.MaxColumns {
			t.Columns = append(t.Columns, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(key, func(a, b part) int { return cmp.Compare(a.at, b.at) })
	for _, k := range key {
		t.Key = append(t.Key, k.name)
	}
	if t.Kind != "table" {
		return nil
	}
	if err := fillIndexes(ctx, tx, t); err != nil {
		return err
	}
	if err := fillForeign(ctx, tx, t); err != nil {
		return err
	}
	return tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d)`, ident(t.Name), maxCounted)).Scan(&t.Rows)
}

func fillIndexes(ctx context.Context, tx *sql.Tx, t *database.Table) error {
	at := map[string]int{}
	return list(ctx, tx, `SELECT l.name, l."unique" AND NOT l.partial, coalesce(i.name, '') FROM pragma_index_list(?) l, pragma_index_info(l.name) i WHERE l.origin <> 'pk' ORDER BY l.name, i.seqno`, t.Name, func(scan func(...any) error) error {
		var name, column string
		var unique bool
		if err := scan(&name, &unique, &column); err != nil {
			return err
		}
		i, known := at[name]
		if !known {
			i = len(t.Indexes)
			at[name] = i
			t.Indexes = append(t.Indexes, database.Index{Unique: unique})
		}
		t.Indexes[i].Columns = append(t.Indexes[i].Columns, column)
		return nil
	})
}

func fillForeign(ctx context.Context, tx *sql.Tx, t *database.Table) error {
	at := map[int]int{}
	return list(ctx, tx, `SELECT id, "table", "from", coalesce("to", '') FROM pragma_foreign_key_list(?) ORDER BY id, seq`, t.Name, func(scan func(...any) error) error {
		var id int
		var table, from, to string
		if err := scan(&id, &table, &from, &to); err != nil {
			return err
		}
		i, known := at[id]
		if !known {
			i = len(t.Foreign)
			at[id] = i
			t.Foreign = append(t.Foreign, database.Foreign{Schema: mainSchema, Table: table})
		}
		f := &t.Foreign[i]
		f.Columns = append(f.Columns, from)
		if to != "" {
			f.Refers = append(f.Refers, to)
		}
		return nil
	})
}

// querier is a transaction, or a connection that is in one.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list runs a query over the catalog.
func list(ctx context.Context, tx querier, query string, arg any, row func(scan func(...any) error) error) error {
	var args []any
	if arg != nil {
		args = append(args, arg)
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Sample implements database.Database.
func (d *sqliteDatabase) Sample(ctx context.Context, t database.Table, columns []string, most int) (database.Sample, error) {
	out := database.Sample{Values: map[string][]database.SampledValue{}}
	err := d.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, fmt.Sprintf(wholeSQL, ident(t.Name))).Scan(&out.Whole); err != nil {
			return err
		}
		for _, c := range columns {
			query := fmt.Sprintf(`SELECT v, count(*) FROM (SELECT substr(CAST(%s AS TEXT), 1, %d) AS v FROM %s LIMIT %d) WHERE v IS NOT NULL GROUP BY v ORDER BY count(*) DESC, v LIMIT ?`, ident(c), sampleBytes, ident(t.Name), database.SampledRows)
			if err := list(ctx, tx, query, most+1, func(scan func(...any) error) error {
				var v database.SampledValue
				if err := scan(&v.Text, &v.Rows); err != nil {
					return err
				}
				out.Values[c] = append(out.Values[c], v)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

package sqlread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/semantic"
)

type sqliteReader struct {
	name string
	db   *sql.DB
}

func openSQLite(c Config) (Reader, error) {
	dsn, err := database.FileDSN(c.Name, c.DSN)
	if err != nil {
		return nil, err
	}
	if functions != nil {
		return nil, stead.Wrap(stead.KindInternal, functions, "a function of SQLite can't be added")
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the database %s can't be opened", c.Name)
	}
	db.SetMaxOpenConns(MaxConns)
	const idle = time.Minute
	db.SetConnMaxIdleTime(idle)
	return &sqliteReader{c.Name, db}, nil
}

// functions is what came of adding those that package semantic writes. The driver keeps them for all connections of
// the process, in a map without a lock: it is written before anything connects.
var functions = sqlite.RegisterDeterministicScalarFunction(semantic.FunctionContains, 2, contains)

func contains(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	text, ok := args[0].(string)
	part, said := args[1].(string)
	if !ok || !said {
		return nil, nil // NULL has no part
	}
	return strings.Contains(folded(text), folded(part)), nil
}

// folded makes small and large letters alike: some small ones, such as a final sigma, are of one large one.
func folded(text string) string { return strings.ToLower(strings.ToUpper(text)) }

func (r *sqliteReader) Dialect() semantic.Dialect { return semantic.SQLite }
func (r *sqliteReader) Close() error              { return r.db.Close() }

// Read implements semantic.Database.
func (r *sqliteReader) Read(ctx context.Context, statements []semantic.Statement, limits semantic.Limits) ([]semantic.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, semantic.QueryTimeout)
	defer cancel()
	tx, err := r.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, r.failed(ctx, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	var out []semantic.Table
	for _, s := range statements {
		t, err := readRows(ctx, tx, s, limits)
		if err != nil {
			return nil, r.failed(ctx, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func readRows(ctx context.Context, tx *sql.Tx, s semantic.Statement, limits semantic.Limits) (semantic.Table, error) {
	rows, err := tx.QueryContext(ctx, s.SQL, s.Args...)
	if err != nil {
		return semantic.Table{}, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return semantic.Table{}, err
	}
	kept := collect{limits: limits}
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return semantic.Table{}, err
		}
		if !kept.add(row) {
			break
		}
	}
	return kept.out, rows.Err()
}

// failed tells what SQLite says of statements: it names tables and columns, never values.
func (r *sqliteReader) failed(ctx context.Context, err error) error {
	const generic = 1 // SQLITE_ERROR: no such table, no such column
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == generic {
		return failed(ctx, r.name, err, strings.TrimPrefix(e.Error(), "SQL logic error: "))
	}
	return failed(ctx, r.name, err, "")
}

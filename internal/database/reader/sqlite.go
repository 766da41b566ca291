package reader

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stead-dev/stead/internal/database"
)

type sqliteDatabase struct {
	name    string
	hidden  database.Hiding
	room    room
	asked   *sql.DB // for statements of others
	catalog *sql.DB // for our own
}

// connector makes connections of a driver of its own, which has a hook that no other connection has.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

func openSQLite(c database.Config) (database.Database, error) {
	dsn, err := database.FileDSN(c.Name, c.DSN)
	if err != nil {
		return nil, err
	}
	d := &sqliteDatabase{name: c.Name, hidden: c.Hidden, room: make(room, MaxConns)}
	walled := &sqlite.Driver{}
	walled.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		r, ok := conn.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("the driver has no authorizer")
		}
		return r.RegisterAuthorizer(d.authorize)
	})
	d.asked, d.catalog = sql.OpenDB(connector{walled, dsn}), sql.OpenDB(connector{&sqlite.Driver{}, dsn})
	d.asked.SetMaxIdleConns(0) // a statement's connection ends with it
	d.catalog.SetMaxIdleConns(0)
	return d, nil
}

func (d *sqliteDatabase) Name() string   { return d.name }
func (d *sqliteDatabase) Driver() string { return database.SQLite }
func (d *sqliteDatabase) Close() error   { return errors.Join(d.asked.Close(), d.catalog.Close()) }

// Functions that read or write files, load code, or take pointers; and tables that show raw pages of the file, and statements of the connection.
var (
	forbiddenFunctions = []string{"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "lsdir", "fsdir"}
	forbiddenTables    = []string{"sqlite_dbpage", "dbstat", "sqlite_stmt", "bytecode", "tables_used", "fsdir"}
	toldPragmas        = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
)

// authorize lets by what reads tables of the file.
func (d *sqliteDatabase) authorize(action sqlite.AuthorizerActionCode, arg1, arg2, schema, _ string) sqlite.AuthorizerReturnCode {
	let := false
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRecursive:
		let = true
	case sqlite.AuthFunction:
		let = !slices.Contains(forbiddenFunctions, strings.ToLower(arg2))
	case sqlite.AuthPragma: // as a table: PRAGMA as a statement does not get here
		let = slices.Contains(toldPragmas, strings.ToLower(arg1)) && len(d.hidden) == 0
	case sqlite.AuthRead:
		let = d.mayRead(strings.ToLower(arg1), arg2, schema)
	}
	if let {
		return sqlite.AuthorizerOK
	}
	return sqlite.AuthorizerDeny
}

func (d *sqliteDatabase) mayRead(table, column, schema string) bool {
	catalog := strings.HasPrefix(table, "sqlite_") // which quotes how tables were made
	switch {
	case slices.Contains(forbiddenTables, table), schema != "" && schema != mainSchema:
		return false
	case catalog && len(d.hidden) > 0:
		return false
	case column == "":
		return !d.hidden.Table(mainSchema, table)
	}
	return !d.hidden.Column(mainSchema, table, column)
}

// mainSchema is what SQLite calls the file itself.
const mainSchema = "main"

// Query implements database.Database.
func (d *sqliteDatabase) Query(ctx context.Context, statement string, limits database.Limits) (database.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	out, err := d.query(ctx, statement, limits)
	if err != nil {
		return database.Result{}, d.failed(ctx, limits.Time, err)
	}
	return out, nil
}

func (d *sqliteDatabase) query(ctx context.Context, statement string, limits database.Limits) (database.Result, error) {
	if err := d.room.enter(ctx); err != nil {
		return database.Result{}, err
	}
	defer d.room.leave()
	conn, err := d.asked.Conn(ctx)
	if err != nil {
		return database.Result{}, err
	}
	defer conn.Close()
	for limit, to := range map[int]int{sqlite3.SQLITE_LIMIT_ATTACHED: 0, sqlite3.SQLITE_LIMIT_LENGTH: maxAnswerBytes} {
		if _, err := sqlite.Limit(conn, limit, to); err != nil {
			return database.Result{}, err
		}
	}
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return database.Result{}, err
	}
	defer func() { rows.Close() }()
	columns, timed, err := columnsOf(rows)
	if err != nil {
		return database.Result{}, err
	}
	if timed { // the driver would make times of texts in columns of such types: + leaves the value, and takes the type
		rows.Close()
		if rows, err = conn.QueryContext(ctx, untyped(statement, len(columns))); err != nil {
			return database.Result{}, err
		}
	}
	g := database.Gather{Limits: limits, Result: database.Result{Columns: columns}}
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return database.Result{}, err
		}
		for i := range row {
			row[i] = plain(row[i])
		}
		if !g.Add(row) {
			return g.Result, nil
		}
	}
	return g.Result, rows.Err()
}

func columnsOf(rows *sql.Rows) (out []database.ResultColumn, timed bool, err error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, false, err
	}
	for _, t := range types {
		name := t.DatabaseTypeName()
		timed = timed || slices.Contains([]string{"DATE", "DATETIME", "TIME", "TIMESTAMP"}, strings.ToUpper(name))
		out = append(out, database.ResultColumn{Name: t.Name(), Type: name})
	}
	return out, timed, nil
}

// untyped is a statement whose columns have no declared types.
func untyped(statement string, columns int) string {
	names, values := make([]string, columns), make([]string, columns)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
		values[i] = "+" + names[i]
	}
	return "WITH stead(" + strings.Join(names, ",") + ") AS (" + statement + "\n) SELECT " + strings.Join(values, ",") + " FROM stead"
}

// plain is a value as it is written: a number with all its digits, bytes as SQL writes them.
func plain(v any) any {
	switch v := v.(type) {
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0" // a float, as SQLite shows it
		}
		return json.Number(s)
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case nil, bool:
		return v
	}
	return fmt.Sprint(v)
}

// failed tells what SQLite says of a statement, but of what is no statement's fault.
func (d *sqliteDatabase) failed(ctx context.Context, within time.Duration, err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return failures(d.name).Of(ctx, within, err, "")
	}
	const primary = 0xff
	switch e.Code() & primary {
	case sqlite3.SQLITE_AUTH:
		return failures(d.name).Of(ctx, within, err, "this statement does more than read the tables that are there, or reads what is hidden")
	case sqlite3.SQLITE_TOOBIG:
		return failures(d.name).Of(ctx, within, err, fmt.Sprintf("a value in it has more than %d bytes", maxAnswerBytes))
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL:
		return failures(d.name).Of(ctx, within, err, strings.TrimPrefix(e.Error(), "SQL logic error: "))
	}
	return failures(d.name).Of(ctx, within, err, "")
}

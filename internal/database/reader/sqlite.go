package reader

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

type sqliteDatabase struct {
	name    string
	file    string
	dsn     string
	hidden  database.Hiding
	asking  room    // statements of others
	telling room    // our own
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
	d := &sqliteDatabase{name: c.Name, file: c.DSN, dsn: dsn, hidden: c.Hidden, asking: make(room, MaxConns), telling: make(room, maxTelling), catalog: sql.OpenDB(connector{&sqlite.Driver{}, dsn})}
	d.catalog.SetMaxIdleConns(0)
	return d, nil
}

func (d *sqliteDatabase) Name() string   { return d.name }
func (d *sqliteDatabase) Driver() string { return database.SQLite }
func (d *sqliteDatabase) Close() error   { return d.catalog.Close() }

// mainSchema is what SQLite calls the file itself.
const mainSchema = "main"

// Query implements database.Database. SQLite looks at an interruption between the steps of a statement, and not within a function: who waits is
// answered in time, and the statement keeps its place until it has ended.
func (d *sqliteDatabase) Query(ctx context.Context, statement string, limits database.Limits) (database.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	if err := d.asking.enter(ctx); err != nil {
		return database.Result{}, full(ctx, d.name, cap(d.asking), err)
	}
	type answer struct {
		database.Result
		error
	}
	answered := make(chan answer, 1)
	go func() {
		defer d.asking.leave()
		out, err := d.query(ctx, statement, limits)
		answered <- answer{out, err}
	}()
	overdue := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cancelGrace, func() { close(overdue) }) })
	defer stop()
	select {
	case a := <-answered:
		if a.error != nil {
			return database.Result{}, d.failed(ctx, limits.Time, a.error)
		}
		return a.Result, nil
	case <-overdue:
		return database.Result{}, failures(d.name).Of(ctx, limits.Time, ctx.Err(), "")
	}
}

// query runs a statement on a connection of its own.
func (d *sqliteDatabase) query(ctx context.Context, statement string, limits database.Limits) (out database.Result, err error) {
	defer func() {
		if p := recover(); p != nil { // nobody else would, here
			err = stead.Errorf(stead.KindInternal, "reading the database %s: %v", d.name, p)
		}
	}()
	w := &wall{hidden: d.hidden, own: true}
	db := sql.OpenDB(connector{w.driver(), d.dsn})
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	if err := prepare(ctx, conn, w); err != nil {
		return out, err
	}
	if err := w.joins(statement); err != nil {
		return out, err
	}
	w.own = false
	out, err = rowsOfSQLite(ctx, conn, w, statement, limits)
	_, said := errors.AsType[*sqlite.Error](err)
	_, refused := errors.AsType[*stead.Error](err)
	if err != nil && !said && !refused && ctx.Err() == nil {
		err = stead.Wrap(stead.KindInvalid, err, "the database %s can't run it: %.200s", d.name, err)
	}
	return out, err
}

// statementLimits bound what one step of a statement may take, since nothing interrupts a step: the largest value, the longest pattern, which LIKE and GLOB try
// at each place of a text, and how many arguments a function has, for each of which some of JSON read all of a value.
var statementLimits = map[int]int{
	sqlite3.SQLITE_LIMIT_ATTACHED: 0, sqlite3.SQLITE_LIMIT_LENGTH: maxAnswerBytes,
	sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: maxPatternBytes, sqlite3.SQLITE_LIMIT_FUNCTION_ARG: maxArguments,
}

const (
	maxPatternBytes = 200
	maxArguments    = 100
)

// prepare readies a connection for a statement of somebody else's, as of one moment.
func prepare(ctx context.Context, conn *sql.Conn, w *wall) error {
	for _, statement := range []string{"PRAGMA trusted_schema = 1", "BEGIN"} { // views may call the functions that are ours; the wall stands before all others
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err := w.learn(ctx, conn); err != nil {
		return err
	}
	for limit, to := range statementLimits {
		if _, err := sqlite.Limit(conn, limit, to); err != nil {
			return err
		}
	}
	return nil
}

func rowsOfSQLite(ctx context.Context, conn *sql.Conn, w *wall, statement string, limits database.Limits) (database.Result, error) {
	columns, timed, err := columnsOf(conn, statement)
	if err != nil {
		return database.Result{}, err
	}
	if timed { // the driver would make times of texts in columns of such types: + leaves the value, and takes the type
		statement = untyped(statement, len(columns))
	}
	if err := w.goesBy(ctx, conn, statement); err != nil {
		return database.Result{}, err
	}
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return database.Result{}, err
	}
	defer rows.Close()
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

// columnsOf is what a statement's columns are. It is not run.
func columnsOf(conn *sql.Conn, statement string) (out []database.ResultColumn, timed bool, err error) {
	var told []sqlite.ColumnInfo
	err = conn.Raw(func(raw any) (err error) {
		c, ok := raw.(interface {
			ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
		})
		if !ok {
			return errors.New("the driver does not tell columns")
		}
		told, err = c.ColumnInfo(statement)
		return err
	})
	for _, c := range told {
		kind := strings.ToUpper(c.DeclType)
		timed = timed || slices.Contains([]string{"DATE", "DATETIME", "TIME", "TIMESTAMP"}, kind)
		out = append(out, database.ResultColumn{Name: c.Name, Type: kind})
	}
	return out, timed, err
}

// untyped is a statement whose columns have no declared types. What it is called there is no name of a table.
func untyped(statement string, columns int) string {
	called := "stead_" + rand.Text()
	names, values := make([]string, columns), make([]string, columns)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
		values[i] = "+" + names[i]
	}
	return "WITH " + called + "(" + strings.Join(names, ",") + ") AS (" + statement + "\n) SELECT " + strings.Join(values, ",") + " FROM " + called
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

// primaryCode is what an error of SQLite is of, without its details.
const primaryCode = 0xff

// failed tells what SQLite says of a statement, but of what is no statement's fault.
func (d *sqliteDatabase) failed(ctx context.Context, within time.Duration, err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return failures(d.name).Of(ctx, within, err, "")
	}
	switch e.Code() & primaryCode {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		if f, err := os.Open(d.file); err == nil {
			f.Close()
		} else if errors.Is(err, fs.ErrPermission) {
			return stead.Errorf(stead.KindForbidden, "the server may not read the file of the database %s", d.name)
		}
	case sqlite3.SQLITE_AUTH:
		return failures(d.name).Of(ctx, within, err, "this statement does more than read the tables that are there, or reads what is hidden")
	case sqlite3.SQLITE_TOOBIG:
		return failures(d.name).Of(ctx, within, err, fmt.Sprintf("a value in it has more than %d bytes", maxAnswerBytes))
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL:
		return failures(d.name).Of(ctx, within, err, strings.TrimPrefix(e.Error(), "SQL logic error: "))
	}
	return failures(d.name).Of(ctx, within, err, "")
}

// Package sqlread reads SQLite and PostgreSQL databases of the operator for the semantic layer, and can do nothing else.
//
// Shape: Open(Config) → Reader, a semantic.Database.
//
// Everything is read in one transaction: as of one moment, read-only by the database's own word (SQLite is opened with
// mode=ro and query_only; a transaction of PostgreSQL is READ ONLY, and its connections default to that), with the
// time zone UTC. Connections are made when they are first needed, so that a node starts without the databases.
//
// Units and limits: a call takes semantic.QueryTimeout at most; a PostgreSQL server is told so as well. Of a
// statement's rows and bytes no more are kept than its Limits say. A database has MaxConns connections.
//
// Errors: KindUnavailable when the database can't be reached, KindInvalid when it refuses a statement or is too slow.
// No error holds an address or an argument.
package sqlread

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/semantic"
)

// MaxConns is how many queries one database runs at once.
const MaxConns = 4

// Config names a database.
type Config struct {
	Name    string
	Dialect semantic.Dialect
	DSN     string // a file, or postgres://…
}

// Reader is a database that can be read. It closes when nobody needs it.
type Reader interface {
	semantic.Database
	Close() error
}

// Open makes a Reader.
func Open(c Config) (Reader, error) {
	switch c.Dialect {
	case semantic.SQLite:
		return openSQLite(c)
	case semantic.PostgreSQL:
		return openPostgres(c)
	}
	return nil, stead.Invalid("driver", "%q is no driver of databases", c.Dialect)
}

// collect keeps rows within limits.
type collect struct {
	limits semantic.Limits
	bytes  int
	out    semantic.Table
}

// add keeps a row; false: there are too many.
func (c *collect) add(row []any) bool {
	for i, v := range row {
		row[i] = plain(v)
		c.bytes += size(row[i])
	}
	if c.limits.Rows > 0 && len(c.out.Rows) >= c.limits.Rows || c.limits.Bytes > 0 && c.bytes > c.limits.Bytes {
		c.out.Truncated = true
		return false
	}
	c.out.Rows = append(c.out.Rows, row)
	return true
}

// plain is a driver's value as semantic.Table has it.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, time.Time, json.Number:
		return v
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case float32:
		return float64(v)
	case []byte:
		return string(v)
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v)
}

// size is about how many bytes a value takes in an answer.
func size(v any) int {
	const number = 8
	switch v := v.(type) {
	case string:
		return len(strconv.Quote(v)) + 1
	case json.Number:
		return len(v) + 1
	}
	return number
}

// failures words the errors of a database.
func failures(name string) database.Failures {
	return database.Failures{Name: name, Hint: "Ask for less: a shorter range of time, more filters or fewer dimensions."}
}

// failed puts a driver's error in our words. It may quote what is in the database: message is what may be told.
func failed(ctx context.Context, name string, err error, message string) error {
	return failures(name).Of(ctx, semantic.QueryTimeout, err, message)
}

// Package database is the contract of the operator's SQL databases as others than Stead read them: agents, by statements of
// their own, and people, by what the catalogs say. It writes nothing.
//
// Shape:
//
//	Check(driver, text) → one statement that reads   what is plainly no question does not get to the database
//	Database.Query(statement, limits) → Result       the database itself keeps it from writing
//	Database.Tables() → []Table ─ Hide ─ Markdown    a text of each table
//
// Check is the first wall, not the last: what a statement may do is the word of the database (read-only transactions, rights of
// the role), which package reader has it keep.
//
// Units and limits: bytes, rows and time.Duration; the constants below.
//
// Errors: KindInvalid when a statement is none, is refused, or is too slow: in words for whoever wrote it. KindForbidden when
// the configuration must be mended first. KindUnavailable when the database can't be reached.
package database

import (
	"context"
	"encoding/json"
	"time"
)

// The drivers of databases.
const (
	SQLite     = "sqlite"
	PostgreSQL = "postgres"
)

const (
	// MaxStatementBytes is the longest statement.
	MaxStatementBytes = 32 << 10
	// MaxTables is the most tables of a database that are described, MaxColumns the most columns of a table.
	MaxTables  = 5000
	MaxColumns = 2000
	// MaxSamples is the most values of a column that are sampled, MaxSampleBytes the longest.
	MaxSamples     = 20
	MaxSampleBytes = 100
	// SampledRows is of how many rows values are sampled.
	SampledRows = 1000
)

// Config names a database.
type Config struct {
	Name   string
	Driver string
	DSN    string   // a file, or postgres://…
	Hidden []string // tables and columns that are not told of, nor read by statements: see Hiding
}

// Limits bound a statement.
type Limits struct {
	Rows       int
	Bytes      int           // of all values, as they are written
	ValueBytes int           // of one: a longer one is cut
	Time       time.Duration // that the database may take
}

// Result is what a statement gives. A value is nil, a bool, a json.Number, or a string: as the database writes it.
type Result struct {
	Columns   []ResultColumn
	Rows      [][]any
	Truncated bool // there are more rows
	Cut       bool // a value was longer
}

// ResultColumn is a column of a Result. Names may come twice.
type ResultColumn struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"` // as the database calls it; "": it is not known
}

// Database is one that can be read. Safe for concurrent use.
type Database interface {
	Name() string
	Driver() string
	// Query runs a statement that Check has passed.
	Query(ctx context.Context, statement string, limits Limits) (Result, error)
	// Tables are those that the role may read, without what is hidden, in the order of their names.
	Tables(ctx context.Context) ([]Table, error)
	// Sample returns the most frequent values of columns among the first SampledRows rows, most frequent first, and at most one
	// more than most of each, a few KiB of one. They are as they stand: who shows them looks at them first, and has them cut by Clip.
	Sample(ctx context.Context, t Table, columns []string, most int) (Sample, error)
	Close() error
}

// Sample is what some rows of a table have in columns.
type Sample struct {
	Whole  bool // these are all of its rows
	Values map[string][]SampledValue
}

// SampledValue is a value, and how many rows have it.
type SampledValue struct {
	Text string
	Rows int
}

// Gather keeps rows of a Result within limits.
type Gather struct {
	Limits Limits
	Result Result
	bytes  int
}

// numberBytes is what a value counts that is no text.
const numberBytes = 8

// Add keeps a row; false: there are too many.
func (g *Gather) Add(row []any) bool {
	if len(g.Result.Rows) >= g.Limits.Rows {
		g.Result.Truncated = true
		return false
	}
	for i, v := range row {
		switch v := v.(type) {
		case string:
			if len(v) > g.Limits.ValueBytes {
				row[i], g.Result.Cut = clip(v, g.Limits.ValueBytes)+"…", true
			}
			g.bytes += min(len(v), g.Limits.ValueBytes)
		case json.Number:
			g.bytes += len(v)
		default:
			g.bytes += numberBytes
		}
	}
	if g.bytes > g.Limits.Bytes {
		if len(g.Result.Rows) > 0 {
			g.Result.Truncated = true
			return false
		}
		g.fit(row)
	}
	g.Result.Rows = append(g.Result.Rows, row)
	return true
}

// fit cuts the values of the first row, of which each has the same room: no other statement would give more of it.
func (g *Gather) fit(row []any) {
	each := max(g.Limits.Bytes/len(row), 1)
	for i, v := range row {
		var s string
		switch v := v.(type) {
		case string:
			s = v
		case json.Number:
			s = v.String()
		}
		if len(s) > each {
			row[i], g.Result.Cut = clip(s, each)+"…", true
		}
	}
}

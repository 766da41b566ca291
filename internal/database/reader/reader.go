// Package reader reads SQLite and PostgreSQL databases of the operator: by statements of others, which it keeps from writing, and
// by what their catalogs say.
//
// Shape: Open(Config) → a database.Database.
//
// A statement of somebody else's runs on a connection of its own, which ends with it: nothing that it does to its session is there for
// the next one. PostgreSQL: a transaction that is READ ONLY before the statement comes, one statement by the extended protocol, a
// statement_timeout, and a role that is no superuser's and may neither run programs nor read files of the server. SQLite: the file opened
// with mode=ro and query_only, no database attached, and an authorizer that lets reads of tables by, and functions, and nothing
// else.
//
// Units and limits: those of package database; MaxConns statements of a database run at once, here.
//
// Errors: those of package database. None holds an address.
package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

const (
	// MaxConns is how many statements one database runs at once. Each keeps its place until the database has ended it, however long nobody waits for
	// it any more. What we ask ourselves has places of its own, maxTelling.
	MaxConns   = 4
	maxTelling = 2
	// cancelGrace is how long a database may take to end a statement that is not wanted any more, before nobody waits for that.
	cancelGrace = 2 * time.Second
	// catalogTimeout is how long the database may take to tell of its tables, and of the values of one.
	catalogTimeout = 30 * time.Second
	// maxAnswerBytes is the largest row that is taken, and the largest value that SQLite makes.
	maxAnswerBytes = 8 << 20
	// sampleBytes is how much of a value is read to see whether it may be shown.
	sampleBytes = 4 << 10
)

// wholeSQL tells whether a table has no more rows than are sampled.
var wholeSQL = fmt.Sprintf(`SELECT count(*) <= %d FROM (SELECT 1 FROM %%s LIMIT %d) s`, database.SampledRows, database.SampledRows+1)

// Open makes a Database. Connections are made when they are needed.
func Open(c database.Config) (database.Database, error) {
	if err := database.CheckHidden(c.Hidden); err != nil {
		return nil, stead.Invalid("hidden", "the database %s hides %s", c.Name, err)
	}
	switch c.Driver {
	case database.SQLite:
		return openSQLite(c)
	case database.PostgreSQL:
		return openPostgres(c)
	}
	return nil, stead.Invalid("driver", "%q is no driver of databases", c.Driver)
}

// failures words the errors of a database.
func failures(name string) database.Failures {
	return database.Failures{Name: name, Hint: "Ask for less: fewer rows, a narrower condition, an aggregate."}
}

// full is the error of a statement that got no place.
func full(ctx context.Context, name string, places int, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return stead.Wrap(stead.KindUnavailable, err, "the statement was ended")
	}
	e := stead.Wrap(stead.KindInvalid, err, "the database %s has no place for a statement: the %d that it runs at once have not ended", name, places)
	e.Hint = "They may be such as nobody waits for any more. Ask again later."
	return e
}

// room bounds how many do something at once.
type room chan struct{}

func (r room) enter(ctx context.Context) error {
	select {
	case r <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r room) leave() { <-r }

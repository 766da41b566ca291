package postgres

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stead-dev/stead"
)

// SQLSTATE codes (PostgreSQL documentation, appendix A).
const (
	codeUniqueViolation = "23505"
	codeDuplicateTable  = "42P07"
	codeDuplicateObject = "42710"
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeReadOnly        = "25006"
	codeLockTimeout     = "55P03"
)

// unavailableClasses are those in which the statement may succeed later: connection, resources
// (disk full, too many connections), operator intervention (shutdown), system errors.
var unavailableClasses = []string{"08", "53", "57", "58", "XX"}

// refusedClasses are those in which the database knows us not: authorisation, no such database.
var refusedClasses = []string{"28", "3D"}

// translate gives an error of the driver its kind. Errors that have one keep it.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return unavailable(err)
	case retryable(pg.Code), pg.Code == codeReadOnly, pg.Code == codeLockTimeout, hasClass(pg.Code, unavailableClasses):
		return unavailable(err)
	case hasClass(pg.Code, refusedClasses), pg.Code == "42501":
		return stead.Wrap(stead.KindConflict, err, "the database refuses this user")
	case hasClass(pg.Code, []string{"22"}):
		return stead.Wrap(stead.KindInvalid, err, "the database cannot hold a value of this request")
	}
	return stead.Wrap(stead.KindInternal, err, "the database refuses a statement")
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return stead.Wrap(stead.KindUnavailable, err, "the call was given up before the database answered")
	}
	return stead.Wrap(stead.KindUnavailable, err, "the database does not answer")
}

// retryable reports codes that say: rolled back because of another transaction, try again.
func retryable(code string) bool {
	return code == codeSerialization || code == codeDeadlock || code == codeUniqueViolation
}

func hasClass(code string, classes []string) bool {
	for _, c := range classes {
		if strings.HasPrefix(code, c) {
			return true
		}
	}
	return false
}

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// connectionLost reports that the connection died, or was dying, and not that ctx did.
func connectionLost(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	if _, ok := errors.AsType[*stead.Error](err); ok {
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false // a new connection failed: another one would too
	}
	code := sqlState(err)
	return code == "" || hasClass(code, []string{"08", "57P"})
}

// storable reports whether the database's text can hold s.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

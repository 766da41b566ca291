package sqlite

import (
	"errors"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/stead-dev/stead"
)

// translate makes a driver's error one of ours, by its code and never by its text.
func translate(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*stead.Error](err); ok {
		return err
	}
	const primary = 0xff // extended result codes keep the primary one in their low byte
	e, ok := errors.AsType[*driver.Error](err)
	if !ok { // a context that ended, a connection that is closed
		return stead.Wrap(stead.KindUnavailable, err, "%s", what)
	}
	switch e.Code() & primary {
	case lib.SQLITE_FULL:
		u := stead.Wrap(stead.KindUnavailable, err, "%s: the disk is full", what)
		u.Hint = "Free some space; the store carries on by itself."
		return u
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY:
		return stead.Wrap(stead.KindUnavailable, err, "%s: the disk can't be written or read", what)
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_INTERRUPT, lib.SQLITE_NOMEM:
		return stead.Wrap(stead.KindUnavailable, err, "%s", what)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return stead.Wrap(stead.KindInternal, err, "%s: the database file is damaged", what)
	default:
		return stead.Wrap(stead.KindInternal, err, "%s", what)
	}
}

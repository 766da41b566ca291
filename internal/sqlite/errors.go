package sqlite

import (
	"errors"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/stead-dev/stead"
)

// isFull reports whether an operation found no room on the disk, and mayBeFull whether it failed as one may that
// needed room for another file than the database and its log: the index of the log, which is memory with a file
// behind it, can't be made or grow then, for which there is no code of its own.
func isFull(err error) bool { return primaryCode(err) == lib.SQLITE_FULL }

func mayBeFull(err error) bool {
	code := primaryCode(err)
	return code == lib.SQLITE_IOERR || code == lib.SQLITE_CANTOPEN
}

// primaryCode is 0 for an error of others.
func primaryCode(err error) int {
	e, ok := errors.AsType[*driver.Error](err)
	if !ok {
		return 0
	}
	const primary = 0xff // extended result codes keep the primary one in their low byte
	return e.Code() & primary
}

// translate makes a driver's error one of ours, by its code and never by its text.
func translate(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*stead.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*driver.Error](err); !ok { // a context that ended, a connection that is closed
		return stead.Wrap(stead.KindUnavailable, err, "%s", what)
	}
	switch primaryCode(err) {
	case lib.SQLITE_FULL:
		u := stead.Wrap(stead.KindUnavailable, err, "%s: the disk is full", what)
		u.Code, u.Hint = stead.CodeStorageFull, "Free some space; the store carries on by itself"
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

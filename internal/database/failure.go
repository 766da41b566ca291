package database

import (
	"context"
	"errors"
	"time"

	"github.com/stead-dev/stead"
)

// maxSaidBytes is how much of what a database says of a statement is told.
const maxSaidBytes = 400

// Failures puts the errors of one database in our words: no address, and nothing of what is in it.
type Failures struct {
	Name string
	Hint string // to whom something took too long
}

// Late is the error of what took longer than it may.
func (f Failures) Late(within time.Duration, err error) error {
	e := stead.Wrap(stead.KindInvalid, err, "the database %s did not answer within %s", f.Name, within)
	e.Hint = f.Hint
	return e
}

// Of is an error of a driver; said is what the database says of the statement, "" when it says nothing of it. Errors of ours stay.
func (f Failures) Of(ctx context.Context, within time.Duration, err error, said string) error {
	if _, ours := errors.AsType[*stead.Error](err); ours {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return f.Late(within, err)
	case ctx.Err() != nil:
		return stead.Wrap(stead.KindUnavailable, err, "the statement was ended")
	case said != "":
		if len(said) > maxSaidBytes {
			said = said[:maxSaidBytes] + "…"
		}
		return stead.Wrap(stead.KindInvalid, err, "the database %s refuses it: %s", f.Name, said)
	}
	return stead.Wrap(stead.KindUnavailable, err, "the database %s can't be reached", f.Name)
}

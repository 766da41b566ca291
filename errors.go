package stead

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what a caller can do about an error. Doors map it to a status in one table.
type Kind string

// The kinds of error.
const (
	KindInvalid         Kind = "invalid"         // the request is wrong: mend it (400)
	KindUnauthenticated Kind = "unauthenticated" // say who you are (401)
	KindForbidden       Kind = "forbidden"       // not with these rights (403)
	KindNotFound        Kind = "not_found"       // no such thing, or none that you may know of (404)
	KindConflict        Kind = "conflict"        // it collides with the present state (409)
	KindTooLarge        Kind = "too_large"       // above a named limit (413)
	KindLimited         Kind = "limited"         // slow down: see RetryAfter (429)
	KindInternal        Kind = "internal"        // our fault (500)
	KindNotImplemented  Kind = "not_implemented" // part of the contract that has not landed (501)
	KindUpstream        Kind = "upstream"        // what it depends on refused us: the operator must look (502)
	KindUnavailable     Kind = "unavailable"     // the disk, database or a peer is away: try again (503)
	KindFenced          Kind = "fenced"          // the lease is lost: stop writing this session (never leaves the node)
	KindTail            Kind = "tail"            // the session has events that the writer has not seen: read on (never leaves the node)
)

// CodeStorageFull is the Code of errors of a disk that is full, of KindUnavailable: nothing was stored.
const CodeStorageFull = "storage_full"

// Error is a failure that people and programs can act on.
type Error struct {
	Kind       Kind
	Code       string        // machine-readable, as on the wire; "" means the kind's default
	Param      string        // the field at fault, as a path: "tools[0].name"
	Message    string        // a sentence
	Hint       string        // what to do about it, a sentence; may be empty
	RetryAfter time.Duration // for KindLimited and KindUnavailable; zero means unknown
	Err        error         // the cause, for logs; never shown to a client
}

func (e *Error) Error() string {
	s := e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err, KindInternal for an error that has none, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Errorf makes an error of a kind. Its message may reach a client: put causes into Wrap.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a kind that keeps its cause for logs and errors.Is, not for clients.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: cause}
}

// Invalid makes a KindInvalid error about one field.
func Invalid(param, format string, args ...any) *Error {
	return &Error{Kind: KindInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

// NotFound makes a KindNotFound error: NotFound("session", id).
func NotFound(what, id string) *Error {
	return &Error{Kind: KindNotFound, Message: fmt.Sprintf("no %s with id %.80q", what, id)}
}

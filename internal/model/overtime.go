package model

import (
	"context"
	"errors"
	"net"
)

// Overtime is the failure of a call that the limit of a whole call ended (http.Client.Timeout, by an error that passes for
// a deadline); nil for other errors. Trying such a call again would take as long and be charged as much. Waits of the
// network for one connection pass for deadlines as well, but they are a *net.OpError, and may do better the next time.
func Overtime(err error) *Error {
	n, ok := errors.AsType[net.Error](err)
	_, network := errors.AsType[*net.OpError](err)
	if !ok || !n.Timeout() || network || !errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return &Error{Code: CodeTimeout, Message: "the model call took longer than limits.model_call_seconds allow", Err: err}
}

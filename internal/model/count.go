package model

import "context"

// Counter is a Model whose provider counts what a request would have as input, without answering it. Nobody is
// charged for that, and it takes no part in anybody's throughput.
type Counter interface {
	// CountInput returns tokens. Errors are *Error; CodeDialect says that nobody counts there, and that the
	// caller has to guess.
	CountInput(ctx context.Context, req Request) (int64, error)
}

// CountInput counts by a model, if that can.
func CountInput(ctx context.Context, m Model, req Request) (int64, error) {
	if c, ok := m.(Counter); ok {
		return c.CountInput(ctx, req)
	}
	return 0, &Error{Code: CodeDialect, Message: "the model provider does not count tokens"}
}

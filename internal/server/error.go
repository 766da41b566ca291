package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// envelope is the body of every error.
type envelope struct {
	Error wireError `json:"error"`
}

type wireError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
	// Approval is the request for approval that was made instead.
	Approval *wireOpen `json:"approval,omitempty"`
	// Mistakes are those of a text of policies; nil elsewhere.
	Mistakes policy.Mistakes `json:"mistakes,omitempty"`
}

// failure is how a kind of error looks on the wire.
type failure struct {
	status int
	typ    string
	code   string // unless the error has its own
	// final tells the official SDKs not to try again by themselves, where they would.
	final bool
}

// failureOf is the one table from kinds to statuses. Fenced and tail never should leave the node;
// if one does, the session has moved, and trying again finds it.
func failureOf(k stead.Kind) failure {
	switch k {
	case stead.KindInvalid:
		return failure{http.StatusBadRequest, "invalid_request_error", "invalid_request_error", false}
	case stead.KindUnauthenticated:
		return failure{http.StatusUnauthorized, "authentication_error", "unauthenticated", false}
	case stead.KindForbidden:
		return failure{http.StatusForbidden, "permission_error", "forbidden", false}
	case stead.KindNotFound:
		return failure{http.StatusNotFound, "not_found_error", "not_found", false}
	case stead.KindConflict:
		return failure{http.StatusConflict, "conflict_error", "conflict", true}
	case stead.KindTooLarge:
		return failure{http.StatusRequestEntityTooLarge, "invalid_request_error", "too_large", false}
	case stead.KindLimited:
		return failure{http.StatusTooManyRequests, "rate_limit_error", "rate_limit_exceeded", false}
	case stead.KindNotImplemented:
		return failure{http.StatusNotImplemented, "server_error", "not_implemented", true}
	case stead.KindUpstream:
		return failure{http.StatusBadGateway, "server_error", "upstream_error", true}
	case stead.KindUnavailable, stead.KindFenced, stead.KindTail:
		return failure{http.StatusServiceUnavailable, "server_error", "unavailable", false}
	default:
		return failure{http.StatusInternalServerError, "server_error", "internal_error", false}
	}
}

// wireErrorOf makes the client's view of err: its message and hint, and never its cause.
func wireErrorOf(err error) (wireError, failure, *stead.Error) {
	e, ok := errors.AsType[*stead.Error](err)
	if !ok {
		e = stead.Errorf(stead.KindInternal, "the server could not do this")
	}
	f := failureOf(e.Kind)
	message := e.Message
	if e.Hint != "" {
		message += ". " + e.Hint
	}
	code := e.Code
	if code == "" {
		code = f.code
	}
	w := wireError{Message: message, Type: f.typ, Code: &code}
	if e.Param != "" {
		w.Param = &e.Param
	}
	if open, ok := errors.AsType[*policy.Open](err); ok {
		w.Approval = &wireOpen{ID: open.ID, Digest: open.Digest, ExpiresAt: open.ExpiresAt / 1000}
	}
	w.Mistakes, _ = errors.AsType[policy.Mistakes](err)
	return w, f, e
}

// fail writes the envelope, unless the answer has begun or nobody is there to read it.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	body, f, e := wireErrorOf(err)
	id := w.Header().Get("X-Request-Id")
	if f.status >= http.StatusInternalServerError && r.Context().Err() == nil && e.Kind != stead.KindNotImplemented {
		s.Log.Error("request failed", "id", id, "method", r.Method, "path", r.URL.Path, "status", f.status, "error", err)
	}
	if out, ok := w.(*response); ok && out.code != 0 {
		return
	}
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if f.final {
		h.Set("X-Should-Retry", "false")
	}
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if f.status == http.StatusRequestEntityTooLarge {
		h.Set("Connection", "close")
	}
	s.writeStatus(w, f.status, envelope{body})
}

// write answers 200 with JSON.
func (s *server) write(w http.ResponseWriter, v any) error {
	s.writeStatus(w, http.StatusOK, v)
	return nil
}

func (s *server) writeStatus(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.Log.Error("encode answer", "id", w.Header().Get("X-Request-Id"), "error", err)
		status, b = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer could not be written as JSON","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) //nolint:errcheck // nobody is left to tell
}

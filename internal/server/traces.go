package server

import (
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/trace"
)

func (s *server) listTraces(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Traces.Traces(r.Context(), p, sessionID(r), q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(t trace.Trace) string { return t.ID }))
}

// traceparent is of which span elsewhere what a request starts is a part, in the one form in which that is kept; "": of none. What is
// malformed says nothing, as W3C Trace Context has it.
func traceparent(r *http.Request) string {
	if of, ok := trace.ParseParent(r.Header.Get("traceparent")); ok {
		return of.String()
	}
	return ""
}

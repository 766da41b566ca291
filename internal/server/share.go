package server

import (
	"net/http"
	"slices"
	"strings"
)

// How the routes that session tokens open are shared with web pages of other origins (CORS). No cookie is ever looked at,
// so a page has nothing but the token that its own server gave it. The other routes are shared with none: what opens them
// is a key, and no browser should have one.
//
// Source: Fetch, 3.2 "HTTP extensions", of the WHATWG.

// shareFor is how long a browser may remember that it may call, in seconds.
const shareFor = "600"

// shared reports whether a request comes from a page that may make it.
func (s *server) shared(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(s.Origins, origin) {
		return false
	}
	method := r.Method
	if asked := r.Header.Get("Access-Control-Request-Method"); method == http.MethodOptions && asked != "" {
		method = asked
	}
	return slices.ContainsFunc(s.routes, func(rt route) bool {
		return rt.scope != "" && (rt.method == method || rt.method == http.MethodGet && method == http.MethodHead) && matches(rt.path, r.URL.Path)
	})
}

// shares tells a browser that a page may read the answer, and answers when it asks whether the page may call at all.
func (s *server) shares(w http.ResponseWriter, r *http.Request) (answered bool) {
	if len(s.Origins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if !s.shared(r) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	asked := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || asked == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", asked)
	h.Set("Access-Control-Allow-Headers", strings.Join([]string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Traceparent"}, ", "))
	h.Set("Access-Control-Max-Age", shareFor)
	w.WriteHeader(http.StatusNoContent)
	return true
}

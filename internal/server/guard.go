package server

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

// guard refuses what no route should see. Cross-origin requests that change something are refused, but for
// those that shares lets pass; what another foreign page may send it can't read.
func (s *server) guard(r *http.Request) error {
	if s.Authenticate == nil && !loopback(r.Host) {
		e := stead.Errorf(stead.KindForbidden, "this server runs without authentication and answers only to loopback names, not to %.80q", r.Host)
		e.Hint = "Call it as 127.0.0.1 or localhost."
		return e
	}
	if s.shared(r) && brings(r) {
		return nil
	}
	if err := s.origin.Check(r); err != nil {
		return stead.Wrap(stead.KindForbidden, err, "cross-origin requests are not allowed")
	}
	return nil
}

// brings reports whether a page sends something of its own to be known by. Without, a browser's client certificate would count,
// which comes with the requests of any page.
func brings(r *http.Request) bool { return r.Header.Get("Authorization") != "" }

// loopback reports whether a Host header names this machine in a way that no DNS server decides.
func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (s *server) panicked(w *response, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		s.metrics.request(r.Method, r.Pattern, w.status(), 0)
		panic(v) // net/http cuts the connection: the client must see that the answer is not whole
	}
	s.Log.Error("panic in a request", "id", w.id, "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	s.fail(w, r, stead.Errorf(stead.KindInternal, "the server made a mistake"))
}

func newRequestID() string { return usage.NewRequestID() }

// requestID is the id of the request that w answers, which its client sees.
func requestID(w http.ResponseWriter) string {
	if out, ok := w.(*response); ok {
		return out.id
	}
	return newRequestID()
}

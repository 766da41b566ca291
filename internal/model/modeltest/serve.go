package modeltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Wire is how a provider's upstream speaks.
type Wire struct {
	Events []string // the answer, written and flushed one by one, as they go over the wire
	// Fail writes an error reply.
	Fail func(w http.ResponseWriter, f *Failure)
	// Check looks at a request; may be nil.
	Check func(r *http.Request)
}

// Serve plays a script over HTTP and returns the server's address.
func Serve(t *testing.T, s *Script, wire Wire) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		s.mu.Lock()
		s.path = r.URL.Path
		s.mu.Unlock()
		s.Received(body)
		if wire.Check != nil {
			wire.Check(r)
		}
		if f := s.Failure; f != nil && !f.MidStream {
			wire.Fail(w, f)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, ev := range wire.Events {
			_, _ = io.WriteString(w, ev)
			_ = http.NewResponseController(w).Flush()
		}
		if s.Hang {
			<-r.Context().Done()
			s.Gone()
		}
		if s.Cut {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// JSON writes a value of a test's wire.
func JSON(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("a wire script is no JSON: %v", err)
	}
	return string(b)
}

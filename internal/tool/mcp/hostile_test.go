package mcp_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// A listing that is hostile must end in an error, soon.
func TestHostileListing(t *testing.T) {
	pages := 0
	tests := []struct {
		name string
		want stead.Kind
		page func(m message) string
	}{
		{"endless pages", stead.KindTooLarge, func(message) string { pages++; return fmt.Sprintf(`{"tools": [], "nextCursor": "%d"}`, pages) }},
		{"one page for ever", stead.KindTooLarge, func(message) string { return `{"tools": [], "nextCursor": "again"}` }},
		{"too many tools", stead.KindTooLarge, func(m message) string {
			var b strings.Builder
			for i := range tool.MaxServerTools + 10 {
				fmt.Fprintf(&b, `{"name": "%s-%d", "inputSchema": {}},`, m.Params.Cursor, i)
			}
			return `{"nextCursor": "next", "tools": [` + strings.TrimSuffix(b.String(), ",") + `]}`
		}},
		{"too much text", stead.KindTooLarge, func(message) string {
			big := `{"type": "object", "title": "` + strings.Repeat("x", stead.MaxToolsBytes) + `"}`
			return `{"tools": [{"name": "a", "inputSchema": ` + big + `}]}`
		}},
		{"no list", stead.KindUnavailable, func(message) string { return `{"tools": 7}` }},
		{"no JSON", stead.KindUnavailable, func(message) string { return `<html>` }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, url := serveRaw(t, func(_ http.ResponseWriter, _ *http.Request, m message) (string, bool) {
				if m.Method == "tools/list" {
					return test.page(m), true
				}
				return "", true
			})
			start := time.Now()
			_, err := open(t, mcp.Config{}).Tools(t.Context(), tool.Server{Label: "bad", URL: url})
			if stead.KindOf(err) != test.want {
				t.Errorf("got %v, want kind %s", err, test.want)
			}
			if took := time.Since(start); took > tooltest.Patience {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestListingLeavesOutWhatIsBroken(t *testing.T) {
	list := `{"tools": [null, {"name": ""}, {"name": "` + strings.Repeat("n", 300) + `"}, {"name": "a"}, {"name": "a", "description": "twice"}]}`
	_, url := serveRaw(t, func(_ http.ResponseWriter, _ *http.Request, m message) (string, bool) {
		if m.Method == "tools/list" {
			return list, true
		}
		return "", true
	})
	tools, err := open(t, mcp.Config{}).Tools(t.Context(), tool.Server{Label: "odd", URL: url})
	if err != nil || len(tools) != 1 || string(tools[0].Spec().Parameters) != `{"type":"object"}` || tools[0].Spec().Description != "" {
		t.Errorf("got %v, %v", tools, err)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	_, url := serveRaw(t, func(_ http.ResponseWriter, r *http.Request, _ message) (string, bool) {
		<-r.Context().Done()
		return "", false
	})
	m := open(t, mcp.Config{ConnectTimeout: 100 * time.Millisecond})
	if _, err := m.Tools(t.Context(), tool.Server{Label: "mute", URL: url}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

// A server may leave the GET for its own messages open without a word; its tools work all the same.
func TestServerWithoutAnswerToGet(t *testing.T) {
	_, url := serveRaw(t, func(_ http.ResponseWriter, r *http.Request, m message) (string, bool) {
		if r.Method == http.MethodGet {
			<-r.Context().Done()
			return "", false
		}
		return "", true
	})
	if got := allText(callOne(t, open(t, mcp.Config{}), tool.Server{Label: "quiet", URL: url}, "do", `{}`)); got != "done" {
		t.Errorf("got %q", got)
	}
}

// outcome is what became of a call.
type outcome int

const (
	answered outcome = iota // a result that is no error
	failed                  // a result that is one
	missing                 // an error: it may have happened
	notSent
)

func outcomeOf(r tool.Result, err error) outcome {
	_, unsent := errors.AsType[*tool.NotSentError](err)
	switch {
	case unsent:
		return notSent
	case err != nil:
		return missing
	case r.IsError:
		return failed
	}
	return answered
}

// TestOutcomes: what each kind of answer to the POST of a call means. Whatever it is, the call must
// have been posted exactly once, and the next call must work.
func TestOutcomes(t *testing.T) {
	status := func(code int, body string) func(http.ResponseWriter, *http.Request, message) (string, bool) {
		return func(w http.ResponseWriter, _ *http.Request, m message) (string, bool) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprint(w, strings.ReplaceAll(body, "ID", string(m.ID)))
			return "", false
		}
	}
	result := func(s string) func(http.ResponseWriter, *http.Request, message) (string, bool) {
		return func(http.ResponseWriter, *http.Request, message) (string, bool) { return s, true }
	}
	const rpcError = `{"jsonrpc": "2.0", "id": ID, "error": {"code": %d, "message": "no such tool"}}`
	tests := []struct {
		name   string
		want   outcome
		answer func(http.ResponseWriter, *http.Request, message) (string, bool)
	}{
		{"a result", answered, result(done)},
		{"nothing in it", answered, result(`{"content": null}`)},
		{"JSON-RPC error", failed, status(200, fmt.Sprintf(rpcError, -32602))},
		{"JSON-RPC error, status 400", failed, status(400, fmt.Sprintf(rpcError, -32602))},
		{"JSON-RPC error with a code of the SDK's own", missing, status(200, fmt.Sprintf(rpcError, -32005))},
		{"400 without JSON-RPC", missing, status(400, "bad")},
		{"401", missing, status(401, fmt.Sprintf(rpcError, -32001))},
		{"404, the session is forgotten", missing, status(404, fmt.Sprintf(rpcError, -32001))},
		{"404 without JSON-RPC", missing, status(404, "")},
		{"429", missing, status(429, "")},
		{"500", missing, status(500, fmt.Sprintf(rpcError, -32603))},
		{"502", missing, status(502, "<html>")},
		{"503", missing, status(503, "")},
		{"redirect", missing, func(w http.ResponseWriter, r *http.Request, _ message) (string, bool) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return "", false
		}},
		{"no JSON", missing, status(200, "<html>")},
		{"half an answer", missing, status(200, `{"jsonrpc": "2.0", "id": ID, "resu`)},
		{"cut off", missing, func(http.ResponseWriter, *http.Request, message) (string, bool) { panic(http.ErrAbortHandler) }},
		{"a stream without an answer", missing, func(w http.ResponseWriter, _ *http.Request, _ message) (string, bool) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, ": hello\n\n")
			return "", false
		}},
		{"a picture that is no base64", failed, result(`{"content": [{"type": "image", "mimeType": "image/png", "data": "data:image/png;base64,AA=="}]}`)},
		{"content of the wrong type", failed, result(`{"content": 7}`)},
		{"an endless message", missing, func(w http.ResponseWriter, r *http.Request, m message) (string, bool) {
			w.Header().Set("Content-Type", "application/json")
			chunk := strings.Repeat("x", 1<<20)
			fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": %s, "result": {"content": [{"type": "text", "text": "`, m.ID)
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, chunk); err != nil {
					break
				}
			}
			return "", false
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var calls atomic.Int64
			s, url := serveRaw(t, func(w http.ResponseWriter, r *http.Request, m message) (string, bool) {
				if m.Method == "initialize" {
					w.Header().Set("Mcp-Session-Id", "s1")
				}
				if m.Method == "tools/call" && calls.Add(1) == 1 {
					return test.answer(w, r, m)
				}
				return "", true
			})
			do := find(t, open(t, mcp.Config{}), tool.Server{Label: "raw", URL: url}, "do")
			r, err := do.Call(t.Context(), tool.Call{Key: "k1"})
			if got := outcomeOf(r, err); got != test.want {
				t.Errorf("outcome %d (%+v, %v), want %d", got, r, err, test.want)
			}
			if n := s.count("POST tools/call"); n != 1 {
				t.Errorf("the call was posted %d times", n)
			}
			deadline := time.Now().Add(tooltest.Patience)
			for {
				r, err = do.Call(t.Context(), tool.Call{Key: "k2"})
				if outcomeOf(r, err) == answered {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the next call: %+v, %v", r, err)
				}
			}
		})
	}
}

// A reply whose stream broke is fetched with GET and Last-Event-ID; the call is not posted again.
func TestLostReplyIsResumedWithGet(t *testing.T) {
	var id atomic.Value
	s, url := serveRaw(t, func(w http.ResponseWriter, r *http.Request, m message) (string, bool) {
		switch {
		case m.Method == "tools/call":
			id.Store(string(m.ID))
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "id: e1\nretry: 10\ndata:\n\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodGet && r.Header.Get("Last-Event-ID") == "e1":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "id: e2\ndata: {\"jsonrpc\": \"2.0\", \"id\": %s, \"result\": %s}\n\n", id.Load(), done)
			return "", false
		}
		return "", true
	})
	r := callOne(t, open(t, mcp.Config{}), tool.Server{Label: "raw", URL: url}, "do", `{}`)
	if got := allText(r); got != "done" || s.count("POST tools/call") != 1 {
		t.Errorf("got %q after %d posts", got, s.count("POST tools/call"))
	}
}

func TestCallTimeout(t *testing.T) {
	_, url := serveRaw(t, func(_ http.ResponseWriter, r *http.Request, m message) (string, bool) {
		if m.Method == "tools/call" {
			<-r.Context().Done()
			return "", false
		}
		return "", true
	})
	m := open(t, mcp.Config{CallTimeout: 50 * time.Millisecond})
	r, err := find(t, m, tool.Server{Label: "slow", URL: url}, "do").Call(t.Context(), tool.Call{Key: "k"})
	if outcomeOf(r, err) != missing {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestArgumentsThatAreNoObjectAreNotSent(t *testing.T) {
	s, url := serveRaw(t, nil)
	do := find(t, open(t, mcp.Config{}), tool.Server{Label: "raw", URL: url}, "do")
	for _, arguments := range []string{`[1]`, `"{\"a\":"`, `{"a":`} {
		if r, err := do.Call(t.Context(), tool.Call{Key: "k", Arguments: []byte(arguments)}); outcomeOf(r, err) != notSent {
			t.Errorf("%s: %+v, %v", arguments, r, err)
		}
	}
	if n := s.count("POST tools/call"); n != 0 {
		t.Errorf("%d calls came", n)
	}
}

// Connections are few, shared, and end when nobody uses them.
func TestConnectionsAreBounded(t *testing.T) {
	var urls []string
	var servers []*raw
	for range 3 {
		s, url := serveRaw(t, nil)
		servers, urls = append(servers, s), append(urls, url)
	}
	m := open(t, mcp.Config{MaxConnections: 2})
	for range 2 {
		for _, url := range urls {
			if _, err := m.Tools(t.Context(), tool.Server{Label: "x", URL: url}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, s := range servers {
		if n := s.count("POST initialize"); n != 2 {
			t.Errorf("server %d was connected to %d times; the longest unused should have made room each time", i, n)
		}
	}
	headers := map[string]string{"Authorization": "other"}
	if _, err := m.Tools(t.Context(), tool.Server{Label: "x", URL: urls[2], Headers: headers}); err != nil {
		t.Fatal(err)
	}
	if n := servers[2].count("POST initialize"); n != 3 {
		t.Errorf("other headers shared a connection")
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	s, url := serveRaw(t, func(w http.ResponseWriter, _ *http.Request, m message) (string, bool) {
		if m.Method == "initialize" {
			w.Header().Set("Mcp-Session-Id", "s1")
		}
		return "", true
	})
	m := open(t, mcp.Config{IdleTimeout: 20 * time.Millisecond})
	do := find(t, m, tool.Server{Label: "x", URL: url}, "do")
	deadline := time.Now().Add(tooltest.Patience)
	for s.count("DELETE ") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the session never ended")
		}
		time.Sleep(time.Millisecond) // polls with a deadline
	}
	if r, err := do.Call(t.Context(), tool.Call{Key: "k"}); outcomeOf(r, err) != answered {
		t.Errorf("after the idle end: %+v, %v", r, err)
	}
	if n := s.count("POST initialize"); n < 2 {
		t.Errorf("connected %d times", n)
	}
}

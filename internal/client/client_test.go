package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestErrors(t *testing.T) {
	tests := []struct {
		status        int
		body          string
		kind          stead.Kind
		message, hint string
	}{
		{400, `{"error":{"message":"limit is 0","param":"limit","hint":"Say 1."}}`, stead.KindInvalid, "limit is 0", "Say 1."},
		{404, `{"error":{"message":"no session"}}`, stead.KindNotFound, "no session", ""},
		{409, `{"error":{"message":"busy"}}`, stead.KindConflict, "busy", ""},
		{501, `{"error":{"message":"later"}}`, stead.KindNotImplemented, "later", ""},
		{503, `{"error":{"message":"disk full"}}`, stead.KindUnavailable, "disk full", ""},
		{502, `<html>`, stead.KindUnavailable, "answered 502", "another program"},
		{200, `<html>`, stead.KindUnavailable, "did not answer as a Stead does", "another program"},
	}
	for _, tt := range tests {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		_, err := c.Session(t.Context(), "sess_1")
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != tt.kind || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("%d %s: %#v, want kind %s and %q", tt.status, tt.body, err, tt.kind, tt.message)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // its port is free now
	c, err := New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	err = c.DeleteSession(t.Context(), "sess_1")
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindUnavailable || !strings.Contains(e.Hint, "stead dev") || strings.Contains(err.Error(), "sess_1") {
		t.Errorf("error %v", err)
	}
	if c.Alive(t.Context()) {
		t.Error("alive")
	}
}

// Whoever says https where a Stead speaks http is told so, and not that nobody is there.
func TestAServerWithoutTLS(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	c, err := New("https" + strings.TrimPrefix(srv.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, err = c.Session(t.Context(), "sess_1")
	if e, ok := errors.AsType[*stead.Error](err); !ok || !strings.Contains(e.Hint, "http://") {
		t.Errorf("%#v", err)
	}
}

func TestIDsStayInTheirPlace(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		fmt.Fprint(w, `{}`)
	})
	if _, err := c.Session(t.Context(), "../agents?x=1"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "/agents?") || !strings.HasPrefix(got, "/v1/agents/sessions/") {
		t.Errorf("an id became a path: %s", got)
	}
}

func TestListReadsAllPages(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("after"))
		switch r.URL.Query().Get("after") {
		case "":
			fmt.Fprint(w, `{"data":[{"id":"c"},{"id":"b"}],"has_more":true}`)
		default:
			fmt.Fprint(w, `{"data":[{"id":"a","extra":1}],"has_more":false}`)
		}
	})
	list, err := c.Sessions(t.Context(), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || list[2].ID != "a" || string(list[2].Raw) != `{"id":"a","extra":1}` || !reflect.DeepEqual(asked, []string{"", "b"}) {
		t.Errorf("got %v after asking %q", list, asked)
	}
}

// event writes one SSE event.
func event(w http.ResponseWriter, id int) {
	fmt.Fprintf(w, "id: %d.0.0\ndata: {\"type\":\"agent.session.idle\",\"n\":%d}\n\n", id, id)
}

// TestFollowResumes breaks the stream in every way that a restart can, and wants each event once.
func TestFollowResumes(t *testing.T) {
	var calls atomic.Int32
	var after []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		after = append(after, r.URL.Query().Get("after"))
		switch calls.Add(1) {
		case 1:
			event(w, 1)
			event(w, 2)
			fmt.Fprint(w, "id: 3.0.0\ndata: {\"type\":\"cut off")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3: // ends in peace, with nothing said
		default:
			event(w, 3)
			event(w, 4)
		}
	})
	var got []string
	done := errors.New("enough")
	err := c.Follow(t.Context(), "sess_1", "0", nil, func(e Event) error {
		got = append(got, e.ID)
		if len(got) == 4 {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Errorf("error %v, want the caller's", err)
	}
	if want := []string{"1.0.0", "2.0.0", "3.0.0", "4.0.0"}; !reflect.DeepEqual(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if want := []string{"0", "2.0.0", "2.0.0", "2.0.0"}; !reflect.DeepEqual(after, want) {
		t.Errorf("asked after %q, want %q", after, want)
	}
}

func TestFollowEnds(t *testing.T) {
	gone := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"message":"no session"}}`)
	})
	err := gone.Follow(t.Context(), "sess_1", "0", nil, func(Event) error { return nil })
	if stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("error %v, want not found at once", err)
	}

	silent := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = silent.Follow(ctx, "sess_1", "0", cancel, func(Event) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestItemText(t *testing.T) {
	tests := []struct{ json, want string }{
		{`{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"input_image","image_url":"https://x"}]}`, "a\n[image]"},
		{`{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}`, "hm"},
		{`{"type":"mcp_call","output":{"content":[{"type":"output_text","text":"done"}]},"error":null}`, "done"},
		{`{"type":"mcp_call","output":null,"error":{"message":"no"}}`, "error: no"},
		{`{"type":"function_call_output","output":"21"}`, "21"},
		{`{"type":"function_call_output","output":[{"type":"input_text","text":"21"}]}`, "21"},
		{`{"type":"function_call_output","output":null,"error":"bad"}`, "error: bad"},
	}
	for _, tt := range tests {
		var it Item
		if err := it.UnmarshalJSON([]byte(tt.json)); err != nil {
			t.Fatal(err)
		}
		if got := it.Text(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.json, got, tt.want)
		}
	}
}

// TestWhatFailsOverTLSHasAHint: with TLS 1.3 a client whose certificate is refused hears of it in several ways, as it happens to be writing.
func TestWhatFailsOverTLSHasAHint(t *testing.T) {
	const refused, believed = "may have refused the client certificate", "is not believed"
	for text, c := range map[string]struct {
		err  error
		hint string
	}{
		"an alert":      {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, refused},
		"a reset":       {fmt.Errorf("write: %w", syscall.ECONNRESET), refused},
		"HTTP/2's own":  {errors.New("http2: client conn could not be established"), refused},
		"no authority":  {&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, believed},
		"nobody there":  {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ""},
		"out of time":   {context.DeadlineExceeded, ""},
		"no TLS at all": {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "speaks no TLS"},
	} {
		if hint := tlsHint(&url.Error{Op: "Get", Err: c.err}); (hint == "") != (c.hint == "") || !strings.Contains(hint, c.hint) {
			t.Errorf("%s: %q", text, hint)
		}
	}
}

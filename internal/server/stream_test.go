package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// event makes a stream event of the wire's form; turn events need no more to be told apart.
func event(seq int, kind string) session.StreamEvent {
	c := stead.Cursor{Seq: stead.Seq(seq)}
	sess, _ := json.Marshal(aSession("sess_1", filled().agents[0].Spec))
	body := map[string]any{"type": kind, "event_id": fmt.Sprintf("event_%d", seq)}
	turn := session.Turn{ID: "turn_1", Object: "agent.session.turn", AgentID: "agent_1", CreatedAt: 1, SessionID: "sess_1", Status: session.TurnComplete}
	switch {
	case strings.HasPrefix(kind, "agent.session.turn.output_text.delta"):
		body["delta"], body["content_index"], body["item_id"], body["output_index"], body["session_id"], body["turn_id"] = "a<b>\n\"ü", 0, "item_1", 0, "sess_1", "turn_1"
	case strings.HasPrefix(kind, "agent.session.turn."):
		body["turn"], body["turn_id"], body["session_id"] = turn, "turn_1", "sess_1"
		if kind == "agent.session.turn.completed" {
			body["usage"] = nil
		}
	default:
		body["session"] = json.RawMessage(sess)
	}
	return session.StreamEvent{Cursor: c, Type: kind, Body: body}
}

// script streams the events after the cursor, then waits for the end of ctx.
func script(events ...session.StreamEvent) func(context.Context, *stead.Cursor, func(), func(session.StreamEvent) error) error {
	return func(ctx context.Context, after *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
		ready()
		for _, e := range events {
			if after == nil || e.Cursor.Seq <= after.Seq {
				continue
			}
			if err := yield(e); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

func firstTurnEvents() []session.StreamEvent {
	return []session.StreamEvent{
		event(1, "agent.session.created"), event(2, "agent.session.turn.created"), event(3, "agent.session.turn.in_progress"),
		event(4, "agent.session.in_progress"), event(5, "agent.session.turn.output_text.delta"), event(6, "agent.session.turn.completed"),
		event(7, "agent.session.idle"), event(8, "agent.session.turn.created"),
	}
}

func TestCreateStreamEndsWithItsTurn(t *testing.T) {
	f := filled()
	f.stream = script(firstTurnEvents()...)
	d := open(t, f)
	res, body := d.call("POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"sim"},"input":"hi","stream":true,"stream_options":{"include_obfuscation":false}}`)
	h := res.Header
	if h.Get("Content-Type") != "text/event-stream; charset=utf-8" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers %v", h)
	}
	frames := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
	if len(frames) != 7 || !strings.HasPrefix(frames[0], "id: 1.0.0\nevent: agent.session.created\ndata: {") || !strings.Contains(frames[6], "event: agent.session.idle\n") {
		t.Fatalf("%d frames:\n%s", len(frames), body)
	}
	want := `id: 5.0.0
event: agent.session.turn.output_text.delta
data: {"content_index":0,"delta":"a<b>\n\"ü","event_id":"event_5","item_id":"item_1","output_index":0,"session_id":"sess_1","turn_id":"turn_1","type":"agent.session.turn.output_text.delta"}`
	if frames[4] != want {
		t.Errorf("got\n%s\nwant\n%s", frames[4], want)
	}
	if n := d.transport.Events()["agent.session.idle"]; n != 1 {
		t.Errorf("%d idle events were held against the document", n)
	}
}

func TestResumePoints(t *testing.T) {
	f := filled()
	var got *stead.Cursor
	f.stream = func(_ context.Context, after *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
		got = after
		ready()
		return nil
	}
	d := open(t, f)
	tests := []struct {
		query, header string
		want          string
	}{
		{"", "", "<nil>"},
		{"?after=0", "", "0.0.0"},
		{"?after=12.3.4&include_obfuscation=false", "", "12.3.4"},
		{"", "7.0.9", "7.0.9"},
		{"?after=1", "7", "7.0.0"},
	}
	for _, tt := range tests {
		var headers []string
		if tt.header != "" {
			headers = []string{"Last-Event-ID: " + tt.header}
		}
		res, body := d.call("GET", "/v1/agents/sessions/sess_1/events"+tt.query, "", headers...)
		if res.StatusCode != 200 || body != "" || fmt.Sprint(got) != tt.want {
			t.Errorf("%+v: %d %s from %v", tt, res.StatusCode, body, got)
		}
	}
	for _, bad := range []string{"?after=x", "?after=-1", "?after=1.2.3.4", "?include_obfuscation=2"} {
		if res, body := d.call("GET", "/v1/agents/sessions/sess_1/events"+bad, ""); res.StatusCode != 400 || !strings.Contains(body, `"param":"`) {
			t.Errorf("%s: %d %s", bad, res.StatusCode, body)
		}
	}
	if res, body := d.call("GET", "/v1/agents/sessions/sess_1/events", "", "Last-Event-ID: junk"); res.StatusCode != 400 || !strings.Contains(body, `"param":"Last-Event-ID"`) {
		t.Errorf("junk: %d %s", res.StatusCode, body)
	}
	if res, _ := d.call("GET", "/v1/agents/sessions/sess_9/events", ""); res.StatusCode != 404 {
		t.Errorf("no session: %d", res.StatusCode)
	}
	if res, _ := d.call("HEAD", "/v1/agents/sessions/sess_1/events", ""); res.StatusCode != 200 {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
}

func TestErrorAfterTheFirstByteIsAnEvent(t *testing.T) {
	f := filled()
	f.stream = func(_ context.Context, _ *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
		ready()
		if err := yield(event(1, "agent.session.in_progress")); err != nil {
			return err
		}
		return stead.Wrap(stead.KindNotFound, errors.New("row 7"), "the session was deleted")
	}
	d := open(t, f)
	_, body := d.call("GET", "/v1/agents/sessions/sess_1/events", "")
	_, last, _ := strings.Cut(body, "\n\n")
	if !strings.HasPrefix(last, "event: error\ndata: {") || !strings.Contains(last, `"message":"the session was deleted"`) || strings.Contains(body, "row 7") {
		t.Errorf("%s", body)
	}
	if d.transport.Events()["error"] != 1 {
		t.Error("the error event was not held against the document")
	}
}

// TestHeadersBeforeTheFirstEvent: a client subscribes, and only then sends its input.
func TestHeadersBeforeTheFirstEvent(t *testing.T) {
	f := filled()
	f.stream = script()
	stopping := make(chan struct{})
	d := open(t, f, func(c *Config) { c.Stopping = stopping })
	res, err := d.client.Get(d.url + "/v1/agents/sessions/sess_1/events") // returns with the headers
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, m := d.call("GET", "/metrics", ""); !strings.Contains(m, "stead_http_streams_open 1\n") {
		t.Errorf("the stream is not counted:\n%s", m)
	}
	close(stopping)
	if b, err := io.ReadAll(res.Body); err != nil || len(b) != 0 {
		t.Errorf("a stopping server ends the stream: %q %v", b, err)
	}
}

func TestStreamLimit(t *testing.T) {
	f := filled()
	f.stream = script()
	h := New(Config{Sessions: f, Agents: f})
	h.(*server).metrics.streams.Store(MaxStreams)
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "http://localhost/v1/agents/sessions/sess_1/events", nil)
	h.ServeHTTP(rec, req)
	if rec.Code != 429 || rec.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	if n := h.(*server).metrics.streams.Load(); n != MaxStreams {
		t.Errorf("a refused stream is counted: %d", n)
	}
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filled()
		events := make(chan session.StreamEvent)
		f.stream = func(ctx context.Context, _ *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
			ready()
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case e := <-events:
					if err := yield(e); err != nil {
						return err
					}
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		rec := &recorder{header: http.Header{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			req := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/v1/agents/sessions/sess_1/events", nil)
			New(Config{Sessions: f, Agents: f, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(rec, req)
		}()
		time.Sleep(2*KeepAliveInterval + time.Second)
		synctest.Wait()
		if got := rec.text(); got != ": keep-alive\n\n: keep-alive\n\n" {
			t.Errorf("silent stream: %q", got)
		}
		events <- event(1, "agent.session.in_progress")
		time.Sleep(KeepAliveInterval) // the event broke the silence
		synctest.Wait()
		if n := strings.Count(rec.text(), "keep-alive"); n != 2 {
			t.Errorf("%d comments after an event", n)
		}
		cancel()
		<-done
	})
}

// recorder is a ResponseWriter that may be read while it is written.
type recorder struct {
	mu     sync.Mutex
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(b)
}
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.String()
}

// TestClientThatStopsReadingIsDropped: the stream ends after WriteTimeout, and frees its place.
func TestClientThatStopsReadingIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filled()
		ended := make(chan error, 1)
		f.stream = func(ctx context.Context, _ *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
			ready()
			for {
				if err := yield(event(1, "agent.session.in_progress")); err != nil {
					ended <- err
					return err
				}
			}
		}
		h := New(Config{Sessions: f, Agents: f, Log: slog.New(slog.DiscardHandler)})
		client, conn := net.Pipe()
		l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- conn
		srv := &http.Server{Handler: h}
		go srv.Serve(l) //nolint:errcheck // ends with Close
		fmt.Fprint(client, "GET /v1/agents/sessions/sess_1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReaderSize(client, 16), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		start := time.Now() // and not a byte more is read
		if err := <-ended; !errors.Is(err, errClientGone) || time.Since(start) < WriteTimeout-time.Second || time.Since(start) > WriteTimeout+time.Second {
			t.Errorf("dropped after %v with %v", time.Since(start), err)
		}
		synctest.Wait()
		m := h.(*server).metrics
		if m.streams.Load() != 0 || m.dropped.Load() != 1 {
			t.Errorf("%d streams open, %d dropped", m.streams.Load(), m.dropped.Load())
		}
		srv.Close()
		client.Close()
	})
}

type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// FuzzRequests sends any body to every route that reads one: it must be answered, and never with
// a mistake of the server.
func FuzzRequests(f *testing.F) {
	paths := []string{
		"/v1/agents", "/v1/agents/agent_1", "/v1/agents/sessions", "/v1/agents/sessions/sess_1", "/v1/agents/sessions/sess_1/events",
		"/v1/agents/sessions/sess_1/fork", "/v1/approvals/req_1", "/v1/approvals/req_2",
	}
	f.Add(0, `{"model":"sim","tools":[{"type":"function","name":"f","parameters":{}}]}`)
	f.Add(2, `{"environment":{"type":"none"},"agent":{"model":"sim"},"input":[{"role":"user","content":[{"type":"input_text","text":"x"}]}]}`)
	f.Add(3, `{"agent":{"reasoning":{"effort":null}},"spend_control":{"limit":1}}`)
	f.Add(4, `{"events":[{"type":"agent.session.input.tool_result","turn_id":"t","call_id":"c","success":true,"output":"x"}]}`)
	f.Add(7, `{"decision":"happened","output":[{"type":"input_image","image_url":"data:image/png;base64,"}]}`)
	spec, err := loadSpec()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which int, body string) {
		path := paths[uint(which)%uint(len(paths))]
		fk := filled()
		fk.stream = script(firstTurnEvents()...)
		h := New(Config{Models: models{}, Sessions: fk, Agents: fk, Log: slog.New(slog.DiscardHandler), ToolServers: func(stead.ProjectID) (own, others []string) { return []string{"files"}, nil }})
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("POST", "http://localhost"+path, strings.NewReader(body)))
		if rec.Code >= 500 {
			t.Fatalf("%s %s: %d %s", path, body, rec.Code, rec.Body)
		}
		if strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream") {
			return
		}
		if err := spec.Response("POST", path, rec.Code, rec.Header().Get("Content-Type"), rec.Body.Bytes()); err != nil {
			t.Fatal(err)
		}
	})
}

// Nobody takes all streams of a node: a principal and a project have their shares, which come back.
func TestStreamsAreShared(t *testing.T) {
	m := newMetrics(time.Now())
	by := func(project, id string) *stead.Principal {
		return &stead.Principal{Project: stead.ProjectID(project), Kind: stead.PrincipalService, ID: id}
	}
	var open []func()
	fill := func(p *stead.Principal) (n int) {
		for {
			done, err := m.openStream(p)
			if err != nil {
				if stead.KindOf(err) != stead.KindLimited {
					t.Error(err)
				}
				return n
			}
			n, open = n+1, append(open, done)
		}
	}
	for _, c := range []struct {
		p    *stead.Principal
		want int
	}{
		{by("one", "a"), MaxPrincipalStreams}, {by("one", "b"), MaxProjectStreams - MaxPrincipalStreams}, {by("one", "c"), 0}, {by("two", "a"), MaxStreams - MaxProjectStreams}, {nil, 0},
	} {
		if got := fill(c.p); got != c.want {
			t.Errorf("%+v opens %d, want %d", c.p, got, c.want)
		}
	}
	for _, done := range open {
		done()
	}
	if open = nil; m.streams.Load() != 0 || fill(by("one", "c")) != MaxPrincipalStreams || fill(nil) != MaxStreams-MaxPrincipalStreams {
		t.Error("places do not come back")
	}
}

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// connected serves a client over one connection that buffers nothing, in a bubble of synctest; each answer that ends is told.
func connected(t *testing.T, h http.Handler) (client net.Conn, ended chan time.Time) {
	client, conn := net.Pipe()
	ended = make(chan time.Time, 100)
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- conn
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: &both, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- time.Now() }()
		h.ServeHTTP(w, r)
	})}
	go srv.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { srv.Close(); client.Close() })
	return client, ended
}

// Whatever the answer is: who reads nothing of it loses the connection, and what was held for it is given back.
func TestWhoReadsNothingIsDropped(t *testing.T) {
	for what, path := range map[string]string{"an answer": "/openapi.json", "a download": "/v1/agents/sessions/sess_1/export", "a stream": "/v1/agents/sessions/sess_1/events"} {
		synctest.Test(t, func(t *testing.T) {
			f := filled()
			f.exported = []string{strings.Repeat("x", 1<<20), "more"}
			h := New(Config{Sessions: f, Agents: f, Log: slog.New(slog.DiscardHandler)})
			client, ended := connected(t, h)
			fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
			if path != "/openapi.json" { // which is written at once
				if _, err := io.ReadFull(client, make([]byte, 16)); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now() // and not a byte more is read
			if end := <-ended; what != "a stream" && (end.Sub(start) < WriteTimeout-time.Second || end.Sub(start) > WriteTimeout+time.Second) {
				t.Errorf("%s ended after %s", what, end.Sub(start))
			}
			time.Sleep(WriteTimeout + time.Second)
			if _, err := io.Copy(io.Discard, client); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: the connection is %v", what, err)
			}
			if used := h.(*server).bodies.Used(); used != 0 {
				t.Errorf("%s: %d bytes are held", what, used)
			}
		})
	}
}

// Who reads slowly gets all of a large answer, and the connection serves further requests however late they are.
func TestWhoReadsSlowlyGetsItAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filled()
		f.exported = []string{strings.Repeat("x", 1<<20)}
		client, _ := connected(t, New(Config{Sessions: f, Agents: f, Log: slog.New(slog.DiscardHandler)}))
		in := bufio.NewReaderSize(client, 16)
		for range 2 {
			start := time.Now()
			fmt.Fprint(client, "GET /v1/agents/sessions/sess_1/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for buf := make([]byte, writePiece); err == nil; time.Sleep(WriteTimeout - 2*time.Second) {
				var n int
				n, err = io.ReadFull(res.Body, buf)
				got += n
			}
			if got != 1<<20+1 || time.Since(start) < 5*WriteTimeout {
				t.Errorf("%d bytes in %s, and then %v", got, time.Since(start), err) // the fake writes a line
			}
			time.Sleep(5 * WriteTimeout)
			fmt.Fprint(client, "POST /v1/agents/sessions/sess_1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 72\r\n\r\n"+`{"events":[{"type":"agent.session.input.message","input":"hello there"}]}`[:72])
			if res, err = http.ReadResponse(in, nil); err != nil || res.StatusCode == 0 {
				t.Fatalf("after a while: %v", err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * WriteTimeout)
		}
	})
}

// HTTP/2 ends a stream when its deadline passes, though nothing is being written: what a model thinks about is none of the client's fault.
func TestASilentAnswerIsNotDropped(t *testing.T) {
	for what, drops := range map[string]bool{"a reader": false, "nobody": true} {
		synctest.Test(t, func(t *testing.T) {
			done := make(chan error, 1)
			client, _ := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				out := &response{ResponseWriter: w}
				out.begin(r)
				defer out.end()
				var err error
				for range 40 {
					if _, err = out.Write(make([]byte, 10<<10)); err == nil {
						err = out.FlushError()
					}
					if err != nil {
						break
					}
					time.Sleep(2 * WriteTimeout)
				}
				done <- err
			}))
			var h2 http.Protocols
			h2.SetUnencryptedHTTP2(true)
			tr := &http.Transport{Protocols: &h2, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20}, DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
			defer tr.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := tr.RoundTrip(req)
			if err != nil || res.ProtoMajor != 2 {
				t.Fatal(res, err)
			}
			if drops {
				if err := <-done; err == nil {
					t.Errorf("%s reads, and all was written", what)
				}
				res.Body.Close()
				return
			}
			if n, err := io.Copy(io.Discard, res.Body); n != 40*10<<10 || err != nil {
				t.Errorf("%s: %d bytes and %v", what, n, err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

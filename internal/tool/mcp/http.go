package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of HTTP.
const (
	// MaxMessageBytes is the largest message of a server, over HTTP and over stdio.
	MaxMessageBytes = 32 << 20
	// StreamTimeout is how long a server may think about the GET for its own messages. One that
	// takes longer is treated as having none: its tools work, its list changes are noticed late.
	StreamTimeout = 3 * time.Second
	// maxRefusalBytes is how much is read of an answer whose status is no success.
	maxRefusalBytes = 64 << 10
)

// newWire returns the pool of TCP connections of a Manager.
//
// net/http repeats a POST by itself in two cases: a kept connection turned out to be closed before
// a byte was written to it (harmless), or the request carries an Idempotency-Key header (it must
// not: checkHeaders refuses it). HTTP/2 repeats what the server says that it has not processed.
func newWire(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true,
		MaxIdleConns: 512, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 256 << 10,
	}
}

// newClient returns the HTTP client of one link; what it does ends with life. It follows no
// redirect: that would send a call, and the headers' secrets, a second time and elsewhere.
func newClient(wire http.RoundTripper, l *link) *http.Client {
	if c := l.target.credential; c != nil {
		wire = &bearer{wire: wire, credential: c, denied: &l.denied}
	}
	return &http.Client{
		Transport:     &edge{wire: wire, headers: l.target.headers, life: l.wire, refused: &l.refused},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// edge is where a link's requests leave: it adds the headers and bounds what comes back.
type edge struct {
	wire    http.RoundTripper
	headers map[string]string
	life    context.Context
	refused *atomic.Int64 // see link
}

// RoundTrip implements http.RoundTripper.
func (e *edge) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(e.life, func() { cancel(errors.New("the connection to the tool server has ended")) })
	end := func() { stop(); cancel(nil) }
	r = r.Clone(ctx)
	for name, value := range e.headers {
		r.Header.Set(name, value)
	}
	slow := time.AfterFunc(StreamTimeout, func() {
		if r.Method == http.MethodGet {
			cancel(errNoStream)
		}
	})
	response, err := e.wire.RoundTrip(r)
	inTime := slow.Stop()
	if err != nil {
		end()
		if r.Method == http.MethodGet && !inTime && errors.Is(context.Cause(ctx), errNoStream) {
			return noStream(r), nil
		}
		return nil, err
	}
	if s := response.StatusCode; refuses(s) {
		e.refused.Store(int64(s))
	}
	if f, ok := r.Context().Value(flightKey{}).(*flight); ok {
		f.sent.Store(true)
		f.status.CompareAndSwap(0, int64(response.StatusCode))
	}
	if location := response.Header.Get("Location"); response.StatusCode/100 == 3 && location != "" {
		response.Body.Close()
		end()
		return nil, fmt.Errorf("the server redirects (status %d); configure the URL that it redirects to", response.StatusCode)
	}
	response.Body = &boundedBody{from: response.Body, left: bodyLimit(response), end: end}
	return response, nil
}

var errNoStream = errors.New("the server does not answer the GET")

// noStream is the answer of a server that has no messages of its own (streamable HTTP, section
// "Listening for Messages from the Server").
func noStream(r *http.Request) *http.Response {
	return &http.Response{
		Status: "405 Method Not Allowed", StatusCode: http.StatusMethodNotAllowed,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
}

// bodyLimit is how much of a body is read: of a stream any amount, its events are bounded by the
// SDK.
func bodyLimit(r *http.Response) int64 {
	const unbounded = 1 << 62
	switch {
	case r.StatusCode/100 != 2:
		return maxRefusalBytes
	case strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "text/event-stream"):
		return unbounded
	default:
		return MaxMessageBytes
	}
}

type boundedBody struct {
	from io.ReadCloser
	left int64
	end  func()
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the server's message is larger than %d bytes", MaxMessageBytes)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *boundedBody) Close() error {
	err := b.from.Close()
	b.end()
	return err
}

// flight follows one request through the SDK, by its context, to where bytes leave.
type flight struct {
	sent   atomic.Bool  // a connection was given to it: bytes may have reached the server
	status atomic.Int64 // of the HTTP answer; 0: none yet, or stdio
	denied denial
}

type flightKey struct{}

func (f *flight) attach(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, flightKey{}, f)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { f.sent.Store(true) },
	})
}

// refused reports an HTTP status that does not come from the tool server's own dispatch: then a
// JSON-RPC body is not the tool's answer. A 400 with one is.
func (f *flight) refused() bool {
	s := f.status.Load()
	return s != 0 && s != http.StatusOK && s != http.StatusBadRequest
}

// refuses reports the statuses by which a server says that whoever asks may not.
func refuses(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// forgotten reports that the server does not know the session any more.
func (f *flight) forgotten() bool { return f.status.Load() == http.StatusNotFound }

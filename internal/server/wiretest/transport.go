package wiretest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Transport is an http.RoundTripper that checks everything that passes through it.
type Transport struct {
	Spec *Spec
	// Base does the work; nil: http.DefaultTransport.
	Base http.RoundTripper
	// Report is told of each departure from the document. It may be called from any goroutine.
	Report func(error)

	mu     sync.Mutex
	events map[string]int // type → how many were checked
}

// Events says how many events of each type were checked.
func (t *Transport) Events() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]int, len(t.events))
	for k, v := range t.events {
		out[k] = v
	}
	return out
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	res, err := base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.Header.Get("X-Request-Id") == "" {
		t.report(errNoRequestID(r))
	}
	if res.StatusCode < 400 {
		t.report(t.Spec.Request(r.Method, r.URL.Path, sent))
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		res.Body = &eventChecker{ReadCloser: res.Body, t: t}
		return res, nil
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/jsonl") {
		return res, nil
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	if r.Method != http.MethodHead {
		t.report(t.Spec.Response(r.Method, r.URL.Path, res.StatusCode, res.Header.Get("Content-Type"), body))
	}
	return res, nil
}

func (t *Transport) report(err error) {
	if err != nil && t.Report != nil {
		t.Report(err)
	}
}

func errNoRequestID(r *http.Request) error {
	return &noRequestID{r.Method + " " + r.URL.Path}
}

type noRequestID struct{ call string }

func (e *noRequestID) Error() string { return e.call + ": the answer has no X-Request-Id" }

// eventChecker reads an event stream along with the client.
type eventChecker struct {
	io.ReadCloser
	t    *Transport
	rest []byte // an event that is not whole yet
}

// Read implements io.Reader.
func (c *eventChecker) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.rest = append(c.rest, b[:n]...)
	for {
		event, rest, ok := bytes.Cut(c.rest, []byte("\n\n"))
		if !ok {
			return n, err
		}
		c.check(event)
		c.rest = rest
	}
}

func (c *eventChecker) check(event []byte) {
	kind := ""
	for line := range bytes.Lines(event) {
		line = bytes.TrimRight(line, "\n")
		if v, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			kind = string(v)
		}
		if v, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			c.t.report(c.t.Spec.Event(v))
			c.t.mu.Lock()
			if c.t.events == nil {
				c.t.events = map[string]int{}
			}
			c.t.events[kind]++
			c.t.mu.Unlock()
		}
	}
}

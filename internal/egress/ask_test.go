package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// TestAnotherDecides: what the network allows is asked about once a connection or request, before anything is dialled.
func TestAnotherDecides(t *testing.T) {
	w := newWorld(t)
	hello := func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("hello")) }
	w.plain(hello, "api.example")
	w.secure(hello, "tls.example")
	queries := make(chan string, 9)
	b := w.box(Policy{Access: AccessEnabled}, func(c *Config) {
		c.Ask = func(_ context.Context, r Record) error {
			if r.Path == "/open" {
				queries <- r.Query
			}
			switch {
			case r.Path == "/admin", r.Kind != KindRequest:
				return stead.Errorf(stead.KindForbidden, "policy no-admin forbids it")
			case r.Path == "/unknown":
				return errors.New("the database is away")
			}
			return nil
		}
	})
	c := b.client()
	if code, body := get(t, c, "http://api.example/open?token=1"); code != 200 || body != "hello" {
		t.Errorf("%d %s", code, body)
	}
	get(t, c, "http://api.example/open")
	for _, end := range []string{"x", "y"} {
		get(t, c, "http://api.example/open?"+strings.Repeat("q", MaxQueryBytes)+end)
	}
	if first, none, long, other := <-queries, <-queries, <-queries, <-queries; first != "?token=1" || none != "" || !strings.Contains(long, "SHA-256 ") || len(long) > 200 || long == other {
		t.Errorf("asked with %q, %q, %q, %q", first, none, long, other)
	}
	before := len(w.dialled())
	for _, want := range []struct {
		path string
		code int
		says string
	}{
		{"/admin", 403, "policy no-admin forbids it"},
		{"/unknown", 503, "could not be decided"},
	} {
		if code, body := get(t, c, "http://api.example"+want.path); code != want.code || !strings.Contains(body, `"rule":"network.policy"`) || !strings.Contains(body, want.says) {
			t.Errorf("%s: %d %s", want.path, code, body)
		}
	}
	if _, body := get(t, c, "https://tls.example/"); !strings.Contains(body, "Forbidden") {
		t.Errorf("a tunnel: %s", body)
	}
	if _, err := b.DialContext(t.Context(), "tcp", "api.example:80"); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("the server's own: %v", err)
	}
	if n := len(w.dialled()); n != before {
		t.Errorf("%d were dialled", n-before)
	}
	r := b.await("a refusal", func(r Record) bool { return r.Path == "/admin" })
	if r.Allowed || r.Rule != RulePolicy || !strings.Contains(r.Reason, "no-admin") || stead.KindOf(r.Cause) != stead.KindForbidden {
		t.Errorf("%+v", r)
	}
}

// TestWhatBeganIsEnded: whoever watches ends a request, a tunnel and a connection of the server's own in their middle, and what is on record says why.
func TestWhatBeganIsEnded(t *testing.T) {
	w := newWorld(t)
	endless := func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := rw.Write([]byte("more ")); err != nil {
				return
			}
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	w.plain(endless, "api.example")
	w.secure(endless, "tls.example")
	ends, over := make(chan func(error), 9), make(chan string, 9)
	b := w.box(Policy{Access: AccessEnabled}, func(c *Config) {
		c.Watch = func(r Record, end func(error)) func() {
			ends <- end
			return func() { over <- r.Host }
		}
	})
	for _, kind := range []string{KindRequest, KindTunnel, KindDial} {
		var from io.ReadCloser
		switch kind {
		case KindDial:
			c, err := b.DialContext(t.Context(), "tcp", "api.example:80")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			from = c
		default:
			res, err := b.client().Get(map[string]string{KindRequest: "http://api.example/", KindTunnel: "https://tls.example/"}[kind])
			if err != nil {
				t.Fatal(err)
			}
			from = res.Body
		}
		if _, err := io.ReadFull(from, make([]byte, 20)); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		(<-ends)(errors.New("it was stopped: it leaks"))
		if _, err := io.Copy(io.Discard, from); err == nil && kind != KindDial {
			t.Errorf("%s: it came to its end", kind)
		}
		_ = from.Close()
		r := b.await("the end of a "+kind, func(r Record) bool { return r.Phase == PhaseEnded && r.Kind == kind })
		if r.Rule != RulePolicy || !strings.Contains(r.Reason, "it leaks") {
			t.Errorf("%s: %+v", kind, r)
		}
		<-over
	}
}

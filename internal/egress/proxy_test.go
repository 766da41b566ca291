package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

func TestPlainRequest(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	b := w.box(allow("web.example"))
	status, body := get(t, b.client(), "http://web.example/a/b?secret=query")
	if status != 200 || body != "hello from web.example" {
		t.Fatalf("%d %q", status, body)
	}
	end := b.await("the end", func(r Record) bool { return r.Phase == PhaseEnded })
	if end.Path != "/a/b" || end.Method != "GET" || end.Status != 200 || end.Up == 0 || end.Down == 0 || end.Addr.String() != "93.184.1.34" || end.Port != 80 {
		t.Errorf("the record is %+v", end)
	}
	if first := b.recorded()[0]; first.Phase != PhaseDecided || !first.Allowed || first.ID != end.ID {
		t.Errorf("the decision is %+v", first)
	}
}

func TestTunnelLeavesTLSAlone(t *testing.T) {
	w := newWorld(t)
	s := w.secure(hello200, "web.example")
	b := w.box(allow("web.example"))
	c := b.client()
	res, err := c.Get("https://web.example/x")
	must(t, err)
	_, err = io.ReadAll(res.Body)
	must(t, err)
	if !bytes.Equal(res.TLS.PeerCertificates[0].Raw, s.TLS.Certificates[0].Certificate[0]) {
		t.Error("the certificate is not the server's")
	}
	c.CloseIdleConnections()
	end := b.await("the end", func(r Record) bool { return r.Phase == PhaseEnded })
	if end.Kind != KindTunnel || end.Path != "" || end.Up == 0 || end.Down == 0 {
		t.Errorf("the record is %+v", end)
	}
	if u := b.Usage(); u.Connections != 1 || u.UpBytes != end.Up || u.DownBytes != end.Down {
		t.Errorf("usage %+v, record %+v", u, end)
	}
}

func TestRefusalSaysWhatIsAllowed(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "other.example")
	b := w.box(allow("web.example", ".good.example"))
	for _, raw := range []string{
		"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
		"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n",
	} {
		res, body := b.say(raw)
		if res.StatusCode != 403 || !strings.Contains(body, RuleAllowed) || !strings.Contains(body, `"allowed_domains":["web.example",".good.example"]`) || !strings.Contains(body, "other.example") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		if !strings.Contains(res.Status, RuleAllowed) || !strings.HasPrefix(res.Header.Get("Proxy-Status"), "stead; error=http_request_denied") {
			t.Errorf("status %q, fields %v", res.Status, res.Header)
		}
	}
	if w.asked["other.example"] != 0 || len(w.dialled()) != 0 {
		t.Error("a refused name was looked up")
	}
	if r := b.recorded(); len(r) != 2 || r[0].Allowed || r[0].Rule != RuleAllowed || b.Usage().Refused != 2 {
		t.Errorf("records %+v", r)
	}
}

func TestDisabledRefusesAll(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	for _, p := range []Policy{{Access: AccessDisabled}, {Access: AccessRestricted}} {
		if res, body := w.box(p).say("GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n"); res.StatusCode != 403 || !strings.Contains(body, RuleAccess) {
			t.Errorf("%v: %d %s", p, res.StatusCode, body)
		}
	}
}

// TestNothingFlowsUnrecorded: an error of the recorder means no, and the other end sees no connection.
func TestNothingFlowsUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	w.secure(hello200, "tls.example")
	b := w.box(allow("web.example", "tls.example"))
	b.refuse = errors.New("the disk is full")
	for _, raw := range []string{
		"GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n",
		"CONNECT tls.example:443 HTTP/1.1\r\nHost: tls.example:443\r\n\r\n",
	} {
		if res, body := b.say(raw); res.StatusCode != 503 || !strings.Contains(body, RuleRecord) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	if _, err := b.DialContext(t.Context(), "tcp", "web.example:80"); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("dial: %v", err)
	}
	if d := w.dialled(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
}

// TestRequestsOfOneConnectionAreDecidedOneByOne: a kept connection can't be used to switch hosts.
func TestRequestsOfOneConnectionAreDecidedOneByOne(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	w.plain(hello200, "two.example")
	w.plain(hello200, "other.example")
	b := w.box(allow("web.example", "two.example"))
	c := b.conn()
	r := bufio.NewReader(c)
	for _, step := range []struct {
		host   string
		status int
	}{{"web.example", 200}, {"web.example", 200}, {"two.example", 200}, {"other.example", 403}} {
		fmt.Fprintf(c, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n", step.host, step.host)
		if res, body := readAnswer(t, r); res == nil || res.StatusCode != step.status {
			t.Fatalf("%v: %v %s", step, res, body)
		}
	}
	if d := w.dialled(); len(d) != 2 {
		t.Errorf("dialled %v: the second request was to reuse the first's connection", d)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still open after a refusal: %v", err)
	}
}

// TestKeptConnectionThatTheServerClosed is replaced without the client noticing.
func TestKeptConnectionThatTheServerClosed(t *testing.T) {
	w := newWorld(t)
	w.raw(80, func(c net.Conn) { // answers one request and closes, without saying so before
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}, "web.example")
	b := w.box(allow("web.example"))
	c := b.conn()
	r := bufio.NewReader(c)
	for i := range 5 {
		_, _ = io.WriteString(c, "POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1\r\n\r\nx")
		res, body := readAnswer(t, r)
		if res == nil || body != "ok" {
			t.Fatalf("request %d: %v %s", i, res, body)
		}
		waitFor(t, "the close to arrive", func() bool { return len(w.dialled()) == i+1 })
		time.Sleep(5 * time.Millisecond) // the FIN is on its way over loopback
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	w.plain(func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%d %v %v", n, r.TransferEncoding, err)
	}, "web.example")
	c := w.box(allow("web.example")).client()
	big := bytes.Repeat([]byte("x"), 3<<20)
	for _, tc := range []struct {
		body io.Reader
		want string
	}{
		{bytes.NewReader(big), "3145728 [] <nil>"},
		{io.MultiReader(bytes.NewReader(big), strings.NewReader("y")), "3145729 [chunked] <nil>"},
		{strings.NewReader(""), "0 [] <nil>"},
	} {
		req, err := http.NewRequest("POST", "http://web.example/", tc.body)
		must(t, err)
		req.Header.Set("Expect", "100-continue")
		res, err := c.Do(req)
		must(t, err)
		got, err := io.ReadAll(res.Body)
		must(t, err)
		res.Body.Close()
		if string(got) != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

// TestStreamFlows: an event is passed on before the next one is there.
func TestStreamFlows(t *testing.T) {
	w := newWorld(t)
	step := make(chan struct{})
	w.plain(func(rw http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			rw.(http.Flusher).Flush()
			<-step
		}
	}, "web.example")
	res, err := w.box(allow("web.example")).client().Get("http://web.example/")
	must(t, err)
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		must(t, err)
		if line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("line %q", line)
		}
		_, _ = r.ReadString('\n')
		step <- struct{}{}
	}
}

// TestClientThatLeavesEndsItsRequest: nobody waits for an answer that nobody reads.
func TestClientThatLeavesEndsItsRequest(t *testing.T) {
	w := newWorld(t)
	began, gone := make(chan struct{}), make(chan struct{})
	w.plain(func(_ http.ResponseWriter, r *http.Request) { close(began); <-r.Context().Done(); close(gone) }, "web.example")
	b := w.box(allow("web.example"))
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://web.example/", nil)
	must(t, err)
	go func() { <-began; cancel() }()
	if _, err := b.client().Do(req); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the server still works for a client that has left")
	}
}

func TestWebSocket(t *testing.T) {
	w := newWorld(t)
	serve := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			http.Error(rw, "no upgrade", 400)
			return
		}
		conn, buf, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, buf)
	}
	w.plain(serve, "web.example")
	b := w.box(allow("web.example"))
	for _, open := range []string{"", "CONNECT web.example:80 HTTP/1.1\r\nHost: web.example\r\n\r\n"} {
		c := b.conn()
		r := bufio.NewReader(c)
		target := "http://web.example/"
		if open != "" {
			target = "/"
			_, _ = io.WriteString(c, open)
			if line, _ := r.ReadString('\n'); !strings.Contains(line, "200") {
				t.Fatal(line)
			}
			_, _ = r.ReadString('\n')
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: web.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", target)
		res, err := http.ReadResponse(r, nil)
		must(t, err)
		if res.StatusCode != 101 {
			t.Fatalf("status %s", res.Status)
		}
		_, _ = io.WriteString(c, "ping")
		must(t, c.(*net.UnixConn).CloseWrite())
		if got, _ := io.ReadAll(r); string(got) != "ping" {
			t.Errorf("echo %q", got)
		}
	}
}

func TestDialContext(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example", "secret.example")
	b := w.box(allow("web.example"))
	c := &http.Client{Transport: &http.Transport{DialContext: b.DialContext, DisableKeepAlives: true}}
	if status, body := get(t, c, "http://web.example/"); status != 200 {
		t.Fatal(body)
	}
	end := b.await("the end", func(r Record) bool { return r.Phase == PhaseEnded })
	if end.Kind != KindDial || end.Up == 0 || end.Down == 0 {
		t.Errorf("record %+v", end)
	}
	for addr, kind := range map[string]stead.Kind{
		"secret.example:80": stead.KindForbidden, "127.0.0.1:80": stead.KindForbidden, "[::1]:80": stead.KindForbidden,
		"0x7f.1:80": stead.KindInvalid, "web.example:0": stead.KindInvalid, "web.example": stead.KindInvalid,
	} {
		if _, err := b.DialContext(t.Context(), "tcp", addr); stead.KindOf(err) != kind {
			t.Errorf("%s: %v (%s)", addr, err, stead.KindOf(err))
		}
	}
	if a, err := b.Check(t.Context(), "WEB.example.", 80); err != nil || a.String() != "93.184.1.34:80" {
		t.Errorf("check: %v %v", a, err)
	}
}

// TestCloseEndsAll: after Close nothing runs, and every record has its end.
func TestCloseEndsAll(t *testing.T) {
	w := newWorld(t)
	w.plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "web.example")
	w.raw(443, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "tls.example")
	b := w.box(allow("web.example", "tls.example"))
	_, _ = io.WriteString(b.conn(), "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n")
	_, _ = io.WriteString(b.conn(), "CONNECT tls.example:443 HTTP/1.1\r\n\r\n\x16\x03")
	dialled, err := b.DialContext(t.Context(), "tcp", "web.example:80")
	must(t, err)
	waitFor(t, "three dials", func() bool { return len(w.dialled()) == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, b.Close(ctx))
	if _, err := dialled.Write([]byte("x")); err == nil {
		t.Error("a connection outlived its proxy")
	}
	ended := 0
	for _, r := range b.recorded() {
		if r.Phase == PhaseEnded {
			ended++
		}
	}
	if ended != 3 {
		t.Errorf("%d of 3 records have an end", ended)
	}
	if _, err := b.DialContext(t.Context(), "tcp", "web.example:80"); err == nil {
		t.Error("a closed proxy dials")
	}
}

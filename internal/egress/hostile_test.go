package egress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// TestFloodOfGarbage fills no audit: what is no request is recorded once a second.
func TestFloodOfGarbage(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	b := w.box(allow("web.example"), func(c *Config) { c.Now = func() time.Time { return now } })
	for range 200 {
		if res, _ := b.say("garbage\r\n\r\n"); res == nil || res.StatusCode != 400 {
			t.Fatal(res)
		}
	}
	if n := len(b.recorded()); n != 1 || b.Usage().Refused != 200 {
		t.Errorf("%d records, %+v", n, b.Usage())
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestRebinding: a name is looked up once for each connection, and the address that was checked is
// the one that is dialled, whatever the name says a moment later.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "real.example")
	public := w.names["real.example"][0]
	w.names["evil.example"] = addrs("127.0.0.1")
	w.next["evil.example"] = [][]netip.Addr{{public}}
	b := w.box(allow(".example"))
	if status, body := get(t, b.client(), "http://evil.example/"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if n := w.asked["evil.example"]; n != 1 {
		t.Errorf("the name was looked up %d times for one connection", n)
	}
	if status, body := get(t, b.client(), "http://evil.example/"); status != 403 || strings.Contains(body, "127.0.0.1") {
		t.Errorf("after it was rebound: %d %s", status, body)
	}
	for _, d := range w.dialled() {
		if d.Addr() != public {
			t.Errorf("dialled %s", d)
		}
	}
	end := b.await("the refusal", func(r Record) bool { return !r.Allowed })
	if end.Rule != RulePrivate || !strings.Contains(end.Reason, "127.0.0.1 loopback") {
		t.Errorf("the operator's record says %+v", end)
	}
}

// TestInternalNames: names that lead inside are refused in the words of names that do not exist.
func TestInternalNames(t *testing.T) {
	w := newWorld(t)
	b := w.box(Policy{Access: AccessEnabled, Limits: Limits{PerMinute: 10000}})
	reach := map[string]string{}
	for i, a := range []string{
		"10.0.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "100.100.100.200", "168.63.129.16", "192.168.1.1", "224.0.0.1", "255.255.255.255", "::1", "::",
		"fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "fec0::1",
	} {
		name := fmt.Sprintf("n%d.internal.test", i)
		w.names[name] = addrs(a)
		reach[name] = a
	}
	_, missing := b.say("GET http://missing.test/ HTTP/1.1\r\nHost: missing.test\r\n\r\n")
	for name, a := range reach {
		for _, raw := range []string{
			"GET http://" + name + "/ HTTP/1.1\r\nHost: " + name + "\r\n\r\n",
			"CONNECT " + name + ":443 HTTP/1.1\r\n\r\n",
		} {
			res, body := b.say(raw)
			if res.StatusCode != 403 || strings.ReplaceAll(body, name, "missing.test") != missing {
				t.Errorf("%s at %s: %d %s", name, a, res.StatusCode, body)
			}
			if strings.Contains(body+fmt.Sprint(res.Header), a) {
				t.Errorf("%s: the answer names the address: %s %v", a, body, res.Header)
			}
		}
		if _, err := b.Check(t.Context(), name, 443); stead.KindOf(err) != stead.KindForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := w.dialled(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
}

// TestMixedAnswers: of a name with public and other addresses the public ones are used.
func TestMixedAnswers(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	public := w.names["web.example"][0]
	w.names["web.example"] = append(addrs("127.0.0.1", "169.254.169.254", "::1", "64:ff9b::5db8:d822"), public)
	b := w.box(allow("web.example"))
	if status, body := get(t, b.client(), "http://web.example/"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if d := w.dialled(); len(d) != 1 || d[0].Addr() != public {
		t.Errorf("dialled %v", d)
	}
}

// TestRedirects are answers: the client follows them through the proxy and is decided again.
func TestRedirects(t *testing.T) {
	w := newWorld(t)
	to := ""
	w.plain(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) }, "web.example")
	w.names["inside.example"] = addrs("10.0.0.1")
	b := w.box(allow("web.example", "inside.example"))
	for _, to = range []string{
		"http://inside.example/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1/", "http://[::1]/", "http://other.example/", "https://169.254.169.254/", "http://0x7f.1/",
	} {
		status, body := get(t, b.client(), "http://web.example/")
		if status == 200 || status == 302 || strings.HasPrefix(to, "http:") && status != 403 {
			t.Errorf("%s: %d %s", to, status, body)
		}
	}
	for _, d := range w.dialled() {
		if d.Addr() != w.names["web.example"][0] {
			t.Errorf("dialled %s", d)
		}
	}
}

// TestOperatorsPrivateNames reach what the operator names, and nothing beside it.
func TestOperatorsPrivateNames(t *testing.T) {
	w := newWorld(t)
	s := w.plain(hello200)
	w.names["git.corp.test"], w.names["other.corp.test"] = addrs("10.1.2.3"), addrs("10.1.2.3")
	w.at[netip.MustParseAddrPort("10.1.2.3:80")] = s.Listener.Addr().String()
	p := allow(".corp.test")
	p.Private = []string{"git.corp.test"}
	c := w.box(p).client()
	if status, body := get(t, c, "http://git.corp.test/"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get(t, c, "http://other.corp.test/"); status != 403 {
		t.Errorf("%d %s", status, body)
	}
}

// TestRealLoopback uses the machine's own network: with the operator's word a server on loopback is
// reached through the real dialler, and without it not.
func TestRealLoopback(t *testing.T) {
	w := newWorld(t)
	s := w.plain(hello200)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	w.names["here.test"] = addrs("127.0.0.1")
	url := fmt.Sprintf("http://here.test:%d/", port)
	real := func(c *Config) { c.Dial = nil }
	if status, body := get(t, w.box(Policy{Access: AccessEnabled}, real).client(), url); status != 403 {
		t.Errorf("without the operator's word: %d %s", status, body)
	}
	if status, body := get(t, w.box(Policy{Access: AccessEnabled, Private: []string{"127.0.0.0/8"}}, real).client(), url); status != 200 {
		t.Errorf("with it: %d %s", status, body)
	}
}

// TestResolverTrouble is no refusal, and says nothing of the resolver.
func TestResolverTrouble(t *testing.T) {
	w := newWorld(t)
	w.fail["web.example"] = &net.DNSError{Err: "timeout", Name: "web.example", Server: "10.9.8.7:53", IsTimeout: true}
	b := w.box(allow("web.example"))
	if status, body := get(t, b.client(), "http://web.example/"); status != 504 || strings.Contains(body, "10.9.8.7") {
		t.Errorf("%d %s", status, body)
	}
	w.mu.Lock()
	delete(w.fail, "web.example")
	w.names["web.example"] = addrs("93.184.216.34") // nothing is there
	w.mu.Unlock()
	if status, body := get(t, b.client(), "http://web.example/"); status != 502 || strings.Contains(body, "93.184") {
		t.Errorf("%d %s", status, body)
	}
}

// TestSlowHeads: a client that trickles its request loses its connection, on both kinds of tunnel too.
func TestSlowClients(t *testing.T) {
	w := newWorld(t)
	w.raw(443, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "web.example")
	short := func(c *Config) {
		c.Timeouts = Timeouts{Head: 100 * time.Millisecond, KeptIdle: 100 * time.Millisecond, Idle: 100 * time.Millisecond}
	}
	b := w.box(allow("web.example"), short)
	for name, said := range map[string]string{
		"nothing":           "",
		"half a line":       "GET http://web.exam",
		"half a head":       "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n",
		"a tunnel, silent":  "CONNECT web.example:443 HTTP/1.1\r\n\r\n",
		"half a hello":      "CONNECT web.example:443 HTTP/1.1\r\n\r\n\x16\x03\x01\x02",
		"a hello, then not": "CONNECT web.example:443 HTTP/1.1\r\n\r\n" + string(helloOf(t, helloFor("web.example"))),
	} {
		c := b.conn()
		_, _ = io.WriteString(c, said)
		began := time.Now()
		if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(began); d > 8*time.Second {
			t.Errorf("%s: cut off after %s", name, d)
		}
	}
}

// TestSlowServer: neither a server that says nothing nor one that stops in the middle holds a client.
func TestSlowServers(t *testing.T) {
	w := newWorld(t)
	stall := func(said string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, said)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	w.raw(80, stall(""), "mute.example")
	w.raw(80, stall("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "half.example")
	short := func(c *Config) { c.Timeouts = Timeouts{Answer: 100 * time.Millisecond, Idle: 100 * time.Millisecond} }
	b := w.box(allow(".example"), short)
	if status, body := get(t, b.client(), "http://mute.example/"); status != 504 {
		t.Errorf("%d %s", status, body)
	}
	res, err := b.client().Get("http://half.example/")
	must(t, err)
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("half an answer is whole: %q", body)
	}
	b.await("its end", func(r Record) bool { return r.Host == "half.example" && r.Phase == PhaseEnded && r.Rule == RuleOutside })
}

// TestClientThatReadsNothing does not fill the proxy: it is cut off, and the server with it.
func TestClientThatReadsNothing(t *testing.T) {
	w := newWorld(t)
	ended := make(chan struct{})
	w.plain(func(rw http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}, "web.example")
	b := w.box(allow("web.example"), func(c *Config) { c.Timeouts.Write = 200 * time.Millisecond })
	_, _ = io.WriteString(b.conn(), "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the server still writes")
	}
}

func TestTotalTime(t *testing.T) {
	w := newWorld(t)
	w.plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "web.example")
	b := w.box(allow("web.example"), func(c *Config) { c.Timeouts.Total = 100 * time.Millisecond })
	c := b.conn()
	_, _ = io.WriteString(c, "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n")
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

// TestSecretsStayOut: after a session with refusals, failures and successes, neither the log nor a
// record has the secret, and records have no placeholder, query or header.
func TestSecretsStayOut(t *testing.T) {
	w := newWorld(t)
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/die":
			panic(http.ErrAbortHandler)
		case "/echo":
			fmt.Fprint(rw, r.Header)
		}
	}, "api.example")
	w.raw(443, func(c net.Conn) { _, _ = io.WriteString(c, "not TLS") }, "broken.example")
	b := w.box(allow(".example"), with(token("api.example", "broken.example")))
	ph := token().Placeholder
	for _, url := range []string{"https://api.example/die?q=" + "query-text", "https://api.example/echo", "https://broken.example/", "http://api.example/", "https://api.example/" + ph} {
		_, _ = get(t, b.client(), url, "Authorization", "Bearer "+ph, "X-Header", "header-text")
	}
	for _, raw := range []string{
		"GET https://api.example/?query-text HTTP/1.1\r\n\r\n", "GET http://query-text@api.example/ HTTP/1.1\r\n\r\n", "GET http://api.example:x?query-text HTTP/1.1\r\n\r\n",
		"GET http://" + ph + "/ HTTP/1.1\r\n\r\n", "GET query-text HTTP/1.1 x\r\n\r\n", "GET http://api.example/ HTTP/1.1\r\nheader-text\r\n\r\n",
		"GET http://api.example/ HTTP/1.1\r\nHost: " + ph + "\r\n\r\n", "CONNECT " + ph + ":443 HTTP/1.1\r\n\r\n",
	} {
		_, _ = b.say(raw)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, b.Close(ctx))
	all := fmt.Sprintf("%+v\n%s", b.recorded(), b.log)
	for _, s := range []string{secret, ph, "query-text", "header-text"} {
		if strings.Contains(all, s) {
			t.Errorf("%q stands in the log or in a record:\n%s", s, all)
		}
	}
}

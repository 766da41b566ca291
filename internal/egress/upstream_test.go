package egress

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
)

// officeProxy is an operator's own proxy: it answers CONNECT and leads to the world's servers.
type officeProxy struct {
	url   *url.URL
	mu    sync.Mutex
	asked []string // authorities, with the credentials that came
}

func newOffice(t *testing.T, w *world, status string) *officeProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	o := &officeProxy{url: &url.URL{Scheme: "http", Host: l.Addr().String(), User: url.UserPassword("stead", "pass:word")}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go o.serve(c, w, status)
		}
	}()
	return o
}

func (o *officeProxy) serve(c net.Conn, w *world, status string) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	auth, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(req.Header.Get("Proxy-Authorization"), "Basic "))
	o.mu.Lock()
	o.asked = append(o.asked, req.Host+" "+string(auth))
	o.mu.Unlock()
	if status != "200 OK" {
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nX-Office: internal detail\r\n\r\n", status)
		return
	}
	addr, err := netip.ParseAddrPort(req.Host)
	if err != nil { // a name, where this proxy resolves
		host, port, _ := strings.Cut(req.Host, ":")
		addr = netip.MustParseAddrPort(w.names[host][0].String() + ":" + port)
	}
	out, err := net.Dial("tcp", w.at[addr])
	if err != nil {
		return
	}
	defer out.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(out, c); _ = out.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(c, out)
}

// TestUpstreamIsAskedForTheCheckedAddress: the operator's proxy can't be made to resolve anew.
func TestUpstreamIsAskedForTheCheckedAddress(t *testing.T) {
	w := newWorld(t)
	w.secure(hello200, "api.example")
	w.secure(hello200, "web.example")
	w.plain(hello200, "web.example")
	office := newOffice(t, w, "200 OK")
	b := w.box(allow(".example"), with(token("api.example")), func(c *Config) { c.Upstream = office.url; c.Dial = nil })
	c := b.client()
	w.names["web.example"] = w.names["web.example"][:1]
	for _, u := range []string{"https://api.example/", "https://web.example/"} {
		if status, body := get(t, c, u); status != 200 {
			t.Errorf("%s: %d %s", u, status, body)
		}
	}
	want := "93.184.1.34:443 stead:pass:word, 93.184.2.34:443 stead:pass:word"
	if got := strings.Join(office.asked, ", "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func TestUpstreamThatResolves(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	office := newOffice(t, w, "200 OK")
	b := w.box(allow("web.example"), func(c *Config) { c.Upstream, c.UpstreamResolves = office.url, true })
	if status, body := get(t, b.client(), "http://web.example/"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if len(office.asked) != 1 || office.asked[0] != "web.example:80 stead:pass:word" || w.asked["web.example"] != 0 {
		t.Errorf("asked %v, looked up %d times here", office.asked, w.asked["web.example"])
	}
	if res, _ := b.say("GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"); res.StatusCode != 403 {
		t.Errorf("a literal: %d", res.StatusCode)
	}
}

func TestUpstreamThatRefuses(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	office := newOffice(t, w, "407 Proxy Authentication Required")
	b := w.box(allow("web.example"), func(c *Config) { c.Upstream = office.url })
	if status, body := get(t, b.client(), "http://web.example/"); status != 502 || strings.Contains(body, "office") || strings.Contains(body, "407") {
		t.Errorf("%d %s", status, body)
	}
	if all := fmt.Sprintf("%+v %s", b.recorded(), b.log); strings.Contains(all, "pass:word") {
		t.Errorf("the operator's password stands in %s", all)
	}
	for _, u := range []string{"https://proxy:3128", "http://proxy", "proxy:3128", "socks5://proxy:1080"} {
		parsed, err := url.Parse(u)
		if err != nil {
			continue
		}
		if _, err := New(Config{Policy: allow("a.example"), Recorder: b.recorder, Upstream: parsed}); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", u, err)
		}
	}
}

package egress

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestSmuggling: what two parsers could read differently never leaves. Each is sent before a request
// that is fine, so that one that slipped through would show.
func TestSmuggling(t *testing.T) {
	w := newWorld(t)
	w.plain(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a request went out: %v", r) }, "web.example")
	b := w.box(allow("web.example"))
	const line = "POST http://web.example/ HTTP/1.1\r\n"
	const host = "Host: web.example\r\n"
	const next = "GET http://web.example/next HTTP/1.1\r\nHost: web.example\r\n\r\n"
	for name, raw := range map[string]string{
		"length and coding":          line + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"coding and length":          line + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two lengths":                line + host + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
		"the same length twice":      line + host + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
		"a list of lengths":          line + host + "Content-Length: 4, 4\r\n\r\nabcd",
		"a signed length":            line + host + "Content-Length: +4\r\n\r\nabcd",
		"a negative length":          line + host + "Content-Length: -1\r\n\r\nabcd",
		"a hexadecimal length":       line + host + "Content-Length: 0x4\r\n\r\nabcd",
		"a huge length":              line + host + "Content-Length: 99999999999999999999\r\n\r\nabcd",
		"an empty length":            line + host + "Content-Length: \r\n\r\nabcd",
		"two codings":                line + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"a list of codings":          line + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a strange coding":           line + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a quoted coding":            line + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		"a coding in 1.0":            "POST http://web.example/ HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":   line + host + "Content-Length : 4\r\n\r\nabcd",
		"a tab before the colon":     line + host + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
		"a folded field":             line + host + "X: a\r\n Content-Length: 4\r\n\r\nabcd",
		"a folded first field":       line + " Host: web.example\r\n\r\n",
		"a bare line feed":           line + host + "X: a\nContent-Length: 4\r\n\r\nabcd",
		"bare line feeds":            "GET http://web.example/ HTTP/1.1\nHost: web.example\n\n",
		"a bare return":              line + host + "X: a\rContent-Length: 4\r\n\r\nabcd",
		"a NUL in a value":           line + host + "X: a\x00b\r\n\r\n",
		"a NUL in a name":            line + host + "X\x00: a\r\n\r\n",
		"no colon":                   line + host + "Content-Length 4\r\n\r\nabcd",
		"an empty name":              line + host + ": 4\r\n\r\nabcd",
		"a name that is no token":    line + host + "Content(Length): 4\r\n\r\nabcd",
		"no host":                    line + "\r\n",
		"two hosts":                  line + host + host + "\r\n",
		"an empty line in front":     "\r\n" + line + host + "\r\n",
		"HTTP/0.9":                   "GET http://web.example/\r\n\r\n",
		"HTTP/1.2":                   "GET http://web.example/ HTTP/1.2\r\n" + host + "\r\n",
		"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"lower-case http":            "GET http://web.example/ http/1.1\r\n" + host + "\r\n",
		"two spaces":                 "GET  http://web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"a tab":                      "GET\thttp://web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"a space in the target":      "GET http://web.example/a b HTTP/1.1\r\n" + host + "\r\n",
		"a control in the target":    "GET http://web.example/\x01 HTTP/1.1\r\n" + host + "\r\n",
		"a bad method":               "G(T http://web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"another expectation":        line + host + "Expect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd",
		"a CONNECT with a body":      "CONNECT web.example:80 HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
		"a fragment":                 "GET http://web.example/#x HTTP/1.1\r\n" + host + "\r\n",
		"origin form":                "GET / HTTP/1.1\r\n" + host + "\r\n",
		"a star":                     "OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
		"https in absolute form":     "GET https://web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"ftp":                        "GET ftp://web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"file":                       "GET file:///etc/passwd HTTP/1.1\r\n" + host + "\r\n",
		"user information":           "GET http://user:pass@web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"user information that lies": "GET http://web.example@other.example/ HTTP/1.1\r\n" + host + "\r\n",
		"a backslash":                "GET http://other.example\\@web.example/ HTTP/1.1\r\n" + host + "\r\n",
		"a CONNECT without port":     "CONNECT web.example HTTP/1.1\r\n\r\n",
		"a CONNECT with a path":      "CONNECT web.example:80/ HTTP/1.1\r\n\r\n",
		"a CONNECT with a scheme":    "CONNECT http://web.example:80 HTTP/1.1\r\n\r\n",
		"a port above 65535":         "CONNECT web.example:65616 HTTP/1.1\r\n\r\n",
		"an octal port":              "CONNECT web.example:080 HTTP/1.1\r\n\r\n",
	} {
		res, body := b.say(raw + next)
		if res == nil || res.StatusCode < 400 || res.StatusCode >= 500 && res.StatusCode != 505 {
			t.Errorf("%s: %v %s", name, res, body)
			continue
		}
		if res.Header.Get("Connection") != "close" && !res.Close {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

// TestFronting: the Host field must name the host that was decided on.
func TestFronting(t *testing.T) {
	w := newWorld(t)
	w.plain(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a request went out: %v", r) }, "web.example", "two.example")
	b := w.box(allow("web.example", "two.example"))
	for _, raw := range []string{
		"GET http://web.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
		"GET http://web.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n",
		"GET http://web.example/ HTTP/1.0\r\nHost: two.example\r\n\r\n",
		"GET http://web.example/ HTTP/1.1\r\nHost: web.example:8080\r\n\r\n",
		"GET http://web.example/ HTTP/1.1\r\nHost: web.example@two.example\r\n\r\n",
		"GET http://web.example/ HTTP/1.1\r\nHost: web.example, two.example\r\n\r\n",
	} {
		if res, body := b.say(raw); res == nil || res.StatusCode != 403 || !strings.Contains(body, RuleHost) {
			t.Errorf("%q: %v %s", raw, res, body)
		}
	}
}

// TestWhatArrives: the other end reads the request in one form only, without fields of our hop.
func TestWhatArrives(t *testing.T) {
	w := newWorld(t)
	var got []byte
	seen := make(chan struct{})
	w.raw(80, func(c net.Conn) {
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		got = buf[:n]
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		close(seen)
	}, "web.example")
	b := w.box(allow("web.example"))
	res, _ := b.say("GET HTTP://WEB.example.?q=%00 HTTP/1.1\r\nHost: Web.Example:80\r\nX-Order: 1\r\nConnection: keep-alive, X-Hop, close\r\nX-Hop: 1\r\n" +
		"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\nTrailer: X\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nx-ORDER: 2\r\n\r\n")
	if res == nil || res.StatusCode != 204 {
		t.Fatal(res)
	}
	<-seen
	if want := "GET /?q=%00 HTTP/1.1\r\nHost: web.example\r\nX-Order: 1\r\nx-ORDER: 2\r\n\r\n"; string(got) != want {
		t.Errorf("the server got %q\nwant %q", got, want)
	}
}

// TestChunks: chunks are decoded strictly and written anew.
func TestChunks(t *testing.T) {
	for raw, want := range map[string]string{
		"0\r\n\r\n":             "",
		"3\r\nabc\r\n0\r\n\r\n": "abc",
		"3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n000\r\nX: y\r\n\r\n": "abc0123456789",
		"3 \r\nabc\r\n0\r\n\r\n":                                     "abc",
	} {
		got, err := io.ReadAll(framing{chunked: true}.body(bufio.NewReader(strings.NewReader(raw + "GET"))))
		if err != nil || string(got) != want {
			t.Errorf("%q: %q %v", raw, got, err)
		}
	}
	for _, raw := range []string{
		"", "3", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n",
		"0x3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n", "\r\n3\r\nabc\r\n0\r\n\r\n", "g\r\n",
		"ffffffffffffffffff\r\nabc", "3;\rx\r\nabc\r\n0\r\n\r\n", "0\r\nbad trailer\r\n\r\n", "0\r\n", "0\r\nX: y\r\n", "3;" + strings.Repeat("x", MaxChunkLineBytes) + "\r\nabc\r\n0\r\n\r\n",
		"0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 5) + "\r\n",
	} {
		if got, err := io.ReadAll(framing{chunked: true}.body(bufio.NewReader(strings.NewReader(raw)))); err == nil {
			t.Errorf("%.80q is read as %q", raw, got)
		}
	}
}

// TestBadChunksAreCutOff: the other end never sees the end of a body that is malformed.
func TestBadChunksAreCutOff(t *testing.T) {
	w := newWorld(t)
	bodies := make(chan string, 10)
	w.raw(80, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		bodies <- fmt.Sprintf("%s %v", body, err != nil)
	}, "web.example")
	b := w.box(allow("web.example"))
	for _, bad := range []string{"3\r\nabcX\r\n0\r\n\r\n", "3\r\nabc\r\n0x0\r\n\r\n", "3\r\nabc\r\n0\r\nGET http://web.example/ HTTP/1.1\r\n\r\n"} {
		res, body := b.say("POST http://web.example/ HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n" + bad)
		if res == nil || res.StatusCode != 400 {
			t.Errorf("%q: %v %s", bad, res, body)
		}
		if got := <-bodies; got != "abc true" {
			t.Errorf("%q: the server read %q", bad, got)
		}
	}
}

func TestHeaderBombs(t *testing.T) {
	w := newWorld(t)
	b := w.box(allow("web.example"))
	for name, raw := range map[string]string{
		"a long field":  "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nX: " + strings.Repeat("a", MaxHeadBytes) + "\r\n\r\n",
		"a long target": "GET http://web.example/" + strings.Repeat("a", MaxHeadBytes) + " HTTP/1.1\r\nHost: web.example\r\n\r\n",
		"many fields":   "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n" + strings.Repeat("X: a\r\n", MaxFields) + "\r\n",
		"a long line":   strings.Repeat("a", MaxHeadBytes+readerBytes),
	} {
		if res, body := b.say(raw); res == nil || res.StatusCode != 431 {
			t.Errorf("%s: %v %s", name, res, body)
		}
	}
	long := strings.Repeat("a", 300) + ".example"
	for _, raw := range []string{"GET http://" + long + "/ HTTP/1.1\r\nHost: " + long + "\r\n\r\n", "CONNECT " + long + ":443 HTTP/1.1\r\n\r\n"} {
		if res, _ := b.say(raw); res == nil || res.StatusCode != 403 {
			t.Errorf("a long host: %v", res)
		}
	}
	for _, r := range b.recorded() {
		if len(r.Host) > maxNameBytes || len(r.Path) > MaxPathBytes {
			t.Errorf("a record holds a host of %d and a path of %d bytes", len(r.Host), len(r.Path))
		}
	}
}

// TestAnswerBombs: a server can't fill the proxy either.
func TestAnswerBombs(t *testing.T) {
	w := newWorld(t)
	bombs := map[string]func(io.Writer){
		"head.example": func(out io.Writer) {
			_, _ = io.WriteString(out, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(out, "X: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		},
		"interim.example": func(out io.Writer) {
			for {
				if _, err := io.WriteString(out, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
					return
				}
			}
		},
		"switch.example": func(out io.Writer) {
			_, _ = io.WriteString(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
		},
		"garbage.example": func(out io.Writer) { _, _ = io.WriteString(out, "SSH-2.0-OpenSSH_9.2\r\n") },
		"nothing.example": func(io.Writer) {},
	}
	for name, bomb := range bombs {
		w.raw(80, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				bomb(c)
			}
		}, name)
	}
	b := w.box(allow(".example"))
	for name := range bombs {
		if status, body := get(t, b.client(), "http://"+name+"/"); status != 502 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n"))
	f.Add([]byte("CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\n\r\n"))
	f.Add([]byte("POST http://web.example:8080/?a HTTP/1.0\r\nContent-Length: 4\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\nConnection: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, err := readHead(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		h, no := parseHead(whole)
		if no != nil {
			_ = no.answer(false)
			return
		}
		s, path, no := h.proxied()
		if no != nil {
			return
		}
		frame, no := h.framing()
		if no != nil {
			return
		}
		// What is accepted, net/http must read in the same way once it is written anew.
		e := &exchange{p: &Proxy{}, h: h, site: s, path: path, frame: frame}
		h.drop(append(hopByHop(), members(h.values("Connection"))...)...)
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(e.headBytes())))
		if err != nil {
			if strings.ContainsAny(path, "%") || h.method == "PRI" || path == "*" {
				return // net/url is stricter about escapes, net/http about a method of HTTP/2
			}
			t.Fatalf("%q became %q: %v", raw, e.headBytes(), err)
		}
		if req.Host != s.authority() || req.Method != h.method || len(req.Header) > len(h.fields)+1 { // one for the length
			t.Fatalf("%q is read as %+v, not %+v", raw, req, s)
		}
		if got := req.ContentLength; frame.chunked && got != -1 || !frame.chunked && got != frame.length {
			t.Fatalf("%q: the body has %d bytes for net/http, %+v here", raw, got, frame)
		}
	})
}

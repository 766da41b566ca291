package egress

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// The benchmarks measure the same server over loopback directly and through the proxy, in one run: as
// a plain request, in a tunnel whose TLS is left alone, and with TLS opened, where two secrets'
// spellings are looked for in every byte.

const benchBytes = 64 << 20

type benchRoute struct {
	name   string
	url    string
	client func(keep bool) *http.Client
}

func benchRoutes(b *testing.B) []benchRoute {
	w := newWorld(b)
	block := make([]byte, 256<<10)
	for i := range block {
		block[i] = byte(i * 7)
	}
	serve := func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			for range benchBytes / len(block) {
				_, _ = rw.Write(block)
			}
		}
	}
	w.plain(serve, "web.example")
	w.secure(serve, "tls.example")
	w.secure(serve, "api.example")
	policy := allow(".example")
	policy.Limits = Limits{UpBytes: MaxBytes, DownBytes: MaxBytes, BytesPerSecond: MaxBytes, PerMinute: MaxPerMinute}
	cred := token("api.example")
	box := w.box(policy, with(cred), func(c *Config) { c.Recorder = func(context.Context, Record) error { return nil } })
	box.secrets.sent(cred.Placeholder, secret)
	direct := func(keep bool) *http.Client {
		tr := &http.Transport{DisableKeepAlives: !keep, TLSClientConfig: &tls.Config{RootCAs: w.roots()}}
		tr.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			port := map[bool]string{true: "80", false: "443"}[host == "web.example"]
			for a, to := range w.at {
				if a.Addr() == w.names[host][0] && itoa(a.Port()) == port {
					return (&net.Dialer{}).DialContext(ctx, "tcp", to)
				}
			}
			return nil, io.EOF
		}
		b.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	through := func(keep bool) *http.Client {
		c := box.client()
		c.Timeout = 0
		c.Transport.(*http.Transport).DisableKeepAlives = !keep
		return c
	}
	return []benchRoute{
		{"http-direct", "http://web.example", direct}, {"http-proxy", "http://web.example", through},
		{"tls-direct", "https://tls.example", direct}, {"tls-tunnel", "https://tls.example", through}, {"tls-opened", "https://api.example", through},
	}
}

func benchGet(b *testing.B, c *http.Client, url string) int64 {
	res, err := c.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 {
		b.Fatal(res.Status, err)
	}
	return n
}

// BenchmarkKept is a request on a connection that is there.
func BenchmarkKept(b *testing.B) {
	for _, r := range benchRoutes(b) {
		b.Run(r.name, func(b *testing.B) {
			c := r.client(true)
			for b.Loop() {
				benchGet(b, c, r.url)
			}
		})
	}
}

// BenchmarkNew is a request with a connection of its own, TLS handshakes included.
func BenchmarkNew(b *testing.B) {
	for _, r := range benchRoutes(b) {
		b.Run(r.name, func(b *testing.B) {
			c := r.client(false)
			for b.Loop() {
				benchGet(b, c, r.url)
			}
		})
	}
}

// BenchmarkDownload is 64 MiB.
func BenchmarkDownload(b *testing.B) {
	for _, r := range benchRoutes(b) {
		b.Run(r.name, func(b *testing.B) {
			c := r.client(true)
			b.SetBytes(benchBytes)
			for b.Loop() {
				if n := benchGet(b, c, r.url+"/big"); n != benchBytes {
					b.Fatal(n)
				}
			}
		})
	}
}

// BenchmarkMask is the search alone, for one secret with all its spellings.
func BenchmarkMask(b *testing.B) {
	s := newSecrets(nil, time.Now)
	s.sent("placeholder", secret)
	block := make([]byte, copyBytes)
	for i := range block {
		block[i] = byte(i * 7)
	}
	m := &masker{w: io.Discard, known: s.known()}
	b.SetBytes(copyBytes)
	for b.Loop() {
		_, _ = m.Write(block)
	}
}

package egress

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is the outside as a test makes it: names, public addresses that lead to servers on loopback,
// and an authority that all its TLS servers are signed by.
type world struct {
	t     testing.TB
	caKey *ecdsa.PrivateKey
	ca    *x509.Certificate

	mu    sync.Mutex
	names map[string][]netip.Addr   // what the resolver says
	next  map[string][][]netip.Addr // … one answer after the other, while there are some
	at    map[netip.AddrPort]string // public address → listener
	asked map[string]int            // name → lookups
	dials []netip.AddrPort          // in order
	fail  map[string]error          // name → the resolver's error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, names: map[string][]netip.Addr{}, next: map[string][][]netip.Addr{}, at: map[netip.AddrPort]string{}, asked: map[string]int{}, fail: map[string]error{}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "the outside"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	w.ca, err = x509.ParseCertificate(der)
	must(t, err)
	w.caKey = key
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.ca)
	return pool
}

func (w *world) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Raw})
}

func (w *world) leaf(names ...string) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	template := &x509.Certificate{SerialNumber: serial(), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, &key.PublicKey, w.caKey)
	must(w.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// LookupNetIP implements Resolver.
func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[host]++
	if err := w.fail[host]; err != nil {
		return nil, err
	}
	if next := w.next[host]; len(next) > 0 {
		w.next[host] = next[1:]
		return next[0], nil
	}
	if addrs, ok := w.names[host]; ok {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (w *world) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, a)
	to, ok := w.at[a]
	w.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: nothing is there", a)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", to)
}

func (w *world) dialled() []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]netip.AddrPort{}, w.dials...)
}

// place gives a listener a name and a public address, and returns the address.
func (w *world) place(l net.Listener, port uint16, names ...string) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := netip.AddrFrom4([4]byte{93, 184, byte(len(w.at) + 1), 34})
	w.at[netip.AddrPortFrom(a, port)] = l.Addr().String()
	for _, n := range names {
		w.names[n] = append(w.names[n], a)
	}
	return a
}

// secure and plain start servers for a name, at 443 and 80.
func (w *world) secure(h http.HandlerFunc, names ...string) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{w.leaf(names...)}}
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.place(s.Listener, 443, names...)
	return s
}

func (w *world) plain(h http.HandlerFunc, names ...string) *httptest.Server {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.place(s.Listener, 80, names...)
	return s
}

// raw starts a TCP server that hands each connection to serve.
func (w *world) raw(port uint16, serve func(net.Conn), names ...string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	w.place(l, port, names...)
}

// box is an environment's end: a proxy on a socket, and what it recorded and logged.
type box struct {
	*Proxy
	w    *world
	sock string
	log  *safeBuffer

	mu      sync.Mutex
	records []Record
	refuse  error // of the recorder
}

type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (w *world) box(p Policy, mend ...func(*Config)) *box {
	w.t.Helper()
	b := &box{w: w, log: &safeBuffer{}}
	cfg := Config{
		Policy: p, Resolver: w, Dial: w.dial, Roots: w.roots(), Recorder: b.recorder,
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range mend {
		f(&cfg)
	}
	var err error
	b.Proxy, err = New(cfg)
	must(w.t, err)
	b.sock = filepath.Join(w.t.TempDir(), "egress.sock")
	l, err := net.Listen("unix", b.sock)
	must(w.t, err)
	b.serve(l)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			w.t.Errorf("close: %v", err)
		}
	})
	return b
}

func (b *box) serve(l net.Listener) {
	go func() {
		if err := b.Serve(l); err != nil {
			b.w.t.Errorf("serve: %v", err)
		}
	}()
}

func (b *box) recorder(_ context.Context, r Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.records = append(b.records, r)
	return nil
}

func (b *box) recorded() []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Record{}, b.records...)
}

// await waits until a record matches.
func (b *box) await(what string, match func(Record) bool) Record {
	b.w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		for _, r := range b.recorded() {
			if match(r) {
				return r
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	b.w.t.Fatalf("no record: %s; there are %+v", what, b.recorded())
	return Record{}
}

func (b *box) conn() net.Conn {
	b.w.t.Helper()
	c, err := net.Dial("unix", b.sock)
	must(b.w.t, err)
	b.w.t.Cleanup(func() { _ = c.Close() })
	must(b.w.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// client is a program inside: its proxy is the box, its roots those of the CA file.
func (b *box) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.CAFile(b.w.rootPEM()))
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.inside:3128"}),
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", b.sock) },
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}
	b.w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// say sends raw bytes and returns the first answer, or nil when the connection ended without one.
func (b *box) say(raw string) (*http.Response, string) {
	b.w.t.Helper()
	c := b.conn()
	defer c.Close()
	_, err := io.WriteString(c, raw)
	must(b.w.t, err)
	return readAnswer(b.w.t, bufio.NewReader(c))
}

func readAnswer(t testing.TB, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, ""
	}
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	return res, string(body)
}

func get(t *testing.T, c *http.Client, url string, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(body)
}

func hello200(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s", r.Host) }

func allow(names ...string) Policy { return Policy{Access: AccessRestricted, Allowed: names} }

package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
)

// wire is one connection to the outside. Its bytes are counted, slowed down to the rate, and stopped
// at the limit.
type wire struct {
	net.Conn
	p        *Proxy
	up, down atomic.Int64
	patience atomic.Int64 // nanoseconds that a read waits, anew after each write; 0: as the caller set it
}

func (w *wire) Read(b []byte) (int, error) {
	if d := w.patience.Load(); d > 0 {
		_ = w.Conn.SetReadDeadline(time.Now().Add(time.Duration(d)))
	}
	n, err := w.Conn.Read(b[:min(len(b), copyBytes)])
	if n == 0 {
		return n, err
	}
	if spent := w.pass(down, n); spent != nil {
		return 0, spent
	}
	w.down.Add(int64(n))
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		piece := b[:min(len(b), copyBytes)]
		if spent := w.pass(up, len(piece)); spent != nil {
			return written, spent
		}
		now := time.Now()
		_ = w.Conn.SetWriteDeadline(now.Add(w.p.times.Write))
		w.up.Add(int64(len(piece))) // before: the answer may be here, and the connection closed, before Write returns
		n, err := w.Conn.Write(piece)
		written += n
		w.up.Add(int64(n - len(piece)))
		if err != nil {
			return written, err
		}
		if d := w.patience.Load(); d > 0 { // an upload goes on: its answer may come later
			_ = w.Conn.SetReadDeadline(now.Add(time.Duration(d)))
		}
		b = b[n:]
	}
	return written, nil
}

func (w *wire) pass(d direction, n int) error {
	wait, err := w.p.meter.count(d, n, w.p.cfg.Now())
	if err != nil {
		return err
	}
	if wait > 0 && !sleep(w.p.ctx, wait) {
		return net.ErrClosed
	}
	return nil
}

// CloseWrite says that nothing more is sent.
func (w *wire) CloseWrite() error { return closeWrite(w.Conn) }

// Close implements net.Conn.
func (w *wire) Close() error {
	w.p.untrack(w.Conn)
	return w.Conn.Close()
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close() // it can't be half closed
}

// patient is a connection of the inside: no write stands still for longer than Timeouts.Write.
type patient struct {
	net.Conn
	write   time.Duration
	read    time.Duration // 0: as the caller set it
	stopped atomic.Bool
}

func (c *patient) Read(b []byte) (int, error) {
	if c.read > 0 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.read))
	}
	if c.stopped.Load() { // after the deadline was set, or it could cover the one of stop
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
}

// stop ends the read that another goroutine may be in, and those to come until resume.
func (c *patient) stop() {
	c.stopped.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// resume allows reads again, without a deadline.
func (c *patient) resume() {
	c.read = 0
	c.stopped.Store(false)
	_ = c.Conn.SetReadDeadline(time.Time{})
}

func (c *patient) Write(b []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.write))
	return c.Conn.Write(b)
}

// CloseWrite says that nothing more is sent.
func (c *patient) CloseWrite() error { return closeWrite(c.Conn) }

// ahead is a connection of which a piece has been read already.
type ahead struct {
	net.Conn
	r io.Reader // that piece, then the rest
}

func (a *ahead) Read(b []byte) (int, error) { return a.r.Read(b) }

// CloseWrite says that nothing more is sent.
func (a *ahead) CloseWrite() error { return closeWrite(a.Conn) }

// outward is a connection to a site, for requests.
type outward struct {
	site site
	addr netip.Addr
	wire *wire    // below TLS
	conn net.Conn // the wire, or TLS over it
	r    *bufio.Reader
	head *allowance
	used bool // for a request before
}

// allowance bounds what a head may take from a reader; -1: no bound.
type allowance struct {
	r    io.Reader
	left int64
}

var errAnswerHead = errors.New("the head of the answer is too long")

func (a *allowance) Read(b []byte) (int, error) {
	if a.left == 0 {
		return 0, errAnswerHead
	}
	if a.left > 0 {
		b = b[:min(int64(len(b)), a.left)]
	}
	n, err := a.r.Read(b)
	if a.left > 0 {
		a.left -= int64(n)
	}
	return n, err
}

// dial connects to the first of a target's checked addresses that answers.
func (p *Proxy) dial(ctx context.Context, t target) (*wire, netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, p.times.Dial)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	if len(t.addrs) == 0 { // Config.UpstreamResolves
		conn, err := p.throughUpstream(ctx, t.host.authority(t.port, 0))
		return p.wired(conn, netip.Addr{}, err)
	}
	var errs []error
	for i, a := range t.addrs {
		each, cancelEach := context.WithTimeout(ctx, p.times.Dial/time.Duration(len(t.addrs)-i))
		conn, err := p.dialAddr(each, netip.AddrPortFrom(a, t.port))
		cancelEach()
		if err == nil {
			return p.wired(conn, a, nil)
		}
		errs = append(errs, err)
	}
	return nil, netip.Addr{}, errors.Join(errs...)
}

func (p *Proxy) dialAddr(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	if p.cfg.Upstream != nil {
		return p.throughUpstream(ctx, addr.String())
	}
	return p.cfg.Dial(ctx, addr)
}

func (p *Proxy) wired(conn net.Conn, addr netip.Addr, err error) (*wire, netip.Addr, error) {
	if err != nil {
		return nil, addr, err
	}
	w := &wire{Conn: conn, p: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = conn.Close()
		return nil, addr, net.ErrClosed
	}
	p.conns[w.Conn] = true
	return w, addr, nil
}

func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
}

// reach makes a connection for requests to a site; over TLS the server must prove its name.
func (p *Proxy) reach(ctx context.Context, s site, t target) (*outward, *refusal) {
	w, addr, err := p.dial(ctx, t)
	if err != nil {
		return nil, outside(http.StatusBadGateway, err, "%.80q could not be connected to", s.authority())
	}
	o := &outward{site: s, addr: addr, wire: w, conn: w}
	if s.tls {
		conn := tls.Client(w, &tls.Config{
			ServerName: s.host.name, RootCAs: p.cfg.Roots, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
		})
		ctx, cancel := context.WithTimeout(ctx, p.times.Dial)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = w.Close()
			return nil, outside(http.StatusBadGateway, err, "the TLS handshake with %.80q failed, or its certificate is not good", s.authority())
		}
		o.conn = conn
	}
	o.ready()
	return o, nil
}

func (o *outward) ready() {
	o.head = &allowance{o.conn, -1}
	o.r = bufio.NewReaderSize(o.head, readerBytes)
}

// fit reports whether a kept connection can take a request to a site: it goes there, and the other
// end has neither closed it nor said anything that nobody asked for.
func (o *outward) fit(s site) bool {
	return o != nil && o.site == s && o.r.Buffered() == 0 && quiet(o.wire.Conn)
}

func (o *outward) close() {
	if o != nil {
		_ = o.wire.Close()
	}
}

func checkUpstream(u *url.URL, resolves bool) error {
	if u == nil {
		if resolves {
			return stead.Invalid("upstream", "without an upstream proxy nobody else resolves names")
		}
		return nil
	}
	if u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" {
		return stead.Invalid("upstream", "an upstream proxy is written as http://host:port")
	}
	return nil
}

// throughUpstream asks the operator's proxy for a connection.
func (p *Proxy) throughUpstream(ctx context.Context, authority string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.cfg.Upstream.Host)
	if err != nil {
		return nil, errors.New("the upstream proxy does not answer")
	}
	deadline, _ := ctx.Deadline() // dial always sets one
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	out, err := p.askUpstream(conn, authority)
	if err != nil || !stop() {
		_ = conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return out, conn.SetDeadline(time.Time{})
}

func (p *Proxy) askUpstream(conn net.Conn, authority string) (net.Conn, error) {
	auth := ""
	if user := p.cfg.Upstream.User; user != nil {
		password, _ := user.Password()
		auth = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", authority, authority, auth); err != nil {
		return nil, errors.New("the upstream proxy broke off")
	}
	limit := &allowance{conn, MaxAnswerHeadBytes}
	r := bufio.NewReader(limit)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, errors.New("the upstream proxy broke off")
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the upstream proxy answered %d", res.StatusCode)
	}
	limit.left = -1
	return &ahead{conn, r}, nil
}

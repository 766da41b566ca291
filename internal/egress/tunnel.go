package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// connect answers a CONNECT: it decides the host, connects to it unless its TLS is to be opened, and
// looks at the first bytes for what the tunnel carries.
func (p *Proxy) connect(c *client, h *head) {
	began := p.cfg.Now()
	rec := &Record{ID: p.ids.Add(1), Kind: KindTunnel, Host: authorityOf(h.target), Method: h.method}
	s, no := p.connectTo(h, rec)
	if no != nil {
		p.denied(rec, no)
		c.refuse(no, h.method)
		return
	}
	if p.opens(s.host, s.port) { // its requests are recorded, each by itself
		if c.established() {
			p.carry(c, s, nil, rec)
		}
		return
	}
	out, no := p.connectOut(s, rec)
	if no != nil {
		c.refuse(no, h.method)
		return
	}
	defer out.close()
	done := p.watched(rec, func() { _, _ = c.conn.Close(), out.wire.Close() })
	why := (*refusal)(nil)
	if c.established() {
		why = p.carry(c, s, out, rec)
	}
	if c.site == nil { // else its requests had the bytes, each its own
		rec.Up, rec.Down = out.wire.up.Load(), out.wire.down.Load()
	}
	p.ended(rec, began, done(why))
}

// connectTo reads where a CONNECT goes, and asks the limits and the lists.
func (p *Proxy) connectTo(h *head, rec *Record) (site, *refusal) {
	if no := p.meter.admit(p.cfg.Now()); no != nil {
		return site{}, no
	}
	s, no := h.connect()
	if no != nil {
		return s, no
	}
	rec.Host, rec.Port = s.host.String(), s.port
	return s, p.rules.decide(s.host, s.port)
}

// connectOut checks, records and dials.
func (p *Proxy) connectOut(s site, rec *Record) (*outward, *refusal) {
	t, no := p.check(p.ctx, s.host, s.port)
	if no == nil {
		rec.Addr = t.first()
		no = p.asked(rec)
	}
	if no != nil {
		p.denied(rec, no)
		return nil, no
	}
	if no := p.decided(rec); no != nil {
		p.refused.Add(1)
		return nil, no
	}
	began := p.cfg.Now()
	w, addr, err := p.dial(p.ctx, t)
	if err != nil {
		no := outside(http.StatusBadGateway, err, "%.80q could not be connected to", s.authority())
		p.ended(rec, began, no)
		return nil, no
	}
	rec.Addr = addr
	o := &outward{site: site{host: s.host, port: s.port}, addr: addr, wire: w, conn: w}
	o.ready()
	return o, nil
}

// established tells the client that its tunnel is there.
func (c *client) established() bool {
	_, err := io.WriteString(c.conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	return err == nil
}

// carry looks at the first bytes of a tunnel: TLS with the right name passes (or is opened, where out
// is nil), HTTP is read request by request, anything else is cut off. The end is told by a TLS alert
// or by silence: the answer to the CONNECT has been given.
func (p *Proxy) carry(c *client, s site, out *outward, rec *Record) *refusal {
	if out != nil && p.rules.opaque.has(s.port) {
		return p.splice(c, out, &masker{w: c.conn})
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(p.times.Head))
	first, err := c.r.Peek(1)
	switch {
	case err != nil:
		return nil // it wants nothing
	case first[0] == recordHandshake:
		s.tls = true
		return p.carryTLS(c, s, out, rec)
	case s.port == 443:
		no := refuse(RuleOpaque, "a tunnel to port 443 carries TLS")
		p.cut(c, rec, no, out == nil)
		return no
	}
	s.tls = false
	c.site, c.kept, c.begun = &s, out, false
	p.requests(c)
	return nil
}

func (p *Proxy) carryTLS(c *client, s site, out *outward, rec *Record) *refusal {
	raw, hello, err := readHello(c.r)
	no := p.named(s, hello, err)
	if no != nil {
		_, _ = c.conn.Write(alertDenied())
		p.cut(c, rec, no, out == nil)
		return no
	}
	rest := &ahead{c.conn, io.MultiReader(bytes.NewReader(raw), c.r)}
	if out == nil {
		p.open(c, s, rest)
		return nil
	}
	c.r = bufio.NewReaderSize(rest, readerBytes)
	return p.splice(c, out, &masker{w: c.conn})
}

// named holds the server name in a ClientHello against the host of the CONNECT.
func (p *Proxy) named(s site, h hello, err error) *refusal {
	if err != nil {
		return refuse(RuleName, "the TLS handshake to %.80q could not be read: %v", s.host, err)
	}
	if s.host.name == "" && h.serverName == "" {
		return nil // an address has no server name
	}
	if name, err := parseHost(h.serverName); err != nil || name != s.host || strings.HasSuffix(h.serverName, ".") {
		return refuse(RuleName, "the TLS handshake names %.80q, and the connection is for %.80q", h.serverName, s.host)
	}
	return nil
}

// cut counts a tunnel that was cut off after its CONNECT. Where the CONNECT itself was not recorded
// (alone), this is the record.
func (p *Proxy) cut(c *client, rec *Record, no *refusal, alone bool) {
	if alone {
		p.denied(rec, no)
	} else {
		p.refused.Add(1)
	}
	_ = c.conn.Close()
}

// alertDenied is a TLS record with the fatal alert access_denied (RFC 8446, section 6.2).
func alertDenied() []byte { return []byte{21, 3, 3, 0, 2, 2, 49} }

// open ends the client's TLS here, with a certificate of the environment's own authority, and answers
// its requests.
func (p *Proxy) open(c *client, s site, rest net.Conn) {
	conn := tls.Server(rest, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.authority.certificate(s.host.name) },
		NextProtos:     []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	ctx, cancel := context.WithTimeout(p.ctx, p.times.Head)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		// Most often a program that does not read the CA file: the operator should find it here.
		p.cfg.Log.Info("egress: the client ended the TLS handshake", "host", s.host.String(), "err", err)
		return
	}
	inner := p.newClient(conn)
	inner.site = &s
	p.requests(inner)
	_ = conn.CloseWrite()
}

// splice copies both ways until both have ended, or until nothing moved for Timeouts.Idle. What comes
// from the outside passes through back, which writes to the client.
func (p *Proxy) splice(c *client, out *outward, back *masker) *refusal {
	c.conn.resume()
	out.wire.patience.Store(0)
	_ = out.wire.SetReadDeadline(time.Time{})
	both := func() { _ = c.conn.Close(); _ = out.wire.Close() }
	idle := time.AfterFunc(p.times.Idle, both)
	defer idle.Stop()
	moved := func() { idle.Reset(p.times.Idle) }
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer p.survive(both)
		if errs[0] = p.copy(out.conn, c.r, moved); errs[0] != nil || closeWrite(out.conn) != nil {
			both()
		}
	})
	wg.Go(func() {
		defer p.survive(both)
		if errs[1] = p.copy(back, out.r, moved); errs[1] == nil {
			errs[1] = back.Close()
		}
		if errs[1] != nil || c.conn.CloseWrite() != nil {
			both()
		}
	})
	wg.Wait()
	if errors.Is(errs[0], errSpent) || errors.Is(errs[1], errSpent) {
		return limited(RuleLimits, 0, "the environment's limit of bytes is reached")
	}
	return nil
}

// copy copies until from ends, calling moved before and after each write.
func (p *Proxy) copy(to io.Writer, from io.Reader, moved func()) error {
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	for {
		n, err := from.Read(*buf)
		if n > 0 {
			moved()
			if _, err := to.Write((*buf)[:n]); err != nil {
				return err
			}
			moved()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func cutTo(s string, n int) string { return s[:min(len(s), n)] }

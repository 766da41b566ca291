package egress

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// client is one connection of the inside.
type client struct {
	conn  *patient
	r     *bufio.Reader
	site  *site    // that a CONNECT fixed; nil: each request names its own
	kept  *outward // from the request before; nil: none
	begun bool     // it has sent a request
}

func (p *Proxy) newClient(conn net.Conn) *client {
	c := &client{conn: &patient{Conn: conn, write: p.times.Write}}
	c.r = bufio.NewReaderSize(c.conn, readerBytes)
	return c
}

// serve speaks with one connection of the inside.
func (p *Proxy) serve(conn net.Conn) { p.requests(p.newClient(conn)) }

// turnAway tells one connection above the limit so.
func (p *Proxy) turnAway(conn net.Conn) {
	c := p.newClient(conn)
	h, no := p.next(c)
	if h == nil && no == nil {
		return
	}
	if no == nil {
		no = limited(RuleLimits+".connections", time.Second, "this environment has %d connections open, which is its limit", p.meter.limits.Connections)
	}
	p.denied(&Record{ID: p.ids.Add(1), Kind: KindRequest}, no)
	c.refuse(no, "")
}

// requests answers one request after the other. Each is decided by itself.
func (p *Proxy) requests(c *client) {
	defer func() { c.kept.close() }()
	for {
		h, no := p.next(c)
		if no != nil {
			no.flood = true // nobody counted it
			p.denied(&Record{ID: p.ids.Add(1), Kind: KindRequest, Host: c.hostName()}, no)
			c.refuse(no, "")
			return
		}
		if h == nil {
			return
		}
		c.begun = true
		if h.method == http.MethodConnect && c.site == nil {
			p.connect(c, h)
			return
		}
		if !p.request(c, h) {
			return
		}
	}
}

func (c *client) hostName() string {
	if c.site == nil {
		return ""
	}
	return c.site.host.String()
}

// next reads a request head; neither a head nor a refusal: the client has left.
func (p *Proxy) next(c *client) (*head, *refusal) {
	idle := p.times.Head
	if c.begun {
		idle = p.times.KeptIdle
	}
	c.conn.resume()
	_ = c.conn.SetReadDeadline(time.Now().Add(idle))
	if _, err := c.r.Peek(1); err != nil {
		return nil, nil
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(p.times.Head))
	raw, err := readHead(c.r)
	switch {
	case errors.Is(err, errHeadTooLong):
		return nil, &refusal{status: http.StatusRequestHeaderFieldsTooLarge, rule: RuleRequest, reason: "the head of the request is longer than 65536 bytes"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{status: http.StatusRequestTimeout, rule: RuleRequest, reason: "the head of the request came too slowly"}
	case err != nil:
		return nil, nil
	}
	return parseHead(raw)
}

// refuse answers with a refusal and lets the client read it: closing with unread bytes would take it
// away from some.
func (c *client) refuse(no *refusal, method string) {
	if _, err := c.conn.Write(no.answer(method == http.MethodHead)); err != nil {
		return
	}
	_ = c.conn.CloseWrite()
	c.conn.resume()
	_ = c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.r, lingerBytes)
}

// Lingering: how long and for how many bytes a refused client may still send.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
)

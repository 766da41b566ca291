package egress

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// DialContext connects under the same rules, limits and records as the inside: for what the server
// does on an environment's behalf (fetching pages, MCP servers reached from it). The network must be
// TCP. What is sent is the caller's: names in TLS are not looked at. It fits http.Transport.
func (p *Proxy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	began := p.cfg.Now()
	rec := &Record{ID: p.ids.Add(1), Kind: KindDial, Host: cutTo(addr, maxNameBytes)}
	t, no := p.dialTarget(ctx, network, addr, rec)
	if no == nil {
		no = p.asked(rec)
	}
	if no != nil {
		p.denied(rec, no)
		return nil, no.err()
	}
	if no := p.decided(rec); no != nil {
		p.refused.Add(1)
		return nil, no.err()
	}
	if !p.hold() {
		return nil, outside(http.StatusServiceUnavailable, nil, "the environment is ending").err()
	}
	w, used, err := p.dial(ctx, t)
	if err != nil {
		no := outside(http.StatusBadGateway, err, "%.80q could not be connected to", t.host)
		p.ended(rec, began, no)
		p.work.Done()
		return nil, no.err()
	}
	rec.Addr = used
	c := &dialled{wire: w, rec: rec, began: began}
	ready := make(chan struct{})
	c.forget = context.AfterFunc(p.ctx, func() { <-ready; _ = c.Close() })
	c.done = p.watched(rec, func() { <-ready; _ = w.Close() })
	close(ready)
	return c, nil
}

func (p *Proxy) dialTarget(ctx context.Context, network, addr string, rec *Record) (target, *refusal) {
	if no := p.meter.admit(p.cfg.Now()); no != nil {
		return target{}, no
	}
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return target{}, refuse(RuleRequest, "%.20q is not TCP", network)
	}
	h, port, err := parseHostPort(addr)
	if err != nil {
		return target{}, badTarget(err)
	}
	rec.Host, rec.Port = h.String(), port
	t, no := p.check(ctx, h, port)
	rec.Addr = t.first()
	return t, no
}

// hold makes Close wait; false when it has begun.
func (p *Proxy) hold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.work.Add(1)
	}
	return !p.closed
}

// dialled records its end when it is closed.
type dialled struct {
	*wire
	rec    *Record
	began  time.Time
	once   sync.Once
	forget func() bool
	done   func(*refusal) *refusal // see Proxy.watched
}

// Close implements net.Conn.
func (d *dialled) Close() error {
	var err error
	d.once.Do(func() {
		err = d.wire.Close()
		d.forget()
		d.rec.Up, d.rec.Down = d.wire.up.Load(), d.wire.down.Load()
		d.wire.p.ended(d.rec, d.began, d.done(nil))
		d.wire.p.work.Done()
	})
	return err
}

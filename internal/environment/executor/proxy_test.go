package executor_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between executor and server, and does to their connections what networks do.
type proxy struct {
	t        *testing.T
	listener net.Listener
	to       string

	mu     sync.Mutex
	next   fault // of the next connection
	pairs  map[*pair]struct{}
	number int // of connections so far
	faults int // that happened
}

// fault happens to a connection once so many bytes have passed in a direction; 0: never.
type fault struct {
	up, down int64 // bytes from the executor, from the server
	stall    bool  // instead of cutting it, forward nothing any more
	again    func() fault
	twice    bool // what the executor says is said to the server on a second connection too
}

type pair struct {
	p            *proxy
	client, host net.Conn
	twin         net.Conn
	fault        fault
	stalled      chan struct{}
	once         sync.Once
}

func newProxy(t *testing.T, to string) *proxy {
	p := &proxy{t: t, listener: listen(t), to: to, pairs: map[*pair]struct{}{}}
	go p.accept()
	t.Cleanup(p.cutAll)
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		host, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		x := &pair{p: p, client: client, host: host, stalled: make(chan struct{})}
		p.mu.Lock()
		x.fault = p.next
		if p.next.again != nil {
			x.fault = p.next.again()
		} else {
			p.next = fault{}
		}
		if x.fault.twice {
			if x.twin, err = net.Dial("tcp", p.to); err == nil {
				go io.Copy(io.Discard, x.twin)
			}
		}
		p.pairs[x] = struct{}{}
		p.number++
		p.mu.Unlock()
		go x.carry(client, host, x.fault.up)
		go x.carry(host, client, x.fault.down)
	}
}

// set says what happens to the next connection.
func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.pairs {
		go x.cut()
	}
}

func (p *proxy) counts() (connections, faults int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.number, p.faults
}

// cut resets both connections, as a machine does that has forgotten them.
func (x *pair) cut() {
	x.once.Do(func() {
		for _, c := range []net.Conn{x.client, x.host, x.twin} {
			if tcp, ok := c.(*net.TCPConn); ok {
				tcp.SetLinger(0)
				tcp.Close()
			}
		}
		x.p.mu.Lock()
		defer x.p.mu.Unlock()
		delete(x.p.pairs, x)
	})
}

// carry forwards bytes until the fault.
func (x *pair) carry(from, to net.Conn, limit int64) {
	buf := make([]byte, 16<<10)
	var passed int64
	for {
		n, err := from.Read(buf)
		if err != nil {
			x.cut()
			return
		}
		select {
		case <-x.stalled: // it is swallowed: the other side hears nothing
			continue
		default:
		}
		hit := limit > 0 && passed+int64(n) >= limit
		if hit {
			n = int(limit - passed)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			x.cut()
			return
		}
		if x.twin != nil && from == x.client {
			x.twin.Write(buf[:n])
		}
		passed += int64(n)
		if !hit {
			continue
		}
		x.p.mu.Lock()
		x.p.faults++
		x.p.mu.Unlock()
		if x.fault.stall {
			limit = 0
			close(x.stalled)
			continue
		}
		time.Sleep(time.Millisecond) // so that what was forwarded is read before the reset discards it
		x.cut()
		return
	}
}

// Package egress is the one way out of an environment: an HTTP proxy that decides every connection.
//
// Shape:
//
//	inside ── 127.0.0.1:3128 ── egress.sock ──▶ Proxy ─┬─ host, port ── Policy ─────────── 403
//	                                                   ├─ resolve once, addresses ──────── 403
//	                                                   ├─ limits ───────────────────────── 429
//	                                                   ├─ Record, durable ──────────────── 503
//	                                                   └─▶ dial the address that was checked
//
//	CONNECT host:port, then TLS        a tunnel: only the server name in the ClientHello is read
//	  … and a Credential names host    opened with the environment's own authority: the placeholder
//	                                   in a header becomes the secret, an echo of it the placeholder
//	CONNECT host:port, then HTTP       the same as
//	GET http://host/…                  each request is decided by itself
//
// What a Policy allows is said at Policy; what a name in it means, at Pattern. Redirects are answers
// like any other: the client follows them through the proxy, and is decided again.
//
// Credentials: the inside only ever has Credential.Placeholder. It is replaced in values of request
// headers (inside the Base64 of Basic too), towards the credential's hosts, over verified TLS; not in
// paths, queries and bodies. Answers of all hosts that credentials name are searched for the secrets of
// all credentials, whoever sent them, and for what a rotation makes of them meanwhile: as it is, as JSON escapes it, percent-encoded, and in Base64, in headers and
// in plain and gzip bodies; found, the placeholder stands there (in a WebSocket as many stars, since
// its frames have lengths). So that bodies can be searched, such hosts are not asked for other codings,
// ranges, or compressed frames. A server that gives a secret back transformed (hashed, cut, reversed) is
// not caught: name only hosts that are trusted with the secret.
//
// Units and limits: bytes are those of the connections to the outside, TLS included. The constants
// are in limit.go, what an operator sets in Limits.
//
// Errors: a refusal goes to the inside as a status with a JSON body that names the rule and says what
// is allowed, never an address that a name resolved to. Check and DialContext return *stead.Error:
// KindForbidden by policy, KindLimited by a limit, KindUnavailable when the outside or the recorder
// fails, KindInvalid for a bad name; Param is the rule.
//
// Not here: SOCKS, HTTP/2 towards the hosts whose TLS is opened, UDP. What goes through a tunnel is
// not seen: a Host header in it that differs from the server name is for the server to refuse.
//
// Source: RFC 9110 and 9112 (messages, CONNECT), RFC 9209 (Proxy-Status), RFC 8446 and 6066
// (ClientHello, server name), RFC 6890 and the IANA registries of special addresses.
package egress

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
)

// Resolver looks names up. Host is canonical: lower case, no trailing dot; it must be taken as it is,
// without search domains. *net.Resolver has the method, but applies search domains: see System.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config makes a Proxy. Only Policy and Recorder have no default.
type Config struct {
	Policy      Policy
	Credentials []Credential
	Resolver    Resolver // nil: System
	// Dial connects to an address that was checked; nil: TCP.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// Upstream is the operator's own proxy, http://[user:password@]host:port, asked by CONNECT for the
	// address that was checked; nil: none.
	Upstream *url.URL
	// UpstreamResolves asks it for the name instead, where names resolve only there. Then nobody here
	// sees the address, and keeping it public is that proxy's work.
	UpstreamResolves bool
	Roots            *x509.CertPool // verifies servers whose TLS is opened; nil: the host's
	Recorder         Recorder
	Ask              Asker            // nil: what Policy allows is allowed
	Watch            Watcher          // nil: what began goes on
	Now              func() time.Time // nil: time.Now
	Log              *slog.Logger     // nil: nothing is logged
	Timeouts         Timeouts
}

// Proxy is the way out of one environment. Its methods may be called from many goroutines.
type Proxy struct {
	rules     *rules
	creds     []*credential
	authority *authority // nil: no credential, nothing is opened
	secrets   *secrets
	meter     *meter
	cfg       Config
	times     Timeouts
	local     *interfaces
	buffers   sync.Pool // of *[]byte, copyBytes long

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	ids      atomic.Uint64
	refused  atomic.Int64
	accepted atomic.Int64

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]bool
	conns     map[net.Conn]bool // of both sides
	work      sync.WaitGroup
	folds     folds
}

// Usage is what a proxy has done since New; all numbers only grow.
type Usage struct {
	UpBytes     int64 `json:"up_bytes"`
	DownBytes   int64 `json:"down_bytes"`
	Connections int64 `json:"connections"` // tunnels, requests and dials that were allowed
	Refused     int64 `json:"refused"`
}

// New makes a proxy. Errors are KindInvalid and name the field: "network.allowed_domains[2]",
// "credentials[0].hosts[1]".
func New(cfg Config) (*Proxy, error) {
	rules, err := compile(cfg.Policy)
	if err != nil {
		return nil, err
	}
	creds, err := compileCredentials(cfg.Credentials)
	if err != nil {
		return nil, err
	}
	if cfg.Recorder == nil {
		return nil, stead.Invalid("recorder", "a proxy needs a recorder")
	}
	if err := checkUpstream(cfg.Upstream, cfg.UpstreamResolves); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = System()
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	p := &Proxy{
		rules: rules, creds: creds, secrets: newSecrets(creds, cfg.Now), cfg: cfg, times: cfg.Timeouts.orDefault(),
		meter: newMeter(cfg.Policy.Limits.orDefault(), cfg.Now()), local: &interfaces{},
		listeners: map[net.Listener]bool{}, conns: map[net.Conn]bool{},
	}
	p.buffers.New = func() any { b := make([]byte, copyBytes); return &b }
	if len(creds) > 0 {
		if p.authority, err = newAuthority(creds, cfg.Now); err != nil {
			return nil, err
		}
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// CAFile is what Services/ca.pem holds: the host's roots and then the environment's own authority,
// which may sign only for the names of the credentials. Without credentials it is hostRoots.
func (p *Proxy) CAFile(hostRoots []byte) []byte {
	out := append([]byte{}, hostRoots...)
	if p.authority == nil {
		return out
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, p.authority.pem()...)
}

// Opens reports whether the proxy opens TLS for some host, so that the inside needs CAFile.
func (p *Proxy) Opens() bool { return p.authority != nil }

// Usage is what the proxy has done so far.
func (p *Proxy) Usage() Usage {
	return Usage{
		UpBytes: p.meter.up.Load(), DownBytes: p.meter.down.Load(),
		Connections: p.accepted.Load(), Refused: p.refused.Load(),
	}
}

// Serve answers on a listener until Close, which also closes it, or until it fails. It returns nil
// after Close.
func (p *Proxy) Serve(l net.Listener) error {
	if !p.addListener(l) {
		_ = l.Close()
		return nil
	}
	defer p.removeListener(l)
	slots := make(chan struct{}, p.meter.limits.Connections)
	busy := make(chan struct{}, refusersAtOnce)
	for {
		conn, err := l.Accept()
		if err != nil {
			if p.ctx.Err() != nil {
				return nil
			}
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() {
				if !sleep(p.ctx, acceptPause) { // out of descriptors: others will close theirs
					return nil
				}
				continue
			}
			return stead.Wrap(stead.KindUnavailable, err, "accept on the egress socket")
		}
		select {
		case slots <- struct{}{}:
			p.start(conn, slots, p.serve)
		default:
			select {
			case busy <- struct{}{}:
				p.start(conn, busy, p.turnAway)
			default:
				_ = conn.Close()
			}
		}
	}
}

// start runs one connection of the inside and gives its place back.
func (p *Proxy) start(conn net.Conn, slots chan struct{}, serve func(net.Conn)) {
	if !p.track(conn) {
		_ = conn.Close()
		<-slots
		return
	}
	go func() {
		defer func() {
			_ = conn.Close()
			p.untrack(conn)
			<-slots
			p.work.Done()
		}()
		defer p.survive(func() {})
		total := time.AfterFunc(p.times.Total, func() { _ = conn.Close() })
		defer total.Stop()
		serve(conn)
	}()
}

// survive ends a goroutine's panic: one connection's trouble is not the server's. It is deferred.
func (p *Proxy) survive(end func()) {
	if r := recover(); r != nil {
		p.cfg.Log.Error("egress connection failed", "panic", r, "stack", string(debug.Stack()))
		end()
	}
}

// Close ends every connection and waits until the last record is written, or until ctx ends.
func (p *Proxy) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.stop()
	for l := range p.listeners {
		_ = l.Close()
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { p.work.Wait(); p.tellFolded(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "close the egress proxy")
	}
}

func (p *Proxy) addListener(l net.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.listeners[l] = true
	return true
}

func (p *Proxy) removeListener(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, l)
}

// track adds a connection of the inside, and to what Close waits for.
func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = true
	p.work.Add(1)
	return true
}

func (p *Proxy) untrack(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

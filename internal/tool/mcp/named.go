package mcp

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// Guard decides about addresses that agents name. Its errors are *stead.Error, and go to whoever named it.
type Guard interface {
	// DialContext connects, or refuses: it fits http.Transport.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Check refuses a host by its spelling, where a proxy makes the connection and resolves its name.
	Check(hostname string) error
}

// named is the pool of connections to servers that agents name.
type named struct {
	guard           Guard
	direct, proxied *http.Transport
}

func newNamed(g Guard) *named {
	if g == nil {
		return nil
	}
	direct := newWire(g.DialContext)
	direct.Proxy = nil // RoundTrip chooses
	return &named{guard: g, direct: direct, proxied: newWire(nil)}
}

// Guarded is a pool of connections to addresses that users name, for others than tool servers. guard nil: to all.
func Guarded(guard Guard) http.RoundTripper { return GuardedTLS(guard, nil) }

// GuardedTLS is Guarded with the certificates that are believed; nil: the machine's.
func GuardedTLS(guard Guard, secure *tls.Config) http.RoundTripper {
	if guard == nil {
		wire := newWire(nil)
		wire.TLSClientConfig = secure
		return wire
	}
	n := newNamed(guard)
	n.direct.TLSClientConfig, n.proxied.TLSClientConfig = secure, secure.Clone()
	return n
}

// RoundTrip implements http.RoundTripper.
func (n *named) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return n.direct.RoundTrip(r)
	}
	if err := n.guard.Check(r.URL.Hostname()); err != nil {
		return nil, err
	}
	return n.proxied.RoundTrip(r)
}

// CloseIdleConnections lets go of what nobody uses.
func (n *named) CloseIdleConnections() {
	if n != nil {
		n.direct.CloseIdleConnections()
		n.proxied.CloseIdleConnections()
	}
}

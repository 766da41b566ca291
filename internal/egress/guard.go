package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/stead-dev/stead"
)

// Guard makes connections of the server's own, to addresses that its users name: to public ones alone, so that
// nobody has the server call what trusts its network, its machine or its cloud. It records and counts nothing.
type Guard struct{ p *Proxy }

// NewGuard makes a guard. private opens names and networks that are not public: see Policy.Private. resolver nil is
// the machine's. Errors are KindInvalid.
func NewGuard(private []string, resolver Resolver) (*Guard, error) {
	rules, err := compile(Policy{Access: AccessEnabled, Private: private})
	if err != nil {
		return nil, err
	}
	if resolver == nil {
		resolver = System()
	}
	return &Guard{&Proxy{rules: rules, cfg: Config{Resolver: resolver}, times: Timeouts{}.orDefault(), local: &interfaces{}}}, nil
}

// Check refuses a host (a name, or an address as a URL has it) that is no public one by its spelling alone: for whoever
// leaves the rest to a proxy. KindInvalid or KindForbidden.
func (g *Guard) Check(hostname string) error {
	h, err := parseBare(hostname)
	if err != nil {
		return err
	}
	return g.check(h)
}

func (g *Guard) check(h host) error {
	if h.name == "" {
		if c, ok := g.p.rules.mayReach(h, h.addr, g.p.local.has); !ok {
			return notPublic(h, "the address is "+string(c))
		}
	}
	if h.name == "localhost" || strings.HasSuffix(h.name, ".localhost") { // RFC 6761: never outside
		if _, ok := g.p.rules.mayReach(h, netip.AddrFrom4([4]byte{127, 0, 0, 1}), g.p.local.has); !ok {
			return notPublic(h, "the address is loopback")
		}
	}
	return nil
}

// DialContext connects to host:port over TCP. A name is resolved once, and what is dialled is what was checked. It
// fits http.Transport, which asks for each connection, redirects' too.
func (g *Guard) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	h, port, err := parseHostPort(addr)
	if err != nil {
		return nil, err
	}
	if err := g.check(h); err != nil {
		return nil, err
	}
	found := []netip.Addr{h.addr}
	if h.name != "" {
		var no *refusal
		if found, no = g.p.resolve(ctx, h); no != nil {
			if no.rule == RulePrivate {
				return nil, notPublic(h, no.detail)
			}
			return nil, no.err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, g.p.times.Dial)
	defer cancel()
	var errs []error
	for _, a := range found {
		c, err := dialTCP(ctx, netip.AddrPortFrom(a, port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// notPublic says no more than that: what a name resolves to, or that there is none, would map the network for who asks.
func notPublic(h host, detail string) error {
	e := stead.Wrap(stead.KindForbidden, errors.New(detail), "%.80q has no address that may be reached from here", h)
	e.Hint = "Servers that agents name must be public. The operator opens others in private_tool_servers, or configures them in mcp_servers."
	return e
}

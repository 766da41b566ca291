package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// target is what a decision was about, with the addresses that were checked.
type target struct {
	host  host
	port  uint16
	addrs []netip.Addr // none only when the operator's proxy resolves
}

func (t target) first() netip.Addr {
	if len(t.addrs) == 0 {
		return netip.Addr{}
	}
	return t.addrs[0]
}

// check decides a host and port: by the lists, then by the addresses. It is the only way to a target,
// and only targets are dialled.
func (p *Proxy) check(ctx context.Context, h host, port uint16) (target, *refusal) {
	if no := p.rules.decide(h, port); no != nil {
		return target{}, no
	}
	t := target{host: h, port: port}
	if h.name == "" {
		c, ok := p.rules.mayReach(h, h.addr, p.local.has)
		if !ok {
			return target{}, unreachable(h, "the address is "+string(c))
		}
		t.addrs = []netip.Addr{h.addr}
		return t, nil
	}
	if p.cfg.UpstreamResolves {
		return t, nil
	}
	var no *refusal
	t.addrs, no = p.resolve(ctx, h)
	return t, no
}

// resolve looks a name up once. Of a mixed answer the addresses that may be reached are kept: what is
// dialled is what was checked, so that a second, other answer changes nothing, and behind NAT64 every
// name has such a mix. A name with none is refused in the same words as a name that does not exist,
// so that the inside can't map the names of the network around it.
func (p *Proxy) resolve(ctx context.Context, h host) ([]netip.Addr, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, p.times.Dial)
	defer cancel()
	found, err := p.cfg.Resolver.LookupNetIP(ctx, "ip", h.name)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return nil, unreachable(h, "the name does not exist")
		}
		return nil, outside(504, err, "the name %.80q could not be resolved now", h)
	}
	var out []netip.Addr
	var seen []string
	for _, a := range found {
		a = a.Unmap()
		c, ok := p.rules.mayReach(h, a, p.local.has)
		if ok && len(out) < MaxAddresses {
			out = append(out, a)
		}
		if len(seen) < MaxAddresses {
			seen = append(seen, a.String()+" "+string(c))
		}
	}
	if len(out) == 0 {
		return nil, unreachable(h, "it resolves to: "+strings.Join(seen, ", "))
	}
	return out, nil
}

func unreachable(h host, detail string) *refusal {
	out := refuse(RulePrivate, "%.80q has no address that may be reached from here", h)
	out.detail = detail
	return out
}

// Check decides a host and port as a connection would, and returns the address to dial. It records
// and counts nothing.
func (p *Proxy) Check(ctx context.Context, hostname string, port uint16) (netip.AddrPort, error) {
	h, err := parseHost(hostname)
	if err != nil {
		return netip.AddrPort{}, err
	}
	t, no := p.check(ctx, h, port)
	if no != nil {
		return netip.AddrPort{}, no.err()
	}
	return netip.AddrPortFrom(t.first(), port), nil
}

// system resolves by the host's configuration, without its search domains: the name "internal" that a
// policy allows must not become internal.corp.example.
type system struct{ r *net.Resolver }

// System is the host's resolver.
func System() Resolver { return system{&net.Resolver{}} }

func (s system) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return s.r.LookupNetIP(ctx, network, host+".")
}

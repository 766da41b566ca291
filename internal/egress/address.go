package egress

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// class is what an address is for. Only public ones may be reached without the operator's word.
type class string

const (
	classPublic    class = "public"
	classPrivate   class = "private" // RFC 1918, 4193, 6598: what Policy.Private opens to a name
	classLoopback  class = "loopback"
	classLinkLocal class = "link-local"
	classMulticast class = "multicast"
	classMetadata  class = "metadata"  // of a cloud: hands out credentials to whoever asks
	classEmbedded  class = "embedded"  // IPv4 inside IPv6
	classReserved  class = "reserved"  // unspecified, documentation, benchmarks, the future
	classOwn       class = "interface" // of the machine that the proxy runs on
)

// block is a network of one class.
type block struct {
	net   string
	class class
}

// blocks4 are the networks of IPv4 that are not public: IANA's IPv4 Special-Purpose Address Registry.
func blocks4() []block {
	return []block{
		{"0.0.0.0/8", classReserved},
		{"10.0.0.0/8", classPrivate},
		{"100.64.0.0/10", classPrivate},
		{"127.0.0.0/8", classLoopback},
		{"169.254.0.0/16", classLinkLocal},
		{"172.16.0.0/12", classPrivate},
		{"192.0.0.0/24", classReserved},
		{"192.0.2.0/24", classReserved},
		{"192.88.99.0/24", classReserved},
		{"192.168.0.0/16", classPrivate},
		{"198.18.0.0/15", classReserved},
		{"198.51.100.0/24", classReserved},
		{"203.0.113.0/24", classReserved},
		{"224.0.0.0/4", classMulticast},
		{"240.0.0.0/4", classReserved},
	}
}

// blocks6 are those of IPv6. What is in none of them and not in 2000::/3, the only space that is
// given out, is reserved: IANA's IPv6 Special-Purpose Address Registry and Address Space.
func blocks6() []block {
	return []block{
		{"::1/128", classLoopback},
		{"::/128", classReserved},
		{"::/96", classEmbedded},           // IPv4-compatible
		{"::ffff:0:0:0/96", classEmbedded}, // IPv4-translated
		{"64:ff9b::/96", classEmbedded},    // NAT64
		{"64:ff9b:1::/48", classEmbedded},  // NAT64, local
		{"2002::/16", classEmbedded},       // 6to4
		{"2001::/32", classEmbedded},       // Teredo
		{"2001::/23", classReserved},       // protocol assignments
		{"2001:db8::/32", classReserved},
		{"3fff::/20", classReserved},
		{"fc00::/7", classPrivate},
		{"fe80::/10", classLinkLocal},
		{"fec0::/10", classPrivate},
		{"ff00::/8", classMulticast},
		{"2000::/3", classPublic},
	}
}

// metadata are addresses at which clouds hand out credentials. Most lie in link-local space anyway;
// Azure's is a public address. Sources: the documentation of AWS (EC2, ECS, EKS), Google, Azure,
// Alibaba, Oracle, Scaleway.
func metadata() []string {
	return []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.42.42", "168.63.129.16",
		"100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42",
	}
}

// addressTable is the lists above, parsed once a process.
type addressTable struct {
	v4, v6   []parsedBlock
	metadata []netip.Addr
}

type parsedBlock struct {
	net   netip.Prefix
	class class
}

func newAddressTable() *addressTable {
	t := &addressTable{}
	parse := func(list []block) (out []parsedBlock) {
		for _, b := range list {
			out = append(out, parsedBlock{netip.MustParsePrefix(b.net), b.class})
		}
		return out
	}
	t.v4, t.v6 = parse(blocks4()), parse(blocks6())
	for _, s := range metadata() {
		t.metadata = append(t.metadata, netip.MustParseAddr(s))
	}
	return t
}

// classify says what an address is for. A mapped address (::ffff:a.b.c.d) counts as the IPv4 address
// that the kernel makes of it.
func (t *addressTable) classify(a netip.Addr) class {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return classReserved
	}
	if slices.Contains(t.metadata, a) {
		return classMetadata
	}
	list, rest := t.v4, classPublic
	if a.Is6() {
		list, rest = t.v6, classReserved
	}
	for _, b := range list {
		if b.net.Contains(a) {
			return b.class
		}
	}
	return rest
}

// embedded returns the IPv4 address in an IPv6 address of a form that carries one.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() || a.IsUnspecified() || a.IsLoopback() {
		return netip.Addr{}, false
	}
	b := a.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case a.Is4In6(), isZero(b[:12]): // mapped, compatible
		return last, true
	case isZero(b[:8]) && b[8] == 0xff && b[9] == 0xff && b[10] == 0 && b[11] == 0: // translated
		return last, true
	case b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // NAT64
		return last, true
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo: the client, inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	case (b[8]&^2) == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		return last, true
	}
	return netip.Addr{}, false
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// mayReach says whether an address that a host resolved to may be dialled, and its class.
func (r *rules) mayReach(h host, a netip.Addr, own func(netip.Addr) bool) (class, bool) {
	a = a.Unmap()
	for _, p := range r.blocked {
		if p.host.name == "" && p.host.addr == a {
			return classReserved, false // a blocked address stays blocked under every name
		}
	}
	c := r.table.classify(a)
	if v4, ok := embedded(a); ok { // the operator may open NAT64, and the address in it is held to the rules too
		if c == classPublic {
			c = classEmbedded
		}
		return c, r.privateNet(a) && r.mayReachPlain(h, v4, own)
	}
	if c == classPublic && own(a) {
		c = classOwn
	}
	return c, r.allowsClass(h, a, c)
}

func (r *rules) mayReachPlain(h host, a netip.Addr, own func(netip.Addr) bool) bool {
	_, ok := r.mayReach(h, a, own)
	return ok
}

func (r *rules) allowsClass(h host, a netip.Addr, c class) bool {
	switch c {
	case classPublic:
		return true
	case classMetadata:
		return slices.Contains(r.privateNets, netip.PrefixFrom(a, a.BitLen()))
	case classPrivate:
		if slices.ContainsFunc(r.privateNames, func(p pattern) bool { return p.matchesHost(h) }) {
			return true
		}
	}
	return r.privateNet(a)
}

// interfaces knows the addresses of this machine. One of them can be public, and what listens there
// may trust whoever connects from the machine itself.
type interfaces struct {
	mu    sync.Mutex
	addrs map[netip.Addr]bool
	read  time.Time
}

func (i *interfaces) has(a netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.read) > interfacesTime {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return i.addrs[a] // what was known; the other rules hold in any case
		}
		i.addrs, i.read = map[netip.Addr]bool{}, time.Now()
		for _, n := range list {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				i.addrs[p.Addr().Unmap().WithZone("")] = true
			}
		}
	}
	return i.addrs[a]
}

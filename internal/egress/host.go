package egress

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// Limits of names (RFC 1035, section 2.3.4), without the trailing dot.
const (
	maxNameBytes  = 253
	maxLabelBytes = 63
)

// host is what a connection is asked for: a name, or an address that was written as one.
type host struct {
	name string     // canonical: lower case, no trailing dot; "" for an address
	addr netip.Addr // of a literal
}

func (h host) String() string {
	if h.name != "" {
		return h.name
	}
	return h.addr.String()
}

// authority is host:port, as it stands in a Host field: without the scheme's own port.
func (h host) authority(port, usual uint16) string {
	s := h.String()
	if h.addr.Is6() {
		s = "[" + s + "]"
	}
	if port == usual {
		return s
	}
	return s + ":" + strconv.Itoa(int(port))
}

// parseHost reads a name or an address, IPv6 in brackets. It is strict on purpose: what two programs
// could read differently is no host. Upper case is lowered and one trailing dot dropped. A name has
// letters, digits, "-" and "_" only, so neither "%", NUL, "@", "\" nor a full-width dot passes;
// international names come as punycode, as every client sends them. A last label that is a number in
// any base makes it an address for some parser (WHATWG URL, section 3.5, "ends in a number"): only
// the four plain decimal numbers are one here, and everything else is refused.
func parseHost(s string) (host, error) {
	if s == "" {
		return host{}, badHost(s, "is empty")
	}
	if len(s) > maxNameBytes+1 {
		return host{}, badHost(s, "is longer than 253 bytes")
	}
	if s[0] == '[' {
		return parseV6(s)
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if len(name) > maxNameBytes {
		return host{}, badHost(s, "is longer than 253 bytes")
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if why := badLabel(l); why != "" {
			return host{}, badHost(s, why)
		}
	}
	if !isNumber(labels[len(labels)-1]) {
		return host{name: name}, nil
	}
	addr, err := netip.ParseAddr(name)
	if err != nil || !addr.Is4() || strings.HasSuffix(s, ".") {
		return host{}, badHost(s, "is an unusual spelling of an address")
	}
	return host{addr: addr}, nil
}

// parseHostPort reads what a dialler is given: a host with a port, an IPv6 address in brackets.
func parseHostPort(addr string) (host, uint16, error) {
	name, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return host{}, 0, badHost(addr, "names no port")
	}
	h, err := parseBare(name)
	if err != nil {
		return host{}, 0, err
	}
	port, ok := parsePort(digits)
	if !ok {
		return host{}, 0, badHost(addr, "has a bad port")
	}
	return h, port, nil
}

// parseBare reads a host as net and url give it: an IPv6 address without its brackets.
func parseBare(name string) (host, error) {
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return parseHost(name)
}

func parseV6(s string) (host, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return host{}, badHost(s, "has no closing bracket")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return host{}, badHost(s, "is no IPv6 address")
	}
	if _, ok := embedded(addr); ok || addr.Is4In6() {
		return host{}, badHost(s, "hides an IPv4 address in an IPv6 address")
	}
	return host{addr: addr}, nil
}

func badLabel(l string) string {
	if l == "" {
		return "has an empty label"
	}
	if len(l) > maxLabelBytes {
		return "has a label of more than 63 bytes"
	}
	if l[0] == '-' || l[len(l)-1] == '-' {
		return "has a label that begins or ends with a hyphen"
	}
	for i := range len(l) {
		c := l[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "has a character that no host name has (international names are written as punycode, xn--…)"
		}
	}
	return ""
}

// isNumber: decimal or octal digits, or 0x and hexadecimal digits, none of them included.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// parseAuthority reads host[:port]; port is usual where none stands, and 0 as usual asks for one.
func parseAuthority(s string, usual uint16) (host, uint16, error) {
	name, digits, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name, digits, found = s[:i], s[i+1:], true
	}
	h, err := parseHost(name)
	if err != nil {
		return host{}, 0, err
	}
	if !found {
		if usual == 0 {
			return host{}, 0, badHost(s, "names no port")
		}
		return h, usual, nil
	}
	port, ok := parsePort(digits)
	if !ok {
		return host{}, 0, badHost(s, "has a bad port")
	}
	return h, port, nil
}

func parsePort(digits string) (uint16, bool) {
	if digits == "" || len(digits) > 5 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil
}

func badHost(s, why string) error {
	return stead.Invalid("host", "the host %.80q %s", s, why)
}

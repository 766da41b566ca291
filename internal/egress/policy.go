package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// Access is the wire's network access.
type Access string

// The kinds of access.
const (
	AccessDisabled   Access = "disabled"
	AccessEnabled    Access = "enabled"
	AccessRestricted Access = "restricted"
)

// Policy says what may be reached. The first three fields are the wire's; the others are the
// operator's alone, and no request sets them.
//
//	disabled     nothing
//	enabled      every public host but the blocked ones
//	restricted   the allowed hosts, if some are named; else every public host but the blocked ones;
//	             with neither list, nothing
//
// Blocked wins over Allowed. An address in the place of a name is refused unless Allowed or Private
// names it. Addresses that are not public are refused whatever the lists say, unless Private names
// them. All of it is decided for every connection and every request.
type Policy struct {
	Access  Access    `json:"access"`
	Allowed []Pattern `json:"allowed_domains,omitempty"`
	Blocked []Pattern `json:"blocked_domains,omitempty"`

	// Private are names and CIDRs that may be reached although their addresses are not public. A name
	// (a Pattern without port) opens the private ranges to itself: RFC 1918, RFC 4193 and RFC 6598,
	// never loopback or link-local, since whoever runs its DNS could point it there. A CIDR opens what
	// it holds, to every name that is allowed otherwise; a cloud's metadata address only as a CIDR of
	// that one address.
	Private []string `json:"private,omitempty"`
	// Ports are reached where no pattern names one; nil: 80 and 443 with a list of allowed hosts, every
	// port without.
	Ports []uint16 `json:"ports,omitempty"`
	// OpaquePorts are those at which a CONNECT may carry anything: SSH, a database. At all others it
	// carries TLS with the right server name, or HTTP with the right Host. 443 can't be one of them.
	OpaquePorts []uint16 `json:"opaque_ports,omitempty"`
	Limits      Limits   `json:"limits,omitzero"`
}

// Names of the rules, as refusals, records and errors say them.
const (
	RuleAccess    = "network.access"
	RuleAllowed   = "network.allowed_domains"
	RuleBlocked   = "network.blocked_domains"
	RulePrivate   = "network.private"
	RulePorts     = "network.ports"
	RuleOpaque    = "network.opaque_ports"
	RuleLiteral   = "network.literal_address"
	RuleHost      = "network.host"
	RuleName      = "network.server_name"
	RuleRequest   = "network.request"
	RuleLimits    = "network.limits"
	RulePolicy    = "network.policy" // a policy of the operator, that decides about each connection
	RuleRecord    = "network.record"
	RuleOutside   = "network.outside"
	RuleSecret    = "network.credentials"
	RulePlacement = "network.credentials.hosts"
)

// Validate holds a policy against the rules of the wire: what a request may say in its network.
// Errors are KindInvalid and name the field. A policy that Narrow made may hold both lists: it is not
// for Validate.
func (p Policy) Validate() error {
	if _, err := compile(p); err != nil {
		return err
	}
	if len(p.Blocked) > 0 && p.Access != AccessRestricted {
		return stead.Invalid(RuleBlocked, "blocked domains need the access %q", AccessRestricted)
	}
	if len(p.Allowed) > 0 && p.Access != AccessRestricted {
		return stead.Invalid(RuleAllowed, "allowed domains need the access %q", AccessRestricted)
	}
	if len(p.Blocked) > 0 && len(p.Allowed) > 0 {
		return stead.Invalid(RuleBlocked, "blocked domains can't be combined with allowed ones: what is not allowed is refused anyway")
	}
	return nil
}

// rules is a compiled Policy.
type rules struct {
	access       Access
	allowed      []pattern
	blocked      []pattern
	privateNames []pattern
	privateNets  []netip.Prefix
	ports        portSet
	opaque       portSet
	shown        []string // of Allowed, for refusals
	table        *addressTable
}

func compile(p Policy) (*rules, error) {
	switch p.Access {
	case AccessDisabled, AccessEnabled, AccessRestricted:
	default:
		return nil, stead.Invalid(RuleAccess, "%.40q is no access: write disabled, restricted or enabled", string(p.Access))
	}
	r := &rules{access: p.Access, ports: p.ports(), opaque: p.OpaquePorts, shown: p.Allowed[:min(len(p.Allowed), MaxShownRules)], table: newAddressTable()}
	var err error
	if r.allowed, err = parsePatterns(p.Allowed, RuleAllowed); err != nil {
		return nil, err
	}
	if r.blocked, err = parseBlocked(p.Blocked, RuleBlocked); err != nil {
		return nil, err
	}
	if err := r.readPrivate(p.Private); err != nil {
		return nil, err
	}
	if slices.Contains(p.Ports, anyPort) {
		return nil, stead.Invalid(RulePorts, "0 is no port")
	}
	if slices.Contains(p.OpaquePorts, 443) || slices.Contains(p.OpaquePorts, anyPort) {
		return nil, stead.Invalid(RuleOpaque, "443 and 0 can't be opaque ports")
	}
	return r, p.Limits.check()
}

// ports are those of patterns that name none.
func (p Policy) ports() portSet {
	if len(p.Ports) > 0 {
		return p.Ports
	}
	if len(p.Allowed) > 0 {
		return portSet{80, 443}
	}
	return portSet{anyPort}
}

func (r *rules) readPrivate(list []string) error {
	if len(list) > MaxPatterns {
		return stead.Invalid(RulePrivate, "there are %d entries, at most %d are possible", len(list), MaxPatterns)
	}
	for i, s := range list {
		field := element(RulePrivate, i)
		if strings.Contains(s, "/") {
			net, err := netip.ParsePrefix(s)
			if err != nil || net != net.Masked() || net.Addr().Is4In6() {
				return stead.Invalid(field, "%.80q is no network: write 10.1.0.0/16 or fd00:1::/64", s)
			}
			r.privateNets = append(r.privateNets, net)
			continue
		}
		p, err := parsePattern(s)
		if err != nil {
			return at(err, field)
		}
		if p.ports != nil {
			return stead.Invalid(field, "%.80q names a port: it belongs into allowed_domains", s)
		}
		if p.host.name == "" {
			r.privateNets = append(r.privateNets, netip.PrefixFrom(p.host.addr, p.host.addr.BitLen()))
			continue
		}
		r.privateNames = append(r.privateNames, p)
	}
	return nil
}

// decide says whether a host may be asked for at all, before it is resolved; nil: yes.
func (r *rules) decide(h host, port uint16) *refusal {
	switch {
	case r.access == AccessDisabled, r.access == AccessRestricted && len(r.allowed)+len(r.blocked) == 0:
		return refuse(RuleAccess, "this environment has no network access")
	case slices.ContainsFunc(r.blocked, func(p pattern) bool { return p.matches(h, port, nil) }):
		return refuse(RuleBlocked, "%.80q is blocked", h)
	case len(r.allowed) > 0:
		return r.decideListed(h, port)
	case h.name == "" && !r.privateNet(h.addr):
		return refuse(RuleLiteral, "%.80q is an address: ask for a name", h)
	case !r.ports.has(port):
		return refuse(RulePorts, "the port %d of %.80q may not be reached; the ports are: %s", port, h, r.ports)
	}
	return nil
}

func (r *rules) decideListed(h host, port uint16) *refusal {
	listed := false // at another port
	for _, p := range r.allowed {
		if p.matches(h, port, r.ports) {
			return nil
		}
		listed = listed || p.matchesHost(h)
	}
	out := refuse(RuleAllowed, "%.80q is not among the allowed domains", h)
	switch {
	case listed:
		out = refuse(RulePorts, "the port %d of %.80q may not be reached", port, h)
	case h.name == "":
		out = refuse(RuleLiteral, "%.80q is an address: ask for a name, one of the allowed domains", h)
	}
	out.allowed = r.shown
	return out
}

func (r *rules) privateNet(a netip.Addr) bool {
	return slices.ContainsFunc(r.privateNets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// String lists ports for people.
func (s portSet) String() string {
	var words []string
	for _, p := range s {
		words = append(words, itoa(p))
	}
	return strings.Join(words, ", ")
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }

func element(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// at gives an error its field.
func at(err error, field string) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		out := *e
		out.Param = field
		return &out
	}
	return err
}

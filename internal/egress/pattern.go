package egress

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Pattern says what an entry of Policy.Allowed or of Credential.Hosts means:
//
//	example.com        that name alone
//	*.example.com      every name below it, however deep, and not itself
//	.example.com       itself and every name below it
//	93.184.216.34      that address, when a client asks for the address itself; [2001:db8::1] likewise
//	…:8443             at that port alone; without it, at Policy.Ports
//	…:*                at every port
//
// Case does not count, nor one trailing dot. International names are written as punycode (xn--…). A
// star stands in front, before a dot, and nowhere else. In Policy.Blocked a name always means itself
// and every name below it, at every port unless one is named, and a star is refused: that list is to
// have no gap that a subdomain opens.
type Pattern = string

// pattern is a compiled Pattern.
type pattern struct {
	host  host
	self  bool // the name itself
	below bool // what is below it
	ports portSet
}

// portSet is some ports; nil: those of the context.
type portSet []uint16

const anyPort = 0 // as the only element: every port

func (s portSet) has(port uint16) bool {
	return slices.Contains(s, port) || slices.Contains(s, anyPort)
}

func (s portSet) covers(t portSet) bool {
	for _, port := range t {
		if !s.has(port) {
			return false
		}
	}
	return true
}

func parsePattern(s string) (pattern, error) {
	p := pattern{self: true}
	rest := s
	if r, ok := strings.CutSuffix(rest, ":*"); ok {
		rest, p.ports = r, portSet{anyPort}
	}
	if r, ok := strings.CutPrefix(rest, "*."); ok {
		rest, p.self, p.below = r, false, true
	} else if r, ok := strings.CutPrefix(rest, "."); ok {
		rest, p.below = r, true
	}
	if strings.ContainsAny(rest, "*/@") {
		return pattern{}, stead.Invalid("", "%.80q is no pattern: write example.com, *.example.com or .example.com, with :port if need be", s)
	}
	h, port, err := parseAuthority(rest, 1)
	if err != nil {
		return pattern{}, err
	}
	if strings.HasSuffix(rest, ":"+itoa(port)) {
		if p.ports != nil {
			return pattern{}, stead.Invalid("", "%.80q names two ports", s)
		}
		p.ports = portSet{port}
	}
	if p.below && h.name == "" {
		return pattern{}, stead.Invalid("", "%.80q: nothing is below an address", s)
	}
	p.host = h
	return p, nil
}

// matches reports whether the pattern holds a host and port; usual are the ports of patterns that
// name none.
func (p pattern) matches(h host, port uint16, usual portSet) bool {
	return p.matchesHost(h) && p.portsOr(usual).has(port)
}

func (p pattern) matchesHost(h host) bool {
	if h.name == "" || p.host.name == "" {
		return h.name == p.host.name && h.addr == p.host.addr
	}
	if h.name == p.host.name {
		return p.self
	}
	return p.below && strings.HasSuffix(h.name, "."+p.host.name)
}

func (p pattern) portsOr(usual portSet) portSet {
	if p.ports == nil {
		return usual
	}
	return p.ports
}

// covers reports whether everything that q holds, p holds too.
func (p pattern) covers(q pattern, usualP, usualQ portSet) bool {
	if !p.portsOr(usualP).covers(q.portsOr(usualQ)) {
		return false
	}
	if q.self && !p.matchesHost(q.host) {
		return false
	}
	// All names below q's are below p's when q's name is p's or below it.
	return !q.below || p.below && (q.host.name == p.host.name || strings.HasSuffix(q.host.name, "."+p.host.name))
}

func parsePatterns(list []Pattern, field string) ([]pattern, error) {
	if len(list) > MaxPatterns {
		return nil, stead.Invalid(field, "there are %d entries, at most %d are possible", len(list), MaxPatterns)
	}
	out := make([]pattern, 0, len(list))
	for i, s := range list {
		p, err := parsePattern(s)
		if err != nil {
			return nil, at(err, element(field, i))
		}
		out = append(out, p)
	}
	return out, nil
}

// parseBlocked reads Policy.Blocked: each name with everything below it.
func parseBlocked(list []Pattern, field string) ([]pattern, error) {
	for i, s := range list {
		if strings.Contains(s, "*") {
			return nil, stead.Invalid(element(field, i), "%.80q has a star: a blocked name always stands for everything below it too", s)
		}
	}
	out, err := parsePatterns(list, field)
	for i := range out {
		out[i].self = true
		out[i].below = out[i].host.name != ""
		if out[i].ports == nil {
			out[i].ports = portSet{anyPort}
		}
	}
	return out, err
}

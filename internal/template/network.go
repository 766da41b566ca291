package template

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Limits of a domain name, of RFC 1035 section 2.3.4.
const (
	maxDomainBytes = 253
	maxLabelBytes  = 63
)

func (d *decoder) network() error {
	o, ok, err := d.o.Object("network")
	if !ok || err != nil {
		return err
	}
	if err := only(o, "network", []string{"access", "allowed_domains", "blocked_domains"}); err != nil {
		return err
	}
	access, err := param.Need(o.Enum("access", string(AccessEnabled), string(AccessDisabled), string(AccessRestricted)))(o.Path("access"))
	if err != nil {
		return err
	}
	n := &Network{Access: Access(access)}
	if n.Allowed, err = domains(o, "allowed_domains", true); err != nil {
		return err
	}
	if n.Blocked, err = domains(o, "blocked_domains", false); err != nil {
		return err
	}
	d.c.Network = n
	return n.check(o)
}

// check holds the lists against the access, in the contract's words.
func (n *Network) check(o param.Object) error {
	for name, list := range map[string][]string{"allowed_domains": n.Allowed, "blocked_domains": n.Blocked} {
		if len(list) > 0 && n.Access != AccessRestricted {
			return stead.Invalid(o.Path(name), `%s counts only with access "restricted", not %q`, o.Path(name), n.Access)
		}
	}
	if len(n.Allowed) > 0 && len(n.Blocked) > 0 {
		return stead.Invalid(o.Path("blocked_domains"), "%s can't be combined with allowed_domains: what is not allowed is blocked", o.Path("blocked_domains"))
	}
	return nil
}

// domains reads a list of names, in lower case: never nil.
func domains(o param.Object, name string, wildcards bool) ([]string, error) {
	list, _, err := o.Strings(name)
	if err != nil {
		return nil, err
	}
	if len(list) > MaxDomains {
		return nil, tooMany(o.Path(name), len(list), MaxDomains)
	}
	out := make([]string, 0, len(list))
	for i, s := range list {
		at := param.Index(o.Path(name), i)
		domain := strings.ToLower(s)
		bare := domain
		if rest, ok := strings.CutPrefix(domain, "*."); ok && wildcards {
			bare = rest
		}
		if !isDomain(bare) {
			e := stead.Invalid(at, "%s must be a domain name, not %.100q", at, s)
			e.Hint = "Send the name alone, without scheme, port or path; addresses and wildcards in the middle are not supported."
			return nil, e
		}
		if !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	return out, nil
}

// isDomain reports whether s is a name of letters, digits and hyphens, and no address.
func isDomain(s string) bool {
	if s == "" || len(s) > maxDomainBytes {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabelBytes || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(l, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }) {
			return false
		}
	}
	// A last label of digits is an address in one of the forms that resolvers take: 127.1, 0x7f000001.
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// Narrower reports whether n lets through nothing that wide does not: "" when it does not, and else
// what it is that it lets through.
func (n Network) Narrower(wide Network) (broader string) {
	switch {
	case n.Access == AccessDisabled || wide.Access == AccessEnabled:
		return ""
	case wide.Access == AccessDisabled:
		return "its network is disabled"
	case n.Access == AccessEnabled:
		return "its network is restricted"
	case len(wide.Blocked) == 0:
		return n.narrowerThanAllowed(wide.Allowed)
	default:
		return n.narrowerThanBlocked(wide.Blocked)
	}
}

func (n Network) narrowerThanAllowed(allowed []string) string {
	if len(n.Blocked) > 0 {
		return "it allows only the domains that it names"
	}
	for _, domain := range n.Allowed {
		if !slices.ContainsFunc(allowed, func(a string) bool { return covers(a, domain) }) {
			return domain + " is not among the domains that it allows"
		}
	}
	return ""
}

func (n Network) narrowerThanBlocked(blocked []string) string {
	for _, b := range blocked {
		for _, domain := range n.Allowed {
			if below(strings.TrimPrefix(domain, "*."), b) || covers(domain, b) {
				return b + ", which it blocks, would be allowed"
			}
		}
		if len(n.Allowed) == 0 && len(n.Blocked) > 0 && !slices.ContainsFunc(n.Blocked, func(own string) bool { return below(b, own) }) {
			return "it blocks " + b
		}
	}
	return ""
}

// covers reports whether every name that domain stands for is one that allowed stands for.
func covers(allowed, domain string) bool {
	suffix, wild := strings.CutPrefix(allowed, "*.")
	if !wild {
		return allowed == domain
	}
	return strings.HasSuffix(strings.TrimPrefix(domain, "*"), "."+suffix)
}

// below reports whether a name is parent or one below it.
func below(name, parent string) bool { return name == parent || strings.HasSuffix(name, "."+parent) }

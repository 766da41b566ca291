package egress

import (
	"slices"

	"github.com/stead-dev/stead"
)

// Narrow makes the policy of a child (a session's, or a template's that inherits) under its parent's.
// A child may only take away: an access that is wider, an allowed domain that no entry of the parent
// covers, a port or a private network that the parent does not have is KindInvalid, and Param names
// the field ("network.allowed_domains[2]"). Blocked lists add up; of limits the lower counts; what
// the child leaves out (an Access of "" too) is the parent's. The result is for New: it may hold both
// lists, which the wire can't say.
func Narrow(parent, child Policy) (Policy, error) {
	if child.Access == "" {
		if len(child.Allowed)+len(child.Blocked) > 0 {
			return Policy{}, stead.Invalid(RuleAccess, "lists of domains need the access %q", AccessRestricted)
		}
		child.Access, child.Allowed, child.Blocked = parent.Access, parent.Allowed, parent.Blocked
	}
	above, err := compile(parent)
	if err != nil {
		return Policy{}, err
	}
	below, err := compile(child)
	if err != nil {
		return Policy{}, err
	}
	if !wider(above.reach(), below.reach()) || parent.Access == AccessRestricted && child.Access == AccessEnabled {
		return Policy{}, stead.Invalid(RuleAccess, "the access %q is more than %q, which the template has", child.Access, parent.Access)
	}
	out := child
	if below.reach() == reachNothing {
		// An empty list beside the parent's blocked one would read as "all but these".
		out = Policy{Access: AccessDisabled}
	}
	if err := narrowPorts(&out, parent, child); err != nil {
		return Policy{}, err
	}
	if err := narrowAllowed(&out, parent, above, below); err != nil {
		return Policy{}, err
	}
	if out.Access != AccessDisabled {
		out.Blocked = union(parent.Blocked, child.Blocked)
	}
	for i, s := range child.Private {
		if !slices.Contains(parent.Private, s) {
			return Policy{}, stead.Invalid(element(RulePrivate, i), "%.80q is not among the private networks of the template", s)
		}
	}
	if child.Private == nil {
		out.Private = parent.Private
	}
	out.Limits = parent.Limits.narrow(child.Limits)
	_, err = compile(out)
	return out, err
}

// reach orders policies by how much they allow, lists aside.
type reach int

const (
	reachNothing  reach = iota
	reachListed         // the allowed ones
	reachUnlisted       // all but the blocked ones
	reachAll
)

func (r *rules) reach() reach {
	switch {
	case r.access == AccessDisabled, r.access == AccessRestricted && len(r.allowed)+len(r.blocked) == 0:
		return reachNothing
	case len(r.allowed) > 0:
		return reachListed
	case r.access == AccessRestricted:
		return reachUnlisted
	}
	return reachAll
}

// wider: a child that only blocks is no widening of a list, since the list stays.
func wider(parent, child reach) bool {
	return parent >= child || parent == reachListed && child == reachUnlisted
}

func narrowAllowed(out *Policy, parent Policy, above, below *rules) error {
	if out.Access == AccessDisabled {
		return nil
	}
	if len(parent.Allowed) == 0 { // all names then, and no address: those are reached by an entry alone
		for i, q := range below.allowed {
			if q.host.name == "" {
				return stead.Invalid(element(RuleAllowed, i), "%.80q is an address, and the template allows none", out.Allowed[i])
			}
		}
		return nil
	}
	if len(out.Allowed) == 0 {
		out.Access, out.Allowed = AccessRestricted, parent.Allowed
		return nil
	}
	for i, q := range below.allowed {
		covered := slices.ContainsFunc(above.allowed, func(p pattern) bool {
			return p.covers(q, above.ports, out.ports())
		})
		if !covered {
			return stead.Invalid(element(RuleAllowed, i), "%.80q is more than the allowed domains of the template", out.Allowed[i])
		}
	}
	return nil
}

// narrowPorts settles Ports and OpaquePorts, and holds ports that the child's patterns name against
// the parent's, where no list of the parent does.
func narrowPorts(out *Policy, parent, child Policy) error {
	for i, port := range child.Ports {
		if !parent.ports().has(port) {
			return stead.Invalid(element(RulePorts, i), "the port %d is not among the template's", port)
		}
	}
	if len(child.Ports) == 0 {
		out.Ports = parent.Ports
	}
	for i, port := range child.OpaquePorts {
		if !slices.Contains(parent.OpaquePorts, port) {
			return stead.Invalid(element(RuleOpaque, i), "the port %d is not among the template's", port)
		}
	}
	if child.OpaquePorts == nil {
		out.OpaquePorts = parent.OpaquePorts
	}
	if len(parent.Allowed) > 0 || len(parent.Ports) == 0 {
		return nil
	}
	patterns, err := parsePatterns(out.Allowed, RuleAllowed)
	for i, p := range patterns {
		if !parent.ports().covers(p.portsOr(out.ports())) {
			return stead.Invalid(element(RuleAllowed, i), "%.80q names a port that is not among the template's", out.Allowed[i])
		}
	}
	return err
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

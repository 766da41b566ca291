package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Needs says whose approval an effect waits for.
type Needs struct {
	Roles []stead.Role `json:"roles"`           // each of them may approve; a principal without a role always may
	Count int          `json:"count,omitempty"` // how many different ones must; 0: one
	// ExpiresMS is how long the question stands, in milliseconds; then the effect is denied. 0: for ever.
	ExpiresMS int64 `json:"expires_ms,omitempty"`
	// Separate: who stands behind the effect does not count.
	Separate bool `json:"separate,omitempty"`
	// Default is what holds when the time is over and nobody answered: DefaultAllow, or "" for a no.
	Default string `json:"default,omitempty"`
}

// DefaultAllow is a Default: what nobody answered is done.
const DefaultAllow = "allow"

// Lapses says what holds when the time is over: "allow" or "deny".
func (n *Needs) Lapses() string { return cmp.Or(n.Default, "deny") }

// Anybody stands behind an effect where more do than are told apart.
func Anybody() stead.Principal { return stead.Principal{Kind: "anybody", ID: "anybody"} }

// Counts reports whether somebody's approval counts for an effect that others stand behind: in whose name it is, and who caused it.
func (n *Needs) Counts(who stead.Principal, behind ...stead.Principal) bool {
	if n.Separate && slices.ContainsFunc(behind, func(b stead.Principal) bool { return b == Anybody() || alike(who, b) }) {
		return false
	}
	return who.Role == "" || slices.Contains(n.Roles, who.Role)
}

// alike reports whether the same person may be behind both.
func alike(a, b stead.Principal) bool {
	return slices.ContainsFunc(persons(a), func(one string) bool { return slices.Contains(persons(b), one) })
}

// persons are who is behind a principal: itself, and who made the token that it comes with.
func persons(p stead.Principal) []string {
	self := string(p.Kind) + ":" + p.ID
	if p.Maker == "" || p.Maker == self {
		return []string{self}
	}
	return []string{self, p.Maker}
}

// Missing is how many approvals are missing yet, when these were given.
func (n *Needs) Missing(given []stead.Principal, behind ...stead.Principal) int {
	seen := map[string]bool{}
	count := 0
	for _, g := range given {
		self := string(g.Kind) + ":" + g.ID
		if !n.Counts(g, behind...) || seen[self] || g.Maker != "" && seen[g.Maker] {
			continue
		}
		count++
		seen[self] = true
		if g.Maker != "" {
			seen[g.Maker] = true
		}
	}
	return max(0, max(1, n.Count)-count)
}

// And is what satisfies both: the roles that each of them takes, the most approvals, the shortest time, a no before a yes. Either may be nil.
func (n *Needs) And(other *Needs) *Needs {
	if n == nil || other == nil {
		return cmp.Or(n, other)
	}
	out := *n
	out.Roles = slices.DeleteFunc(slices.Clone(n.Roles), func(role stead.Role) bool { return !slices.Contains(other.Roles, role) })
	out.Count = max(n.Count, other.Count)
	out.Separate = n.Separate || other.Separate
	if n.Default != other.Default { // one of them says no
		out.Default = ""
	}
	out.ExpiresMS = cmp.Or(min(n.ExpiresMS, other.ExpiresMS), max(n.ExpiresMS, other.ExpiresMS))
	return &out
}

// Who says in words whose approvals are needed.
func (n *Needs) Who() string {
	roles := make([]string, len(n.Roles))
	for i, r := range n.Roles {
		roles[i] = string(r)
	}
	return strings.Join(roles, " or ")
}

// Rule is a policy in force, for people.
type Rule struct {
	ID       string `json:"id"`
	Set      string `json:"set,omitempty"` // the project's that it is of; "": it is the operator's
	File     string `json:"file"`
	Line     int    `json:"line"`
	Effect   string `json:"effect"`             // permit or forbid
	Mode     string `json:"mode"`               // enforce or shadow
	Approval string `json:"approval,omitempty"` // the role that may approve; "": it asks nobody
	Reason   string `json:"reason,omitempty"`
}

// Modes of a Rule.
const (
	Enforce = "enforce"
	Shadow  = "shadow"
)

package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// Whoever may approve a held call can hand that to somebody by name, or to a role. Nobody's rights grow by it: the approval of who
// it was handed to counts only where it would have counted before. The next approval takes it off the call, so that of several
// that it takes, the others are not handed to the same one.

// DecisionDelegate hands the approval of a held call to somebody else.
const DecisionDelegate = "delegate"

// Delegate is to whom an approval is handed: a principal, or a role.
type Delegate struct {
	Kind stead.PrincipalKind `json:"kind,omitempty"`
	ID   string              `json:"id,omitempty"`
	Role stead.Role          `json:"role,omitempty"`
}

// String names the delegate for people.
func (d Delegate) String() string {
	if d.Role != "" {
		return "the role " + string(d.Role)
	}
	return string(d.Kind) + " " + d.ID
}

// is reports whether somebody is meant. A principal without a role is every role.
func (d Delegate) is(p stead.Principal) bool {
	if d.Role != "" {
		return p.Role == "" || p.Role == d.Role
	}
	return p.Kind == d.Kind && p.ID == d.ID
}

// Delegation is a Delegate, and who named it: that one can take it back.
type Delegation struct {
	To Delegate        `json:"to"`
	By stead.Principal `json:"by"`
}

// ApprovalDelegated hands the approval of a held call to somebody.
type ApprovalDelegated struct {
	CallID string          `json:"call_id"`
	To     Delegate        `json:"to"`
	Reason string          `json:"reason,omitempty"`
	By     stead.Principal `json:"by"`
}

func (v *View) delegated(e stead.Event, p ApprovalDelegated) {
	if c := v.CallByID(p.CallID); c != nil && c.Held() != nil && !c.Expired(e.At) {
		v.LastActive = e.At
		c.Delegated = &Delegation{p.To, p.By}
	}
}

// MayDelegate says why somebody can't hand a call's approval to another, as an error for that person; nil: it can.
func (v *View) MayDelegate(c *Call, by stead.Principal, to Delegate) error {
	n, owner := c.Held(), v.Created.Principal
	switch {
	case n == nil:
		return stead.Errorf(stead.KindConflict, "only what a policy holds can be handed to somebody")
	case !n.Counts(by, owner):
		return stead.Errorf(stead.KindForbidden, "your approval does not count for this call: it takes that of %s", n.Who())
	case c.Delegated != nil && !c.Delegated.To.is(by) && (c.Delegated.By.Kind != by.Kind || c.Delegated.By.ID != by.ID):
		return stead.Errorf(stead.KindForbidden, "the approval was handed to %s: they can hand it on, and whoever handed it to them can take it back", c.Delegated.To)
	case to.Role != "" && !slices.Contains(n.Roles, to.Role):
		return stead.Errorf(stead.KindForbidden, "the role %.80s can't approve this call: it takes that of %s", to.Role, n.Who())
	case n.Separate && to.Role == "" && to.is(owner):
		return stead.Errorf(stead.KindForbidden, "whom the session belongs to can't approve this call")
	}
	return nil
}

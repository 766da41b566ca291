package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Whoever may approve a held call can hand that to somebody by name, or to a role. Nobody's rights grow by it: the approval of who
// it was handed to counts only where it would have counted before. The next approval takes it off the call, so that of several
// that it takes, the others are not handed to the same one.

// DecisionDelegate hands the approval of a held call to somebody else.
const DecisionDelegate = "delegate"

// Delegate is to whom an approval is handed: a principal, or a role.
type Delegate = policy.Delegate

// Delegation is a Delegate, and who named it.
type Delegation = policy.Delegation

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
		c.Delegated = &Delegation{To: p.To, By: p.By}
	}
}

// MayDelegate says why somebody can't hand a call's approval to another, as an error for that person; nil: it can.
func (v *View) MayDelegate(c *Call, by stead.Principal, to Delegate) error {
	if c.Held() == nil {
		return stead.Errorf(stead.KindConflict, "only what a policy holds can be handed to somebody")
	}
	return v.asked(c).MayDelegate(by, to)
}

// StandBehind are those who stand behind a call: where policies want approvals of others, theirs don't count.
func (v *View) StandBehind(c *Call) []stead.Principal { return v.behind(c.Wrote, c.EditedBy...) }

// asked is the question about a call that policies hold.
func (v *View) asked(c *Call) policy.Asked {
	return policy.Asked{Needs: c.Held(), Behind: v.StandBehind(c), Who: toldBehind, Given: c.Approved, Delegated: c.Delegated}
}

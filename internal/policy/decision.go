package policy

import "github.com/stead-dev/stead"

// Decision is the answer. The zero Decision denies.
type Decision struct {
	Allow  bool   `json:"allow"`
	By     string `json:"by"`               // which decider: "local", "role", "policy"
	Reason string `json:"reason,omitempty"` // for people
	// Quotes is the id of somebody whose own words Reason repeats, or QuotesSomebody; "": it repeats none.
	Quotes string `json:"quotes,omitempty"`
	// About is the id of whom these words are about, where that is somebody; "": it is nobody in particular.
	About string `json:"-"`

	Policies []string `json:"policies,omitempty"` // ids of those that decided
	// Version is the digest of all policies that were asked; "": there were none.
	Version string `json:"version,omitempty"`
	Micros  int64  `json:"us,omitempty"`     // how long the policies took
	Needs   *Needs `json:"needs,omitempty"`  // nobody approved it yet: who must
	Shadow  *Trial `json:"shadow,omitempty"` // what would be decided if shadow policies counted; nil: they had nothing to say

	// Budgets are those that policies looked at; nil: none did.
	Budgets *Budgets `json:"budgets,omitempty"`

	// For is who of those behind it decided it, as KIND:ID, where that is not whom the session serves: it is denied, or takes an
	// approval, for them. "": it is that one, or nobody.
	For string `json:"for,omitempty"`

	// Approval is the request for approval that this decision asked about, or used up; "": there was none. A tool call's stands in its session.
	Approval string `json:"approval,omitempty"`
	// Open is that request where it waits for an answer; nil: it does not.
	Open *Open `json:"-"`
}

// QuotesSomebody stands for whose words a reason repeats where that is not known, or is a model.
const QuotesSomebody = "?"

// CodeApproval is the code of the error that says that nothing happened, and that a request for approval was made of it.
const CodeApproval = "approval_required"

// Open is a request for approval that waits, as the error of Check that says so carries it.
type Open struct {
	ID        string
	Digest    string // of what whoever answers is shown
	ExpiresAt int64  // Unix milliseconds; 0: nothing ends it
}

// Error implements error.
func (o *Open) Error() string { return "request " + o.ID + " waits for approval" }

// Trial is a decision that nothing follows from.
type Trial struct {
	Outcome  Outcome  `json:"outcome"`
	Policies []string `json:"policies,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// Outcome is a decision in one word.
type Outcome string

// The outcomes.
const (
	Allowed  Outcome = "allow"
	Denied   Outcome = "deny"
	Approval Outcome = "approval" // allowed once somebody approves
)

// Outcome is the decision in one word.
func (d Decision) Outcome() Outcome {
	switch {
	case d.Allow:
		return Allowed
	case d.Needs != nil:
		return Approval
	}
	return Denied
}

// Recorded is the decision for an event that has room for one where policies were asked; nil: there are none.
func (d Decision) Recorded() *Decision {
	if d.Version == "" {
		return nil
	}
	return &d
}

// Err is the error of what a decision does not allow; nil: it does.
func (d Decision) Err(req Request) error {
	if d.Open != nil {
		e := stead.Wrap(stead.KindForbidden, d.Open, "%s was not done: %s", req.Effect, d.Reason)
		e.Code, e.Hint = CodeApproval, "Send the same request again once "+d.Open.ID+" is approved."
		return e
	}
	if d.Needs != nil && !(req.Acting && req.Waits) {
		return stead.Wrap(stead.KindForbidden, &Wanting{req, d}, "%s is not allowed: %s", req.Effect, d.Reason)
	}
	if !d.Allow {
		return stead.Errorf(stead.KindForbidden, "%s is not allowed: %s", req.Effect, d.Reason)
	}
	return nil
}

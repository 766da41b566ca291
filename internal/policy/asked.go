package policy

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
)

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

// Asking is what records of a request for approval say about it, so that whoever is told by them need not look it up.
type Asking struct {
	ID     string       `json:"id"`
	Kind   string       `json:"kind"` // AskingSession or AskingRequest
	Effect Effect       `json:"effect"`
	Of     string       `json:"of"`              // "shop/refund", "POST /v1/vaults"
	For    string       `json:"for"`             // in whose name: "user:ada"
	Digest string       `json:"digest"`          // of what is shown
	Until  int64        `json:"until,omitempty"` // Unix milliseconds; 0: for ever
	Then   string       `json:"then,omitempty"`  // allow or deny
	Roles  []stead.Role `json:"roles,omitempty"` // that may approve
	Count  int          `json:"count,omitempty"` // how many must
	Answer string       `json:"answer,omitempty"`
	To     string       `json:"to,omitempty"` // to whom it was handed
	// Call is what is shown of a session's tool call beside its arguments: where it goes, for whom, by which agent.
	Call json.RawMessage `json:"call,omitempty"`
}

// Kinds of Asking.
const (
	AskingSession = "session" // a session waits
	AskingRequest = "request" // a request of the API does
)

// Asked is a question that stands: what it takes, who stands behind the effect, who has approved, and to whom the next was handed. The
// rules of answering are the same whatever is asked about.
type Asked struct {
	Needs     *Needs
	Behind    []stead.Principal // in whose name it is, and who caused it: with Separate, they don't count
	Who       string            // says so to people: "whom the session belongs to"
	Given     []stead.Principal
	Delegated *Delegation
}

// MayApprove says why somebody's approval would not count, as an error for that person; nil: it does.
func (a Asked) MayApprove(by stead.Principal) error {
	n := a.Needs
	if !n.Counts(by, a.Behind...) {
		e := stead.Errorf(stead.KindForbidden, "your approval does not count here: it takes that of %s", n.Who())
		if n.Separate {
			e.Hint = "It must not be given by " + a.Who + " either."
		}
		return e
	}
	if a.Delegated != nil && !a.Delegated.To.is(by) {
		return stead.Errorf(stead.KindForbidden, "the approval was handed to %s", a.Delegated.To)
	}
	if with := append(slices.Clone(a.Given), by); n.Missing(with, a.Behind...) == n.Missing(a.Given, a.Behind...) {
		return stead.Errorf(stead.KindConflict, "you have approved this already: it takes %d more, by others", n.Missing(a.Given, a.Behind...))
	}
	return nil
}

// MayDelegate says why somebody can't hand the next approval to another, as an error for that person; nil: it can.
func (a Asked) MayDelegate(by stead.Principal, to Delegate) error {
	n := a.Needs
	switch {
	case !n.Counts(by, a.Behind...):
		return stead.Errorf(stead.KindForbidden, "your approval does not count here: it takes that of %s", n.Who())
	case a.Delegated != nil && !a.Delegated.To.is(by) && (a.Delegated.By.Kind != by.Kind || a.Delegated.By.ID != by.ID):
		return stead.Errorf(stead.KindForbidden, "the approval was handed to %s: they can hand it on, and whoever handed it to them can take it back", a.Delegated.To)
	case to.Role != "" && !slices.Contains(n.Roles, to.Role):
		return stead.Errorf(stead.KindForbidden, "the role %.80s can't approve this: it takes that of %s", to.Role, n.Who())
	case n.Separate && to.Role == "" && slices.ContainsFunc(a.Behind, to.is):
		return stead.Errorf(stead.KindForbidden, "%s %.80s can't approve this: it must not be %s", to.Kind, to.ID, a.Who)
	}
	return nil
}

// Approvable are the effects that can wait for an approval: what an agent does waits in its session, or is refused and passes once when it is
// done again; what is asked for by a request can be sent again.
func Approvable() []Effect {
	return []Effect{
		ToolCall, NetworkConnect, ModelCall, EnvironmentPrepare, EnvironmentOpen, EnvironmentSave, CredentialUse, SubagentCreate,
		SessionCreate, SessionWrite, SessionDelete, SessionControl, SessionTokenWrite, AgentWrite, EnvironmentWrite, FileWrite,
		VectorStoreRead, VectorStoreFileRead, VectorStoreWrite, SkillWrite, TemplateWrite, UsageWrite, BudgetWrite,
		MemoryRead, MemoryEntryRead, MemoryWrite, SemanticRead, SemanticWrite, SemanticQuery, VaultWrite, KeyWrite,
	}
}

// NeverWaits are the effects that can't, and why. A policy that wants an approval of one is refused when it is loaded.
func NeverWaits() map[Effect]string {
	const (
		looks   = "whoever must answer has to look"
		unlocks = "nobody could let go again what it locks"
		ends    = "what ends an environment would cost while it waits"
	)
	return map[Effect]string{
		SessionRead: looks, SessionTokenRead: looks, AgentRead: looks, EnvironmentRead: looks, FileRead: looks, SkillRead: looks, TemplateRead: looks, UsageRead: looks,
		BudgetRead: looks, PolicyRead: looks, AuditRead: looks, KillSwitchRead: looks, VaultRead: looks, KeyRead: looks,
		ApprovalGive: "it is an answer itself", CredentialConsent: "it is an answer itself, of the user at the authorization server",
		PolicyWrite: unlocks, PolicyDelete: unlocks, KillSwitchWrite: "what must not go on would go on until somebody answers",
		MemoryEntryWrite:   "memory.write waits in its place",
		EnvironmentSuspend: ends, EnvironmentExpire: ends,
	}
}

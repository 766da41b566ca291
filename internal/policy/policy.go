// Package policy decides whether an effect may happen, and says so in a form that can be recorded.
//
// Shape: Request {principal, session, effect, resource} → Decision {allow, by, why, needs}. The zero
// Decision is no; an error means no. The runner asks through one gate before each effect and puts
// the decision into the effect's intent event, so that it is durable before the effect.
//
// A Decision may be "not before somebody approved": then Allow is false and Needs says who must. A
// caller that can't wait treats it as the denial that it is.
//
// Units: times are Unix milliseconds, costs micro-cents, Decision.Micros microseconds.
//
// Errors: any error is a denial; KindForbidden carries the reason for the client, KindUnavailable says
// that to ask again may help.
package policy

import (
	"context"
	"math"

	"github.com/stead-dev/stead"
)

// Effect names what is about to happen.
type Effect string

// The effects that pass the gate. Later issues add theirs.
const (
	SessionCreate Effect = "session.create"
	SessionRead   Effect = "session.read"
	SessionWrite  Effect = "session.write" // input, update, pause, resume; a fork is a SessionCreate as well
	SessionDelete Effect = "session.delete"
	// SessionControl is to pause, resume or cancel many sessions at once; Request.Resource says which. Each is a session.write
	// as well.
	SessionControl Effect = "session.control"

	SessionTokenRead  Effect = "session_token.read"  // the tokens of a session, without their secrets
	SessionTokenWrite Effect = "session_token.write" // make, revoke
	AgentRead         Effect = "agent.read"
	AgentWrite        Effect = "agent.write"
	ModelCall         Effect = "model.call"
	ToolCall          Effect = "tool.call"
	ApprovalGive      Effect = "approval.give" // answering a required action
	// SubagentCreate is that an agent gives a task to a subagent, which it makes for that or has made; the resource is the session's agent, Arguments
	// have the task.
	SubagentCreate Effect = "subagent.create"

	EnvironmentPrepare Effect = "environment.prepare" // packages, files and set-up commands
	EnvironmentOpen    Effect = "environment.open"
	EnvironmentSave    Effect = "environment.save"
	EnvironmentSuspend Effect = "environment.suspend"
	EnvironmentExpire  Effect = "environment.expire"
	EnvironmentRead    Effect = "environment.read"  // its state and files
	EnvironmentWrite   Effect = "environment.write" // files
	FileRead           Effect = "file.read"
	FileWrite          Effect = "file.write"         // upload, delete
	VectorStoreRead    Effect = "vector_store.read"  // and search
	VectorStoreWrite   Effect = "vector_store.write" // and what is in it
	// VectorStoreFileRead is asked behind VectorStoreRead about documents of sources, once a request for those of the same source and
	// labels: what it refuses is not there for whoever asks.
	VectorStoreFileRead Effect = "vector_store.file.read"
	SkillRead           Effect = "skill.read"
	SkillWrite          Effect = "skill.write"
	TemplateRead        Effect = "template.read" // and starting a session from one
	TemplateWrite       Effect = "template.write"
	UsageRead           Effect = "usage.read"
	UsageWrite          Effect = "usage.write" // storing records that are missing
	BudgetRead          Effect = "budget.read"
	BudgetWrite         Effect = "budget.write"
	MemoryRead          Effect = "memory.read" // and search
	// MemoryEntryRead is asked behind MemoryRead about what is found, once a search for entries of the same scope, kind and labels:
	// what it refuses is not there for whoever asks.
	MemoryEntryRead Effect = "memory.entry.read"
	MemoryWrite     Effect = "memory.write" // add, change, forget
	// MemoryEntryWrite is asked behind MemoryWrite about what is made, changed or forgotten, once a request for entries of the same scope, kind
	// and labels.
	MemoryEntryWrite Effect = "memory.entry.write"

	PolicyRead   Effect = "policy.read"   // the policies in force, their schema, and the sets that a project uploaded
	PolicyWrite  Effect = "policy.write"  // make such a set, or its next version
	PolicyDelete Effect = "policy.delete" // delete one
	AuditRead    Effect = "audit.read"    // audit records and their checkpoints

	KillSwitchRead  Effect = "kill_switch.read"
	KillSwitchWrite Effect = "kill_switch.write" // set and lift

	VaultRead     Effect = "vault.read"     // vaults and what may be seen of their credentials
	VaultWrite    Effect = "vault.write"    // make, change, rotate, delete
	CredentialUse Effect = "credential.use" // a secret is about to be sent to Request.Destination; the resource is "vault/credential"
	// CredentialConsent is a user's consent to a credential that is to be: asked for, given or refused, as Request.Consent says. The
	// resource is the vault, Destination the authorization server.
	CredentialConsent Effect = "credential.consent"

	// NetworkConnect is a connection, or a request, out of an environment, which its network allows; or of the server's own, to a host that a source names. The resource is the host, in lower case.
	NetworkConnect Effect = "network.connect"

	SemanticRead  Effect = "semantic_model.read"  // what its terms mean
	SemanticWrite Effect = "semantic_model.write" // upload, delete
	SemanticQuery Effect = "semantic_model.query" // an answer; Request.Semantic says of what

	KeyRead  Effect = "key.read"  // API keys, without their secrets
	KeyWrite Effect = "key.write" // make, rotate, revoke
)

// FunctionServer is the server that functions of the application are named under: "function/NAME" is what a ToolCall is about then. No tool
// server has that label.
const FunctionServer = "function"

// ProviderServer is the server that the tools of a model's provider itself are named under: "provider/web_search". No tool server has that label.
const ProviderServer = "provider"

// Offer is a tool that a model may ask for.
type Offer struct {
	// Resource is "function/NAME", whose calls whoever offers it is handed; "" stands for those that are kept at the provider and not known here. Of what
	// the provider runs it is "provider/TYPE", or "LABEL/TOOL" of a tool server that it calls, or "LABEL": any tool of that.
	Resource    string
	Server      string // the label of such a server; "" elsewhere
	Destination string // where that is: HOST:PORT; "" where it is not known
	Provider    bool   // the provider runs it
}

// Effects lists them all.
func Effects() []Effect {
	return []Effect{
		SessionCreate, SessionRead, SessionWrite, SessionDelete, SessionControl, SessionTokenRead, SessionTokenWrite, AgentRead, AgentWrite, ModelCall, ToolCall, ApprovalGive, SubagentCreate,
		EnvironmentPrepare, EnvironmentOpen, EnvironmentSave, EnvironmentSuspend, EnvironmentExpire, EnvironmentRead, EnvironmentWrite,
		FileRead, FileWrite, VectorStoreRead, VectorStoreFileRead, VectorStoreWrite, SkillRead, SkillWrite, TemplateRead, TemplateWrite, UsageRead, UsageWrite, BudgetRead, BudgetWrite,
		MemoryRead, MemoryEntryRead, MemoryWrite, MemoryEntryWrite, PolicyRead, PolicyWrite, PolicyDelete, AuditRead, KillSwitchRead, KillSwitchWrite, VaultRead, VaultWrite, CredentialUse, CredentialConsent, NetworkConnect, KeyRead, KeyWrite,
		SemanticRead, SemanticWrite, SemanticQuery,
	}
}

// Request is what is to be decided.
type Request struct {
	Principal stead.Principal
	Session   stead.SessionKey // zero where there is none yet
	Agent     stead.AgentID
	Base      stead.AgentID // the saved agent that Agent was made from, which it is not: kill switches about that stop both. "": there is none
	Effect    Effect
	Resource  string // the model, "server/tool", the agent …
	// Pinned says in which version what the request names by id is used, where that can change: an approval holds for that alone. "" elsewhere.
	Pinned    string
	Arguments []byte // a tool call's arguments, JSON; nil elsewhere
	// Offers are the tools that a model call without a session may ask for. What stops one of them stops it.
	Offers []Offer
	// Unforeseen: what a tool call is made with is known neither now nor later. It is allowed if it is whatever that turns out to be, and waits for nobody. A
	// Resource without "/" is then any tool of that server.
	Unforeseen bool

	// Acting: it is not the principal who acts, but the session's Agent in its name.
	Acting bool
	// Behind are those who caused what the agent does, as they were then: Principal and all who told it something. It is done if all of
	// them may do it (Jointly), and with Needs.Separate their approvals don't count. What an agent does in a session says them always.
	Behind []stead.Principal
	// Subagents are those in whose name the agent acts, from the one that the root agent made to the one that does it; nil: the root agent does it itself.
	Subagents []string
	// Changed are those who changed what the agent is about to do, as whoever approves it may: policies are asked about it as it is then, and not for
	// them. It is not Principal's alone any more.
	Changed []stead.Principal
	// Carried: whoever asks puts the record of what was decided into the transaction of what follows from it, so that it needs none
	// of its own. What is refused to a principal that acts itself has nothing that follows.
	Carried bool
	// Optional: whoever asks does something else, and does without this where it is not allowed: nobody is asked for an approval of it.
	Optional bool
	// Waits: whoever asks can wait for an approval, and asks for it where one is needed.
	Waits bool
	// Step is what it is an effect of, where the context does not say it; nil: of nothing, or the context does.
	Step   *Step
	Labels stead.Labels // of the session and its responses, or of a stateless call, where they are known; nil elsewhere
	Model  string       // that the session's agent runs on; "" where it is not known
	// Destination is where a credential is sent, a connection leads, or a tool call goes: HOST:PORT, in lower case. "" elsewhere.
	Destination string
	Connection  *Connection // of NetworkConnect; nil elsewhere
	Consent     Consent     // of CredentialConsent; "" elsewhere
	Class       string      // a tool call's class of effect: pure, idempotent or unknown
	Origin      string      // of a tool call: who declared the tool ("operator", "agent"), or that it is the "runtime"'s or the "environment"'s
	Entry       *Entry      // of MemoryEntryRead and MemoryEntryWrite; nil elsewhere
	Semantic    *Semantic   // of SemanticQuery; nil elsewhere
	Document    *Document   // of VectorStoreFileRead; nil elsewhere
	Set         *SetVersion // of PolicyWrite and PolicyDelete; nil elsewhere
	// Written is what an administrative act is about to write, or to take away, for its record: names and short texts, no secret. It is
	// not judged. Where somebody else may write in between, it is what was seen before.
	Written map[string]string
	Spend   *Spend // of the session, where it is known
	// Budgets are those about the effect, where whoever asks knows how they stood; nil: policies that want to know look.
	Budgets *Budgets
	// Serves is the id of whom it is charged to, where that is not Principal; "": it is.
	Serves string
	// At is when it is asked, where that is not now: in a replay. 0: now.
	At int64
	// Answer is what somebody answers, in the record of an ApprovalGive that was Carried; nil elsewhere.
	Answer *Answer
	// Before is what was decided of an earlier attempt of this very effect; nil: there was none.
	Before *Decision
}

// Consent is a step of a consent.
type Consent string

// The steps. What comes behind ConsentAsked is told, so that it is recorded, and only ConsentGiven can be refused.
const (
	ConsentAsked   Consent = "asked"
	ConsentGiven   Consent = "given"   // its code is about to be redeemed
	ConsentKept    Consent = "kept"    // its tokens are stored
	ConsentRefused Consent = "refused" // by the user, or by the authorization server
)

// Connection is what is about to leave an environment.
type Connection struct {
	Port   uint16
	Kind   string // "tunnel" (bytes that are not seen), "request" or "dial" (of the server's own, for an environment or a source)
	Method string // of a request; "" elsewhere
	Path   string // without its query; "" but of a request
	Query  string // what Path leaves out, for approvals alone
}

// Entry is what is known of entries of a memory store without reading them.
type Entry struct {
	Kind      string
	ScopeType string // "user", "agent", "team" or "project"
	ScopeID   string // "" for the project
	Labels    []string
}

// Semantic is what a query of a semantic model speaks of, by the model's names.
type Semantic struct {
	Metrics    []string
	Entities   []string // all that are read
	Dimensions []string // cut by, listed or filtered: as they are called, and as "entity.attribute"
	Rows       bool     // rows are listed, and not numbers of them
}

// Document is what is known of documents of a source without reading them.
type Document struct {
	Source string // its id
	Kind   string // "directory", "git", "web", "mcp", "sql"
	Labels []string
}

// SetVersion is the version of an uploaded set of policies that is about to be written.
type SetVersion struct {
	Version int64  `json:"version,omitempty"` // its number, if nobody else writes one first; 0: it will not be, for want of what it needs
	Mode    string `json:"mode,omitempty"`    // enforce or shadow
	Digest  string `json:"digest,omitempty"`  // of the text, SHA-256 in hex; of a deletion: of that which it takes out of force
	// Restored is the version that a rollback repeats; 0: it repeats none.
	Restored int64 `json:"restored,omitempty"`
}

// Answer is somebody's answer to a request for approval.
type Answer struct {
	Decision string // approve, edit (approve, with other arguments), delegate …, deny or cancel
	Why      string
	Tool     string // that was asked about: "server/tool"
	Digest   string // of what was shown
	Asking   *Asking
}

// What Answer.Decision says where nobody answered.
const (
	Ask    = "ask"    // the question is new
	Expire = "expire" // its time is over
)

// Spend is what a session has cost so far, and what it may.
type Spend struct {
	Cost  int64 // micro-cents
	Limit int64 // micro-cents; 0: no limit
}

// Budgets says how far the budgets are used up that are about an effect, with what calls under way hold of them.
type Budgets struct {
	Used      int64  `json:"used"`                // per cent of the one that is used up most, rounded down; 0 to 100
	Exhausted bool   `json:"exhausted,omitempty"` // one of them has no room
	Tightest  string `json:"tightest,omitempty"`  // the id of the one that is used up most; "": none is about it
	Session   int64  `json:"session,omitempty"`   // as Used, of the session's own budgets and its limit alone
}

// PerCent is how much of a limit is used, rounded down: 0 to 100, which is all. A limit of 0 is none.
func PerCent(limit, used int64) int64 {
	const all = 100
	switch {
	case limit <= 0 || used <= 0:
		return 0
	case used >= limit:
		return all
	case used > math.MaxInt64/all:
		return min(used/(limit/all), all-1)
	}
	return used * all / limit
}

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

// Authorizer decides. It must be safe for concurrent use and quick: it stands before every effect.
type Authorizer interface {
	Decide(ctx context.Context, req Request) (Decision, error)
}

// AllowLocal is the decider of a server without governance: everything is allowed to every
// principal of the request's own project. Which server may run with it is the door's business.
type AllowLocal struct{}

// Decide implements Authorizer.
func (AllowLocal) Decide(_ context.Context, req Request) (Decision, error) {
	if req.Principal.ID == "" {
		return Decision{By: "local", Reason: "no principal"}, nil
	}
	if req.Session.Project != "" && req.Session.Project != req.Principal.Project {
		return Decision{By: "local", Reason: "another project"}, nil
	}
	return Decision{Allow: true, By: "local"}, nil
}

// Check asks the authorizer and turns a denial into a KindForbidden error; one that can't decide for
// now is KindUnavailable, and one who asks for too much at once stays KindLimited.
func Check(ctx context.Context, a Authorizer, req Request) (Decision, error) {
	if req.Acting && req.Subagents == nil {
		req.Subagents = SubagentsOf(ctx)
	}
	d, err := a.Decide(ctx, req)
	if stead.KindOf(err) == stead.KindUnavailable {
		return Decision{By: d.By}, stead.Wrap(stead.KindUnavailable, err, "%s was not allowed: no decision could be made or recorded; try again", req.Effect)
	}
	if stead.KindOf(err) == stead.KindLimited {
		return Decision{By: d.By}, err
	}
	if err != nil {
		return Decision{By: d.By}, stead.Wrap(stead.KindForbidden, err, "%s was not allowed: no decision could be made", req.Effect)
	}
	return d, d.Err(req)
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

// EnvironmentEffect names what is done with an environment: prepare, open, save, suspend or expire.
func EnvironmentEffect(action string) Effect { return Effect("environment." + action) }

package policy

import (
	"math"

	"github.com/stead-dev/stead"
)

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

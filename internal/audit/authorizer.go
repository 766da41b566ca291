package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Call is the request that an act belongs to: it is known to the door, and to nobody between it and
// the decision.
type Call struct {
	Request string // its id
	Act     string // "DELETE /v1/files/file_1"
	Key     string // id of the API key
	From    string // network address of the caller
}

type callKey struct{}

// WithCall is ctx within a request.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf is the request that ctx is within; zero: none.
func CallOf(ctx context.Context) Call {
	c, _ := ctx.Value(callKey{}).(Call)
	return c
}

// Authorizer lets another one decide, and records what must be before the effect. What it can't
// record is refused, with an error of KindUnavailable.
type Authorizer struct {
	first policy.Authorizer
	log   *Log
	now   func() time.Time
	out   *slog.Logger
	level Level
	reads Reads
}

// Level says which decisions are recorded beside administrative acts, refusals of the API's calls and uses of credentials.
type Level string

// The levels.
const (
	// LevelEvery: all, and each model call of the stateless doors, also where no policy had a word in it.
	// Each waits for a commit of its own.
	LevelEvery Level = "every"
	// LevelAll: all but reads, and stateless model calls that were allowed and no policy decided; of what agents do, reads too.
	LevelAll Level = "all"
	// LevelDenied: what was not allowed.
	LevelDenied Level = "denied"
	// LevelNone: nothing of what agents do; the session's journal has it.
	LevelNone Level = "none"
)

// Reads says which reads of people and applications, that were allowed, are recorded: each waits for a commit.
type Reads string

// The reads.
const (
	// ReadsNone: none; the zero Reads as well.
	ReadsNone Reads = "none"
	// ReadsContent: of what people and agents wrote, and of the audit log.
	ReadsContent Reads = "content"
	// ReadsAll: of configuration and usage, too.
	ReadsAll Reads = "all"
)

// NewAuthorizer makes an authorizer that records the decisions of another.
func NewAuthorizer(first policy.Authorizer, log *Log, level Level, now func() time.Time, out *slog.Logger) *Authorizer {
	return &Authorizer{first, log, now, out, level, ReadsNone}
}

// Recording has the authorizer record reads, too. It is called before anybody asks.
func (a *Authorizer) Recording(reads Reads) { a.reads = reads }

// Decide implements policy.Authorizer.
func (a *Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	d, failed := a.first.Decide(ctx, req)
	decision := decisionOf(d)
	if failed != nil {
		decision = Deny
	}
	carried := req.Carried && (req.Acting || decision == Allow)
	if carried || !a.recorded(req, d, decision) {
		return d, failed
	}
	r := a.record(ctx, req, d, decision)
	if failed != nil {
		r.Reason, r.Quotes = noDecision, ""
	}
	if err := a.log.Append(ctx, r); err != nil {
		a.out.Error("an audit record could not be stored: the call is refused", "action", r.Action, "principal", r.Principal.ID, "request", r.Request, "err", err)
		return policy.Decision{By: "audit", Reason: "it could not be recorded"}, err
	}
	return d, failed
}

// Foresee implements policy.Foreseer: what is recorded once it is allowed must be asked about.
func (a *Authorizer) Foresee(ctx context.Context, req policy.Request) bool {
	return a.level != LevelEvery && policy.Foresee(ctx, a.first, req)
}

// Look records that somebody reads what a session, or a request about one, waits with, where such reads are recorded. What can't be is not read.
func (a *Authorizer) Look(ctx context.Context, p stead.Principal, session stead.SessionID, resource string) error {
	req := policy.Request{Principal: p, Session: stead.SessionKey{Project: p.Project, Session: session}, Effect: policy.SessionRead, Resource: resource}
	if !a.reads.cover(req.Effect) {
		return nil
	}
	return a.log.Append(ctx, a.record(ctx, req, policy.Decision{Allow: true, By: "role"}, Allow))
}

// noDecision is the reason of a denial that has none of its own.
const noDecision = "no decision could be made"

func (a *Authorizer) record(ctx context.Context, req policy.Request, d policy.Decision, decision Decision) Record {
	call := CallOf(ctx)
	r := Record{
		At: a.now().UnixMilli(), Project: req.Principal.Project, Session: req.Session.Session,
		Principal: Principal{req.Principal.Kind, req.Principal.ID, req.Principal.Role, call.Key},
		Action:    string(req.Effect), Resource: req.Resource, Decision: decision,
		By: d.By, Reason: d.Reason, Quotes: d.Quotes, About: d.About, Policies: d.Policies, Version: d.Version, Request: call.Request, From: call.From, Detail: call.Act,
	}
	if req.Acting {
		r.Agent = req.Agent
		if n := len(req.Subagents); n > 0 {
			r.Subagent = req.Subagents[n-1]
		}
	}
	if a := req.Answer; a != nil {
		r.Action, r.Reason, r.Detail = ActAnswer, a.Why, a.Decision+" "+a.Tool+", effect "+a.Digest
		r.Approval = a.Asking
		switch a.Decision {
		case "deny", "cancel":
			r.Decision = Deny
		case policy.Ask:
			r.Action = ActAsk
		case policy.Expire:
			r.Action = ActExpire
		}
	}
	if req.Destination != "" {
		r.Detail = "to " + req.Destination
	}
	if req.Unforeseen {
		r.Detail = strings.TrimSuffix("by the model's provider, with arguments that are not seen, "+strings.TrimPrefix(r.Detail, call.Act), ", ")
	}
	if req.Consent != "" {
		r.Detail = string(req.Consent) + ", " + r.Detail
	}
	if req.Arguments != nil {
		sum := sha256.Sum256(req.Arguments)
		r.Arguments = hex.EncodeToString(sum[:])
	}
	if r.Set = req.Set; r.Set != nil {
		r.Arguments = r.Set.Digest
	}
	r.Written = req.Written
	return r
}

// Draft is the record of a decision for the append that holds what follows from it; nil: it is not recorded. The
// request was Carried.
func (a *Authorizer) Draft(ctx context.Context, req policy.Request, d policy.Decision) []byte {
	decision := decisionOf(d)
	if !a.recorded(req, d, decision) {
		return nil
	}
	r := a.record(ctx, req, d, decision)
	if decision == Deny && r.Reason == "" {
		r.Reason = noDecision
	}
	draft, err := DraftOf(r.Project, r)
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	return draft
}

// recorded says which decisions are. Reading is recorded where it is refused, or an agent does it. Every use of a
// credential is recorded, and every step of a consent to one, whoever acts: it may be asked for long after the session is gone.
// So is what approvals are asked for and used by.
func (a *Authorizer) recorded(req policy.Request, said policy.Decision, d Decision) bool {
	if req.Effect == policy.CredentialUse || req.Effect == policy.CredentialConsent || said.Approval != "" || req.Answer != nil {
		return true
	}
	if req.Effect == policy.MemoryEntryRead || req.Effect == policy.VectorStoreFileRead { // it refuses nobody: what is hidden is not there
		return false
	}
	if req.Effect == policy.MemoryEntryWrite && d == Allow { // the write was recorded
		return false
	}
	all := a.level == LevelAll || a.level == LevelEvery
	switch {
	case req.Acting:
		return all || a.level == LevelDenied && d != Allow
	case d != Allow || administrative(req.Effect) || req.Written != nil:
		return true
	case req.Effect == policy.ModelCall: // by no session, so that no append can carry it
		return a.level == LevelEvery || all && len(said.Policies) > 0
	}
	if strings.HasSuffix(string(req.Effect), ".read") {
		return req.Principal.Kind != stead.PrincipalNode && a.reads.cover(req.Effect)
	}
	return all
}

// cover reports whether reads of a kind are recorded.
func (r Reads) cover(e policy.Effect) bool {
	switch e {
	case policy.SessionRead, policy.EnvironmentRead, policy.FileRead, policy.MemoryRead, policy.VectorStoreRead, policy.AuditRead:
		return r == ReadsContent || r == ReadsAll
	}
	return r == ReadsAll
}

// administrative says which effects are: what changes a project beside its sessions, ends a session,
// steers many of them or answers for a person.
func administrative(e policy.Effect) bool {
	switch e {
	case policy.SessionDelete, policy.SessionControl, policy.ApprovalGive, policy.PolicyDelete:
		return true
	case policy.SessionWrite:
		return false
	}
	return strings.HasSuffix(string(e), ".write")
}

// Act records what the node itself is about to do.
func (l *Log) Act(ctx context.Context, at time.Time, action, version, detail string) error {
	return l.Append(ctx, Record{
		At: at.UnixMilli(), Project: stead.DefaultProject, Principal: Principal{Kind: stead.PrincipalNode, ID: "server"},
		Action: action, Decision: Allow, By: "operator", Version: version, Detail: detail,
	})
}

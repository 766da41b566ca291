package audit

import (
	"context"
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
}

// NewAuthorizer makes an authorizer that records the decisions of another.
func NewAuthorizer(first policy.Authorizer, log *Log, now func() time.Time, out *slog.Logger) *Authorizer {
	return &Authorizer{first, log, now, out}
}

// Decide implements policy.Authorizer.
func (a *Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	d, failed := a.first.Decide(ctx, req)
	decision := decisionOf(d)
	if failed != nil {
		decision = Deny
	}
	if !recorded(req, decision) {
		return d, failed
	}
	call := CallOf(ctx)
	r := Record{
		At: a.now().UnixMilli(), Project: req.Principal.Project, Session: req.Session.Session,
		Principal: Principal{req.Principal.Kind, req.Principal.ID, req.Principal.Role, call.Key},
		Action:    string(req.Effect), Resource: req.Resource, Decision: decision,
		By: d.By, Reason: d.Reason, Policies: d.Policies, Version: d.Version, Request: call.Request, From: call.From, Detail: call.Act,
	}
	if req.Destination != "" {
		r.Detail = "to " + req.Destination
	}
	if failed != nil {
		r.Reason = "no decision could be made"
	}
	if err := a.log.Append(ctx, r); err != nil {
		a.out.Error("an audit record could not be stored: the call is refused", "action", r.Action, "principal", r.Principal.ID, "request", r.Request, "err", err)
		return policy.Decision{By: "audit", Reason: "it could not be recorded"}, err
	}
	return d, failed
}

// recorded says which decisions are. What an agent does in its session is in the session's journal,
// and so is what is put into a session; reading is recorded where it is refused. Every use of a credential
// is recorded, whoever acts: it may be asked for long after the session is gone.
func recorded(req policy.Request, d Decision) bool {
	if req.Effect == policy.CredentialUse {
		return true
	}
	if req.Acting || req.Effect == policy.MemoryEntryRead { // it refuses nobody: what is hidden is not there
		return false
	}
	return d != Allow || administrative(req.Effect)
}

// administrative says which effects are: what changes a project beside its sessions, ends a session,
// steers many of them or answers for a person.
func administrative(e policy.Effect) bool {
	switch e {
	case policy.SessionDelete, policy.SessionControl, policy.ApprovalGive:
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

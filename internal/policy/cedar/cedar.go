// Package cedar decides by policies in the Cedar language, behind what roles allow.
//
// Shape:
//
//	*.cedar ── Load(schema, annotations) ──▶ Set, immutable ── Authorizer.Replace
//	what a project uploaded ── Load ──▶ Project, a Set each ── Uploads
//	policy.Request ──▶ First (roles) ──▶ found by index ──▶ Cedar ──▶ policy.Decision
//
// The index (shelve) knows of each policy what it can't match without (keysOf), of conditions that can't fail (total). It finds too
// many policies and never too few: what is decided is what all of them would say.
//
// Roles come first: what they refuse stays refused, and no policy widens it. Then a matching forbid
// refuses, one with @approval asks a person, a matching permit allows; where none matches the set's
// default decides. A policy that can't be evaluated is a no. Policies with @mode("shadow") are asked
// as well, and what they would change is recorded beside the decision.
//
// The operator's set decides first; what it refuses stays refused. Then each set that the request's project uploaded is asked by
// itself: it can refuse more, or ask for more approvals, and never less. They are not asked about policies themselves.
//
// The server itself (a node's principal) is not asked about where it acts on decisions made before. What retention deletes nobody decided: policies can forbid that, and
// where they say nothing it goes, whatever the default is.
//
// Units and limits: MaxPolicies policies in MaxBytes of text; arguments up to MaxTags values, MaxDepth
// deep; MaxReadings ways to read labels that have several values. Beyond these an effect that some policy looks into is refused.
//
// Errors: Load fails with KindInvalid and one line for each mistake: file, line, policy, what is wrong.
//
// Concurrency: everything is safe for concurrent use; a decision sees one Set.
//
// Source: the Cedar language (docs.cedarpolicy.com); evaluation, schema and validation by cedar-go.
package cedar

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits of what is loaded and of what policies look into.
const (
	MaxPolicies = 10_000
	MaxBytes    = 4 << 20
	MaxTags     = 10_000 // values in a tool call's arguments
	MaxDepth    = 64     // of arguments
	MaxReadings = 256    // of labels with several values
)

// By is the name of this decider in decisions.
const By = "policy"

// Authorizer implements policy.Authorizer: first another's word, then the policies'.
type Authorizer struct {
	first   policy.Authorizer
	now     func() time.Time
	log     *slog.Logger
	set     atomic.Pointer[Set]
	uploads Uploads
	budgets Budgets
}

// Budgets finds how far the budgets about a request are used up; nil: nobody knows, and the context has none. An error is a no.
type Budgets func(ctx context.Context, req policy.Request) (*policy.Budgets, error)

// New makes one without policies: it decides as first does.
func New(first policy.Authorizer, now func() time.Time, log *slog.Logger) *Authorizer {
	return &Authorizer{first: first, now: now, log: log}
}

// Replace puts a set in force for every decision from now on; nil: there are no policies.
func (a *Authorizer) Replace(s *Set) { a.set.Store(s) }

// With has it ask what projects uploaded, too. It is called before the first decision.
func (a *Authorizer) With(uploads Uploads) *Authorizer {
	a.uploads = uploads
	return a
}

// Budgeted has it look how far budgets are used up, where a policy about what is asked reads that. It is called before the first decision.
func (a *Authorizer) Budgeted(b Budgets) *Authorizer {
	a.budgets = b
	return a
}

// Rules lists the policies in force, for a principal that may read them.
func (a *Authorizer) Rules(ctx context.Context, p stead.Principal) ([]policy.Rule, error) {
	if _, err := policy.Check(ctx, a, policy.Request{Principal: p, Effect: policy.PolicyRead}); err != nil {
		return nil, err
	}
	out := []policy.Rule{}
	if s := a.set.Load(); s != nil {
		out = append(out, s.Rules()...)
	}
	if a.uploads != nil {
		uploaded, err := a.uploads(ctx, p.Project)
		if err != nil {
			return nil, err
		}
		if uploaded != nil {
			out = append(out, uploaded.Rules()...)
		}
	}
	return out, nil
}

// Schema is what policies can speak of, for a principal that may read policies.
func (a *Authorizer) Schema(ctx context.Context, p stead.Principal) (string, error) {
	if _, err := policy.Check(ctx, a, policy.Request{Principal: p, Effect: policy.PolicyRead}); err != nil {
		return "", err
	}
	return SchemaText(), nil
}

// Decide implements policy.Authorizer.
func (a *Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	base, err := a.first.Decide(ctx, req)
	node := req.Principal.Kind == stead.PrincipalNode
	if err != nil || !base.Allow || node && req.Effect != policy.SessionDelete {
		return base, err
	}
	sets, version, err := a.asked(ctx, req)
	if err != nil {
		return policy.Decision{By: By}, stead.Wrap(stead.KindUnavailable, err, "the project's policies can't be read")
	}
	if len(sets) == 0 {
		return base, nil
	}
	if req.At == 0 {
		req.At = a.now().UnixMilli()
	}
	begun := time.Now()
	look := func() (*policy.Budgets, error) { return a.look(ctx, req) }
	d, broken, err := decide(sets, version, base, req, look)
	if err != nil {
		return policy.Decision{By: By}, stead.Wrap(stead.KindUnavailable, err, "the budgets can't be read, which a policy looks at")
	}
	if req.Before == nil || d.Micros == 0 {
		d.Micros = time.Since(begun).Microseconds()
	}
	a.tell(req, d, broken)
	return d, nil
}

// look finds how far budgets are used up.
func (a *Authorizer) look(ctx context.Context, req policy.Request) (*policy.Budgets, error) {
	if a.budgets == nil {
		return nil, nil
	}
	b, err := a.budgets(ctx, req)
	if s := req.Spend; b != nil && s != nil {
		b.Session = max(b.Session, policy.PerCent(s.Limit, s.Cost))
	}
	return b, err
}

// tell logs what operators look for: calls of the API have no journal in which it could stand.
func (a *Authorizer) tell(req policy.Request, d policy.Decision, broken []string) {
	for _, b := range broken {
		a.log.Warn("a policy could not be evaluated", "effect", req.Effect, "resource", req.Resource, "session", req.Session.Session, "err", b)
	}
	if !d.Allow {
		a.log.Info("policies refused", "effect", req.Effect, "resource", req.Resource, "principal", req.Principal.ID, "session", req.Session.Session,
			"outcome", d.Outcome(), "policies", d.Policies)
	}
	if t := d.Shadow; t != nil && t.Outcome != d.Outcome() {
		a.log.Info("shadow policies would decide otherwise", "effect", req.Effect, "resource", req.Resource, "principal", req.Principal.ID, "session", req.Session.Session,
			"outcome", t.Outcome, "policies", t.Policies)
	}
}

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

	"github.com/stead-dev/stead"
)

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

package runner

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// gateOrHold asks whether an effect may happen that can wait for an approval. held: it waits from now on, and nothing of it is to be
// done. What was approved of it passes, as long as it is what was shown, and policies want no more by now. show is the effect as it is
// asked about, which nobody needs to know where policies want no approval.
func (a *actor) gateOrHold(p *plan, key session.EffectKey, show func() session.EffectHeld, described ...string) (d policy.Decision, held bool, err error) {
	req := a.state.Request(key.Effect, key.Of)
	req.Labels = session.WithSources(req.Labels, described)
	req.Carried, req.Waits = true, true
	d, err = policy.Check(a.ctx, a.r.cfg.Policy, req)
	if d.Needs != nil {
		what := show()
		if held, err = a.answered(&d, key, what.Shown); held {
			a.decided = a.r.draft(a.ctx, a.decided, req, d)
			p.waits++
			what.EffectKey, what.Decision = key, d
			return d, true, a.record(p, session.KindEffectHeld, what)
		}
	}
	a.decided = a.r.draft(a.ctx, a.decided, req, d)
	return d, false, err
}

// answered is a decision that wants an approval, as far as what is shown was answered; held: it was not.
func (a *actor) answered(d *policy.Decision, key session.EffectKey, shown json.RawMessage) (held bool, err error) {
	w, n := a.state.Waiting(key), d.Needs
	covered := w.Covers(shown)
	switch {
	case w.Refused(shown) != "":
		d.Needs, err = nil, stead.Errorf(stead.KindForbidden, "%s was not done: %s", key.Effect, w.Refusal)
	case covered && w.Lapsed && n.Default == policy.DefaultAllow:
		d.Allow, d.Needs = true, nil
		d.Reason += "; nobody answered in time, and it is done then"
	case covered && w.Lapsed: // policies changed their mind meanwhile
		d.Needs, err = nil, stead.Errorf(stead.KindForbidden, "%s was not done: it needed approval, and nobody gave it in time", key.Effect)
	case covered && a.state.EffectLacks(w, n) == 0:
		d.Allow, d.Needs = true, nil
		d.Approval = w.RequestID(a.key.Session)
	default:
		return true, nil
	}
	return false, err
}

// within is a step of the session with what was answered about its effects. of are those of it that are steps themselves.
func (a *actor) within(name string, of ...session.EffectKey) *policy.Step {
	grants := a.state.Grants(name)
	for _, key := range of {
		if w := a.state.Waiting(key); w != nil && w.Passed {
			grants = append(grants, a.state.Grant(w))
		}
	}
	return policy.NewStep(grants)
}

// wanted are the effects within a step that want an approval: those that it was told of, and that an error is about.
func wanted(s *policy.Step, errs ...error) []policy.Wanting {
	out := s.Asked()
	for _, err := range errs {
		if w, ok := errors.AsType[*policy.Wanting](err); ok && !slices.ContainsFunc(out, func(o policy.Wanting) bool {
			return o.Request.Effect == w.Request.Effect && o.Request.Resource == w.Request.Resource && string(policy.Shown(o.Request)) == string(policy.Shown(w.Request))
		}) {
			out = append(out, *w)
		}
	}
	return out
}

// holds are the questions about effects within a step.
func holds(within, tool string, all []policy.Wanting) []pending {
	var out []pending
	for _, w := range all {
		out = append(out, pending{kind: session.KindEffectHeld, make: func(s *session.State) (any, error) {
			if s.Turn == nil {
				return nil, nil
			}
			return s.HeldWithin(within, tool, w), nil
		}})
	}
	return out
}

// answerable refuses an answer that a question does not take; expired: its time is over.
func answerable(at string, in session.ApprovalInput, digest string, expired bool) error {
	switch in.Decision {
	case session.DecisionApprove, session.DecisionDeny, session.DecisionCancel, session.DecisionDelegate:
	default:
		return stead.Invalid(at+".response.decision", "decision must be approve, deny, cancel or delegate, not %.40q", in.Decision)
	}
	if in.Digest != "" && in.Digest != digest {
		e := stead.Errorf(stead.KindConflict, "request %.200s asks about something else than what you answer: its digest is %s, not %.80s", in.RequestID, digest, in.Digest)
		e.Code, e.Param, e.Hint = CodeDigest, at+".response.digest", "Look at the request again, and answer what it shows."
		return e
	}
	if expired {
		return stead.Errorf(stead.KindConflict, "the time for answering request %.200s is over", in.RequestID)
	}
	if (in.Decision == session.DecisionDelegate) != (in.To != nil) {
		return stead.Invalid(at+".response.to", "delegate says to whom, and no other decision does")
	}
	return nil
}

// effectEvent answers the question about an effect that is no tool call.
func (r *Runner) effectEvent(v *session.View, w *session.EffectWait, p stead.Principal, at string, in session.ApprovalInput) (stead.Event, error) {
	if in.Arguments != "" {
		return stead.Event{}, stead.Invalid(at+".response.arguments", "arguments are for a tool call: of %s nothing can be changed by who approves it", w.Effect)
	}
	digest := v.OfEffect(w).Digest
	err := answerable(at, in, digest, w.Expired(r.now()))
	if err == nil && in.To != nil {
		err = v.EffectAsked(w).MayDelegate(p, *in.To)
	}
	if err == nil && in.Decision == session.DecisionApprove {
		err = v.EffectAsked(w).MayApprove(p)
	}
	if err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputEffect, session.EffectResult{Asked: w.Asked, Decision: in.Decision, To: in.To, Digest: digest, Reason: in.Reason, By: p})
}

package replay

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// calls asks about calls of models, actions with the environment, and effects that were held.
func (r *reader) calls(e stead.Event) (bool, error) {
	v := r.view
	switch e.Kind {
	case session.KindModelCalled:
		p, err := session.Decode[session.ModelCalled](e)
		req := v.Request(policy.ModelCall, p.Model)
		req.Labels = session.WithSources(req.Labels, p.Described)
		r.ask(decided(req, &p.Decision), policy.Allowed, r.answered(session.EffectKey{Effect: policy.ModelCall, Of: p.Model, Purpose: p.Purpose}))
		return true, err
	case session.KindTurnFailed:
		p, err := session.Decode[session.TurnEnded](e)
		if p.Decision != nil {
			r.ask(decided(v.Request(policy.ModelCall, v.Created.Agent.Spec.Model), p.Decision), policy.Denied, approvals{})
		}
		return true, err
	case session.KindEnvironmentCalled:
		p, err := session.Decode[session.EnvironmentCalled](e)
		key := session.EffectKey{Effect: policy.EnvironmentEffect(string(p.Action)), Of: session.EnvironmentID(v.Key.Session)}
		if p.Store || p.Apart { // it is opened, or ended, for what is to be saved
			key.Effect = policy.EnvironmentSave
		}
		r.ask(v.Request(key.Effect, key.Of), p.Decision.Outcome(), r.answered(key))
		return true, err
	case session.KindEffectHeld:
		p, err := session.Decode[session.EffectHeld](e)
		r.ask(shown(decided(v.Request(p.Effect, p.Of), &p.Decision), p), policy.Approval, r.answered(p.EffectKey))
		return true, err
	}
	return false, nil
}

// answered are the approvals that an effect of the session has.
func (r *reader) answered(key session.EffectKey) approvals {
	w := r.view.Waiting(key)
	if w == nil || !w.Passed && len(w.Approved) == 0 {
		return approvals{}
	}
	return approvals{w.Approved, r.view.EffectAsked(w).Behind, w.Lapsed}
}

// shown is a request with what the question about it showed, as policies see it.
func shown(req policy.Request, p session.EffectHeld) policy.Request {
	var of struct {
		Of struct {
			Destination string           `json:"destination"`
			Entry       *policy.Entry    `json:"memories"`
			Document    *policy.Document `json:"documents"`
			Semantic    *policy.Semantic `json:"query"`
		} `json:"of"`
	}
	if p.Within != "" && json.Unmarshal(p.Shown, &of) == nil {
		req.Destination, req.Entry, req.Document, req.Semantic = of.Of.Destination, of.Of.Entry, of.Of.Document, of.Of.Semantic
	}
	return req
}

// decided is a request with what was decided about it.
func decided(req policy.Request, d *policy.Decision) policy.Request {
	req.Before = d
	return req
}

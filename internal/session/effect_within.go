package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead/internal/policy"
)

// Effects within a step, such as the use of a credential by a tool call: what was answered about them goes with the step.

// awaitsEffect reports whether a call waits for answers about effects of its own.
func (v *View) awaitsEffect(c *Call) bool {
	return slices.ContainsFunc(v.Effects, func(w *EffectWait) bool { return w.Open() && w.Within == withinCall(c) })
}

// Grants are what was answered about the effects of a step.
func (v *View) Grants(within string) []policy.Grant {
	var out []policy.Grant
	for _, w := range v.Effects {
		if w.Within == within && (w.Passed || w.Refusal != "") {
			out = append(out, v.Grant(w))
		}
	}
	return out
}

// AllGrants are what was answered about an effect within whichever steps.
func (v *View) AllGrants(effect policy.Effect) []policy.Grant {
	var out []policy.Grant
	for _, w := range v.Effects {
		if w.Effect == effect && w.Within != "" && (w.Passed || w.Refusal != "") {
			out = append(out, v.Grant(w))
		}
	}
	return out
}

// Grant is what was answered.
func (v *View) Grant(w *EffectWait) policy.Grant {
	g := policy.Grant{Effect: w.Effect, Resource: w.Of, By: w.Approved, Behind: v.behind(w.Wrote), Lapsed: w.Lapsed, Refusal: w.Refusal, Request: w.RequestID(v.Key.Session)}
	if w.Within != "" {
		var of shownWithin
		if json.Unmarshal(w.Shown, &of) == nil {
			g.Shown = of.Of
		}
	}
	return g
}

// shownWithin is what is shown of an effect within a step.
type shownWithin struct {
	Within string          `json:"within"`
	Tool   string          `json:"tool,omitempty"`
	Agent  string          `json:"agent"`
	Of     json.RawMessage `json:"of"` // policy.Shown
}

// HeldWithin is an effect of a step that waits. tool is the tool of a call, "" for other steps.
func (v *View) HeldWithin(within, tool string, w policy.Wanting) EffectHeld {
	of := policy.Shown(w.Request)
	sum := sha256.Sum256(of)
	return EffectHeld{
		EffectKey: EffectKey{Effect: w.Request.Effect, Of: w.Request.Resource, Purpose: within + " " + hex.EncodeToString(sum[:8])}, Within: within,
		Shown: mustJSON(shownWithin{within, tool, string(v.Created.Agent.ID), of}), Decision: w.Decision,
	}
}

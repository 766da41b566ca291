package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Question is an open question of a session for an approval, whatever it is about.
type Question struct {
	ID        string
	Effect    policy.Effect
	Of        string          // what of: "shop/refund", a model
	Arguments json.RawMessage // what whoever answers is shown
	Digest    string          // of all that is shown
	Decided   *policy.Decision
	Needs     *policy.Needs // nil: no policy asks, but the agent's own tools do
	Until     int64         // Unix milliseconds; 0: it stands for ever

	by   stead.Principal // whom the session belongs to
	call *CallShown      // nil: it is about no tool call
}

// OfCall is the question about a tool call.
func (v *View) OfCall(c *Call) Question {
	shown := v.callShown(c)
	return Question{
		ID: c.RequestID(v.Key.Session), Effect: c.effect(), Of: v.resource(c), Arguments: c.Args(), Digest: v.digest(c, mustJSON(shown)), Decided: c.Decided, Needs: c.Held(), Until: c.Until,
		by: v.Created.Principal, call: shown,
	}
}

// OfEffect is the question about another effect.
func (v *View) OfEffect(w *EffectWait) Question {
	return Question{
		ID: w.RequestID(v.Key.Session), Effect: w.Effect, Of: w.Of, Arguments: w.Shown, Digest: v.effectDigest(w), Decided: &w.Decision, Needs: w.Decision.Needs, Until: w.Until,
		by: v.Created.Principal,
	}
}

// AskedBy is the open question of a request; false: there is none.
func (v *View) AskedBy(requestID string) (Question, bool) {
	if w := v.EffectByRequest(requestID); w != nil {
		return v.OfEffect(w), true
	}
	if u := v.OfRequest(requestID); u != nil {
		if c := u.CallByRequest(requestID); c != nil {
			return u.OfCall(c), true
		}
	}
	return Question{}, false
}

// Asks are the questions that are open, by their requests. Each is made when it is wanted: what it shows is digested.
func (v *View) Asks() map[string]func() Question {
	var out map[string]func() Question
	add := func(id string, make func() Question) {
		if out == nil {
			out = map[string]func() Question{}
		}
		out[id] = make
	}
	v.each(func(u *View) bool {
		if u.Turn == nil {
			return true
		}
		thread := u.focus
		for _, c := range u.Turn.Calls {
			if c.State == CallApproval {
				add(c.RequestID(v.Key.Session), func() Question { return v.At(thread).OfCall(c) })
			}
		}
		return true
	})
	for _, w := range v.Effects {
		if w.Open() {
			add(w.RequestID(v.Key.Session), func() Question { return v.OfEffect(w) })
		}
	}
	return out
}

// Answered is what stands in the audit log of an answer.
func (q Question) Answered(in ApprovalInput) *policy.Answer {
	out := &policy.Answer{Decision: in.Decision, Why: in.Reason, Tool: q.Of, Digest: q.Digest, Asking: q.asking()}
	out.Asking.Answer = in.Decision
	return out
}

// Put is what stands there of the question itself: that it is asked, or that its time is over.
func (q Question) Put(what string) *policy.Answer {
	out := &policy.Answer{Decision: what, Tool: q.Of, Digest: q.Digest, Asking: q.asking()}
	if q.Decided != nil {
		out.Why = q.Decided.Reason
	}
	return out
}

func (q Question) asking() *policy.Asking {
	out := &policy.Asking{ID: q.ID, Kind: policy.AskingSession, Effect: q.Effect, Of: q.Of, For: called(q.by), Digest: q.Digest, Call: q.call.recorded()}
	if n := q.Needs; n != nil {
		out.Until, out.Then, out.Roles, out.Count = q.Until, n.Lapses(), n.Roles, max(1, n.Count)
	}
	return out
}

// effectDigest is that of what whoever answers is shown: which question it is, and what would be done. SHA-256 in hex.
func (v *View) effectDigest(w *EffectWait) string {
	sum := sha256.Sum256(mustJSON([]string{w.RequestID(v.Key.Session), string(w.Effect), w.Of, w.Purpose, string(w.Shown)}))
	return hex.EncodeToString(sum[:])
}

// effectActions ask whoever may approve effects: those that the turn waits for, or, without one, what is done beside turns.
func (v *View) effectActions() []RequiredAction {
	var out []RequiredAction
	for _, w := range v.Effects {
		if !w.Open() || w.Thread != v.focus {
			continue
		}
		name := string(w.Effect)
		a := RequiredAction{Type: ActionEffectApproval, RequestID: w.RequestID(v.Key.Session), Request: &ActionRequest{
			Type: "effect", Arguments: w.Shown, Name: &name, Why: whyHeld(v.EffectAsked(w), w.Decision.Reason, w.Until, "done"), Digest: v.effectDigest(w),
		}}
		a.Request.Message = "Approve " + name + " of " + w.Of + "? " + a.Request.Why
		if w.Turn != 0 {
			a.TurnID = TurnID(v.Key.Session, w.Turn)
		}
		if w.Until > 0 {
			a.Request.ExpiresAt, a.Request.OnExpiry = w.Until/1000, w.Decision.Needs.Lapses()
		}
		out = append(out, a)
	}
	return out
}

// EffectAsked is the question about an effect as the rules of answering have it.
func (v *View) EffectAsked(w *EffectWait) policy.Asked {
	return policy.Asked{Needs: w.Decision.Needs, Behind: v.behind(w.Wrote), Who: toldBehind, Given: w.Approved, Delegated: w.Delegated}
}

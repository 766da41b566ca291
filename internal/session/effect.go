package session

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

// Effects of a session that are no tool calls wait as those do where policies want an approval: calls of models, environments
// that are set up or opened, files of theirs that are stored (see Apart), memories that are looked up or kept.
//
//	effect.held ─▶ nothing of it is done: no lease, no process, a required action
//	  input.effect approve, by enough ─▶ it is tried again: policies are asked again, and it passes once
//	               deny               ─▶ it is not done: see EffectWait.refused
//	               cancel             ─▶ the turn is cancelled
//	  effect.lapsed                   ─▶ nobody answered in time: as denied, or as approved where policies say so
//
// What was approved is what was shown: an effect that would be another one by now (Shown differs) is asked about anew. An approval
// stays with its effect until that has its outcome, so that a try that failed, or that a crash cut off, is made again under it.

// Kinds of the events of effects that wait.
const (
	KindEffectHeld   = "effect.held"
	KindEffectLapsed = "effect.lapsed"
	KindInputEffect  = "input.effect"
)

// EffectKey says which effect of a session waits: of each, one does at a time.
type EffectKey struct {
	Effect  policy.Effect `json:"effect"`
	Of      string        `json:"of"`                // what policies were asked about
	Purpose string        `json:"purpose,omitempty"` // of a model call: see PurposeStep; of memories: PurposeRecall, PurposeItems or PurposeFound
}

// Purposes of an EffectKey about memories.
const (
	PurposeRecall = "recall" // before a turn
	PurposeItems  = "items"  // messages become searchable
	PurposeFound  = "found"  // what was taken out of them is written
)

// Values of EffectHeld.Within, beside those of calls.
const (
	WithinTools  = "tools"  // asking servers for their tools, before the turn's calls of the model
	WithinRecall = "recall" // looking up what is remembered, before the turn
)

// WithinCall is the Within of a tool call.
func WithinCall(callID string) string { return "call " + callID }

func withinCall(c *Call) string { return WithinCall(c.CallID) }

// EffectHeld says that an effect waits for approval, since policies want it.
type EffectHeld struct {
	EffectKey
	// Within says of which step it is an effect, where it is one of another: WithinTools, WithinRecall or that of a call. "": it is a step itself.
	// A step is done again once all of them are answered.
	Within string `json:"within,omitempty"`
	// Shown is what whoever answers is shown, a JSON object. With the key it is all that an approval is of.
	Shown    json.RawMessage `json:"shown"`
	Decision policy.Decision `json:"decision"`
	// Postponed: nobody is asked before something needs it.
	Postponed bool `json:"postponed,omitempty"`
	// Turns are those of which something is to be remembered: what comes later is asked about later.
	Turns []stead.Seq `json:"turns,omitempty"`
}

// EffectLapsed says that the time for an answer is over; Decision.Needs.Default of the question says what holds then.
type EffectLapsed struct {
	Asked stead.Seq `json:"asked"`
}

// EffectResult answers the question about an effect.
type EffectResult struct {
	Asked    stead.Seq       `json:"asked"`    // of the question
	Decision string          `json:"decision"` // approve, deny, cancel (the turn) or delegate
	To       *Delegate       `json:"to,omitempty"`
	Digest   string          `json:"digest,omitempty"` // of what was shown
	Reason   string          `json:"reason,omitempty"`
	By       stead.Principal `json:"by"`
}

// EffectWait is an effect that waits, or that was approved and is not over.
type EffectWait struct {
	EffectHeld
	Asked     stead.Seq         `json:"asked"`            // of the effect.held: names the question
	Thread    stead.Seq         `json:"thread,omitempty"` // in which it is asked
	Since     int64             `json:"since"`            // Unix milliseconds
	Until     int64             `json:"until,omitempty"`  // Unix milliseconds; 0: for ever
	Turn      stead.Seq         `json:"turn,omitempty"`   // that waits; 0: none
	Approved  []stead.Principal `json:"approved,omitempty"`
	Wrote     int               `json:"wrote,omitempty"` // as Call.Wrote
	Delegated *Delegation       `json:"delegated,omitempty"`
	Passed    bool              `json:"passed,omitempty"` // it was approved, or Lapsed: policies are asked again
	Lapsed    bool              `json:"lapsed,omitempty"` // nobody answered in time, and it is done then
	Stale     bool              `json:"stale,omitempty"`  // it would be another one by now: it is asked about anew
	// Refusal is why a memory store is not asked before this turn; "": it was not refused.
	Refusal string `json:"refusal,omitempty"`
}

// beside: it is done beside turns, and outlives them.
func (k EffectKey) beside() bool {
	return k.Purpose == PurposeRemember || k.Purpose == PurposeItems || k.Purpose == PurposeFound
}

// LapseEffect ends a question that nobody answered in time.
type LapseEffect struct{ Wait *EffectWait }

func (LapseEffect) command() {}

// RequestID names the question.
func (w *EffectWait) RequestID(s stead.SessionID) string {
	return stead.DerivedID("req", s, w.Asked, 0)
}

// Open reports whether somebody is asked, and has not answered.
func (w *EffectWait) Open() bool {
	return !w.Passed && !w.Stale && !w.Postponed && w.Refusal == ""
}

// Expired reports whether its time is over, in Unix milliseconds.
func (w *EffectWait) Expired(now int64) bool { return w.Open() && w.Until > 0 && now >= w.Until }

// Covers reports whether what was shown is what is to be done now.
func (w *EffectWait) Covers(shown json.RawMessage) bool {
	return w != nil && w.Passed && !w.Stale && string(w.Shown) == string(shown)
}

// Refused is why what was shown is not to be done; "": nobody has refused it.
func (w *EffectWait) Refused(shown json.RawMessage) string {
	if w == nil || string(w.Shown) != string(shown) {
		return ""
	}
	return w.Refusal
}

// Waiting is the wait of an effect; nil: there is none.
func (v *View) Waiting(key EffectKey) *EffectWait {
	for _, w := range v.Effects {
		if w.EffectKey == key && w.Thread == v.focus {
			return w
		}
	}
	return nil
}

// EffectByRequest finds the open question that a required action names; nil when there is none.
func (v *View) EffectByRequest(requestID string) *EffectWait {
	for _, w := range v.Effects {
		if w.Open() && w.RequestID(v.Key.Session) == requestID {
			return w
		}
	}
	return nil
}

func (v *View) effectHeld(e stead.Event, p EffectHeld) {
	if p.Decision.Needs == nil {
		return
	}
	w := &EffectWait{EffectHeld: p, Asked: e.Seq, Thread: v.focus, Since: e.At, Wrote: len(v.Wrote)}
	if ms := p.Decision.Needs.ExpiresMS; ms > 0 {
		w.Until = e.At + ms
	}
	if v.Turn != nil && !p.Postponed && !p.beside() {
		w.Turn = v.Turn.Seq
	}
	if v.Turn != nil && p.Within == WithinRecall {
		v.Turn.Recall = 0 // it is looked up again
	}
	if was := v.Waiting(p.EffectKey); was != nil && !was.Lapsed && was.Covers(p.Shown) { // policies want more by now
		w.Approved = was.Approved
	}
	v.dropEffect(p.EffectKey)
	v.Effects = append(slices.Clip(v.Effects), w)
}

func (v *View) effectLapsed(e stead.Event, p EffectLapsed) {
	w := v.effectAsked(p.Asked)
	if w == nil || !w.Open() {
		return
	}
	if w.Decision.Needs.Default == policy.DefaultAllow {
		w.Passed, w.Lapsed, w.Until = true, true, 0
		return
	}
	v.effectRefused(e, w, "it needed approval, and nobody gave it in time.")
}

func (v *View) effectDecided(e stead.Event, p EffectResult) {
	w := v.effectAsked(p.Asked)
	if w == nil || !w.Open() || w.Expired(e.At) {
		return // a second answer, or one to a question that is over
	}
	v.LastActive = e.At
	switch p.Decision {
	case DecisionApprove:
		w.Approved, w.Delegated = append(slices.Clip(w.Approved), p.By), nil
		if v.EffectLacks(w, w.Decision.Needs) == 0 {
			w.Passed, w.Until = true, 0
		}
	case DecisionDelegate:
		if p.To != nil {
			w.Delegated = &Delegation{To: *p.To, By: p.By}
		}
	case DecisionCancel:
		if v.Turn != nil && w.Turn == v.Turn.Seq {
			v.Turn.Cancelling = true
			return
		}
		fallthrough // there is no turn that could be cancelled
	default:
		why := "it was not approved."
		if p.Reason != "" {
			why += " Reason: " + p.Reason
		}
		v.reasoned(p.By, p.Reason)
		v.effectRefused(e, w, why)
	}
}

func (v *View) effectAsked(seq stead.Seq) *EffectWait {
	for _, w := range v.Effects {
		if w.Asked == seq {
			return w
		}
	}
	return nil
}

// dropEffect forgets the wait of an effect: it is over, or asked about anew.
func (v *View) dropEffect(key EffectKey) {
	v.Effects = slices.DeleteFunc(slices.Clone(v.Effects), func(w *EffectWait) bool { return w.EffectKey == key && w.Thread == v.focus })
}

// dropEffects forgets those about which a function says so.
func (v *View) dropEffects(over func(*EffectWait) bool) {
	if slices.ContainsFunc(v.Effects, over) {
		v.Effects = slices.DeleteFunc(slices.Clone(v.Effects), over)
	}
}

// dropPurpose forgets those of a purpose: they are over.
func (v *View) dropPurpose(purpose string) {
	v.dropEffects(func(w *EffectWait) bool {
		return w.Purpose == purpose || purpose == PurposeRecall && w.Within == WithinRecall
	})
}

// dropEnvironmental forgets that an action with the environment was approved: it is over.
func (v *View) dropEnvironmental(a Action) {
	v.dropEffects(func(w *EffectWait) bool { return w.Effect == policy.EnvironmentEffect(string(a)) })
}

// awaited reports whether something of the session waits for an answer about an effect: the turn, or, without one, what is done
// beside turns.
func (v *View) awaited() bool {
	return slices.ContainsFunc(v.Effects, func(w *EffectWait) bool {
		return w.Open() && w.Thread == v.focus && (v.Turn == nil || w.Turn == v.Turn.Seq)
	})
}

// effectRefused ends an effect that was not approved.
func (v *View) effectRefused(e stead.Event, w *EffectWait, why string) {
	if w.Purpose == PurposeRecall || w.Within != "" { // the step goes on without
		w.Refusal = why
		return
	}
	v.dropEffect(w.EffectKey)
	l, env := &v.Learn, v.Environment
	switch {
	case w.Purpose == PurposeItems:
		l.Items = without(l.Items, w.Turns)
	case w.Purpose == PurposeFound:
		l.Extracted, l.Turns = nil, without(l.Turns, w.Turns)
	case w.Purpose == PurposeRemember:
		l.Turns, l.Attempts, l.RetryAt, l.Why = without(l.Turns, w.Turns), 0, 0, ""
	case w.Effect == policy.ModelCall && v.Turn != nil:
		v.Turn.Failure = &TurnError{model.CodeInvalid, "The model " + w.Of + " was not called: " + why}
	case w.Effect == policy.EnvironmentPrepare && env != nil:
		env.Status, env.Error = EnvironmentIsFailed, &EnvironmentError{Code: codeSandbox, Type: "invalid_request_error", Message: "The environment was not prepared: " + why}
		v.refuseCommands("The environment was not prepared: " + why)
	case w.Effect == policy.EnvironmentSave && env != nil:
		v.declined(e, why)
	case w.Effect == policy.EnvironmentOpen && env != nil:
		v.refuseCommands("The environment was not opened: " + why)
	}
}

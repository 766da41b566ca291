package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

// Effects of a session that are no tool calls wait as those do where policies want an approval: calls of models, environments
// that are set up or opened, memories that are looked up or kept.
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
	Asked     stead.Seq         `json:"asked"`           // of the effect.held: names the question
	Since     int64             `json:"since"`           // Unix milliseconds
	Until     int64             `json:"until,omitempty"` // Unix milliseconds; 0: for ever
	Turn      stead.Seq         `json:"turn,omitempty"`  // that waits; 0: none
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

// open reports whether somebody is asked, and has not answered.
func (w *EffectWait) open() bool {
	return !w.Passed && !w.Stale && !w.Postponed && w.Refusal == ""
}

// Expired reports whether its time is over, in Unix milliseconds.
func (w *EffectWait) Expired(now int64) bool { return w.open() && w.Until > 0 && now >= w.Until }

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
		if w.EffectKey == key {
			return w
		}
	}
	return nil
}

// EffectByRequest finds the open question that a required action names; nil when there is none.
func (v *View) EffectByRequest(requestID string) *EffectWait {
	for _, w := range v.Effects {
		if w.open() && w.RequestID(v.Key.Session) == requestID {
			return w
		}
	}
	return nil
}

func (v *View) effectHeld(e stead.Event, p EffectHeld) {
	if p.Decision.Needs == nil {
		return
	}
	w := &EffectWait{EffectHeld: p, Asked: e.Seq, Since: e.At, Wrote: len(v.Wrote)}
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

func (v *View) effectLapsed(_ stead.Event, p EffectLapsed) {
	w := v.effectAsked(p.Asked)
	if w == nil || !w.open() {
		return
	}
	if w.Decision.Needs.Default == policy.DefaultAllow {
		w.Passed, w.Lapsed, w.Until = true, true, 0
		return
	}
	v.effectRefused(w, "it needed approval, and nobody gave it in time.")
}

func (v *View) effectDecided(e stead.Event, p EffectResult) {
	w := v.effectAsked(p.Asked)
	if w == nil || !w.open() || w.Expired(e.At) {
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
		v.effectRefused(w, why)
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
	v.Effects = slices.DeleteFunc(slices.Clone(v.Effects), func(w *EffectWait) bool { return w.EffectKey == key })
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

// staleEffects: calls of models would be others by now.
func (v *View) staleEffects() {
	for _, w := range v.Effects {
		if w.Effect == policy.ModelCall {
			w.Stale = true
		}
	}
}

// awaited reports whether something of the session waits for an answer about an effect: the turn, or, without one, what is done
// beside turns.
func (v *View) awaited() bool {
	return slices.ContainsFunc(v.Effects, func(w *EffectWait) bool { return w.open() && (v.Turn == nil || w.Turn == v.Turn.Seq) })
}

// awaitsEffect reports whether a call waits for answers about effects of its own.
func (v *View) awaitsEffect(c *Call) bool {
	return slices.ContainsFunc(v.Effects, func(w *EffectWait) bool { return w.open() && w.Within == withinCall(c) })
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

// awaitsEnvironment reports whether a call waits for the environment, about which somebody is asked.
func (v *View) awaitsEnvironment(c *Call) bool {
	return c.Tool.Environment && slices.ContainsFunc(v.Effects, func(w *EffectWait) bool { return w.open() && environmental(w.Effect) })
}

func environmental(e policy.Effect) bool {
	return e == policy.EnvironmentPrepare || e == policy.EnvironmentOpen
}

// concerns reports whether a command is to do what somebody is asked about.
func (w *EffectWait) concerns(c Command) bool {
	switch c := c.(type) {
	case CallModel:
		return w.Within == WithinTools || w.Effect == policy.ModelCall && w.Purpose == PurposeStep
	case CompactContext:
		return w.Effect == policy.ModelCall && w.Purpose == PurposeCompact
	case ExtractMemories:
		return w.Purpose == PurposeRemember
	case RecallMemory:
		return w.Purpose == PurposeRecall || w.Within == WithinRecall
	case KeepMemories:
		return w.Purpose == PurposeItems && c.Items || w.Purpose == PurposeFound && !c.Items
	case CallTool:
		return w.Within == withinCall(c.Call)
	case EnvironmentAction:
		return w.Effect == policy.EnvironmentEffect(string(c.Action)) && !c.Store
	}
	return false
}

// ModelKey is the key of a call of the session's model.
func (v *View) ModelKey(purpose string) EffectKey {
	return EffectKey{Effect: policy.ModelCall, Of: v.Created.Agent.Spec.Model, Purpose: purpose}
}

// heldBack takes out what waits for an answer, and says what becomes of questions whose time is over.
func (s *State) heldBack(cmds []Command) []Command {
	if len(s.Effects) == 0 {
		return cmds
	}
	var out []Command
	for _, w := range s.Effects {
		switch {
		case w.Expired(s.Now):
			out = append(out, LapseEffect{w})
		case w.open() && w.Until > 0:
			out = append(out, WaitUntil{w.Until})
		}
	}
	if slices.ContainsFunc(out, func(c Command) bool { _, lapses := c.(LapseEffect); return lapses }) {
		return out // then it is asked again what comes next
	}
	for _, c := range cmds {
		waits := false
		for _, w := range s.Effects {
			if !w.concerns(c) {
				continue
			}
			waits = waits || w.open() && !s.moved(w) || w.Postponed && !s.EnvironmentNeeded()
			if w.Passed {
				c = w.asShown(c)
			}
		}
		if !waits {
			out = append(out, c)
		}
	}
	return out
}

// asShown is a command that does no more than what was shown.
func (w *EffectWait) asShown(c Command) Command {
	switch c := c.(type) {
	case KeepMemories:
		c.Turns = w.Turns
		return c
	case ExtractMemories:
		c.Turns = w.Turns
		return c
	}
	return c
}

// EnvironmentNeeded reports whether something can only go on in the session's environment.
func (s *State) EnvironmentNeeded() bool { return s.commandWaits() }

// moved reports whether what is asked about would be about more by now: a call of the model, or what is looked up for it.
func (s *State) moved(w *EffectWait) bool {
	if (w.Effect != policy.ModelCall || w.Purpose != PurposeStep) && w.Purpose != PurposeRecall {
		return false
	}
	var was struct {
		Input struct {
			Upto stead.Seq `json:"upto"`
		} `json:"input"`
	}
	return json.Unmarshal(w.Shown, &was) == nil && was.Input.Upto != s.Context.Last()
}

// Last is the place of the newest item that the model gets; 0: there is none.
func (c *Context) Last() stead.Seq {
	last := stead.Seq(0)
	for _, list := range [][]*Entry{c.Entries, c.Held} {
		for _, en := range list {
			last = max(last, en.Seq)
		}
	}
	return last
}

// effectRefused ends an effect that was not approved.
func (v *View) effectRefused(w *EffectWait, why string) {
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
	case w.Effect == policy.EnvironmentOpen && env != nil:
		v.refuseCommands("The environment was not opened: " + why)
	}
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
		if !w.open() {
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

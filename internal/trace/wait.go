package trace

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// waits follows what the turn, and no call of it, waits for.
func (f *folder) waits(th *thread) error {
	now := map[stead.Seq]string{} // question → what it asks for
	if b := th.turn.Budget; b != nil {
		now[b.Asked] = session.ActionBudgetLimit
	}
	for _, c := range th.turn.Consents {
		now[c.Asked] = session.ActionConsent
	}
	for _, w := range f.v.Effects {
		if w.Thread == th.id && w.Turn == th.turn.Seq && w.Open() {
			now[w.Asked] = session.ActionEffectApproval
		}
	}
	th.waits = slices.DeleteFunc(th.waits, func(w *wait) bool {
		_, still := now[w.seq]
		if !still {
			f.end(w.open, "")
		}
		return !still
	})
	action, asked := now[f.e.Seq] // a question is its event's
	if !asked {
		return nil
	}
	o := f.start("wait", f.e.Seq, "", th.span, "wait "+action, kindInternal, text("stead.wait.for", action))
	th.waits = append(th.waits, &wait{o, f.e.Seq})
	switch f.e.Kind {
	case session.KindBudgetReached:
		p, err := session.Decode[session.BudgetReached](f.e)
		o.set(text("stead.budget.id", p.Budget))
		return err
	case session.KindConsentNeeded:
		p, err := session.Decode[session.ConsentNeeded](f.e)
		o.set(text("stead.tool.server", p.Server))
		return err
	case session.KindEffectHeld:
		p, err := session.Decode[session.EffectHeld](f.e)
		f.decision(o, string(p.Effect), &p.Decision)
		return err
	}
	return nil
}

func (f *folder) endWaits(th *thread) {
	for _, w := range th.waits {
		f.end(w.open, "")
	}
	th.waits = nil
}

// environment follows what is done with the environment while the turn runs, by its intents and outcomes.
func (f *folder) environment(e stead.Event) error {
	root := f.thread(0)
	if root.span == nil {
		return nil
	}
	call, failure := stead.Seq(0), ""
	switch e.Kind {
	case session.KindEnvironmentCalled:
		p, err := session.Decode[session.EnvironmentCalled](e)
		if err != nil {
			return err
		}
		o := f.start("environment", e.Seq, "", root.span, "environment "+string(p.Action), kindInternal,
			text("stead.environment.action", string(p.Action)), number("stead.attempt", int64(p.Attempt)))
		effect := policy.EnvironmentEffect(string(p.Action))
		if p.Store || p.Apart { // what it is done for was decided
			effect = policy.EnvironmentSave
		}
		if f.decision(o, string(effect), &p.Decision); p.Decision.Allow || p.Decision.Needs != nil {
			f.actions = append(f.actions, &action{o, e.Seq})
		} else {
			f.end(o, codeDenied)
		}
		return nil
	case session.KindRunnerRecovered:
		f.endActions(codeInterrupted)
		return nil
	case session.KindEnvironmentFailed:
		p, err := session.Decode[session.EnvironmentFailed](e)
		if err != nil {
			return err
		}
		call, failure = p.Call, p.Error.Code
		if failure == "" {
			failure = "_OTHER"
		}
	case session.KindEnvironmentPrepared, session.KindEnvironmentConnected, session.KindEnvironmentCheckpointed, session.KindEnvironmentSuspended, session.KindEnvironmentExpired:
		p, err := session.Decode[outcome](e)
		if err != nil {
			return err
		}
		call = p.Call
	case session.KindEnvironmentDisconnected:
		f.note(root.span, "stead.environment.disconnected")
		return nil
	default:
		return nil
	}
	f.actions = slices.DeleteFunc(f.actions, func(a *action) bool {
		if a.call == call {
			f.end(a.open, failure)
		}
		return a.call == call
	})
	return nil
}

// outcome is what all outcomes of actions have in common.
type outcome struct {
	Call stead.Seq `json:"call"`
}

func (f *folder) endActions(failure string) {
	for _, a := range f.actions {
		f.end(a.open, failure)
	}
	f.actions = nil
}

// decisionEvent is the name of the event that says what policies decided.
const decisionEvent = "stead.policy.decision"

// decision notes what policies decided, and how long that took; d may be nil. Where there are none, that all is allowed says nothing.
func (f *folder) decision(o *open, effect string, d *policy.Decision) {
	if o == nil || d == nil || d.Version == "" && d.Outcome() == policy.Allowed {
		return
	}
	attributes := []KeyValue{text("stead.policy.effect", effect), text("stead.policy.verdict", string(d.Outcome())), text("stead.policy.decider", d.By)}
	if d.Version != "" {
		attributes = append(attributes, number("stead.policy.us", d.Micros), texts("stead.policy.ids", d.Policies), text("stead.policy.version", d.Version))
	}
	if d.Shadow != nil {
		attributes = append(attributes, text("stead.policy.shadow.verdict", string(d.Shadow.Outcome)), texts("stead.policy.shadow.ids", d.Shadow.Policies))
	}
	f.note(o, decisionEvent, attributes...)
}

// found notes what guardrails did.
func (f *folder) found(o *open, findings []guardrail.Finding) {
	for i := range findings {
		f.note(o, "stead.guardrail.finding", text("stead.guardrail.name", findings[i].Guardrail), text("stead.guardrail.on", string(findings[i].On)),
			text("stead.guardrail.action", string(findings[i].Action)), truth("stead.guardrail.failed", findings[i].Failed))
	}
}

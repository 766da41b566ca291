package session

import (
	"cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

func (v *View) modelCalled(e stead.Event, p ModelCalled) {
	call := &ModelCall{Seq: e.Seq, Model: p.Model, At: e.At, Upto: p.Upto, Hold: p.Hold, Spend: p.Spend}
	t := v.Turn
	if t != nil && p.Purpose != PurposeRemember && (t.Budget == nil || !t.Budget.Environment) {
		t.called()
	}
	switch p.Purpose {
	case PurposeCompact:
		v.Compact = call
		return
	case PurposeRemember:
		v.Learn.Extract = call
		return
	}
	if t == nil {
		return
	}
	if p.Attempt == 1 {
		t.Steps++
	}
	for _, source := range p.Described {
		v.heard(source)
	}
	t.Model, t.Fresh, t.Unread, t.RetryAt = call, false, 0, 0
	// The calls of the reply before are settled and stand in the context; async ones may be open.
	open := t.Calls[:0]
	for _, c := range t.Calls {
		if c.State != CallDone {
			open = append(open, c)
		}
	}
	clear(t.Calls[len(open):])
	t.Calls = open
}

func (v *View) modelStreamed(_ stead.Event, p ModelStreamed) {
	t := v.Turn
	if t == nil || t.Model == nil || t.Model.Seq != p.Call {
		return
	}
	for _, s := range p.Segments {
		t.Model.add(s)
	}
}

func (m *ModelCall) add(s Segment) {
	for len(m.Stream) <= s.Index {
		m.Stream = append(m.Stream, nil)
	}
	if m.Stream[s.Index] == nil {
		m.Stream[s.Index] = &Streaming{Type: s.Type, Refusal: s.Refusal}
	}
	st := m.Stream[s.Index]
	for len(st.Parts) <= s.Part {
		st.Parts = append(st.Parts, "")
	}
	st.Parts[s.Part] += s.Text
	m.Bytes += len(s.Text)
}

func (v *View) modelReplied(e stead.Event, p ModelReplied) {
	t := v.Turn
	if t == nil || t.Model == nil || t.Model.Seq != p.Call {
		return
	}
	v.define(p.Defined)
	used, cost := p.Route.Both(p.Usage, p.Cost)
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
	t.Usage, t.Replied = t.Usage.Add(used), true
	t.Model, t.Attempts, t.RetryAt, t.Overflow = nil, 0, 0, false
	v.dropEffects(func(w *EffectWait) bool {
		return w.Effect == policy.ModelCall && w.Purpose == PurposeStep && w.Thread == v.focus
	})
	t.answered()
	called := false
	for i, it := range p.Items {
		if it.Type.IsCall() {
			c := newCall(e, p.Call, i, t.Outputs+i, it)
			v.asks(c)
			t.Calls = append(t.Calls, c)
			if it.executes() {
				t.ToolCalls++
			}
			called = true
			if it.Tool != nil && (it.Tool.Reject != "" || it.Tool.Async) {
				t.Fresh = true // the model is told at once: of the refusal, or that the result follows
			}
		}
	}
	t.Outputs += len(p.Items)
	if !called {
		t.Failure = cmp.Or(withheld(p.Guardrails), finishFailure(model.Finish(p.Finish)))
	}
}

func newCall(e stead.Event, call stead.Seq, index, output int, it ReplyItem) *Call {
	c := &Call{
		Seq: call, Index: index, Output0: output,
		CallID: it.CallID, Name: it.Name, Arguments: it.Arguments, Type: it.Type,
		Status: stead.ItemInProgress, Since: e.At, Asked: e.Seq,
	}
	if it.Tool != nil {
		c.Tool = *it.Tool
	}
	switch {
	case c.Tool.Reject != "":
		c.State, c.Status, c.Error = CallDone, stead.ItemFailed, c.Tool.Reject
	case it.Type == stead.ItemFunctionCall:
		c.State, c.Decided = CallWaiting, c.Tool.Decision
		if d := c.Decided; d != nil && d.Needs != nil {
			c.hold(e, d)
		}
	case c.Tool.Subagent.waits():
		c.State = CallReady
		if s := c.SubagentArgs().Seconds; s > 0 {
			c.Until = e.At + min(s, maxWaitSeconds)*1000
		}
	case c.Tool.Approval:
		c.State = CallApproval
	default:
		c.State = CallReady
	}
	return c
}

// withheld is how a turn ends whose answer a guardrail blocked; nil: none did.
func withheld(findings []guardrail.Finding) *TurnError {
	for _, f := range findings {
		if f.On == guardrail.Output && f.Action == guardrail.Block {
			return &TurnError{model.CodePolicy, "The model's answer was withheld by guardrail " + f.Guardrail + "."}
		}
	}
	return nil
}

func finishFailure(f model.Finish) *TurnError {
	switch f {
	case model.FinishLength:
		return &TurnError{model.CodeMaxOutput, "The model reached its output limit before it finished."}
	case model.FinishFilter:
		return &TurnError{model.CodePolicy, "The model's answer was stopped by its provider's safety system."}
	}
	return nil
}

func (v *View) modelFailed(_ stead.Event, p ModelFailed) {
	if v.Learn.failed(p) {
		v.spentBeside(p.Route, p.Spent)
		return
	}
	if v.Compact != nil && v.Compact.Seq == p.Call {
		v.Compact = nil
		v.CompactFailures++
		v.gaveUp(p.Route)
		v.spent(p.Spent)
		if v.Turn != nil {
			v.Turn.RetryAt = max(v.Turn.RetryAt, p.RetryAt)
		}
		return
	}
	t := v.Turn
	if t == nil || t.Model == nil || t.Model.Seq != p.Call {
		return
	}
	v.gaveUp(p.Route)
	v.spent(p.Spent)
	t.cut()
	if p.Held {
		if t.Attempts == 0 {
			t.Steps--
		}
		return
	}
	t.Attempts++
	switch {
	case p.Error.Code == model.CodeContextLength && !t.Overflow:
		t.Overflow = true // compact, then try again: see Next
	case p.RetryAt > 0:
		t.RetryAt = p.RetryAt
	default:
		t.Failure = &p.Error
	}
}

// gaveUp counts what an attempt used that was given up beside a call that failed.
func (v *View) gaveUp(route *model.Route) {
	used, cost := route.Both(stead.Usage{}, 0)
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
	if v.Turn != nil {
		v.Turn.Usage = v.Turn.Usage.Add(used)
	}
}

// cut drops the model call in flight: what it streamed is closed as incomplete.
func (t *TurnView) cut() {
	t.Outputs += len(t.Model.Stream)
	t.Model = nil
	t.Fresh = true
}

func (v *View) compacted(_ stead.Event, p ContextCompacted) {
	if v.Compact == nil || v.Compact.Seq != p.Call {
		return
	}
	v.Compact, v.CompactFailures = nil, 0
	v.dropEffects(func(w *EffectWait) bool {
		return w.Effect == policy.ModelCall && w.Purpose == PurposeCompact && w.Thread == v.focus
	})
	used, cost := p.Route.Both(p.Usage, p.Cost)
	v.Usage, v.Cost = v.Usage.Add(used), v.Cost+cost
	if v.Turn != nil {
		v.Turn.Usage = v.Turn.Usage.Add(used)
		v.Turn.Overflow = false
	}
}

package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
)

// called redacts what became of a call. A function's output is an item of its own; any other call's is part of the call.
func (r *Redactor) called(e stead.Event) (stead.Event, error) {
	asked, told := r.named.Prefix != outputPrefix, r.named.Prefix != functionPrefix
	ours := func(callID string) bool {
		if r.named.Prefix == outputPrefix {
			return e.Seq == r.seq && callID == r.callID // an output is named by the event that brought it
		}
		return callID != "" && callID == r.callID && e.Seq > r.seq && !r.over
	}
	switch e.Kind {
	case KindToolRequested:
		return change(e, func(p *ToolRequested) bool {
			if !asked || e.Seq != r.seq {
				return false
			}
			r.callID, p.Arguments, p.Tool = p.CallID, redactedJSON(p.Arguments), r.toolCall(p.Tool)
			return r.findings(p.Guardrails)
		})
	case KindInputEdit:
		return change(e, func(p *ApprovalEdit) bool {
			if !asked || !ours(p.CallID) {
				return false
			}
			p.Arguments, p.Digest = redactedJSON(p.Arguments), "" // which could be found by trying
			p.Ask = r.ask(p.Ask)
			r.reason(&p.Reason)
			return r.findings(p.Guardrails)
		})
	case KindInputApproval:
		return change(e, func(p *ApprovalResult) (changed bool) {
			if !ours(p.CallID) {
				return false
			}
			if told || p.Decision == DecisionApprove { // why a function was not called is its output
				changed = r.reason(&p.Reason)
			}
			if asked && p.Digest != "" {
				p.Digest, changed = "", true
			}
			return changed
		})
	case KindInputDelegate:
		return change(e, func(p *ApprovalDelegated) bool { return asked && ours(p.CallID) && r.reason(&p.Reason) })
	case KindEffectHeld:
		return e, r.within(e, ours)
	case KindInputEffect:
		return change(e, func(p *EffectResult) bool { return slices.Contains(r.held, p.Asked) && r.reason(&p.Reason) })
	case KindToolHeld:
		return change(e, func(p *ToolHeld) bool { return asked && ours(p.CallID) && r.decided(&p.Decision) })
	case KindToolRequired:
		return change(e, func(p *ToolRequired) bool { return asked && ours(p.CallID) && r.decided(&p.Decision) })
	case KindToolCalled:
		return change(e, func(p *ToolCalled) bool { return asked && ours(p.CallID) && r.decided(&p.Decision) })
	case KindEnvironmentConnected:
		return change(e, func(p *EnvironmentConnected) bool { return r.commanded(e.Seq) && p.Reset.redact() })
	case KindEnvironmentCheckpointed:
		return change(e, func(p *EnvironmentCheckpointed) bool { return r.commanded(e.Seq) && redactAll(p.Background) })
	}
	if !told {
		return e, nil
	}
	switch e.Kind {
	case KindInputToolResult:
		return change(e, func(p *ToolResult) bool { return ours(p.CallID) && r.told(p.Output, &p.Error, p.Guardrails) })
	case KindInputOutcome:
		return change(e, func(p *OutcomeResult) bool { return ours(p.CallID) && r.told(p.Output, nil, p.Guardrails) })
	case KindToolReturned:
		return change(e, func(p *ToolReturned) bool {
			if !ours(p.CallID) {
				return false
			}
			r.decided(p.Decision)
			p.Mounted.redact()
			return r.told(p.Output, &p.Error, p.Guardrails)
		})
	case KindToolLost:
		return change(e, func(p *ToolLost) bool { return ours(p.CallID) && r.reason(&p.Reason) })
	case KindToolStreamed:
		return change(e, func(p *ToolStreamed) bool {
			if !ours(p.CallID) || p.Text == "" {
				return false
			}
			p.Text = r.run(p.Text)
			return true
		})
	}
	return e, nil
}

// within notes a question about an effect of the call: somebody may say why it is not to be.
func (r *Redactor) within(e stead.Event, ours func(callID string) bool) error {
	p, err := Decode[EffectHeld](e)
	if call, of := strings.CutPrefix(p.Within, WithinCall("")); err == nil && of && ours(call) {
		r.held = append(r.held, e.Seq)
	}
	return err
}

// commanded reports whether an event may name a command that is redacted. Which of those that it names is not known: none stays.
func (r *Redactor) commanded(seq stead.Seq) bool {
	return r.named.Prefix == commandPrefix && seq > r.seq
}

func (r *Reset) redact() bool {
	if r == nil {
		return false
	}
	commands, background := redactAll(r.Commands), redactAll(r.Background)
	return commands || background
}

// redact takes out names of files and what was said of them.
func (m *Mounted) redact() {
	if m != nil {
		redactAll(m.Conflicts)
		redactAll(m.Refused)
	}
}

func redactAll(texts []string) bool {
	for i := range texts {
		texts[i] = redactedWord
	}
	return len(texts) > 0
}

// toolCall is how a call is executed, without what it was asked for.
func (r *Redactor) toolCall(t ToolCall) ToolCall {
	if t.Arguments != nil {
		t.Arguments = redactedJSON(t.Arguments)
	}
	if t.Reject != "" {
		t.Reject = redactedWord
	}
	t.Ask = r.ask(t.Ask)
	if t.Decision != nil {
		decision := *t.Decision
		r.decided(&decision)
		t.Decision = &decision
	}
	return t
}

// ask is what guardrails ask for, without why.
func (r *Redactor) ask(d *policy.Decision) *policy.Decision {
	if d == nil || d.Reason == "" {
		return d
	}
	if d.Reason != redactedWord {
		r.asks = append(r.asks, d.Reason)
	}
	out := *d
	out.Reason = redactedWord
	return &out
}

// decided takes out of a decision about the call why guardrails asked for it.
func (r *Redactor) decided(d *policy.Decision) (changed bool) {
	if d == nil {
		return false
	}
	for _, why := range r.asks {
		changed = changed || strings.Contains(d.Reason, why)
		d.Reason = strings.ReplaceAll(d.Reason, why, redactedWord)
	}
	return changed
}

// reason takes out what somebody wrote; false: nobody wrote anything.
func (r *Redactor) reason(said *string) bool {
	if *said == "" {
		return false
	}
	if *said != redactedWord {
		r.gone = append(r.gone, *said)
	}
	*said = redactedWord
	return true
}

func (r *Redactor) told(output []stead.Content, failure *string, found []guardrail.Finding) bool {
	copy(output, r.content(output))
	if failure != nil && *failure != "" {
		*failure = redactedWord
	}
	return r.findings(found)
}

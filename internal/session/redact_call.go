package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
)

// called redacts what became of a call. A function's output is an item of its own; any other call's is part of the call.
func (r *Redactor) called(e stead.Event, p any) bool {
	asked, told := r.named.Prefix != outputPrefix, r.named.Prefix != functionPrefix
	ours := func(callID string) bool {
		if r.named.Prefix == outputPrefix {
			return e.Seq == r.seq && callID == r.callID // an output is named by the event that brought it
		}
		return callID != "" && callID == r.callID && e.Seq > r.seq && !r.over
	}
	switch p := p.(type) {
	case *ToolRequested:
		if !asked || e.Seq != r.seq {
			return false
		}
		r.callID, p.Arguments, p.Tool = p.CallID, redactedJSON(p.Arguments), r.toolCall(p.Tool)
		return r.findings(p.Guardrails)
	case *ApprovalEdit:
		if !asked || !ours(p.CallID) {
			return false
		}
		p.Arguments, p.Digest = redactedJSON(p.Arguments), "" // which could be found by trying
		p.Ask = r.ask(p.Ask)
		r.reason(&p.Reason)
		return r.findings(p.Guardrails)
	case *ApprovalResult:
		return ours(p.CallID) && r.approval(p)
	case *ApprovalDelegated:
		return asked && ours(p.CallID) && r.reason(&p.Reason)
	case *EffectHeld:
		if call, of := strings.CutPrefix(p.Within, WithinCall("")); of && ours(call) { // somebody may say why it is not to be
			r.held = append(r.held, e.Seq)
		}
	case *EffectResult:
		return slices.Contains(r.held, p.Asked) && r.reason(&p.Reason)
	case *ToolHeld:
		return asked && ours(p.CallID) && r.decided(&p.Decision)
	case *ToolRequired:
		return asked && ours(p.CallID) && r.decided(&p.Decision)
	case *ToolCalled:
		return asked && ours(p.CallID) && r.decided(&p.Decision)
	case *ToolResult:
		return told && ours(p.CallID) && r.told(p.Output, &p.Error, p.Guardrails)
	case *OutcomeResult:
		return told && ours(p.CallID) && r.told(p.Output, nil, p.Guardrails)
	case *ToolReturned:
		return told && ours(p.CallID) && r.returned(p)
	case *ToolLost:
		return told && ours(p.CallID) && r.reason(&p.Reason)
	case *ToolStreamed:
		if !told || !ours(p.CallID) || p.Text == "" {
			return false
		}
		p.Text = r.run(p.Text)
		return true
	}
	return false
}

// approval: why a function was not called is its output.
func (r *Redactor) approval(p *ApprovalResult) (changed bool) {
	if r.named.Prefix != functionPrefix || p.Decision == DecisionApprove {
		changed = r.reason(&p.Reason)
	}
	if r.named.Prefix != outputPrefix && p.Digest != "" {
		p.Digest, changed = "", true
	}
	return changed
}

func (r *Redactor) returned(p *ToolReturned) bool {
	r.decided(p.Decision)
	p.Mounted.redact()
	return r.told(p.Output, &p.Error, p.Guardrails)
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

func redactAll(texts []string) (changed bool) {
	for i := range texts {
		changed = changed || texts[i] != redactedWord
		texts[i] = redactedWord
	}
	return changed
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

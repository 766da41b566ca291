package trace

import (
	"cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// Codes of what ended otherwise than it should, beside those of turns' errors.
const (
	codeInterrupted = "interrupted"     // the node that did it was gone
	codeCancelled   = "cancelled"       // with the turn
	codeDenied      = "policy_denied"   // by policies
	codeRefused     = "not_approved"    // by somebody, or since nobody answered in time
	codeRejected    = "rejected"        // unknown, malformed, or refused by a guardrail
	codeTool        = "tool_error"      // the tool says so
	codeLost        = "outcome_lost"    // the connection broke
	codeUnknown     = "outcome_unknown" // nobody could find out
	codeMemory      = "memory_error"
	codeHeld        = "approval_required" // what it needs waits for approvals: it is done again
	codeConsent     = "consent_required"  // the same, for a consent
)

func (f *folder) beginTurn(th *thread) error {
	turn := f.v.Turn
	th.turn = turn
	id := f.v.Key.Session
	agent := f.v.Created.Agent
	name := ""
	if n := agent.Spec.Name; n != nil {
		name = *n
	}
	attributes := []KeyValue{text("gen_ai.operation.name", "invoke_agent"), text("stead.turn.id", session.TurnID(id, turn.Seq))}
	if th.id == 0 {
		th.span = f.start("turn", turn.Seq, "", nil, named("invoke_agent", name), kindInternal, append(attributes, text("gen_ai.agent.id", string(agent.ID)))...)
		if name != "" {
			th.span.set(text("gen_ai.agent.name", name))
		}
		if f.remote != nil {
			th.span.Parent, th.span.Kind = f.remote.SpanID, kindServer
			th.span.Flags = flagHasRemote | flagRemote | uint32(f.remote.Flags)
		}
		p, err := session.Decode[session.Message](f.e)
		f.found(th.span, p.Guardrails)
		return err
	}
	p, err := session.Decode[session.SubagentInput](f.e)
	if err != nil {
		return err
	}
	sub := f.v.Subagent(th.id)
	th.span = f.start("turn", turn.Seq, "", f.above(sub, p), named("invoke_agent", sub.Name), kindInternal,
		append(attributes, text("gen_ai.agent.id", session.SubagentID(id, th.id)), text("gen_ai.agent.name", sub.Name))...)
	return nil
}

func named(operation, name string) string {
	if name == "" {
		return operation
	}
	return operation + " " + name
}

// above is the span of the call that said something to a subagent; if that is none of this trace, of its parent's turn, or the root's.
func (f *folder) above(sub *session.Subagent, p session.SubagentInput) *open {
	id := callID(f.v.Key.Session, p.Call, p.Index)
	if f.opened[id] {
		return &open{Span{SpanID: id}}
	}
	return cmp.Or(f.thread(sub.Parent).span, f.thread(0).span)
}

// endTurn ends what is open of a turn, and the turn. With the root's ends all.
func (f *folder) endTurn(th *thread) error {
	if th.id == 0 {
		for _, other := range f.threads {
			if other.id != 0 && other.turn != nil {
				if err := f.endTurn(other); err != nil {
					return err
				}
			}
		}
	}
	f.endWaits(th)
	if err := f.endCalls(th); err != nil {
		return err
	}
	for _, m := range []*modelSpan{th.model, th.compact} {
		if m != nil {
			f.end(m.open, codeCancelled)
		}
	}
	if th.recall != nil {
		f.end(th.recall, codeCancelled)
	}
	if th.id == 0 {
		f.endActions(codeCancelled)
	}
	if err := f.closeTurn(th); err != nil {
		return err
	}
	f.done = f.done || th.id == 0
	*th = thread{id: th.id}
	return nil
}

// closeTurn ends the span of the turn itself.
func (f *folder) closeTurn(th *thread) error {
	status, failure := session.TurnComplete, ""
	switch f.e.Kind {
	case session.KindSessionFailed:
		p, err := session.Decode[session.Failed](f.e)
		if err != nil {
			return err
		}
		status, failure = session.TurnFail, p.Error.Code
	case session.KindTurnFailed, session.KindTurnCancelled, session.KindTurnCompleted:
		p, err := session.Decode[session.TurnEnded](f.e)
		if err != nil {
			return err
		}
		if f.e.Thread != th.id {
			status = session.TurnCancel // another's end cut it off
			break
		}
		f.decision(th.span, "model.call", p.Decision)
		switch {
		case f.e.Kind == session.KindTurnCancelled:
			status = session.TurnCancel
		case f.e.Kind == session.KindTurnFailed:
			status = session.TurnFail
			if p.Error != nil {
				failure = p.Error.Code
			}
		}
	}
	if status == session.TurnFail {
		failure = cmp.Or(failure, "_OTHER")
	}
	th.span.set(text("stead.turn.status", status))
	if th.turn.Replied {
		th.span.set(usage(th.turn.Usage)...)
	}
	if th.id == 0 {
		th.span.set(number("stead.cost_microcents", f.cost))
		if f.dropped > 0 {
			th.span.set(number("stead.trace.dropped_spans", f.dropped))
		}
	}
	f.end(th.span, failure)
	return nil
}

// marks are moments of the turn.
func (f *folder) marks(th *thread) error {
	switch f.e.Kind {
	case session.KindTurnStarted:
		f.note(th.span, "stead.turn.started")
	case session.KindRunnerRecovered:
		f.note(th.span, "stead.runner.recovered")
	case session.KindInputMessage:
		return f.steered(th)
	case session.KindSubagentInput:
		if f.e.Seq != th.turn.Seq {
			f.note(th.span, "stead.input")
		}
	case session.KindSessionPaused:
		f.note(th.span, "stead.session.paused")
	case session.KindSessionResumed:
		f.note(th.span, "stead.session.resumed")
	case session.KindSubagentCreated:
		p, err := session.Decode[session.SubagentCreated](f.e)
		if err != nil {
			return err
		}
		f.decision(th.callOf(p.CallID), "subagent.create", &p.Decision)
	}
	return nil
}

// steered notes a message to a turn that runs. Of what it is a part the turn is not, so that is a link.
func (f *folder) steered(th *thread) error {
	if f.e.Seq == th.turn.Seq {
		return nil
	}
	p, err := session.Decode[session.Message](f.e)
	if err != nil {
		return err
	}
	f.note(th.span, "stead.input")
	if of, ok := ParseParent(p.Traceparent); ok && len(th.span.Links) < maxEvents {
		th.span.Links = append(th.span.Links, Link{of.TraceID, of.SpanID, flagHasRemote | flagRemote | uint32(of.Flags)})
	}
	return nil
}

func usage(u stead.Usage) []KeyValue {
	out := []KeyValue{number("gen_ai.usage.input_tokens", u.InputTokens), number("gen_ai.usage.output_tokens", u.OutputTokens)}
	if u.CachedTokens > 0 {
		out = append(out, number("gen_ai.usage.cache_read.input_tokens", u.CachedTokens))
	}
	if u.CacheWriteTokens > 0 {
		out = append(out, number("gen_ai.usage.cache_creation.input_tokens", u.CacheWriteTokens))
	}
	if u.ReasoningTokens > 0 {
		out = append(out, number("gen_ai.usage.reasoning.output_tokens", u.ReasoningTokens))
	}
	return out
}

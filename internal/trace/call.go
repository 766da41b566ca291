package trace

import (
	"cmp"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/session"
)

// callSpan is a call that the model, or code in the environment, asked for.
type callSpan struct {
	*open
	call    *session.Call
	wait    *open // somebody must act
	asked   stead.Seq
	state   session.CallState // in which it waits
	attempt *open
}

func callID(s stead.SessionID, seq stead.Seq, index int) string {
	return spanID(s, "tool", seq, strconv.Itoa(index))
}

func (th *thread) spanOf(c *session.Call) *callSpan {
	for _, s := range th.calls {
		if s.call == c {
			return s
		}
	}
	return nil
}

// callOf is the span of the call with an id, the newest first as views have it; nil: none is open.
func (th *thread) callOf(id string) *open {
	for i := len(th.calls) - 1; i >= 0; i-- {
		if th.calls[i].call.CallID == id {
			return th.calls[i].open
		}
	}
	return nil
}

// calls follows the turn's calls. The view forgets those that are settled with the next call of the model, and not before.
func (f *folder) calls(th *thread) error {
	for _, c := range th.turn.Calls {
		s := th.spanOf(c)
		if s == nil && !f.opened[callID(f.v.Key.Session, c.Seq, c.Index)] {
			s = f.beginCall(th, c)
		}
		if s == nil {
			continue
		}
		if err := f.follow(th, s); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) beginCall(th *thread, c *session.Call) *callSpan {
	s := &callSpan{call: c}
	s.open = f.start("tool", c.Seq, strconv.Itoa(c.Index), th.span, named("execute_tool", c.Name), kindInternal,
		text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", c.Name), text("gen_ai.tool.call.id", c.CallID))
	t := &c.Tool
	kind, runs := "extension", "server"
	switch {
	case c.Function():
		kind, runs = "function", "application"
	case t.Subagent != nil:
		runs = "runtime"
	case t.Environment && t.Server == "":
		runs = "environment"
	case t.Passages:
		kind = "datastore"
	}
	s.set(text("gen_ai.tool.type", kind), text("stead.tool.runs", runs))
	if t.Server != "" {
		s.set(text("stead.tool.server", t.Server))
	}
	if c.Code {
		s.set(truth("stead.tool.code", true))
	}
	f.decision(s.open, "tool.call", t.Ask)
	f.decision(s.open, "tool.call", t.Decision)
	if p, err := session.Decode[session.ToolRequested](f.e); err == nil && f.e.Kind == session.KindToolRequested {
		f.found(s.open, p.Guardrails)
	}
	th.calls = append(th.calls, s)
	return s
}

// follow brings the spans of a call up to date.
func (f *folder) follow(th *thread, s *callSpan) error {
	c := s.call
	if s.attempt != nil && c.State != session.CallRunning {
		if err := f.endAttempt(s); err != nil {
			return err
		}
	}
	if s.wait != nil && (c.State != s.state || c.Asked != s.asked) {
		f.end(s.wait, "")
		s.wait = nil
	}
	if s.wait == nil && waits(c.State) {
		if err := f.beginWait(s); err != nil {
			return err
		}
	}
	if s.attempt == nil && c.State == session.CallRunning {
		if err := f.beginAttempt(s); err != nil {
			return err
		}
	}
	if c.State != session.CallDone {
		return nil
	}
	failure, err := f.settled(s)
	f.end(s.open, failure)
	th.drop(s)
	return err
}

func (th *thread) drop(s *callSpan) {
	for i := range th.calls {
		if th.calls[i] == s {
			th.calls = append(th.calls[:i:i], th.calls[i+1:]...)
			return
		}
	}
}

func waits(state session.CallState) bool {
	return state == session.CallWaiting || state == session.CallApproval || state == session.CallUnknown
}

func (f *folder) beginWait(s *callSpan) error {
	c := s.call
	s.asked, s.state = c.Asked, c.State
	action := map[session.CallState]string{
		session.CallWaiting: session.ActionFunctionCall, session.CallApproval: session.ActionMCPApproval, session.CallUnknown: session.ActionOutcomeUnknown,
	}[c.State]
	s.wait = f.start("wait", f.e.Seq, callID(f.v.Key.Session, c.Seq, c.Index), s.open, "wait "+action, kindInternal, text("stead.wait.for", action))
	switch f.e.Kind {
	case session.KindToolHeld:
		p, err := session.Decode[session.ToolHeld](f.e)
		f.decision(s.wait, "tool.call", &p.Decision)
		return err
	case session.KindToolRequired:
		p, err := session.Decode[session.ToolRequired](f.e)
		f.decision(s.wait, "tool.call", &p.Decision)
		return err
	}
	return nil
}

func (f *folder) beginAttempt(s *callSpan) error {
	if f.e.Kind != session.KindToolCalled {
		return nil
	}
	p, err := session.Decode[session.ToolCalled](f.e)
	if err != nil {
		return err
	}
	c := s.call
	name, kind := "attempt", kindInternal
	var more []KeyValue
	if c.Tool.Server != "" && c.Type == stead.ItemMCPCall {
		name, kind, more = "tools/call", kindClient, []KeyValue{text("mcp.method.name", "tools/call")}
	}
	s.attempt = f.start("attempt", f.e.Seq, "", s.open, named(name, cmp.Or(c.Tool.Name, c.Name)), kind,
		append(more, text("gen_ai.tool.name", c.Name), number("stead.attempt", int64(p.Attempt)))...)
	f.decision(s.attempt, "tool.call", &p.Decision)
	return nil
}

func (f *folder) endAttempt(s *callSpan) error {
	failure := codeCancelled
	switch f.e.Kind {
	case session.KindToolReturned:
		p, err := session.Decode[session.ToolReturned](f.e)
		if err != nil {
			return err
		}
		failure = ""
		if p.Error != "" {
			failure = codeTool
		}
		if p.DurationMS > 0 {
			s.attempt.set(number("stead.tool.duration_ms", p.DurationMS))
		}
		if p.Exit != nil {
			s.attempt.set(number("process.exit.code", int64(*p.Exit)))
		}
	case session.KindToolLost:
		p, err := session.Decode[session.ToolLost](f.e)
		if err != nil {
			return err
		}
		failure = codeLost
		s.attempt.set(truth("stead.tool.sent", p.Sent))
		switch {
		case p.Held:
			failure = codeHeld
		case p.Unconsented:
			failure = codeConsent
		}
		if p.RetryAt > int64(f.now) {
			s.attempt.set(number("stead.retry_after_ms", p.RetryAt-int64(f.now)))
		}
	case session.KindRunnerRecovered:
		failure = codeInterrupted
	}
	f.end(s.attempt, failure)
	s.attempt = nil
	return nil
}

// settled says how a call ended: the code of an error, or "".
func (f *folder) settled(s *callSpan) (string, error) {
	c := s.call
	s.set(text("stead.tool.status", string(c.Status)))
	var denied bool
	var findings []guardrail.Finding
	switch f.e.Kind {
	case session.KindToolReturned:
		p, err := session.Decode[session.ToolReturned](f.e)
		if err != nil {
			return "", err
		}
		f.decision(s.open, "tool.call", p.Decision)
		denied, findings = p.Decision != nil && !p.Decision.Allow, p.Guardrails
	case session.KindInputToolResult:
		p, err := session.Decode[session.ToolResult](f.e)
		if err != nil {
			return "", err
		}
		findings = p.Guardrails
	}
	f.found(s.open, findings)
	switch {
	case c.Status == stead.ItemCompleted:
		return "", nil
	case denied, c.Tool.Reject != "" && c.Tool.Decision != nil && !c.Tool.Decision.Allow:
		return codeDenied, nil
	case c.Tool.Reject != "":
		return codeRejected, nil
	case f.e.Kind == session.KindRunnerRecovered:
		return codeInterrupted, nil
	case f.e.Kind == session.KindInputOutcome:
		return codeUnknown, nil
	case f.e.Kind == session.KindToolLost:
		return codeLost, nil
	case f.e.Kind == session.KindInputApproval, c.Held() != nil && c.Attempts == 0:
		return codeRefused, nil
	case f.e.Kind == session.KindInputConsent, f.e.Kind == session.KindConsentLapsed:
		return codeConsent, nil
	}
	return codeTool, nil
}

// endCalls ends those that are open when their turn ends: it gave them to the application, or they are not made any more.
func (f *folder) endCalls(th *thread) error {
	for _, s := range th.calls {
		if s.attempt != nil {
			if err := f.endAttempt(s); err != nil {
				return err
			}
		}
		if s.wait != nil {
			f.end(s.wait, "")
		}
		failure := codeCancelled
		if f.e.Kind == session.KindTurnCompleted && f.e.Thread == th.id && waits(s.call.State) {
			failure = ""
			s.set(text("stead.tool.status", "handed_back"))
		}
		f.end(s.open, failure)
	}
	th.calls = nil
	return nil
}

package session_test

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// do runs one line of a table; false for a word that is none.
func (s *spec) do(name, rest string) bool {
	switch name {
	case "context":
		s.context()
		return true
	case "wire":
		s.out, s.wire = append(s.out, s.wire...), nil
		return true
	case "actions":
		for _, a := range s.state.RequiredActions() {
			s.out = append(s.out, strings.TrimRight(fmt.Sprintf("%s %s %s", a.Type, a.CallID, a.RequestID), " "))
		}
		return true
	case "next":
		s.next()
		return true
	case "environment":
		s.out = append(s.out, s.environmentLine())
		return true
	}
	if strings.HasPrefix(name, "compact") && s.state.Compact == nil {
		s.out = append(s.out, "no summary is being made")
		return true
	}
	if !s.input(name, rest) && !s.model(name, rest) && !s.tool(name, rest) && !s.environment(name, rest) {
		return false
	}
	s.says("")
	return true
}

// next writes the intents of what comes next.
func (s *spec) next() {
	from := s.state.Tail
	for _, c := range s.state.Next(s.window) {
		switch c := c.(type) {
		case session.StartTurn:
			s.event(session.KindTurnStarted, session.TurnStarted{})
		case session.CallModel:
			s.event(session.KindModelCalled, session.ModelCalled{Model: "sim", Attempt: c.Attempt})
		case session.CompactContext:
			s.event(session.KindModelCalled, session.ModelCalled{Model: "sim", Purpose: session.PurposeCompact, Attempt: 1, Upto: c.Upto})
		case session.CallTool:
			s.event(session.KindToolCalled, session.ToolCalled{CallID: c.Call.CallID, Key: c.Call.Key(specKey.Session), Attempt: c.Call.Attempts + 1})
		case session.LapseConsent:
			s.event(session.KindConsentLapsed, session.ConsentLapsed(c))
		case session.EndTurn:
			s.event(c.Kind, session.TurnEnded{Error: c.Error})
		case session.EnvironmentAction:
			s.event(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: c.Action, Attempt: c.Attempt, Publish: c.Publish, Store: c.Store, Decision: policy.Decision{Allow: true, By: "local"}})
		}
	}
	if s.state.Tail == from {
		s.out = append(s.out, "nothing to do")
		return
	}
	s.says("")
}

func (s *spec) input(name, rest string) bool {
	id, text, _ := strings.Cut(rest, " ")
	output := stead.TextContent(stead.ContentInputText, text)
	if text == "" {
		output = nil
	}
	decide := func(d string) {
		s.event(session.KindInputApproval, session.ApprovalResult{CallID: id, Decision: d, Reason: text})
	}
	outcome := func(d string) {
		s.event(session.KindInputOutcome, session.OutcomeResult{CallID: id, Decision: d, Output: output})
	}
	switch name {
	case "user":
		var m session.Message
		for part := range strings.SplitSeq(rest, " | ") {
			m.Input = append(m.Input, session.InputMessage{Content: stead.TextContent(stead.ContentInputText, part)})
		}
		s.event(session.KindInputMessage, m)
	case "ask": // a response
		items := s.items(rest)
		items, approved, err := s.state.Allow(items)
		if err != nil {
			s.out = append(s.out, err.Error())
			return true
		}
		s.event(session.KindInputMessage, session.Message{Items: items, Response: &session.ResponseAsk{Ask: session.Ask{MaxToolCalls: 1}, Approved: approved}})
	case "items":
		s.event(session.KindInputItems, session.ItemsInput{Items: s.items(rest)})
	case "cancel":
		var c session.CancelInput // "cancel late" was accepted for an earlier turn
		if s.state.Turn != nil && rest != "late" {
			c.Turn = s.state.Turn.Seq
		}
		s.event(session.KindInputCancel, c)
	case "pause":
		s.event(session.KindSessionPaused, session.Paused{})
	case "resume":
		s.event(session.KindSessionResumed, session.Paused{})
	case "fail":
		s.event(session.KindSessionFailed, session.Failed{Error: session.TurnError{Code: "server_error", Message: rest}})
	case "result":
		s.event(session.KindInputToolResult, session.ToolResult{CallID: id, Success: true, Output: output})
	case "refuse":
		s.event(session.KindInputToolResult, session.ToolResult{CallID: id, Error: text})
	case "approve":
		decide(session.DecisionApprove)
	case "deny":
		decide(session.DecisionDeny)
	case "stop":
		decide(session.DecisionCancel)
	case "happened":
		outcome(session.DecisionHappened)
	case "nothappened":
		outcome(session.DecisionNotHappened)
	case "giveup":
		outcome(session.DecisionGiveUp)
	case "reached": // a budget of so many calls, until
		s.event(session.KindBudgetReached, session.BudgetReached{Budget: id, Code: "usage_limit_exceeded", Message: "Used up.",
			Limit: session.Spend{Calls: 5}, Used: session.Spend{Calls: 7, Tokens: 100}, RetryAt: s.number(text)})
	case "budget": // what somebody says, of the present question or of an earlier one
		p := session.BudgetResult{Budget: "b", Decision: id}
		if t := s.state.Turn; t != nil && t.Budget != nil && text != "late" {
			p.Asked = t.Budget.Asked
		}
		if n, ok := strings.CutPrefix(text, "calls "); ok {
			p.Extra = &session.Spend{Calls: int64(s.number(n))}
		}
		s.event(session.KindInputBudget, p)
	case "needs": // a consent to srv: "needs C", found before a model call, or "needs C ID", of a call
		n := session.ConsentNeeded{Consent: id, Server: "srv", ExpiresAt: 100000}
		if text != "" {
			s.event(session.KindToolLost, session.ToolLost{CallID: text, Unconsented: true})
		} else {
			n.Call = s.state.Turn.Model.Seq
			s.event(session.KindModelFailed, session.ModelFailed{Call: n.Call, Error: session.TurnError{Code: "invalid_request"}, RetryAt: 1})
		}
		s.event(session.KindConsentNeeded, n)
	case "consent":
		s.event(session.KindInputConsent, session.ConsentResult{Consent: id, Decision: text})
	case "over":
		for _, o := range s.state.Turn.Over {
			if o.Limit == nil {
				s.out = append(s.out, o.Budget+": one answer")
			} else {
				s.out = append(s.out, fmt.Sprintf("%s: up to %d calls", o.Budget, o.Limit.Calls))
			}
		}
	case "timer":
		s.event(session.KindTimerFired, session.TimerFired{At: s.number(rest)})
	default:
		return false
	}
	return true
}

// items reads input items: "user hi; system be kind; call c1; output c1 done; allow m1; forbid m2 not now".
func (s *spec) items(rest string) []stead.Item {
	var out []stead.Item
	for _, text := range strings.Split(rest, "; ") {
		word, said, _ := strings.Cut(text, " ")
		id, said2, _ := strings.Cut(said, " ")
		switch word {
		case "call":
			out = append(out, stead.Item{Type: stead.ItemFunctionCall, CallID: id, Name: "f", Arguments: []byte(`{}`)})
		case "output":
			out = append(out, stead.Item{Type: stead.ItemFunctionCallOutput, CallID: id, Output: stead.TextContent(stead.ContentInputText, said2)})
		case "allow", "forbid":
			a := &stead.Answer{Request: "mcpr_unknown", Approve: word == "allow", Reason: said2}
			for _, c := range s.state.Asked {
				if c.CallID == id {
					a.Request = c.QuestionID(specKey.Session)
				}
			}
			out = append(out, stead.Item{Type: stead.ItemApprovalResponse, Answer: a})
		default:
			out = append(out, stead.Item{Type: stead.ItemMessage, Role: word, Content: stead.TextContent(stead.ContentInputText, said)})
		}
	}
	return out
}

func (s *spec) model(name, rest string) bool {
	id, text, _ := strings.Cut(rest, " ")
	call := stead.Seq(0)
	if t := s.state.Turn; t != nil && t.Model != nil {
		call = t.Model.Seq
	}
	switch name {
	case "stream":
		seg := session.Segment{Type: stead.ItemMessage, Text: text}
		if r, ok := strings.CutPrefix(id, "r"); ok {
			seg.Type, id = stead.ItemReasoning, r
		}
		index, part, _ := strings.Cut(id, ".")
		seg.Index = int(s.number(index))
		if part != "" {
			seg.Part = int(s.number(part))
		}
		s.event(session.KindModelStreamed, session.ModelStreamed{Call: call, Segments: []session.Segment{seg}})
	case "reply":
		p := s.reply(call, rest)
		if t := s.state.Turn; t != nil {
			t.LimitCalls(p.Items)
		}
		s.event(session.KindModelReplied, p)
	case "modelfail", "compactfail":
		if name == "compactfail" {
			call = s.state.Compact.Seq
		}
		f := session.ModelFailed{Call: call, Error: session.TurnError{Code: id, Message: "no"}}
		if text != "" {
			f.RetryAt = s.number(text)
		}
		s.event(session.KindModelFailed, f)
	case "compacted":
		s.event(session.KindContextCompacted, session.ContextCompacted{Call: s.state.Compact.Seq, Upto: s.state.Compact.Upto, Summary: stead.NewText(rest)})
	case "recover":
		s.event(session.KindRunnerRecovered, session.RunnerRecovered{Node: "n", Epoch: 2})
	default:
		return false
	}
	return true
}

// reply reads the items of a reply.
func (s *spec) reply(call stead.Seq, rest string) session.ModelReplied {
	p := session.ModelReplied{Call: call, Finish: "stop", Usage: stead.Usage{InputTokens: 10, OutputTokens: 5}}
	for i, text := range strings.Split(rest, "; ") {
		words := strings.Fields(text)
		if v, ok := option(&words, "finish"); ok {
			p.Finish = v
		}
		if v, ok := option(&words, "cost"); ok {
			p.Cost = s.number(v) * session.MicroCentsPerCent
		}
		p.Items = append(p.Items, s.replyItem(i, words))
	}
	return p
}

func (s *spec) replyItem(i int, words []string) session.ReplyItem {
	said := strings.Join(words[1:], " ")
	it := session.ReplyItem{Tool: &session.ToolCall{}}
	it.Type, it.Name, it.Arguments = stead.ItemFunctionCall, "f", []byte(`{}`)
	if len(words) > 1 {
		it.CallID = words[1]
	}
	switch words[0] {
	case "say":
		return session.ReplyItem{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, said)}}
	case "rest": // the rest of a message that was streamed up to here
		streamed := strings.Join(s.state.Turn.Model.Stream[i].Parts, "")
		return session.ReplyItem{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, said)}, Streamed: []int{len(streamed)}}
	case "think":
		return session.ReplyItem{Item: stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText(said)}}}
	case "call":
		it.Tool.Async = len(words) > 2
	case "cmd":
		return commandItem(words)
	case "reject":
		it.Tool.Reject, it.Arguments = "The arguments are not a JSON object.", []byte(`"{"`)
	case "mcp":
		it.Type = stead.ItemMCPCall
		it.Tool.Server, it.Tool.Name, it.Tool.Approval = "srv", "act", len(words) > 3
		if len(words) > 2 { // without: the zero class, which must be read as unknown
			it.Tool.Effect = tool.Effect(words[2])
		}
	default:
		s.t.Fatalf("unknown item %q", words[0])
	}
	return it
}

func (s *spec) tool(name, rest string) bool {
	words := strings.Fields(rest)
	id, text, _ := strings.Cut(rest, " ")
	switch name {
	case "returned":
		s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Output: stead.TextContent(stead.ContentInputText, text)})
	case "hold": // by policies, until somebody approves
		s.event(session.KindToolHeld, session.ToolHeld{CallID: id, Decision: policy.Decision{Needs: &policy.Needs{Count: 1}}})
	case "toolfail":
		s.event(session.KindToolReturned, session.ToolReturned{CallID: id, Error: text})
	case "lost":
		l := session.ToolLost{CallID: id, Reason: "connection reset", Sent: words[1] == "sent"}
		if len(words) > 2 {
			l.RetryAt = s.number(words[2])
		}
		s.event(session.KindToolLost, l)
	default:
		return false
	}
	return true
}

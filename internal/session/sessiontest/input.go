package sessiontest

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// input is what doors send: messages, answers (right, late and unknown ones), cancels, pauses.
func (g *Gen) input() {
	by := stead.LocalPrincipal()
	switch p := g.rng.IntN(100); {
	case p < 25:
		if g.State.Turn == nil && !g.Agents && g.chance(30) {
			g.response(by)
		} else if g.State.Turn == nil || g.chance(40) {
			g.append(session.KindInputMessage, session.Message{Input: g.messages(), By: by})
		}
	case p < 85:
		g.somewhere(func() { g.answer(by) })
	case p < 88 && g.Cancel:
		if g.State.Turn != nil || g.chance(10) {
			var turn stead.Seq
			if g.State.Turn != nil && g.chance(90) { // else it was meant for an earlier one
				turn = g.State.Turn.Seq
			}
			g.append(session.KindInputCancel, session.CancelInput{Turn: turn, By: by})
		}
	case p < 92:
		kind := session.KindSessionPaused
		if g.State.Paused {
			kind = session.KindSessionResumed
		}
		g.append(kind, session.Paused{By: by})
	case p < 94:
		m := map[string]string{"at": "update"}
		g.append(session.KindSessionUpdated, session.Updated{Metadata: &m})
	case p < 96:
		// An answer to a call that nobody made.
		g.append(session.KindInputToolResult, session.ToolResult{CallID: "call_nobody", Success: true, By: by})
	case p < 97 && g.Cancel && g.chance(3):
		g.append(session.KindSessionFailed, session.Failed{Error: session.TurnError{Code: "server_error", Message: "Broken."}})
	case g.State.Paused:
		g.append(session.KindSessionResumed, session.Paused{By: by})
	}
}

// response is a turn of the Responses API: it answers the calls that were handed back, and says
// something. Now and then items come without one.
func (g *Gen) response(by stead.Principal) {
	var items []stead.Item
	for _, id := range g.State.HandedBack {
		items = append(items, stead.Item{Type: stead.ItemFunctionCallOutput, CallID: id, Output: g.output()})
	}
	for _, m := range g.messages() {
		items = append(items, stead.Item{Type: stead.ItemMessage, Role: stead.RoleDeveloper, Content: m.Content})
	}
	if g.chance(20) {
		g.append(session.KindInputItems, session.ItemsInput{Items: items, By: by})
		return
	}
	ask := &session.ResponseAsk{Spec: g.State.Created.Agent.Spec, Ask: session.Ask{MaxToolCalls: g.rng.IntN(3)}}
	for _, c := range g.State.Asked {
		if g.chance(80) { // else it is not answered
			items = append(items, stead.Item{Type: stead.ItemApprovalResponse, Answer: &stead.Answer{Request: c.QuestionID(Key.Session), Approve: g.chance(60), Reason: "so"}})
		}
	}
	var err error
	if items, ask.Approved, err = g.State.Allow(items); err != nil {
		panic(err) // the questions are those that are open
	}
	g.append(session.KindInputMessage, session.Message{Items: items, Response: ask, By: by})
}

func (g *Gen) messages() []session.InputMessage {
	var out []session.InputMessage
	for range 1 + g.rng.IntN(2) {
		content := []stead.Content{{Type: stead.ContentInputText, Text: g.text(g.prose())}}
		if g.chance(10) {
			content = append(content, stead.Content{Type: stead.ContentInputImage, Text: stead.NewText("https://example.com/a.png")})
		}
		out = append(out, session.InputMessage{Content: content})
	}
	return out
}

// answer answers one of the calls of the turn, whether or not it waits for an answer.
func (g *Gen) answer(by stead.Principal) {
	t := g.State.Turn
	for _, w := range g.State.Effects {
		if w.Thread == g.State.Focus() && g.asks != nil && g.asks.IntN(100) < 60 {
			decisions := []string{session.DecisionApprove, session.DecisionApprove, session.DecisionDeny, session.DecisionDelegate}
			if g.Cancel && g.chance(10) {
				decisions = []string{session.DecisionCancel}
			}
			r := session.EffectResult{Asked: w.Asked, Decision: decisions[g.rng.IntN(len(decisions))], Reason: "so", By: by}
			if r.Decision == session.DecisionDelegate {
				r.To = &session.Delegate{Role: "approver"}
			}
			g.append(session.KindInputEffect, r)
			return
		}
	}
	if t == nil || len(t.Calls) == 0 {
		return
	}
	c := t.Calls[g.rng.IntN(len(t.Calls))]
	switch c.State {
	case session.CallApproval:
		if g.chance(10) {
			g.append(session.KindInputDelegate, session.ApprovalDelegated{CallID: c.CallID, To: session.Delegate{Role: "approver"}, By: by})
			return
		}
		if g.chance(20) {
			g.append(session.KindInputEdit, session.ApprovalEdit{CallID: c.CallID, Arguments: json.RawMessage(`{"n":7}`), By: by})
			return
		}
		decisions := []string{session.DecisionApprove, session.DecisionApprove, session.DecisionDeny}
		if g.Cancel && g.chance(10) {
			decisions = []string{session.DecisionCancel}
		}
		g.append(session.KindInputApproval, session.ApprovalResult{CallID: c.CallID, Decision: decisions[g.rng.IntN(len(decisions))], Reason: "so", By: by})
	case session.CallUnknown:
		decisions := []string{session.DecisionHappened, session.DecisionNotHappened, session.DecisionGiveUp}
		out := session.OutcomeResult{CallID: c.CallID, Decision: decisions[g.rng.IntN(len(decisions))], By: by}
		if out.Decision == session.DecisionHappened && g.chance(50) {
			out.Output = g.output()
		}
		g.append(session.KindInputOutcome, out)
	case session.CallWaiting:
		g.append(session.KindInputToolResult, session.ToolResult{CallID: c.CallID, Success: g.chance(80), Output: g.output(), By: by})
	case session.CallDone:
		if g.chance(5) {
			g.append(session.KindInputToolResult, session.ToolResult{CallID: c.CallID, Success: true, By: by})
		}
	}
}

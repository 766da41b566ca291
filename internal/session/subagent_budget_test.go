package session_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/tool"
)

// TestABudgetHoldsUpWhoWaitsForIt: a subagent's command has the environment opened while its parent waits for a budget; and an environment is suspended when
// a subagent waits for one, and its parent for that.
func TestABudgetHoldsUpWhoWaitsForIt(t *testing.T) {
	s := session.NewState(sessiontest.Key)
	add := func(thread stead.Seq, kind string, payload any) stead.Seq {
		t.Helper()
		e, err := session.NewEvent(1, kind, payload)
		if err == nil {
			e.Seq, e.Thread = s.Tail+1, thread
			err = s.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e.Seq
	}
	said := func(text string) []stead.Content { return stead.TextContent(stead.ContentInputText, text) }
	item := func(kind stead.ItemType, id string, how session.ToolCall, args string) session.ReplyItem {
		return session.ReplyItem{Item: stead.Item{Type: kind, CallID: id, Arguments: []byte(args)}, Tool: &how}
	}
	replies := func(thread stead.Seq, items ...session.ReplyItem) {
		t.Helper()
		call := add(thread, session.KindModelCalled, session.ModelCalled{Attempt: 1, Purpose: session.PurposeStep})
		add(thread, session.KindModelReplied, session.ModelReplied{Call: call, Items: items})
	}
	window := session.Window{EnvironmentIdle: time.Minute}
	begins := func() (actions []session.Action, at int64) {
		for _, c := range s.Next(window) {
			switch c := c.(type) {
			case session.EnvironmentAction:
				actions = append(actions, c.Action)
			case session.WaitUntil:
				at = max(at, c.At)
			}
		}
		return actions, at
	}
	const retry = 10 * 60 * 1000
	add(0, session.KindSessionCreated, session.Created{Setup: &environment.Setup{Type: session.EnvironmentHosted}})
	add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	add(0, session.KindTurnStarted, session.TurnStarted{})
	add(0, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionPrepare, Attempt: 1})
	add(0, session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: s.Tail})
	replies(0, item(stead.ItemCreateSubagent, "c", session.ToolCall{Subagent: &session.SubagentCall{Action: session.CreateSubagent}}, `{"message":"try"}`))
	sub := add(0, session.KindSubagentCreated, session.SubagentCreated{CallID: "c", Name: "Avocet"})
	add(sub, session.KindSubagentInput, session.SubagentInput{CallID: "c", Content: said("try")})
	add(0, session.KindToolReturned, session.ToolReturned{CallID: "c", Output: said("made")})
	add(0, session.KindBudgetReached, session.BudgetReached{Budget: "b", RetryAt: retry})
	add(sub, session.KindTurnStarted, session.TurnStarted{})
	replies(sub, item(stead.ItemCommandExecution, "run", session.ToolCall{Name: "run", Environment: true, Effect: tool.Pure}, `{}`))
	if actions, _ := begins(); len(actions) != 1 || actions[0] != session.ActionOpen {
		t.Fatalf("for a subagent's command there begins %v, while its parent waits for a budget", actions)
	}
	add(0, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Attempt: 1})
	add(0, session.KindEnvironmentConnected, session.EnvironmentConnected{Call: s.Tail, Node: "n", Upto: s.Tail})
	add(sub, session.KindToolCalled, session.ToolCalled{CallID: "run", Attempt: 1})
	add(sub, session.KindToolReturned, session.ToolReturned{CallID: "run", Output: said("ran")})
	idle := int64(window.EnvironmentIdle.Milliseconds()) + 1
	if actions, at := begins(); len(actions) > 0 || at == idle {
		t.Fatalf("while a subagent goes on there begins %v at %d", actions, at)
	}
	add(sub, session.KindBudgetReached, session.BudgetReached{Budget: "b", RetryAt: retry})
	found := false
	for _, c := range s.Next(window) {
		w, ok := c.(session.WaitUntil)
		found = found || ok && w.At == idle
	}
	if !found {
		t.Errorf("while all wait for a budget there is to be done %v, and the environment is not to be suspended", s.Next(window))
	}
}

package session_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// TestWhyASubagentFailedIsRedactedWithWhatItQuotes: on its thread and in what its parent was told, whichever of the two is redacted. Failures of its other
// turns stay.
func TestWhyASubagentFailedIsRedactedWithWhatItQuotes(t *testing.T) {
	const secret, other = "the number is 4711", "the disk is full"
	g := &sessiontest.Gen{State: session.NewState(sessiontest.Key)}
	add := func(thread stead.Seq, kind string, payload any) stead.Seq {
		t.Helper()
		e, err := session.NewEvent(1, kind, payload)
		if err == nil {
			e.Seq, e.Thread = g.State.Tail+1, thread
			err = g.State.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		g.Events = append(g.Events, e)
		return e.Seq
	}
	said := func(text string) []stead.Content { return stead.TextContent(stead.ContentInputText, text) }
	create := session.ReplyItem{Item: stead.Item{Type: stead.ItemCreateSubagent, CallID: "c"}, Tool: &session.ToolCall{Subagent: &session.SubagentCall{Action: session.CreateSubagent}}}
	add(0, session.KindSessionCreated, session.Created{})
	add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	add(0, session.KindTurnStarted, session.TurnStarted{})
	call := add(0, session.KindModelCalled, session.ModelCalled{Attempt: 1, Purpose: session.PurposeStep})
	add(0, session.KindModelReplied, session.ModelReplied{Call: call, Items: []session.ReplyItem{create}})
	sub := add(0, session.KindSubagentCreated, session.SubagentCreated{CallID: "c", Name: "Avocet", Task: said("try")})
	turn := func(input stead.Seq, why string) (told stead.Seq) {
		failed := session.TurnError{Code: "server_error", Message: "failed: " + why}
		add(sub, session.KindTurnStarted, session.TurnStarted{})
		call := add(sub, session.KindModelCalled, session.ModelCalled{Attempt: 1, Purpose: session.PurposeStep})
		add(sub, session.KindModelReplied, session.ModelReplied{Call: call, Items: []session.ReplyItem{
			{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, why)}},
			{Item: stead.Item{Type: stead.ItemFunctionCall, CallID: "f" + why, Name: "ask", Arguments: []byte(`{}`)}},
		}})
		call = add(sub, session.KindModelCalled, session.ModelCalled{Attempt: 1, Purpose: session.PurposeStep})
		add(sub, session.KindModelFailed, session.ModelFailed{Call: call, Error: failed})
		add(sub, session.KindTurnFailed, session.TurnEnded{Error: &failed})
		return add(0, session.KindSubagentAnswered, session.SubagentAnswered{Subagent: sub, Turn: input, Status: session.TurnFail, Error: &failed, Name: "Avocet"})
	}
	turn(add(sub, session.KindSubagentInput, session.SubagentInput{CallID: "c", Content: said("try")}), other)
	told := turn(add(sub, session.KindSubagentInput, session.SubagentInput{CallID: "d", Content: said("again")}), secret)

	find := func(thread stead.Seq, holds func(session.Item) bool) session.Item {
		t.Helper()
		for _, item := range itemsOf(t, g, g.Events, thread) {
			if holds(item) {
				return item
			}
		}
		t.Fatal("there is no such item")
		return nil
	}
	for name, item := range map[string]session.Item{
		"what it said": find(sub, func(it session.Item) bool {
			m, ok := it.(*session.MessageItem)
			return ok && m.Text() == secret
		}),
		"what its parent was told": find(0, func(it session.Item) bool {
			return it.ItemID() == stead.DerivedID("amsg", sessiontest.Key.Session, told, 0)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, e := range redact(t, g, g.Events, item) {
				why := e.Kind == session.KindModelFailed || e.Kind == session.KindTurnFailed || e.Kind == session.KindSubagentAnswered
				if why && strings.Contains(string(e.Data), secret) {
					t.Errorf("event %d (%s) still says %s", e.Seq, e.Kind, e.Data)
				}
				if why && e.Seq < told-6 && !strings.Contains(string(e.Data), other) {
					t.Errorf("event %d (%s) of another turn says %s", e.Seq, e.Kind, e.Data)
				}
			}
		})
	}
}

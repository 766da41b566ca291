package session_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/tool"
)

// TestNoCommandBeginsBesideACheckpoint: a workspace that is about to be stored, since processes in the background wrote to it, has no command that begins
// in the same moment. It begins behind the checkpoint.
func TestNoCommandBeginsBesideACheckpoint(t *testing.T) {
	s := session.NewState(sessiontest.Key)
	add := func(kind string, payload any) {
		t.Helper()
		e, err := session.NewEvent(1, kind, payload)
		if err == nil {
			e.Seq = s.Tail + 1
			err = s.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := &session.ToolCall{Name: "run", Environment: true, Effect: tool.Unknown}
	add(session.KindSessionCreated, session.Created{Setup: &environment.Setup{Type: session.EnvironmentHosted}})
	add(session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "go")}}})
	add(session.KindTurnStarted, session.TurnStarted{})
	add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionPrepare, Attempt: 1})
	add(session.KindEnvironmentPrepared, session.EnvironmentPrepared{Call: s.Tail})
	add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Attempt: 1})
	add(session.KindEnvironmentConnected, session.EnvironmentConnected{Call: s.Tail, Node: "n", Upto: s.Tail})
	add(session.KindModelCalled, session.ModelCalled{Attempt: 1})
	call := s.Tail
	add(session.KindEnvironmentChanged, session.EnvironmentChanged{Node: "n"})
	add(session.KindModelReplied, session.ModelReplied{Call: call, Items: []session.ReplyItem{{
		Item: stead.Item{Type: stead.ItemCommandExecution, CallID: "c", Name: "run"}, Tool: run,
	}}})
	acts, commands := begins(s)
	if acts != 1 || commands != 0 {
		t.Fatalf("%d actions and %d commands begin, want the checkpoint alone", acts, commands)
	}
	add(session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionSave, Attempt: 1})
	add(session.KindEnvironmentCheckpointed, session.EnvironmentCheckpointed{Call: s.Tail, Upto: s.Tail})
	if acts, commands := begins(s); acts != 0 || commands != 1 {
		t.Fatalf("behind the checkpoint %d actions and %d commands begin", acts, commands)
	}
}

// begins counts what Next begins in the environment.
func begins(s *session.State) (acts, commands int) {
	for _, c := range s.Next(session.Window{}) {
		switch c := c.(type) {
		case session.EnvironmentAction:
			acts++
		case session.CallTool:
			if c.Call.Tool.Environment {
				commands++
			}
		}
	}
	return acts, commands
}

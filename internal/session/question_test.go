package session_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/tool"
)

// cutOff is a session whose holder is killed while a command runs that has called two tools itself.
func cutOff(t *testing.T) (*session.State, []stead.Event) {
	t.Helper()
	launch := session.ToolCall{Server: "box", Name: "launch", Effect: tool.Unknown}
	command := session.ToolCall{Server: "box", Name: "run", Effect: tool.Unknown}
	by := stead.LocalPrincipal()
	journal := []struct {
		kind    string
		payload any
	}{
		{session.KindSessionCreated, session.Created{Principal: by, Environment: []byte(`{"type":"none"}`)}},
		{session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "go")}}, By: by}},
		{session.KindTurnStarted, session.TurnStarted{}},
		{session.KindModelCalled, session.ModelCalled{Model: "sim", Attempt: 1}},
		{session.KindModelReplied, session.ModelReplied{Call: 4, Finish: "tool_calls", Items: []session.ReplyItem{
			{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "a", Name: "run", Arguments: []byte(`{}`)}, Tool: &command},
			{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "b", Name: "run", Arguments: []byte(`{}`)}, Tool: &command},
		}}},
		{session.KindToolCalled, session.ToolCalled{CallID: "a", Attempt: 1}},
		{session.KindToolRequested, session.ToolRequested{CallID: "code_7", Name: "launch", Arguments: []byte(`{"n":1}`), Type: stead.ItemMCPCall, Tool: launch}},
		{session.KindToolCalled, session.ToolCalled{CallID: "code_7", Attempt: 1}},
		{session.KindToolRequested, session.ToolRequested{CallID: "code_9", Name: "launch", Arguments: []byte(`{"n":2}`), Type: stead.ItemMCPCall, Tool: launch}},
		{session.KindToolCalled, session.ToolCalled{CallID: "code_9", Attempt: 1}},
		{session.KindToolCalled, session.ToolCalled{CallID: "b", Attempt: 1}},
		{session.KindRunnerRecovered, session.RunnerRecovered{Node: "node-2", Epoch: 2}},
	}
	s := session.NewState(sessiontest.Key)
	var events []stead.Event
	for i, j := range journal {
		events = append(events, apply(t, s, int64(i+1), j.kind, j.payload))
	}
	return s, events
}

func apply(t *testing.T, s *session.State, at int64, kind string, payload any) stead.Event {
	t.Helper()
	e, err := session.NewEvent(at, kind, payload)
	if err != nil {
		t.Fatal(err)
	}
	e.Seq = s.Tail + 1
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// questions are the request ids by call.
func questions(s *session.State) map[string]string {
	out := map[string]string{}
	for _, a := range s.RequiredActions() {
		out[a.CallID] = a.RequestID
	}
	return out
}

// TestQuestionsOfOneEvent: each has a name of its own, and what was the name of several is that of the first, which it meant.
func TestQuestionsOfOneEvent(t *testing.T) {
	s, _ := cutOff(t)
	id := func(n int) string { return stead.DerivedID("req", sessiontest.Key.Session, 12, n) }
	want := map[string]string{"a": id(0), "b": id(1), "code_7": id(2), "code_9": id(3)}
	if got := questions(s); mustJSON(t, got) != mustJSON(t, want) {
		t.Fatalf("the calls are asked about as %v, want %v", got, want)
	}
	for call, request := range want {
		if c := s.CallByRequest(request); c == nil || c.CallID != call {
			t.Errorf("request %s is about %+v, want %s", request, c, call)
		}
	}
	by := stead.LocalPrincipal()
	apply(t, s, 20, session.KindInputOutcome, session.OutcomeResult{CallID: "code_7", Decision: session.DecisionNotHappened, By: by})
	apply(t, s, 21, session.KindToolCalled, session.ToolCalled{CallID: "code_7", Attempt: 2})
	apply(t, s, 22, session.KindToolLost, session.ToolLost{CallID: "code_7", Sent: true})
	want["code_7"] = stead.DerivedID("req", sessiontest.Key.Session, s.Tail, 0)
	if got := questions(s); mustJSON(t, got) != mustJSON(t, want) {
		t.Errorf("a call that is lost again is asked about as %v, want %v", got, want)
	}
}

// A snapshot of the version before does not have all that is folded since, such as what had been read when a call was asked about: whoever loaded
// it would show the question with another digest than a node that folds the journal.
func TestSnapshotsOfTheVersionBefore(t *testing.T) {
	s, _ := cutOff(t)
	data, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.LoadState(sessiontest.Key, data); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"9", "10"} {
		old := bytes.Replace(data, []byte(`{"format":11,`), []byte(`{"format":`+format+`,`), 1)
		if bytes.Equal(old, data) || !json.Valid(old) {
			t.Fatal("the snapshot was not made an old one")
		}
		if _, err := session.LoadState(sessiontest.Key, old); err == nil {
			t.Errorf("a snapshot of format %s was loaded", format)
		}
	}
}

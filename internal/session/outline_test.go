package session

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestAnOutlineShowsNoToolsOfServers(t *testing.T) {
	list := &ToolListItem{ID: "mcpl_1", Type: "mcp_list_tools", ServerLabel: "crm", Tools: json.RawMessage(`[{"name":"look","description":"SECRET"}]`)}
	e := StreamEvent{Type: "agent.session.turn.item.done", Body: &itemEvent{Item: list, TurnID: "turn_1"}}
	raw, err := json.Marshal(e.Outlined(false).Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(raw); strings.Contains(got, "SECRET") || !strings.Contains(got, `"tools":[]`) || !strings.Contains(got, "mcpl_1") || !strings.Contains(got, "turn_1") {
		t.Errorf("shown: %s", got)
	}
	if !strings.Contains(string(list.Tools), "SECRET") || e.Body.(*itemEvent).Item != list {
		t.Error("what others are shown was changed")
	}
	said := &MessageItem{Role: stead.RoleUser, Content: []WireContent{saidPart("hi", false)}}
	if OutlinedItem(said) != said {
		t.Error("a message of the user's is another one")
	}
}

func TestAnOutlineShowsWhereACallGoesToWhoAnswers(t *testing.T) {
	asks := RequiredAction{Type: ActionMCPApproval, Request: &ActionRequest{Message: "Approve?", Call: &CallShown{Destination: "secret.example:443"}}}
	e := StreamEvent{Body: &sessionEvent{Session: Session{RequiredActions: []RequiredAction{asks}}}}
	for _, answers := range []bool{false, true} {
		raw, err := json.Marshal(e.Outlined(answers).Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(raw); strings.Contains(got, "secret.example") != answers || !strings.Contains(got, "Approve?") {
			t.Errorf("who answers: %t; shown: %s", answers, got)
		}
	}
	if asks.Request.Call == nil {
		t.Error("what others are shown was changed")
	}
}

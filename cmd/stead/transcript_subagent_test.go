package main

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/client"
)

// TestSubagentsHaveALineEach: what they say stands apart from the agent's own text, which goes on word by word.
func TestSubagentsHaveALineEach(t *testing.T) {
	var out strings.Builder
	tr := &transcript{w: &out}
	id := "subagent_1"
	turn := &client.Turn{ID: "turn_2", SubagentID: &id}
	said := &client.Item{ID: "msg_2", Type: "message", Role: "assistant", Status: "completed", TurnID: "turn_2", Content: []client.Content{{Type: "output_text", Text: "one\nline"}}}
	for _, e := range []client.Event{
		{Type: client.EventSubagentCreated, Subagent: &client.Subagent{ID: id, Name: "Avocet", Instructions: []client.Content{{Text: "look"}}}},
		{Type: client.EventTurnCreated, Turn: turn, TurnID: "turn_2"},
		{Type: client.EventTextDelta, ItemID: "msg_1", TurnID: "turn_1", Delta: "I wait"},
		{Type: client.EventTextDelta, ItemID: "msg_2", TurnID: "turn_2", Delta: "one"},
		{Type: client.EventItemDone, Item: said, TurnID: "turn_2"},
		{Type: client.EventTurnCancelled, Turn: turn, TurnID: "turn_2"},
	} {
		tr.Event(e)
	}
	want := "+ Avocet: look\nI wait\n[Avocet] one line\n[Avocet] ✗ cancelled\n"
	if out.String() != want {
		t.Errorf("written:\n%s\nwant:\n%s", out.String(), want)
	}
}

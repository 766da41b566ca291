package main

import (
	"cmp"
	"strings"

	"github.com/stead-dev/stead/internal/client"
)

// subagent writes what there is to say of an event of a subagent's: a line each, since several work at once. theirs: the event is one.
func (t *transcript) subagent(e client.Event) (shown, theirs bool) {
	if s := e.Subagent; s != nil {
		return t.subagentChanged(e.Type, s), true
	}
	if e.Turn != nil && e.Turn.SubagentID != nil {
		id := *e.Turn.SubagentID
		t.name(e.Turn.ID, cmp.Or(t.names[id], id)) // by its id: it was made before
	}
	name := t.names[e.TurnID]
	if name == "" {
		return false, false
	}
	said := t.ofSubagent(e)
	if said == "" {
		return false, true
	}
	t.endLine()
	t.line("[" + name + "] " + said)
	return true, true
}

// name notes what a subagent or a turn of one is called.
func (t *transcript) name(id, name string) {
	if t.names == nil {
		t.names = map[string]string{}
	}
	t.names[id] = name
}

func (t *transcript) subagentChanged(kind string, s *client.Subagent) bool {
	t.name(s.ID, s.Name)
	t.endLine()
	switch kind {
	case client.EventSubagentCreated:
		var task []string
		for _, c := range s.Instructions {
			task = append(task, c.Text)
		}
		t.line("+ " + s.Name + ": " + oneLine(strings.Join(task, " "), lineWidth))
	case client.EventSubagentClosed:
		t.line("- " + s.Name + " is closed")
	case client.EventSubagentActive:
		t.line("+ " + s.Name + " is open again")
	default:
		return false
	}
	return true
}

// ofSubagent is what to say of an event of a subagent's turn; "": nothing.
func (t *transcript) ofSubagent(e client.Event) string {
	switch it := e.Item; {
	case e.Type == client.EventTurnFailed && e.Turn.Error != nil:
		return "✗ the turn failed: " + e.Turn.Error.Message + " (" + e.Turn.Error.Code + ")"
	case e.Type == client.EventTurnCancelled:
		return "✗ cancelled"
	case it == nil:
		return ""
	case e.Type == client.EventItemDone && it.Type == "message":
		return oneLine(it.Text(), lineWidth)
	case e.Type == client.EventItemAdded && (it.Type == "mcp_call" || it.Type == "function_call"):
		return "→ " + callName(it) + " " + oneLine(string(it.Arguments), lineWidth)
	case e.Type == client.EventItemAdded && it.Type == typeCommand:
		return "$ " + oneLine(it.Command, lineWidth)
	}
	return ""
}

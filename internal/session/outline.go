package session

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// A web page that holds a token of a session is shown how the session stands and what was said in it. How it is set up is not the page's: its
// instructions, model, tools, metadata, environment and vaults.

// Outlined is the event as the bearer of a session token sees it. answers: who may answer what the session asks, and so must see all that an
// approval is of: where a call goes, and for whom. Objects keep their shape, so that clients read them as they do others.
func (e StreamEvent) Outlined(answers bool) StreamEvent {
	switch b := e.Body.(type) {
	case *sessionEvent:
		e.Body = &sessionEvent{b.eventHead, b.Session.outlined(answers)}
	case *itemEvent:
		shown := *b
		shown.Item = OutlinedItem(b.Item)
		e.Body = &shown
	}
	return e
}

func (s Session) outlined(answers bool) Session {
	actions := slices.Clone(s.RequiredActions)
	for i := range actions {
		if r := actions[i].Request; !answers && r != nil && r.Call != nil {
			shown := *r
			shown.Call = nil
			actions[i].Request = &shown
		}
	}
	return Session{
		ID: s.ID, Object: s.Object, Status: s.Status, RequiredActions: actions,
		CreatedAt: s.CreatedAt, LastActiveAt: s.LastActiveAt, Error: s.Error, Paused: s.Paused,
		Agent: SessionAgent{ID: s.Agent.ID, Tools: []agent.WireTool{}}, Metadata: map[string]string{}, VaultIDs: []string{},
	}
}

// OutlinedItem is the item as the bearer of a session token sees it: there, without the instructions or the descriptions of tools that it holds.
func OutlinedItem(item Item) Item {
	switch it := item.(type) {
	case *ToolListItem:
		shown := *it
		shown.Tools = json.RawMessage("[]")
		return &shown
	case *MessageItem:
		if it.Role == stead.RoleUser || it.Role == stead.RoleAssistant {
			return it
		}
		shown := *it
		shown.Content = []WireContent{}
		return &shown
	}
	return item
}

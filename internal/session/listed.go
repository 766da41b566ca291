package session

import (
	"encoding/json"
	"maps"

	"github.com/stead-dev/stead"
)

// The tools of tool servers, as a response lists them. Before a response's model is called, its servers are
// asked for their tools; what they said is an item of its output, once: later responses of the session list a
// server again only when it says something else. Models get no such item: tools are no part of a conversation.

// ToolsListed says which tools the servers of a response have. It stands between a model.called and what
// the model says, so that the items are in front of that.
type ToolsListed struct {
	Call    stead.Seq     `json:"call"` // model.called
	Servers []ServerTools `json:"servers"`
}

// ServerTools is what a server said.
type ServerTools struct {
	Label string `json:"label"`
	// List is a JSON array of {"name", "description", "input_schema"}; empty with Error.
	List  stead.Text `json:"list"`
	Error string     `json:"error,omitempty"` // why it can't be listed; "": it was
	Mark  string     `json:"mark"`            // a digest of both: equal lists have equal marks
}

// ToolListItem shows it. It is ours: responses alone have it.
type ToolListItem struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"` // "mcp_list_tools"
	ServerLabel string          `json:"server_label"`
	Tools       json.RawMessage `json:"tools"` // as ServerTools.List
	Error       *string         `json:"error"`
	TurnID      string          `json:"turn_id"`
}

const toolListPrefix = "mcpl"

// ItemID implements Item.
func (i *ToolListItem) ItemID() string { return i.ID }

func (v *View) toolsListed(_ stead.Event, p ToolsListed) {
	t := v.Turn
	if t == nil || t.Model == nil || t.Model.Seq != p.Call {
		return
	}
	v.Listed = maps.Clone(v.Listed)
	if v.Listed == nil {
		v.Listed = map[string]string{}
	}
	for _, s := range p.Servers {
		v.Listed[s.Label] = s.Mark
	}
	t.Outputs += len(p.Servers)
}

// listed shows each server's list as an item that begins and ends.
func (p *Projector) listed(out []body, e stead.Event, before glance) ([]body, error) {
	said, err := Decode[ToolsListed](e)
	if err != nil || before.model == nil || before.model.Seq != said.Call {
		return out, err
	}
	for i, s := range said.Servers {
		output := before.outputs + i
		item := ToolListItem{
			ID: stead.DerivedID(toolListPrefix, p.view.Key.Session, e.Seq, i), Type: "mcp_list_tools", ServerLabel: s.Label,
			Tools: json.RawMessage("[]"), TurnID: p.turnID(before.turn),
		}
		begun := item
		out = append(out, p.added(before.turn, &begun, &output))
		if s.Error != "" {
			item.Error = &s.Error
		} else if list := p.texts(s.List); json.Valid([]byte(list)) { // else its blob can't be had
			item.Tools = json.RawMessage(list)
		}
		out = append(out, p.done(before.turn, &item, output))
	}
	return out, nil
}

package session

import (
	"encoding/json"

	"github.com/stead-dev/stead"
)

// What the wire shows of subagents.

// subagentCallPrefix begins the ids of calls about subagents, agentMessagePrefix those of messages between agents.
const (
	subagentCallPrefix = "sac"
	agentMessagePrefix = "amsg"
)

// SubagentObject is the wire's subagent.
type SubagentObject struct {
	ID           string          `json:"id"`
	ClosedAt     *int64          `json:"closed_at"`
	Instructions []WireContent   `json:"instructions"`
	Name         string          `json:"name"`
	Object       string          `json:"object"` // "agent.session.subagent"
	OpenedAt     int64           `json:"opened_at"`
	ParentID     string          `json:"parent_agent_id"`
	SessionID    stead.SessionID `json:"session_id"`
	Status       string          `json:"status"` // active or closed
}

// SubagentOf makes the wire's object of a subagent.
func (v *View) SubagentOf(s *Subagent, texts Texts) SubagentObject {
	out := SubagentObject{
		ID: v.AgentOf(s.ID), Instructions: agentContent(s.Task, texts), Name: s.Name, Object: "agent.session.subagent", OpenedAt: s.OpenedAt / 1000,
		ParentID: v.AgentOf(s.Parent), SessionID: v.Key.Session, Status: "active",
	}
	if s.ClosedAt > 0 {
		out.ClosedAt, out.Status = seconds(s.ClosedAt), "closed"
	}
	return out
}

// ListSubagents lists the subagents of a session in the order in which they were made. It fails with KindInvalid for an After that is none.
func ListSubagents(v *View, q PageQuery, texts Texts) (Page[SubagentObject], error) {
	out := Page[SubagentObject]{Data: []SubagentObject{}}
	limit, n := pageLimit(q), len(v.Subagents)
	found := q.After == ""
	for i := range n {
		s := v.Subagents[i]
		if q.Desc {
			s = v.Subagents[n-1-i]
		}
		switch {
		case !found:
			found = v.AgentOf(s.ID) == q.After
		case len(out.Data) == limit:
			out.HasMore = true
			return out, nil
		default:
			out.Data = append(out.Data, v.SubagentOf(s, texts))
		}
	}
	if !found {
		return out, stead.Invalid("after", "no subagent with id %.80q", q.After)
	}
	return out, nil
}

// FindSubagent is one of the session's by its id; KindNotFound.
func (v *View) FindSubagent(id string) (*Subagent, error) {
	if seq, ok := ParseSubagentID(v.Key.Session, id); ok {
		if s := v.Subagent(seq); s != nil {
			return s, nil
		}
	}
	return nil, stead.NotFound("subagent", id)
}

// agentContent is what agents say to each other, of which the wire knows texts.
func agentContent(content []stead.Content, texts Texts) []WireContent {
	out := make([]WireContent, len(content))
	for i, c := range content {
		text := texts(c.Text)
		switch c.Type {
		case stead.ContentInputImage:
			text = "[image]"
		case stead.ContentInputFile:
			text = "[file]"
		}
		out[i] = WireContent{Type: stead.ContentOutputText, Text: &text}
	}
	return out
}

// AgentMessageItem is a message between agents of a session.
type AgentMessageItem struct {
	ID        string        `json:"id"`
	Type      string        `json:"type"` // "agent_message"
	Content   []WireContent `json:"content"`
	Recipient string        `json:"recipient_agent_id"`
	Sender    string        `json:"sender_agent_id"`
	TurnID    string        `json:"turn_id"`
	// Source is the item that the message repeats, on its sender's thread; "": it repeats none.
	Source string `json:"-"`
	// subagent and of are the subagent and its turn of whose end the message tells; 0: it is what a parent said.
	subagent, of stead.Seq
}

// ItemID implements Item.
func (i *AgentMessageItem) ItemID() string { return i.ID }

// agentMessage is what one agent said to another.
func agentMessage(s stead.SessionID, turn string, seq stead.Seq, sender, recipient string, content []WireContent) *AgentMessageItem {
	return &AgentMessageItem{
		ID: stead.DerivedID(agentMessagePrefix, s, seq, 0), Type: "agent_message", Content: content, Recipient: hereID(s, recipient), Sender: hereID(s, sender), TurnID: turn,
	}
}

// item is what a parent said, on its subagent's thread.
func (p *SubagentInput) item(s stead.SessionID, turn string, seq stead.Seq, texts Texts) *AgentMessageItem {
	out := agentMessage(s, turn, seq, p.Sender, p.Recipient, agentContent(p.Content, texts))
	out.Source = stead.DerivedID(subagentCallPrefix, s, p.Call, p.Index)
	return out
}

// item is what a subagent answered, on its parent's thread.
func (p *SubagentAnswered) item(s stead.SessionID, turn string, seq stead.Seq, texts Texts) *AgentMessageItem {
	content := agentContent(p.Content, texts)
	if len(content) == 0 {
		told := "The turn is " + p.Status + "."
		if p.Error != nil {
			told = p.Error.Message
		}
		content = []WireContent{{Type: stead.ContentOutputText, Text: &told}}
	}
	out := agentMessage(s, turn, seq, p.Sender, p.Recipient, content)
	out.subagent, out.of = p.Subagent, p.Turn
	if p.Call > 0 {
		out.Source = messageID(s, p.Call, p.Index)
	}
	return out
}

// SubagentCallItem is a call about subagents. Which of its fields there are is said by its type.
type SubagentCallItem struct {
	ID         string
	Type       stead.ItemType
	Status     stead.ItemStatus
	TurnID     string
	Sender     string
	Recipients []string
	Content    string
}

// ItemID implements Item.
func (i *SubagentCallItem) ItemID() string { return i.ID }

// MarshalJSON writes the fields of the item's type.
func (i *SubagentCallItem) MarshalJSON() ([]byte, error) {
	out := map[string]any{"id": i.ID, "type": i.Type, "status": i.Status, "turn_id": i.TurnID}
	if i.Type == stead.ItemCreateSubagent {
		out["agent_id"], out["model"], out["reasoning_effort"] = i.Sender, nil, nil
	} else {
		out["sender_agent_id"] = i.Sender
	}
	if i.Type == stead.ItemCreateSubagent || i.Type == stead.ItemSendSubagent {
		out["content"] = []WireContent{{Type: stead.ContentOutputText, Text: &i.Content}}
	}
	switch i.Type {
	case stead.ItemCreateSubagent:
	case stead.ItemWaitForSubagents:
		out["recipient_agent_ids"] = i.Recipients
	default:
		out["recipient_agent_id"] = i.Recipients[0]
	}
	return json.Marshal(out)
}

func subagentCallItem(s stead.SessionID, turn string, c *Call) *SubagentCallItem {
	args := c.SubagentArgs()
	out := &SubagentCallItem{ID: callItemID(s, c), Type: c.Type, Status: c.Status, TurnID: turn, Content: args.Message, Recipients: []string{hereID(s, args.AgentID)}}
	if c.Type == stead.ItemWaitForSubagents {
		out.Recipients = []string{}
		for _, id := range args.AgentIDs {
			out.Recipients = append(out.Recipients, hereID(s, id))
		}
	}
	if c.Tool.Subagent != nil {
		out.Sender = hereID(s, c.Tool.Subagent.Sender)
	}
	return out
}

// subagentEvent says that a subagent was made, closed, or is open again.
type subagentEvent struct {
	eventHead
	Subagent SubagentObject `json:"subagent"`
}

func (p *Projector) subagent(out []body, e stead.Event) ([]body, error) {
	about, kind := e.Seq, "agent.session.subagent.created"
	if e.Kind != KindSubagentCreated {
		c, err := Decode[SubagentChanged](e)
		if err != nil {
			return out, err
		}
		about, kind = c.Subagent, "agent.session.subagent.active"
	}
	if e.Kind != KindSubagentClosed {
		return p.showSubagent(out, kind, p.view.Subagent(about)), nil
	}
	for _, s := range p.view.Subagents { // with those below it
		if s.Closed == e.Seq {
			out = p.showSubagent(out, "agent.session.subagent.closed", s)
		}
	}
	return out, nil
}

func (p *Projector) showSubagent(out []body, kind string, s *Subagent) []body {
	if s == nil { // of a part of the journal
		return out
	}
	return append(out, &subagentEvent{eventHead{Type: kind}, p.view.SubagentOf(s, p.texts)})
}

func (p *Projector) subagentInput(out []body, e stead.Event, before glance) ([]body, error) {
	said, err := Decode[SubagentInput](e)
	t := p.view.Turn
	if err != nil || t == nil {
		return out, err
	}
	if before.turn == nil {
		turn, _ := p.view.CurrentTurn()
		out = append(out, &turnEvent{eventHead{Type: "agent.session.turn.created"}, p.view.Key.Session, turn, turn.ID})
	}
	if t.StartedAt > 0 {
		out = p.userMessages(out, t, queued{Seq: e.Seq, Agent: &said})
	}
	return out, nil
}

func (p *Projector) answered(out []body, e stead.Event) ([]body, error) {
	said, err := Decode[SubagentAnswered](e)
	t := p.view.Turn
	if err != nil || t == nil {
		return out, err
	}
	return append(out, p.added(t, said.item(p.view.Key.Session, p.turnID(t), e.Seq, p.texts), nil)), nil
}

// OfSubagent reports whether an event is about a turn of a subagent's.
func OfSubagent(e StreamEvent) bool {
	switch b := e.Body.(type) {
	case *turnEvent:
		return b.Turn.SubagentID != nil
	case *turnEndedEvent:
		return b.Turn.SubagentID != nil
	}
	return false
}

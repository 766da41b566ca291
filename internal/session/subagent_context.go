package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// What the models of a session's agents are given of what its other agents say, and of what happens to the session.

// said takes in what agents of the session say to each other.
func (c *Context) said(e stead.Event) error {
	switch e.Kind {
	case KindSubagentInput:
		p, err := Decode[SubagentInput](e)
		if err != nil {
			return err
		}
		c.Held = append(c.Held, &Entry{Seq: e.Seq, Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: p.Content}})
	case KindSubagentAnswered:
		p, err := Decode[SubagentAnswered](e)
		if err != nil {
			return err
		}
		head := "Message of subagent " + p.Name + " (" + p.Sender + "), whose turn is " + p.Status
		if p.Error != nil {
			head += ": " + p.Error.Message
		}
		content := stead.TextContent(stead.ContentInputText, stead.NoticePrefix+head+".")
		for _, part := range p.Content { // said by one model, and given to another
			content = append(content, stead.Content{Type: stead.ContentInputText, Text: part.Text})
		}
		c.Held = append(c.Held, &Entry{Seq: e.Seq, Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: content}})
	}
	return nil
}

// shared takes in what happened to the session and not to the thread.
func (c *Context) shared(e stead.Event, before *TurnView, v *View) error {
	var err error
	switch e.Kind {
	case KindItemDeleted:
		err = c.deleted(e)
	case KindEnvironmentConnected:
		err = c.reset(e)
	}
	if err != nil {
		return err
	}
	if v.Turn != nil {
		c.unstored(e, v)
		c.tooLong(e, v)
		c.unsettled(e, v)
	}
	c.settle(e, v, before)
	return nil
}

// Answer is what an agent said last since an event; nil: nothing.
func (c *Context) Answer(since stead.Seq) *Entry {
	for _, en := range slices.Backward(c.Entries) {
		if en.Seq <= since {
			break
		}
		if en.Item.Type == stead.ItemMessage && en.Item.Role != stead.RoleUser && en.Call != 0 {
			return en
		}
	}
	return nil
}

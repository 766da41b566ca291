package session

import (
	"strings"

	"github.com/stead-dev/stead"
)

// collector gathers items from the projection of consecutive events.
type collector struct {
	proj   *Projector
	items  []Item          // in the order of their places
	places map[string]int  // item id → index in items
	gone   map[string]bool // ids of items that are not shown
}

// newCollector starts at a view, which is the collector's from then on.
func newCollector(v *View, texts Texts) *collector {
	return &collector{proj: NewProjector(v, stead.Cursor{Seq: v.Tail}, texts), places: map[string]int{}}
}

// step folds the next event. A new item takes its place; one that has a place is brought up to
// date. Text that begins to stream takes none: it gets its place when it ends.
func (c *collector) step(e stead.Event) error {
	bodies, err := c.proj.project(e)
	if err != nil {
		return err
	}
	for _, b := range bodies {
		ev, ok := b.(*itemEvent)
		if !ok || streams(ev.Item) {
			continue
		}
		c.put(ev.Item)
	}
	if e.Kind != KindInputItems {
		return nil
	}
	// Items without a turn are no part of the stream: the Agents API has no event for them.
	added, err := AddedItems(c.proj.view.Key, e, c.proj.texts)
	for _, item := range added {
		c.put(item)
	}
	return err
}

func (c *collector) put(item Item) {
	id := item.ItemID()
	if c.gone[id] {
		return
	}
	if n, ok := c.places[id]; ok {
		c.items[n] = item
		return
	}
	c.places[id] = len(c.items)
	c.items = append(c.items, item)
}

// place is the index of an item, -1 when it has none.
func (c *collector) place(id string) int {
	if n, ok := c.places[id]; ok {
		return n
	}
	return -1
}

// openIn reports whether a call among items[from:to] has no outcome yet.
func (c *collector) openIn(from, to int) bool {
	for _, item := range c.items[from:min(to, len(c.items))] {
		if statusOf(item) == stead.ItemInProgress {
			return true
		}
	}
	return false
}

// finish adds what has no place yet at the journal's tail: messages of a turn that waits to begin,
// and text that is being streamed.
func (c *collector) finish() {
	v := c.proj.view
	t := v.Turn
	if t == nil {
		return
	}
	s, turn := v.Key.Session, TurnID(v.Key.Session, t.Seq)
	for _, q := range t.Inputs {
		if q.Agent != nil {
			c.put(q.Agent.item(s, turn, q.Seq, c.proj.texts))
		}
		for i, m := range q.Input {
			c.put(userMessage(s, turn, q.Seq, i, m, c.proj.texts))
		}
		for i, it := range q.Items {
			if item := givenItem(s, turn, q.Seq, i, it, c.proj.texts); item != nil {
				c.put(item)
			}
		}
	}
	if t.Model == nil {
		return
	}
	for i, st := range t.Model.Stream {
		switch {
		case st == nil:
		case st.Type == stead.ItemReasoning:
			c.put(reasoningItem(reasoningID(s, t.Model.Seq, i), turn, st.Parts, stead.ItemInProgress))
		default:
			c.put(outputMessage(messageID(s, t.Model.Seq, i), turn, saidPart(strings.Join(st.Parts, ""), st.Refusal), "", stead.ItemInProgress))
		}
	}
}

// streams reports whether an item is text whose end is to come.
func streams(item Item) bool {
	switch it := item.(type) {
	case *MessageItem:
		return it.Status == stead.ItemInProgress
	case *ReasoningItem:
		return it.Status != nil && *it.Status == stead.ItemInProgress
	}
	return false
}

func statusOf(item Item) stead.ItemStatus {
	switch it := item.(type) {
	case *MessageItem:
		return it.Status
	case *ReasoningItem:
		if it.Status != nil {
			return *it.Status
		}
	case *FunctionCallItem:
		return it.Status
	case *FunctionOutputItem:
		return it.Status
	case *MCPCallItem:
		return it.Status
	case *CommandItem:
		return it.Status
	case *MemoryRecallItem:
		return it.Status
	case *SubagentCallItem:
		return it.Status
	}
	return ""
}

func turnOf(item Item) string {
	switch it := item.(type) {
	case *MessageItem:
		return it.TurnID
	case *ReasoningItem:
		return it.TurnID
	case *FunctionCallItem:
		return it.TurnID
	case *FunctionOutputItem:
		return it.TurnID
	case *MCPCallItem:
		return it.TurnID
	case *CommandItem:
		return it.TurnID
	case *ApprovalRequestItem:
		return it.TurnID
	case *ApprovalResponseItem:
		return it.TurnID
	case *MemoryRecallItem:
		return it.TurnID
	case *ToolListItem:
		return it.TurnID
	case *SubagentCallItem:
		return it.TurnID
	case *AgentMessageItem:
		return it.TurnID
	}
	return ""
}

package session

import (
	"github.com/stead-dev/stead"
)

// SaidSince collects the items that a session's agents made behind an event: what they said and thought, what they called for, and what
// came of that. It is shown the session's events in their order.
type SaidSince struct {
	key   stead.SessionKey
	since stead.Seq
	items []Item
	known map[string]bool // by id
	calls map[string]bool // of functions, by the call's id
}

// NewSaidSince makes one.
func NewSaidSince(key stead.SessionKey, since stead.Seq) *SaidSince {
	return &SaidSince{key: key, since: since, known: map[string]bool{}, calls: map[string]bool{}}
}

// Items are those of the events that were shown, in their order. They have what a Redactor needs, and nothing else.
func (s *SaidSince) Items() []Item { return s.items }

// Next looks at an event.
func (s *SaidSince) Next(e stead.Event) error {
	if e.Seq <= s.since {
		return nil
	}
	switch e.Kind {
	case KindModelStreamed: // of a turn that was cut off it is all that there is
		p, err := Decode[ModelStreamed](e)
		for _, seg := range p.Segments {
			s.made(p.Call, seg.Index, stead.Item{Type: seg.Type})
		}
		return err
	case KindModelReplied:
		p, err := Decode[ModelReplied](e)
		for i, it := range p.Items {
			s.made(p.Call, i, it.Item)
		}
		return err
	case KindToolRequested:
		p, err := Decode[ToolRequested](e)
		s.made(e.Seq, 0, stead.Item{Type: p.Type, CallID: p.CallID})
		return err
	case KindInputToolResult:
		p, err := Decode[ToolResult](e)
		s.returned(e.Seq, p.CallID)
		return err
	case KindInputOutcome:
		p, err := Decode[OutcomeResult](e)
		s.returned(e.Seq, p.CallID)
		return err
	}
	return nil
}

func (s *SaidSince) made(call stead.Seq, index int, it stead.Item) {
	if call <= s.since {
		return
	}
	id := s.key.Session
	switch {
	case it.Type == stead.ItemMessage:
		s.add(&MessageItem{ID: messageID(id, call, index)})
	case it.Type == stead.ItemReasoning:
		s.add(&ReasoningItem{ID: reasoningID(id, call, index)})
	case it.Type == stead.ItemFunctionCall:
		s.calls[it.CallID] = true
		s.add(&FunctionCallItem{ID: callItemID(id, &Call{Type: it.Type, Seq: call, Index: index}), CallID: it.CallID})
	case it.Type == stead.ItemMCPCall:
		s.add(&MCPCallItem{ID: callItemID(id, &Call{Type: it.Type, Seq: call, Index: index})})
	case it.Type == stead.ItemCommandExecution:
		s.add(&CommandItem{ID: callItemID(id, &Call{Type: it.Type, Seq: call, Index: index})})
	case it.Type.IsSubagentCall():
		s.add(&SubagentCallItem{ID: callItemID(id, &Call{Type: it.Type, Seq: call, Index: index})})
	}
}

// returned: what a function returned is an item of its own.
func (s *SaidSince) returned(at stead.Seq, callID string) {
	if s.calls[callID] {
		s.add(&FunctionOutputItem{ID: outputID(s.key.Session, at, 0), CallID: callID})
	}
}

func (s *SaidSince) add(it Item) {
	if id := it.ItemID(); !s.known[id] {
		s.known[id] = true
		s.items = append(s.items, it)
	}
}

package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
)

// The part of the projection that shows items and their text.

func (p *Projector) added(t *TurnView, item Item, index *int) body {
	return &itemEvent{eventHead{Type: "agent.session.turn.item.added"}, item, index, p.view.Key.Session, p.turnID(t)}
}

func (p *Projector) done(t *TurnView, item Item, index int) body {
	return &itemEvent{eventHead{Type: "agent.session.turn.item.done"}, item, &index, p.view.Key.Session, p.turnID(t)}
}

func (p *Projector) place(t *TurnView, id string, output int) place {
	return place{ItemID: id, OutputIndex: output, SessionID: p.view.Key.Session, TurnID: p.turnID(t)}
}

// streamID is the id of an item while its text streams: the same as when it is done.
func (p *Projector) streamID(call stead.Seq, typ stead.ItemType, index int) string {
	if typ == stead.ItemReasoning {
		return reasoningID(p.view.Key.Session, call, index)
	}
	return messageID(p.view.Key.Session, call, index)
}

// open announces an item whose text is about to stream, as the segment says.
func (p *Projector) open(out []body, t *TurnView, call stead.Seq, s Segment, output int) []body {
	id, turn := p.streamID(call, s.Type, s.Index), p.turnID(t)
	if s.Type == stead.ItemReasoning {
		return append(out, p.added(t, reasoningItem(id, turn, nil, stead.ItemInProgress), &output))
	}
	m := &MessageItem{ID: id, Type: "message", Role: stead.RoleAssistant, Status: stead.ItemInProgress, TurnID: turn, Content: []WireContent{}}
	out = append(out, p.added(t, m, &output))
	return append(out, &partEvent{eventHead{Type: "agent.session.turn.content_part.added"}, p.place(t, id, output), 0, saidPart("", s.Refusal)})
}

// eventRefusalDelta is ours: the Agents API has no word for refusals.
const eventRefusalDelta = "agent.session.turn.refusal.delta"

func (p *Projector) openPart(out []body, t *TurnView, id string, output, part int) []body {
	return append(out, &summaryPartEvent{eventHead: eventHead{Type: "agent.session.turn.reasoning_summary_part.added"}, place: p.place(t, id, output), SummaryIndex: part, Part: SummaryText{"summary_text", ""}})
}

// deltaOf shows text of an item, of what the segment says.
func (p *Projector) deltaOf(t *TurnView, id string, s Segment, output int, text string) body {
	switch {
	case s.Type == stead.ItemReasoning:
		return &summaryDelta{eventHead{Type: "agent.session.turn.reasoning_summary_text.delta"}, p.place(t, id, output), s.Part, text}
	case s.Refusal:
		return &textDelta{eventHead{Type: eventRefusalDelta}, p.place(t, id, output), 0, text}
	}
	return &textDelta{eventHead{Type: "agent.session.turn.output_text.delta"}, p.place(t, id, output), 0, text}
}

// streamed shows the segments of a model.streamed event.
func (p *Projector) streamed(out []body, e stead.Event, before glance) ([]body, error) {
	ev, err := Decode[ModelStreamed](e)
	if err != nil || before.model == nil || before.model.Seq != ev.Call {
		return out, err
	}
	t := p.view.Turn
	known := append([]int(nil), before.parts...)
	for _, s := range ev.Segments {
		output := t.Outputs + s.Index
		out, known = p.announce(out, t, ev.Call, s, output, known)
		if s.Text != "" {
			out = append(out, p.deltaOf(t, p.streamID(ev.Call, s.Type, s.Index), s, output, s.Text))
		}
	}
	return out, nil
}

// announce shows what comes before the first text of an item or of a summary part. known counts
// the parts that were shown, an item each.
func (p *Projector) announce(out []body, t *TurnView, call stead.Seq, s Segment, output int, known []int) ([]body, []int) {
	for len(known) <= s.Index {
		known = append(known, 0)
	}
	if known[s.Index] == 0 {
		out = p.open(out, t, call, s, output)
		if s.Type == stead.ItemMessage {
			known[s.Index] = 1
		}
	}
	if s.Type == stead.ItemReasoning {
		for known[s.Index] <= s.Part {
			out = p.openPart(out, t, p.streamID(call, s.Type, s.Index), output, known[s.Index])
			known[s.Index]++
		}
	}
	return out, known
}

// replied shows a finished reply: the rest of each text, then the ends.
func (p *Projector) replied(out []body, before glance, r ModelReplied, items []stead.Item) []body {
	t := p.view.Turn
	phase := "final_answer"
	for _, it := range items {
		if it.Type.IsCall() {
			phase = "commentary"
		}
	}
	for i, it := range items {
		output := before.outputs + i
		switch it.Type {
		case stead.ItemMessage:
			out = p.messageDone(out, t, before, r, i, output, it, phase)
		case stead.ItemReasoning:
			out = p.reasoningDone(out, t, before, r, i, output, it)
		default:
			out = p.called(out, t, r.Call, i, output)
		}
	}
	return out
}

func (p *Projector) messageDone(out []body, t *TurnView, before glance, r ModelReplied, i, output int, it stead.Item, phase string) []body {
	id := messageID(p.view.Key.Session, r.Call, i)
	kind := Segment{Index: i, Type: stead.ItemMessage, Refusal: stead.Refuses(it.Content)}
	if i >= len(before.parts) || before.parts[i] == 0 {
		out = p.open(out, t, r.Call, kind, output)
	}
	text := ""
	for _, c := range it.Content {
		text += p.texts(c.Text)
	}
	if rest := afterStreamed(text, r.Items[i].Streamed, 0); rest != "" {
		out = append(out, p.deltaOf(t, id, kind, output, rest))
	}
	said := saidPart(text, kind.Refusal)
	if len(it.Content) > 0 {
		said.Annotations = citation.Annotations(it.Content[0].Cites)
	}
	return p.closeText(out, t, id, output, said, phase, stead.ItemCompleted)
}

func (p *Projector) closeText(out []body, t *TurnView, id string, output int, said WireContent, phase string, status stead.ItemStatus) []body {
	at := p.place(t, id, output)
	if said.Refusal != nil {
		out = append(out, &refusalDone{eventHead{Type: "agent.session.turn.refusal.done"}, at, 0, *said.Refusal})
	} else {
		out = append(out, &textDone{eventHead{Type: "agent.session.turn.output_text.done"}, at, 0, *said.Text})
	}
	out = append(out, &partEvent{eventHead{Type: "agent.session.turn.content_part.done"}, at, 0, said})
	return append(out, p.done(t, outputMessage(id, p.turnID(t), said, phase, status), output))
}

func (p *Projector) reasoningDone(out []body, t *TurnView, before glance, r ModelReplied, i, output int, it stead.Item) []body {
	id := reasoningID(p.view.Key.Session, r.Call, i)
	known := 0
	if i < len(before.parts) {
		known = before.parts[i]
	}
	kind := Segment{Index: i, Type: stead.ItemReasoning}
	if known == 0 {
		out = p.open(out, t, r.Call, kind, output)
	}
	parts := make([]string, len(it.Summary))
	for n, s := range it.Summary {
		parts[n] = p.texts(s)
		if n >= known {
			out = p.openPart(out, t, id, output, n)
		}
		if rest := afterStreamed(parts[n], r.Items[i].Streamed, n); rest != "" {
			kind.Part = n
			out = append(out, p.deltaOf(t, id, kind, output, rest))
		}
	}
	item := reasoningItem(id, p.turnID(t), parts, stead.ItemCompleted)
	item.Made = made(it, p.texts)
	return p.closeReasoning(out, t, item, output)
}

func (p *Projector) closeReasoning(out []body, t *TurnView, item *ReasoningItem, output int) []body {
	at := p.place(t, item.ID, output)
	var cut *string
	if *item.Status == stead.ItemIncomplete {
		s := string(*item.Status)
		cut = &s
	}
	for n, text := range item.Summary {
		out = append(out,
			&summaryDone{eventHead{Type: "agent.session.turn.reasoning_summary_text.done"}, at, n, text.Text},
			&summaryPartDone{eventHead{Type: "agent.session.turn.reasoning_summary_part.done"}, at, n, text, cut})
	}
	return append(out, p.done(t, item, output))
}

func afterStreamed(text string, streamed []int, part int) string {
	if part < len(streamed) && streamed[part] <= len(text) {
		return text[streamed[part]:]
	}
	return text
}

// called shows a tool call of a reply. One that was rejected is shown as done only: a client runs
// the calls that it sees added.
func (p *Projector) called(out []body, t *TurnView, call stead.Seq, index, output int) []body {
	s := p.view.Key.Session
	for _, c := range t.Calls {
		if c.Seq != call || c.Index != index {
			continue
		}
		if t.asks(c) {
			question := questionItem(s, p.turnID(t), c)
			return append(out, p.added(t, question, &output), p.done(t, question, output))
		}
		item := callItemOf(s, p.turnID(t), c, p.texts)
		if c.Function() && c.State == CallApproval {
			continue // it is, once the application is asked for it
		}
		if c.State != CallDone {
			return append(out, p.added(t, item, &output))
		}
		out = append(out, p.done(t, item, output))
		if c.Type == stead.ItemFunctionCall {
			out = append(out, p.added(t, outputItem(outputID(s, call, index), p.turnID(t), c, p.texts), nil))
		}
	}
	return out
}

// required shows a function that was held, when the application is asked for it.
func (p *Projector) required(out []body, e stead.Event) ([]body, error) {
	asked, err := Decode[ToolRequired](e)
	if err != nil {
		return out, err
	}
	c, t := p.view.CallByID(asked.CallID), p.view.Turn
	if c == nil || c.State != CallWaiting {
		return out, nil
	}
	return append(out, p.added(t, callItemOf(p.view.Key.Session, p.turnID(t), c, p.texts), &c.Output0)), nil
}

// revived shows a call that was a question first, when it is made.
func (p *Projector) revived(out []body, e stead.Event) ([]body, error) {
	made, err := Decode[ToolCalled](e)
	if err != nil {
		return out, err
	}
	c, t := p.view.CallByID(made.CallID), p.view.Turn
	if c == nil || !t.questioned(c) || made.Attempt != 1 {
		return out, nil
	}
	return append(out, p.added(t, callItemOf(p.view.Key.Session, p.turnID(t), c, p.texts), &c.Output0)), nil
}

// cut closes what a model call had streamed when it was cut off.
func (p *Projector) cut(out []body, before glance) []body {
	for i, st := range before.model.Stream {
		if st == nil {
			continue
		}
		output := before.outputs + i
		id := p.streamID(before.model.Seq, st.Type, i)
		if st.Type == stead.ItemReasoning {
			out = p.closeReasoning(out, before.turn, reasoningItem(id, p.turnID(before.turn), st.Parts, stead.ItemIncomplete), output)
			continue
		}
		text := ""
		for _, part := range st.Parts {
			text += part
		}
		out = p.closeText(out, before.turn, id, output, saidPart(text, st.Refusal), "", stead.ItemIncomplete)
	}
	return out
}

package openai

import (
	"bytes"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// responsesDecoder reads the events of a response. Items are found by output index, else by id,
// else the one that was opened last is meant.
type responsesDecoder struct {
	out     *upstream.Output
	slots   []*responsesSlot
	byIndex map[int]*responsesSlot
	byID    map[string]*responsesSlot
	seen    sequences
	ended   bool
	last    response // of the terminal event
}

type responsesSlot struct {
	*upstream.Slot
	id string
}

// The kinds of text in a reasoning item.
const (
	summaryText = iota
	contentText
)

func newResponsesDecoder(out *upstream.Output) *responsesDecoder {
	return &responsesDecoder{out: out, byIndex: map[int]*responsesSlot{}, byID: map[string]*responsesSlot{}}
}

func (d *responsesDecoder) Complete() bool { return d.ended }

func (d *responsesDecoder) Event(ev upstream.Event) (bool, *model.Error) {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 || d.ended {
		return d.ended, nil
	}
	if string(data) == "[DONE]" {
		return false, nil // chat's end says nothing here
	}
	var e responsesEvent
	if err := upstream.Unmarshal(data, &e); err != nil {
		return false, err
	}
	if e.Type == "" {
		e.Type = ev.Name
	}
	if e.Sequence != nil && d.seen.repeated(*e.Sequence, data) {
		return false, nil
	}
	if err := d.apply(&e); err != nil {
		return false, err
	}
	return d.ended || d.out.Stopped(), nil
}

func (d *responsesDecoder) apply(e *responsesEvent) *model.Error {
	switch e.Type {
	case "response.output_item.added":
		d.added(e)
	case "response.output_item.done":
		if e.Item != nil {
			d.done(d.slot(e, stead.ItemType(e.Item.Type), e.Item.ID), e.Item)
		}
	case "response.output_text.delta":
		d.out.Say(d.slot(e, stead.ItemMessage, "").Slot, upstream.Word(e.Delta))
	case "response.refusal.delta":
		d.out.Refuse(d.slot(e, stead.ItemMessage, "").Slot, upstream.Word(e.Delta))
	case "response.reasoning_summary_text.delta":
		s := d.slot(e, stead.ItemReasoning, "")
		d.out.Think(s.Slot, s.Part(summaryText, e.SummaryIndex), upstream.Word(e.Delta))
	case "response.reasoning_text.delta":
		s := d.slot(e, stead.ItemReasoning, "")
		d.out.Think(s.Slot, s.Part(contentText, e.ContentIndex), upstream.Word(e.Delta))
	case "response.function_call_arguments.delta":
		s := d.slot(e, stead.ItemFunctionCall, "")
		s.Args.WriteString(upstream.Word(e.Delta))
	case "response.function_call_arguments.done":
		s := d.slot(e, stead.ItemFunctionCall, "")
		s.settle(e.Name, e.Arguments)
	case "response.completed", "response.incomplete", "response.done":
		return d.end(e.Response)
	case "response.failed", "response.cancelled":
		if e.Response != nil {
			d.last = *e.Response
		}
		d.out.Told(d.usage())
		return failed(d.last.Error)
	case "error":
		return e.fault()
	case "":
		if e.Error != nil {
			return streamFault(*e.Error)
		}
	}
	return nil
}

func (e *responsesEvent) fault() *model.Error {
	if e.Error != nil {
		return streamFault(*e.Error)
	}
	return streamFault(upstream.Fault{Message: e.Message, Code: upstream.Word(e.Code)})
}

func failed(f *upstream.Fault) *model.Error {
	if f == nil {
		f = &upstream.Fault{}
	}
	return streamFault(*f)
}

func (d *responsesDecoder) added(e *responsesEvent) {
	if e.Item == nil {
		return
	}
	s := d.find(e.OutputIndex, e.Item.ID)
	if s == nil || s.Closed() && e.OutputIndex == nil {
		s = d.open(e.OutputIndex, e.Item.ID)
	}
	s.Kind = stead.ItemType(e.Item.Type)
	s.describe(e.Item)
}

// slot is the item that an event is about; it is opened if the upstream did not say that it is there.
func (d *responsesDecoder) slot(e *responsesEvent, kind stead.ItemType, id string) *responsesSlot {
	if id == "" {
		id = e.ItemID
	}
	s := d.find(e.OutputIndex, id)
	if s == nil && e.OutputIndex == nil {
		s = d.guess(e, kind, id)
	}
	if s == nil {
		s = d.open(e.OutputIndex, id)
	}
	if s.Kind == "" {
		s.Kind = kind
	}
	return s
}

// guess finds an open item of the kind where the upstream gives no index and the id is missing or
// not the one that the item was added with: the newest goes on, the oldest is finished.
func (d *responsesDecoder) guess(e *responsesEvent, kind stead.ItemType, id string) *responsesSlot {
	var found *responsesSlot
	for _, s := range d.slots {
		if s.Closed() || s.Kind != kind || id != "" && s.id != "" && e.Item == nil {
			continue
		}
		if e.Item == nil {
			found = s
			continue
		}
		if e.Item.CallID == "" || s.CallID == "" || e.Item.CallID == s.CallID {
			return s
		}
	}
	return found
}

func (d *responsesDecoder) find(index *int, id string) *responsesSlot {
	if index != nil {
		return d.byIndex[*index]
	}
	if id != "" {
		return d.byID[id]
	}
	return nil
}

func (d *responsesDecoder) open(index *int, id string) *responsesSlot {
	s := &responsesSlot{Slot: upstream.NewSlot(""), id: id}
	d.slots = append(d.slots, s)
	if index != nil {
		d.byIndex[*index] = s
	}
	if id != "" {
		d.byID[id] = s
	}
	return s
}

// settle takes what the upstream says the whole call is, over the fragments.
func (s *responsesSlot) settle(name, args string) {
	if name != "" {
		s.Name = name
	}
	if args != "" {
		s.Args.Reset()
		s.Args.WriteString(args)
	}
}

func (s *responsesSlot) describe(it *responsesItem) {
	if it.Phase != "" {
		s.Phase = it.Phase
	}
	if it.CallID != "" {
		s.CallID = it.CallID
	}
	args := upstream.Word(it.Arguments)
	if upstream.IsObject(it.Arguments) { // an object where a string belongs
		args = string(it.Arguments)
	}
	s.settle(it.Name, args)
	if it.Encrypted != "" {
		s.Sealed = it.ID + "." + it.Encrypted
	}
}

// done finishes an item with what the upstream says that it is, as far as that adds to the deltas.
func (d *responsesDecoder) done(s *responsesSlot, it *responsesItem) {
	if s.Closed() && !s.Displaced() {
		return
	}
	if it.Type != "" {
		s.Kind = stead.ItemType(it.Type)
	}
	s.describe(it)
	switch s.Kind {
	case stead.ItemMessage:
		whole := ""
		for _, p := range it.Content {
			whole += p.Text + p.Refusal
			d.out.SayRest(s.Slot, whole, p.Refusal != "")
		}
	case stead.ItemReasoning:
		if s.Displaced() || s.Resumed() {
			break // what is missing of which part cannot be told any more
		}
		for i, p := range it.Summary {
			d.out.ThinkRest(s.Slot, s.Part(summaryText, i), p.Text)
		}
		for i, p := range it.Content {
			d.out.ThinkRest(s.Slot, s.Part(contentText, i), p.Text)
		}
	}
	d.out.Close(s.Slot, it.Status != "incomplete")
}

// end takes the terminal event.
func (d *responsesDecoder) end(r *response) *model.Error {
	if r == nil {
		r = &response{Status: "completed"}
	}
	d.last = *r
	d.out.Told(d.usage())
	if r.Status == "failed" || r.Status == "cancelled" {
		return failed(r.Error)
	}
	d.ended = true
	if r.Status == "incomplete" || r.Incomplete != nil {
		return nil // the output is not whole: what came in events counts
	}
	for i := range r.Output {
		it := &r.Output[i]
		s := d.find(&i, "")
		if s == nil {
			s = d.find(nil, it.ID)
		}
		if s == nil && len(d.byIndex) == 0 && i < len(d.slots) && string(d.slots[i].Kind) == it.Type {
			s = d.slots[i]
		}
		if s == nil {
			s = d.open(&i, it.ID)
		}
		d.done(s, it)
	}
	return nil
}

func (d *responsesDecoder) Document(data []byte) *model.Error {
	var doc struct {
		response
		Object string `json:"object"`
	}
	if err := upstream.Unmarshal(data, &doc); err != nil {
		return err
	}
	if doc.Error != nil {
		return streamFault(*doc.Error)
	}
	if doc.Output == nil && doc.Status == "" {
		return upstream.Broken(nil)
	}
	partial := doc.Status == "incomplete" || doc.Incomplete != nil
	if err := d.end(&doc.response); err != nil || !partial {
		return err
	}
	for i := range doc.Output {
		it := &doc.Output[i]
		d.done(d.open(&i, it.ID), it)
	}
	return nil
}

func (d *responsesDecoder) Finish() {
	finish := model.FinishStop
	if d.last.Status == "incomplete" || d.last.Incomplete != nil {
		finish = model.FinishLength
		if d.last.Incomplete != nil && d.last.Incomplete.Reason == "content_filter" {
			finish = model.FinishFilter
		}
	}
	for _, s := range d.slots {
		d.out.Close(s.Slot, finish == model.FinishStop)
	}
	d.out.Served(d.last.Tier)
	d.out.Done(finish, d.usage(), d.last.Model)
}

func (d *responsesDecoder) usage() *stead.Usage {
	u := d.last.Usage
	if u == nil {
		return nil
	}
	return model.Sane(stead.Usage{InputTokens: u.Input, CachedTokens: u.InputDetails.Cached, CacheWriteTokens: u.InputDetails.Written,
		OutputTokens: u.Output, ReasoningTokens: u.OutputDetails.Reasoning})
}

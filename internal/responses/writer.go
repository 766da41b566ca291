package responses

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Writer tells a model's deltas in the words of the Responses API.
//
// The events of an item come when its deltas do; its end is held back until the next delta, since only
// the very end says whether the last item was cut off.
type Writer struct {
	Out       *Stream
	Object    *Object                    // as it stands; Writer fills it
	Encrypted bool                       // reasoning carries what it can be sent back with
	NewID     func(prefix string) string // a fresh id: NewID("msg_")

	begun bool
	open  map[int]*openItem // output index → what has been shown of it
	held  *model.Delta      // the last finished item
}

// openItem is an item whose text is on its way.
type openItem struct {
	id   string
	part int // of a reasoning summary; -1: none is open
	text strings.Builder
}

func (s *Writer) begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	if err := s.Out.Whole("response.created", s.Object); err != nil {
		return err
	}
	return s.Out.Whole("response.in_progress", s.Object)
}

// Delta tells one piece.
func (s *Writer) Delta(d model.Delta) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.release(false); err != nil {
		return err
	}
	switch d.Kind {
	case model.TextDelta:
		return s.text(d)
	case model.ReasoningDelta:
		return s.reason(d)
	case model.ItemDone:
		s.held = &d
	}
	return nil
}

// opened keeps a new item.
func (s *Writer) opened(index int, it *openItem) *openItem {
	if s.open == nil {
		s.open = map[int]*openItem{}
	}
	s.open[index] = it
	return it
}

func (s *Writer) text(d model.Delta) error {
	it := s.open[d.Index]
	if it == nil {
		it = s.opened(d.Index, &openItem{id: s.NewID("msg_")})
		if err := s.Out.Added(d.Index, &Message{ID: it.id, Type: "message", Role: stead.RoleAssistant, Status: stead.ItemInProgress, Content: []Part{}}); err != nil {
			return err
		}
		if err := s.Out.TextAdded(d.Index, it.id, d.Refusal); err != nil {
			return err
		}
	}
	it.text.WriteString(d.Text)
	return s.Out.Text(d.Index, it.id, d.Text, d.Refusal)
}

func (s *Writer) reason(d model.Delta) error {
	it := s.open[d.Index]
	if it == nil {
		it = s.opened(d.Index, &openItem{id: s.NewID("rs_"), part: -1})
		if err := s.Out.Added(d.Index, &Reasoning{ID: it.id, Type: "reasoning", Status: stead.ItemInProgress, Summary: []SummaryPart{}}); err != nil {
			return err
		}
	}
	if it.part != d.Part {
		if err := s.closePart(d.Index, it); err != nil {
			return err
		}
		it.part = d.Part
		if err := s.Out.SummaryAdded(d.Index, it.id, d.Part); err != nil {
			return err
		}
	}
	it.text.WriteString(d.Text)
	return s.Out.Summary(d.Index, it.id, d.Part, d.Text)
}

func (s *Writer) closePart(index int, it *openItem) error {
	if it.part < 0 {
		return nil
	}
	whole := it.text.String()
	it.text.Reset()
	return s.Out.SummaryDone(index, it.id, it.part, whole, false)
}

// release ends the item that was held back, which may be the response's last.
func (s *Writer) release(last bool) error {
	if s.held == nil {
		return nil
	}
	index, item := s.held.Index, *s.held.Item
	s.held = nil
	id, err := s.close(index, item)
	if err != nil {
		return err
	}
	w := Encode(id, item, s.Object.ItemStatus(item, last), s.Encrypted)
	s.Object.Output = append(s.Object.Output, w)
	return s.Out.Done(index, w)
}

// close tells the end of an item's text; an item that had none until now is begun first.
func (s *Writer) close(index int, item stead.Item) (id string, err error) {
	it := s.open[index]
	delete(s.open, index)
	if it == nil {
		id = s.NewID(IDPrefix(item))
	} else {
		id = it.id
	}
	switch item.Type {
	case stead.ItemFunctionCall:
		begun := &FunctionCall{ID: id, Type: "function_call", CallID: item.CallID, Name: item.Name, Status: stead.ItemInProgress}
		if err := s.Out.Added(index, begun); err != nil {
			return id, err
		}
		return id, s.Out.Arguments("function_call", index, id, item.Name, ArgumentText(item.Arguments))
	case stead.ItemReasoning:
		if it == nil {
			return id, s.Out.Added(index, &Reasoning{ID: id, Type: "reasoning", Status: stead.ItemInProgress, Summary: []SummaryPart{}})
		}
		return id, s.closePart(index, it)
	}
	refusal := stead.Refuses(item.Content)
	if it == nil { // an answer without a word
		if err := s.Out.Added(index, &Message{ID: id, Type: "message", Role: stead.RoleAssistant, Status: stead.ItemInProgress, Content: []Part{}}); err != nil {
			return id, err
		}
		if err := s.Out.TextAdded(index, id, refusal); err != nil {
			return id, err
		}
		it = &openItem{id: id}
	}
	return id, s.Out.TextDone(index, id, it.text.String(), nil, refusal, false)
}

// Done tells the end; at is its time in Unix seconds.
func (s *Writer) Done(d model.Delta, at int64) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.Object.Finish(d, at)
	if err := s.release(true); err != nil {
		return err
	}
	return s.Out.Whole("response."+s.Object.Status, s.Object)
}

// Fail tells that the response is not whole.
func (s *Writer) Fail(code, message string, at int64) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.Object.Status, s.Object.CompletedAt, s.Object.Error = StatusFailed, &at, FailureOf(code, message)
	return s.Out.Whole("response.failed", s.Object)
}

// Finish takes what the model said at its end into the response; at is its time in Unix seconds.
func (o *Object) Finish(done model.Delta, at int64) {
	o.Status, o.CompletedAt, o.Usage = StatusCompleted, &at, NewUsage(done.Usage)
	switch done.Finish {
	case model.FinishLength:
		o.Incomplete = &Incomplete{Reason: "max_output_tokens"}
	case model.FinishFilter:
		o.Incomplete = &Incomplete{Reason: "content_filter"}
	default:
		return
	}
	o.Status, o.CompletedAt = StatusIncomplete, nil
}

// ItemStatus is the status of an item of a response: what cut it off cut off its last item, unless that
// is the refusal that says so.
func (o *Object) ItemStatus(it stead.Item, last bool) stead.ItemStatus {
	if it.Status == stead.ItemIncomplete || last && o.Status == StatusIncomplete && !stead.Refuses(it.Content) {
		return stead.ItemIncomplete
	}
	return stead.ItemCompleted
}

// IDPrefix begins the id of an item of a model's.
func IDPrefix(it stead.Item) string {
	switch it.Type {
	case stead.ItemReasoning:
		return "rs_"
	case stead.ItemFunctionCall:
		return "fc_"
	}
	return "msg_"
}

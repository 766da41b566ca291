package server

import (
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/responses"
)

// responseWriter tells a model's deltas in the words of the Responses API.
type responseWriter struct {
	out       *responses.Stream
	object    *responses.Object
	encrypted bool
	begun     bool
	open      map[int]*openItem // output index → what has been shown of it
	held      *model.Delta      // the last finished item, until it is known whether it was cut off
}

// openItem is an item whose text is on its way.
type openItem struct {
	id   string
	part int // of a reasoning summary; -1: none is open
	text strings.Builder
}

// streamResponse answers with a response's events.
func (c *call) streamResponse(w http.ResponseWriter, r *http.Request, asked *responses.Request, ask model.Request, o *responses.Object) error {
	t := c.s.newTeller(r.Context(), w)
	defer t.stop()
	s := &responseWriter{object: o, encrypted: asked.Encrypted, open: map[int]*openItem{}}
	s.out = responses.NewStream(-1, func(kind string, event any) error {
		c.s.metrics.events.Add(1)
		return t.out.named(kind, event)
	})
	done, err := c.generate(r.Context(), ask, s.delta)
	if err == nil {
		err = s.done(done)
	}
	c.end(err)
	switch {
	case err == nil:
		return nil
	case gone(r.Context(), err):
		c.s.metrics.dropped.Add(1)
		return nil
	case !t.out.opened():
		return gatewayError(err)
	}
	_ = s.failed(gatewayError(err)) // the stream ends either way
	return nil
}

func (s *responseWriter) begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	if err := s.out.Whole("response.created", s.object); err != nil {
		return err
	}
	return s.out.Whole("response.in_progress", s.object)
}

// delta tells one piece.
func (s *responseWriter) delta(d model.Delta) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.release(stead.ItemCompleted); err != nil {
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

func (s *responseWriter) text(d model.Delta) error {
	it := s.open[d.Index]
	if it == nil {
		it = &openItem{id: newID("msg_")}
		s.open[d.Index] = it
		if err := s.out.Added(d.Index, &responses.Message{ID: it.id, Type: "message", Role: stead.RoleAssistant, Status: stead.ItemInProgress, Content: []responses.Part{}}); err != nil {
			return err
		}
		if err := s.out.TextAdded(d.Index, it.id); err != nil {
			return err
		}
	}
	it.text.WriteString(d.Text)
	return s.out.Text(d.Index, it.id, d.Text)
}

func (s *responseWriter) reason(d model.Delta) error {
	it := s.open[d.Index]
	if it == nil {
		it = &openItem{id: newID("rs_"), part: -1}
		s.open[d.Index] = it
		if err := s.out.Added(d.Index, &responses.Reasoning{ID: it.id, Type: "reasoning", Status: stead.ItemInProgress, Summary: []responses.SummaryPart{}}); err != nil {
			return err
		}
	}
	if it.part != d.Part {
		if err := s.closePart(d.Index, it); err != nil {
			return err
		}
		it.part = d.Part
		if err := s.out.SummaryAdded(d.Index, it.id, d.Part); err != nil {
			return err
		}
	}
	it.text.WriteString(d.Text)
	return s.out.Summary(d.Index, it.id, d.Part, d.Text)
}

func (s *responseWriter) closePart(index int, it *openItem) error {
	if it.part < 0 {
		return nil
	}
	whole := it.text.String()
	it.text.Reset()
	return s.out.SummaryDone(index, it.id, it.part, whole, false)
}

// release ends the item that was held back.
func (s *responseWriter) release(status stead.ItemStatus) error {
	if s.held == nil {
		return nil
	}
	index, item := s.held.Index, *s.held.Item
	s.held = nil
	id, err := s.close(index, item)
	if err != nil {
		return err
	}
	w := responses.Encode(id, item, status, s.encrypted)
	s.object.Output = append(s.object.Output, w)
	return s.out.Done(index, w)
}

// close tells the end of an item's text; an item that had none until now is begun first.
func (s *responseWriter) close(index int, item stead.Item) (id string, err error) {
	it := s.open[index]
	delete(s.open, index)
	if it == nil {
		id = itemID(item)
	} else {
		id = it.id
	}
	switch item.Type {
	case stead.ItemFunctionCall:
		begun := &responses.FunctionCall{ID: id, Type: "function_call", CallID: item.CallID, Name: item.Name, Status: stead.ItemInProgress}
		if err := s.out.Added(index, begun); err != nil {
			return id, err
		}
		return id, s.out.Arguments("function_call", index, id, item.Name, responses.ArgumentText(item.Arguments))
	case stead.ItemReasoning:
		if it == nil {
			return id, s.out.Added(index, &responses.Reasoning{ID: id, Type: "reasoning", Status: stead.ItemInProgress, Summary: []responses.SummaryPart{}})
		}
		return id, s.closePart(index, it)
	}
	if it == nil { // an answer without a word
		if err := s.out.Added(index, &responses.Message{ID: id, Type: "message", Role: stead.RoleAssistant, Status: stead.ItemInProgress, Content: []responses.Part{}}); err != nil {
			return id, err
		}
		if err := s.out.TextAdded(index, id); err != nil {
			return id, err
		}
		it = &openItem{id: id}
	}
	return id, s.out.TextDone(index, id, it.text.String(), false)
}

// done tells the end.
func (s *responseWriter) done(d model.Delta) error {
	if err := s.begin(); err != nil {
		return err
	}
	finish(s.object, d)
	if err := s.release(itemStatus(s.object, true)); err != nil {
		return err
	}
	return s.out.Whole("response."+s.object.Status, s.object)
}

// failed tells that the response is not whole.
func (s *responseWriter) failed(err error) error {
	if err := s.begin(); err != nil {
		return err
	}
	body, _, _ := wireErrorOf(err)
	now := time.Now().Unix()
	s.object.Status, s.object.CompletedAt = responses.StatusFailed, &now
	s.object.Error = responses.FailureOf(*body.Code, body.Message)
	return s.out.Whole("response.failed", s.object)
}

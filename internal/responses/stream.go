package responses

import (
	"encoding/json"
	"math"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
)

// Stream writes the events of a response.
//
// Numbers: every event takes the next sequence number, and a delta of text takes as many as it has
// bytes. So the numbers do not depend on how the text was cut into deltas: a stream that is told
// again, from the journal, has the same numbers at the same places, and whoever comes back with
// starting_after gets every later byte once. They rise, and they leave gaps.
//
// Text that is cut off for good (its item ends as incomplete) may have been shown further than the
// journal knows. Behind it the numbers go on from a place that no text reaches.
type Stream struct {
	send  func(kind string, event any) error
	next  int64 // the next event's number
	after int64 // events up to here were seen before

	begun int64 // number at which the open text began
}

// MaxTextSpan is how far the numbers jump behind a text that was cut off: more bytes than one reply
// may have.
const MaxTextSpan = 1 << 27

// NewStream writes to send what comes after a sequence number, -1 for all.
func NewStream(after int64, send func(kind string, event any) error) *Stream {
	return &Stream{send: send, after: after}
}

// event has the members of all events; each event sets some.
type event struct {
	Type         string  `json:"type"`
	Number       int64   `json:"sequence_number"`
	Response     any     `json:"response,omitempty"`
	ItemID       string  `json:"item_id,omitempty"`
	OutputIndex  *int    `json:"output_index,omitempty"`
	ContentIndex *int    `json:"content_index,omitempty"`
	SummaryIndex *int    `json:"summary_index,omitempty"`
	Item         any     `json:"item,omitempty"`
	Part         any     `json:"part,omitempty"`
	Delta        *string `json:"delta,omitempty"`
	Text         *string `json:"text,omitempty"`
	Refusal      *string `json:"refusal,omitempty"`
	Logprobs     *[]any  `json:"logprobs,omitempty"`
	Name         string  `json:"name,omitempty"`
	Arguments    *string `json:"arguments,omitempty"`

	AnnotationIndex *int                 `json:"annotation_index,omitempty"`
	Annotation      *citation.Annotation `json:"annotation,omitempty"`
}

func (s *Stream) emit(e event) error {
	e.Number = s.next
	s.next++
	if e.Number <= s.after {
		return nil
	}
	return s.send(e.Type, e)
}

// Whole writes an event that shows the response: "response.created", "response.completed", ….
func (s *Stream) Whole(kind string, response any) error {
	return s.emit(event{Type: kind, Response: response})
}

// Added begins an item.
func (s *Stream) Added(index int, item any) error {
	return s.emit(event{Type: "response.output_item.added", OutputIndex: &index, Item: item})
}

// Done ends an item.
func (s *Stream) Done(index int, item any) error {
	return s.emit(event{Type: "response.output_item.done", OutputIndex: &index, Item: item})
}

// zero is the index of the one part that messages have.
func zero() *int { return new(int) }

// TextAdded begins the text of a message; refusal says that it is one, as it does in what follows.
func (s *Stream) TextAdded(index int, id string, refusal bool) error {
	err := s.emit(event{Type: "response.content_part.added", OutputIndex: &index, ItemID: id, ContentIndex: zero(), Part: NewPart(stead.SaidType(refusal), "", "")})
	s.begun = s.next
	return err
}

// Text adds to it.
func (s *Stream) Text(index int, id, delta string, refusal bool) error {
	if refusal {
		return s.delta(delta, event{Type: "response.refusal.delta", OutputIndex: &index, ItemID: id, ContentIndex: zero()})
	}
	return s.delta(delta, event{Type: "response.output_text.delta", OutputIndex: &index, ItemID: id, ContentIndex: zero(), Logprobs: &[]any{}})
}

// delta takes as many numbers as the text has bytes, and shows what was not seen of it.
func (s *Stream) delta(text string, e event) error {
	first := s.next
	s.next += int64(len(text))
	if s.next-1 <= s.after || text == "" {
		return nil
	}
	if seen := s.after + 1 - first; seen > 0 {
		for !utf8.RuneStart(text[seen]) { // half a character was counted with what was seen
			seen++
			if int(seen) == len(text) {
				return nil
			}
		}
		text = text[seen:]
	}
	e.Number, e.Delta = s.next-1, &text
	return s.send(e.Type, e)
}

// TextDone ends the text; whole is all of it, cited what it speaks from, and cut says that it was cut off.
//
// Citations are told when the text is whole, and not between its deltas: so their numbers, too, do not depend on how it was cut.
func (s *Stream) TextDone(index int, id, whole string, cited []citation.Annotation, refusal, cut bool) error {
	s.settle(whole, cut)
	for i := range cited {
		if err := s.emit(event{Type: "response.output_text.annotation.added", OutputIndex: &index, ItemID: id, ContentIndex: zero(), AnnotationIndex: &i, Annotation: &cited[i]}); err != nil {
			return err
		}
	}
	end := event{Type: "response.output_text.done", OutputIndex: &index, ItemID: id, ContentIndex: zero(), Text: &whole, Logprobs: &[]any{}}
	if refusal {
		end.Type, end.Text, end.Refusal, end.Logprobs = "response.refusal.done", nil, &whole, nil
	}
	if err := s.emit(end); err != nil {
		return err
	}
	part := NewPart(stead.SaidType(refusal), whole, "")
	part.Cite(cited)
	return s.emit(event{Type: "response.content_part.done", OutputIndex: &index, ItemID: id, ContentIndex: zero(), Part: part})
}

// settle puts the numbers where they are whatever was shown.
func (s *Stream) settle(whole string, cut bool) {
	if cut {
		s.next = s.begun + MaxTextSpan
		s.begun = s.next // of the next part that was cut off with this one
	} else {
		s.next = max(s.next, s.begun+int64(len(whole)))
	}
}

// SummaryAdded begins a part of a reasoning summary.
func (s *Stream) SummaryAdded(index int, id string, part int) error {
	err := s.emit(event{Type: "response.reasoning_summary_part.added", OutputIndex: &index, ItemID: id, SummaryIndex: &part, Part: SummaryPart{"summary_text", ""}})
	s.begun = s.next
	return err
}

// Summary adds to it.
func (s *Stream) Summary(index int, id string, part int, delta string) error {
	return s.delta(delta, event{Type: "response.reasoning_summary_text.delta", OutputIndex: &index, ItemID: id, SummaryIndex: &part})
}

// SummaryDone ends it.
func (s *Stream) SummaryDone(index int, id string, part int, whole string, cut bool) error {
	if cut {
		s.settle(whole, true)
	}
	if err := s.emit(event{Type: "response.reasoning_summary_text.done", OutputIndex: &index, ItemID: id, SummaryIndex: &part, Text: &whole}); err != nil {
		return err
	}
	return s.emit(event{Type: "response.reasoning_summary_part.done", OutputIndex: &index, ItemID: id, SummaryIndex: &part, Part: SummaryPart{"summary_text", whole}})
}

// Arguments writes a call's arguments, which are known as a whole. kind is "function_call" or
// "mcp_call".
func (s *Stream) Arguments(kind string, index int, id, name, arguments string) error {
	e := event{Type: "response." + kind + "_arguments.delta", OutputIndex: &index, ItemID: id, Delta: &arguments}
	if err := s.emit(e); err != nil {
		return err
	}
	e.Type, e.Delta, e.Arguments = "response."+kind+"_arguments.done", nil, &arguments
	if kind == "function_call" {
		e.Name = name
	}
	return s.emit(e)
}

// ServerCall says how far a call to a tool server is: "in_progress", "completed" or "failed".
func (s *Stream) ServerCall(state string, index int, id string) error {
	return s.emit(event{Type: "response.mcp_call." + state, OutputIndex: &index, ItemID: id})
}

// ToolList says how far the listing of a server's tools is: "in_progress", "completed" or "failed".
func (s *Stream) ToolList(state string, index int, id string) error {
	return s.emit(event{Type: "response.mcp_list_tools." + state, OutputIndex: &index, ItemID: id})
}

// FileSearch says how far a search of files is: "in_progress", "searching" or "completed".
func (s *Stream) FileSearch(state string, index int, id string) error {
	return s.emit(event{Type: "response.file_search_call." + state, OutputIndex: &index, ItemID: id})
}

// ArgumentText is what the wire shows of a call's arguments: a garbled text as it was written.
func ArgumentText(raw json.RawMessage) string {
	var garbled string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &garbled) == nil {
		return garbled
	}
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}

// MaxNumber is the largest sequence number that JavaScript holds exactly.
const MaxNumber = math.MaxInt64 >> 10

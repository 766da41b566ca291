package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// event has the members of all events that matter; each event sets some.
type event struct {
	Type    string          `json:"type"`
	Index   int             `json:"index"`
	Message *reply          `json:"message"`
	Block   block           `json:"content_block"`
	Delta   delta           `json:"delta"`
	Usage   *usage          `json:"usage"`
	Error   *upstream.Fault `json:"error"`
}

// reply is a whole message, of which a stream begins with an empty one.
type reply struct {
	Type    string          `json:"type"`
	Model   string          `json:"model"`
	Content []block         `json:"content"`
	Stop    string          `json:"stop_reason"`
	Details *details        `json:"stop_details"`
	Usage   *usage          `json:"usage"`
	Error   *upstream.Fault `json:"error"`
}

type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
}

type delta struct {
	Type      string   `json:"type"`
	Text      string   `json:"text"`
	Thinking  string   `json:"thinking"`
	Signature string   `json:"signature"`
	Partial   string   `json:"partial_json"`
	Stop      string   `json:"stop_reason"` // of message_delta
	Details   *details `json:"stop_details"`
}

type details struct {
	Explanation string `json:"explanation"`
}

// usage counts are cumulative; input_tokens has neither what was read from a cache nor what was written.
type usage struct {
	Input   *int64 `json:"input_tokens"`
	Read    *int64 `json:"cache_read_input_tokens"`
	Written *int64 `json:"cache_creation_input_tokens"`
	Output  *int64 `json:"output_tokens"`
	Tier    string `json:"service_tier"`
	Details *struct {
		Thinking *int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// declined is said where a refusal comes without words. What was said before it is cut off, and no refusal.
const declined = "The model declined to answer."

// decoder reads the events of a message.
type decoder struct {
	out     *upstream.Output
	answer  string        // the tool whose arguments are the message; "": none
	slots   []*part       // in their order
	byIndex map[int]*part // the upstream's index → its block
	usage   *stead.Usage  // nil until the upstream has said
	input   [3]int64      // plain, read, written
	name    string        // the model that answers
	stop    string        // stop_reason
	excuse  string        // what the upstream says of a refusal
	ended   bool          // message_stop
}

// part is a block in the making.
type part struct {
	*upstream.Slot
	signature string
	answer    bool // the call that stands for the output format: its arguments are a message
}

func newDecoder(out *upstream.Output, answer string) *decoder {
	return &decoder{out: out, answer: answer, byIndex: map[int]*part{}}
}

// Complete implements upstream.Decoder: a stop reason says as much as message_stop.
func (d *decoder) Complete() bool { return d.ended || d.stop != "" }

// Event implements upstream.Decoder.
func (d *decoder) Event(ev upstream.Event) (bool, *model.Error) {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 {
		return false, nil
	}
	var e event
	if err := upstream.Unmarshal(data, &e); err != nil {
		return false, err
	}
	if e.Type == "" {
		e.Type = ev.Name
	}
	switch e.Type {
	case "message_start":
		if e.Message != nil {
			d.name = e.Message.Model
			d.count(e.Message.Usage)
		}
	case "content_block_start":
		d.begin(e.Index, e.Block)
	case "content_block_delta":
		d.piece(e.Index, e.Delta)
	case "content_block_stop":
		d.end(d.byIndex[e.Index], true)
	case "message_delta":
		d.count(e.Usage)
		if e.Delta.Stop != "" {
			d.stopped(e.Delta.Stop, e.Delta.Details)
		}
	case "message_stop":
		d.ended = true
	case "error":
		if e.Error == nil {
			e.Error = &upstream.Fault{}
		}
		return false, upstream.StreamError(*e.Error, known(*e.Error))
	}
	return d.ended || d.out.Stopped(), nil
}

// Document implements upstream.Decoder: a server that does not stream.
func (d *decoder) Document(data []byte) *model.Error {
	var r reply
	if err := upstream.Unmarshal(data, &r); err != nil {
		return err
	}
	if r.Error != nil {
		return upstream.StreamError(*r.Error, known(*r.Error))
	}
	if r.Content == nil && r.Stop == "" {
		return upstream.Broken(nil)
	}
	d.name = r.Model
	d.count(r.Usage)
	d.stopped(r.Stop, r.Details)
	for i, b := range r.Content {
		d.begin(i, b)
		d.end(d.byIndex[i], d.whole())
	}
	return nil
}

func (d *decoder) stopped(reason string, why *details) {
	d.stop = reason
	if why != nil {
		d.excuse = why.Explanation
	}
}

// begin opens a block. Kinds that nobody asked for, such as tools of the provider, are passed over.
func (d *decoder) begin(index int, b block) {
	p := &part{}
	switch b.Type {
	case "text":
		p.Slot = upstream.NewSlot(stead.ItemMessage)
		d.out.Say(p.Slot, b.Text)
	case "thinking":
		p.Slot = upstream.NewSlot(stead.ItemReasoning)
		d.out.Think(p.Slot, 0, b.Thinking)
		p.signature = b.Signature
	case "redacted_thinking":
		p.Slot = upstream.NewSlot(stead.ItemReasoning)
		p.Sealed = sealedRedacted + "." + b.Data
	case "tool_use":
		p.answer = d.answer != "" && b.Name == d.answer
		p.Slot = upstream.NewSlot(stead.ItemFunctionCall)
		if p.answer {
			p.Kind = stead.ItemMessage
		}
		p.CallID, p.Name = b.ID, b.Name
		if upstream.IsObject(b.Input) && string(bytes.TrimSpace(b.Input)) != "{}" { // streams begin with an empty one
			d.arguments(p, string(b.Input))
		}
	default:
		return
	}
	d.slots = append(d.slots, p)
	d.byIndex[index] = p
}

func (d *decoder) arguments(p *part, text string) {
	if p.answer {
		d.out.Say(p.Slot, text)
		return
	}
	p.Args.WriteString(text)
}

func (d *decoder) piece(index int, e delta) {
	p := d.byIndex[index]
	if p == nil {
		return
	}
	switch {
	case e.Text != "" && p.Kind == stead.ItemMessage:
		d.out.Say(p.Slot, e.Text)
	case e.Thinking != "" && p.Kind == stead.ItemReasoning:
		d.out.Think(p.Slot, 0, e.Thinking)
	case e.Signature != "":
		p.signature += e.Signature
	case e.Partial != "":
		d.arguments(p, e.Partial)
	}
}

// end finishes a block. An empty text between calls is no message, but for the answer.
func (d *decoder) end(p *part, whole bool) {
	if p == nil || p.Kind == stead.ItemMessage && p.Said() == "" && !p.answer {
		return
	}
	if p.signature != "" {
		p.Sealed = sealedThinking + "." + p.signature
	}
	d.out.Close(p.Slot, whole)
}

func (d *decoder) count(u *usage) {
	if u == nil {
		return
	}
	if d.usage == nil {
		d.usage = &stead.Usage{}
	}
	for i, n := range []*int64{u.Input, u.Read, u.Written} {
		if n != nil {
			d.input[i] = model.Tokens(*n)
		}
	}
	d.out.Served(u.Tier)
	if u.Output != nil {
		d.usage.OutputTokens = *u.Output
	}
	if u.Details != nil && u.Details.Thinking != nil {
		d.usage.ReasoningTokens = *u.Details.Thinking
	}
	d.usage.CachedTokens, d.usage.CacheWriteTokens = d.input[1], d.input[2]
	d.usage.InputTokens = d.input[0] + d.input[1] + d.input[2]
	d.out.Told(d.usage)
}

// whole reports whether the answer ended by itself.
func (d *decoder) whole() bool {
	switch d.stop {
	case "max_tokens", "model_context_window_exceeded", "refusal":
		return false
	}
	return true
}

// Finish implements upstream.Decoder.
func (d *decoder) Finish() {
	for _, p := range d.slots {
		d.end(p, d.whole())
	}
	finish := model.FinishStop // end_turn, stop_sequence, tool_use, pause_turn
	switch d.stop {
	case "max_tokens", "model_context_window_exceeded":
		finish = model.FinishLength
	case "refusal":
		finish = model.FinishRefusal
		d.out.Decline(cmp.Or(d.excuse, declined))
	}
	var total *stead.Usage
	if d.usage != nil {
		total = model.Sane(*d.usage)
	}
	d.out.Done(finish, total, d.name)
}

package bedrock

import (
	"encoding/base64"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// piece has the members of all events that matter; each event sets some.
type piece struct {
	Index int `json:"contentBlockIndex"`
	Start struct {
		ToolUse *toolUse `json:"toolUse"`
	} `json:"start"`
	Delta struct {
		Text      string     `json:"text"`
		ToolUse   *toolInput `json:"toolUse"`
		Reasoning *thought   `json:"reasoningContent"`
	} `json:"delta"`
	Stop  string `json:"stopReason"`
	Usage *usage `json:"usage"`
	Tier  tier   `json:"serviceTier"` // of metadata
}

// tier is the service tier that was served (AWS API, ConverseStreamMetadataEvent).
type tier struct {
	Type string `json:"type"`
}

type toolUse struct {
	ID    string          `json:"toolUseId"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"` // of a whole reply
}

type toolInput struct {
	Input string `json:"input"`
}

// thought is a piece of reasoning; of a whole reply its text is one level deeper.
type thought struct {
	Text      string `json:"text"`
	Signature string `json:"signature"`
	Redacted  []byte `json:"redactedContent"`
	Whole     *struct {
		Text      string `json:"text"`
		Signature string `json:"signature"`
	} `json:"reasoningText"`
}

// usage has neither what was read from a cache nor what was written to it in inputTokens.
type usage struct {
	Input   int64 `json:"inputTokens"`
	Output  int64 `json:"outputTokens"`
	Read    int64 `json:"cacheReadInputTokens"`
	Written int64 `json:"cacheWriteInputTokens"`
}

// reply is a whole answer, of Converse.
type reply struct {
	Output struct {
		Message *struct {
			Content []struct {
				Text      string   `json:"text"`
				ToolUse   *toolUse `json:"toolUse"`
				Reasoning *thought `json:"reasoningContent"`
			} `json:"content"`
		} `json:"message"`
	} `json:"output"`
	Stop  string `json:"stopReason"`
	Usage *usage `json:"usage"`
	Tier  tier   `json:"serviceTier"`
}

// What is said of a refusal, since the wire has no words for one. A guardrail's own words, which its owner
// wrote, come as the model's text.
const (
	declined = "The model declined to answer."
	guarded  = "A guardrail stopped the answer."
	filtered = "The provider's content filter stopped the answer."
)

// decoder reads the events of a message.
type decoder struct {
	out     *upstream.Output
	name    string // the wire does not say which model answers
	answer  string // the tool whose arguments are the message; "": none
	slots   []*block
	byIndex map[int]*block // the upstream's index → its block
	usage   *usage         // nil until the upstream has said
	stop    string         // stopReason
}

// block is a block in the making.
type block struct {
	*upstream.Slot
	signature string
	redacted  []byte
	answer    bool // the call that stands for the output format: its arguments are a message
}

func newDecoder(out *upstream.Output, req model.Request) *decoder {
	return &decoder{out: out, name: req.Model, answer: answerTool(req), byIndex: map[int]*block{}}
}

// Complete implements upstream.Decoder: usage comes behind the end, and may be lost.
func (d *decoder) Complete() bool { return d.stop != "" }

// Event implements upstream.Decoder.
func (d *decoder) Event(ev upstream.Event) (bool, *model.Error) {
	if ev.Fault {
		f := fault(ev.Data, ev.Name)
		return false, upstream.StreamError(f, known(f))
	}
	var p piece
	if err := upstream.Unmarshal(ev.Data, &p); err != nil {
		return false, err
	}
	switch ev.Name {
	case "contentBlockStart":
		if u := p.Start.ToolUse; u != nil {
			d.call(p.Index, u)
		}
	case "contentBlockDelta":
		d.piece(p)
	case "contentBlockStop":
		d.end(d.byIndex[p.Index], true)
	case "messageStop":
		d.stop = p.Stop
		if err := malformed(p.Stop); err != nil {
			return false, err
		}
	case "metadata":
		d.usage = p.Usage
		d.out.Served(p.Tier.Type)
		return d.Complete() || d.out.Stopped(), nil
	}
	return d.out.Stopped(), nil
}

// malformed is an answer that the provider itself could not read.
func malformed(stop string) *model.Error {
	if stop != "malformed_model_output" && stop != "malformed_tool_use" {
		return nil
	}
	return &model.Error{Code: model.CodeServer, Message: "the model's answer was malformed", Retry: true, Upstream: stop}
}

// Document implements upstream.Decoder: a gateway that does not stream.
func (d *decoder) Document(data []byte) *model.Error {
	var r reply
	if err := upstream.Unmarshal(data, &r); err != nil {
		return err
	}
	if r.Output.Message == nil || r.Stop == "" {
		return upstream.Broken(nil)
	}
	d.stop, d.usage = r.Stop, r.Usage
	d.out.Served(r.Tier.Type)
	if err := malformed(r.Stop); err != nil {
		return err
	}
	for i, c := range r.Output.Message.Content {
		p := piece{Index: i}
		p.Delta.Text, p.Delta.Reasoning = c.Text, c.Reasoning
		switch {
		case c.ToolUse != nil:
			d.call(i, c.ToolUse)
			p.Delta.ToolUse = &toolInput{string(c.ToolUse.Input)}
		case c.Reasoning != nil && c.Reasoning.Whole != nil:
			p.Delta.Reasoning.Text, p.Delta.Reasoning.Signature = c.Reasoning.Whole.Text, c.Reasoning.Whole.Signature
		}
		d.piece(p)
		d.end(d.byIndex[i], d.whole())
	}
	return nil
}

// open is the block of an index. Texts and reasoning have no beginning on this wire but their first delta.
func (d *decoder) open(index int, kind stead.ItemType) *block {
	b := d.byIndex[index]
	if b == nil {
		b = &block{Slot: upstream.NewSlot(kind)}
		d.slots = append(d.slots, b)
		d.byIndex[index] = b
	}
	return b
}

func (d *decoder) call(index int, u *toolUse) {
	b := d.open(index, stead.ItemFunctionCall)
	if d.answer != "" && u.Name == d.answer && b.Kind == stead.ItemFunctionCall {
		b.answer, b.Kind = true, stead.ItemMessage
	}
	b.CallID, b.Name = u.ID, u.Name
}

func (d *decoder) piece(p piece) {
	switch {
	case p.Delta.ToolUse != nil:
		b := d.open(p.Index, stead.ItemFunctionCall)
		if b.answer {
			d.out.Say(b.Slot, p.Delta.ToolUse.Input)
		} else if b.Kind == stead.ItemFunctionCall {
			b.Args.WriteString(p.Delta.ToolUse.Input)
		}
	case p.Delta.Reasoning != nil:
		b := d.open(p.Index, stead.ItemReasoning)
		if b.Kind != stead.ItemReasoning {
			return
		}
		d.out.Think(b.Slot, 0, p.Delta.Reasoning.Text)
		b.signature += p.Delta.Reasoning.Signature
		b.redacted = append(b.redacted, p.Delta.Reasoning.Redacted...)
	case p.Delta.Text != "":
		if b := d.open(p.Index, stead.ItemMessage); b.Kind == stead.ItemMessage {
			d.out.Say(b.Slot, p.Delta.Text)
		}
	}
}

// end finishes a block. An empty text between calls is no message, but for the answer.
func (d *decoder) end(b *block, whole bool) {
	if b == nil || b.Kind == stead.ItemMessage && b.Said() == "" && !b.answer {
		return
	}
	switch {
	case b.signature != "":
		b.Sealed = sealedThinking + "." + b.signature
	case len(b.redacted) > 0:
		b.Sealed = sealedRedacted + "." + base64.StdEncoding.EncodeToString(b.redacted)
	}
	d.out.Close(b.Slot, whole)
}

// whole reports whether the answer ended by itself.
func (d *decoder) whole() bool {
	finish := d.finish()
	return finish == model.FinishStop || finish == model.FinishToolCalls
}

// finish maps the stop reasons.
func (d *decoder) finish() model.Finish {
	switch d.stop {
	case "max_tokens", "model_context_window_exceeded":
		return model.FinishLength
	case "guardrail_intervened", "content_filtered":
		return model.FinishFilter
	case "refusal":
		return model.FinishRefusal
	case "tool_use":
		return model.FinishToolCalls
	}
	return model.FinishStop // end_turn, stop_sequence, and what is new
}

// Finish implements upstream.Decoder.
func (d *decoder) Finish() {
	for _, b := range d.slots {
		d.end(b, d.whole())
	}
	switch d.stop {
	case "refusal":
		d.out.Decline(declined)
	case "guardrail_intervened":
		d.out.Decline(guarded)
	case "content_filtered":
		d.out.Decline(filtered)
	}
	var total *stead.Usage
	if u := d.usage; u != nil {
		read, written := model.Tokens(u.Read), model.Tokens(u.Written)
		total = model.Sane(stead.Usage{InputTokens: model.Tokens(u.Input) + read + written, CachedTokens: read, CacheWriteTokens: written, OutputTokens: u.Output})
	}
	d.out.Done(d.finish(), total, d.name)
}

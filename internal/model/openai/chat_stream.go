package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// chatChunk is one event of a stream, and the whole reply of a server that does not stream.
type chatChunk struct {
	Model   string          `json:"model"`
	Tier    string          `json:"service_tier"`
	Choices []chatChoice    `json:"choices"`
	Usage   *chatUsage      `json:"usage"`
	Error   *upstream.Fault `json:"error"`
}

type chatChoice struct {
	Index   int        `json:"index"`
	Delta   *chatDelta `json:"delta"`
	Message *chatDelta `json:"message"` // of a whole reply
	Finish  string     `json:"finish_reason"`
}

type chatDelta struct {
	Content          json.RawMessage `json:"content"` // a string, or a list of parts
	Refusal          string          `json:"refusal"`
	ReasoningContent json.RawMessage `json:"reasoning_content"` // the names: chat_reasoning.go
	Reasoning        json.RawMessage `json:"reasoning"`
	ReasoningDetails json.RawMessage `json:"reasoning_details"`
	ToolCalls        []chatToolCall  `json:"tool_calls"`
	FunctionCall     *chatFunction   `json:"function_call"` // before tools
}

type chatToolCall struct {
	Index    *int         `json:"index"`
	ID       string       `json:"id"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"` // a string, or an object where that belongs
}

type chatUsage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	PromptDetails struct {
		Cached  int64 `json:"cached_tokens"`
		Written int64 `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// chatDecoder reads the chunks of a completion. Only the first choice counts; there is one.
type chatDecoder struct {
	out     *upstream.Output
	message *upstream.Slot // nil until there is text
	thought *upstream.Slot // open reasoning, nil when there is none
	field   string         // that the open reasoning comes in; "" for a part of the content
	details []detail       // that are not sealed yet
	calls   []*chatCallSlot
	byIndex map[int]*chatCallSlot // the upstream's index → the newest call with it
	reason  string
	done    bool // [DONE] was there
	name    string
	usage   *stead.Usage
}

type chatCallSlot struct {
	*upstream.Slot
	id string // as the upstream gave it
}

func newChatDecoder(out *upstream.Output) *chatDecoder {
	return &chatDecoder{out: out, byIndex: map[int]*chatCallSlot{}}
}

// Complete is also true without [DONE]: a finish reason says as much.
func (d *chatDecoder) Complete() bool { return d.done || d.reason != "" }

func (d *chatDecoder) Event(ev upstream.Event) (bool, *model.Error) {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 {
		return false, nil
	}
	if string(data) == "[DONE]" {
		d.done = true
		return true, nil
	}
	var c chatChunk
	if err := upstream.Unmarshal(data, &c); err != nil {
		// Rubbish behind the end does not undo it.
		if d.Complete() {
			return true, nil
		}
		return false, err
	}
	if c.Error == nil && ev.Name == "error" {
		f := parseFault(data)
		c.Error = &f
	}
	if err := d.chunk(&c); err != nil {
		return false, err
	}
	return d.out.Stopped(), nil
}

func (d *chatDecoder) Document(data []byte) *model.Error {
	var c chatChunk
	if err := upstream.Unmarshal(data, &c); err != nil {
		return err
	}
	if err := d.chunk(&c); err != nil {
		return err
	}
	if len(c.Choices) == 0 {
		return upstream.Broken(nil)
	}
	if d.reason == "" {
		d.reason = "stop" // the document is whole, whatever it leaves out
	}
	return nil
}

func (d *chatDecoder) chunk(c *chatChunk) *model.Error {
	if c.Error != nil {
		return streamFault(*c.Error)
	}
	if c.Model != "" {
		d.name = c.Model
	}
	d.out.Served(c.Tier)
	if u := c.Usage; u != nil {
		d.usage = model.Sane(stead.Usage{InputTokens: u.Prompt, CachedTokens: u.PromptDetails.Cached, CacheWriteTokens: u.PromptDetails.Written,
			OutputTokens: u.Completion, ReasoningTokens: u.CompletionDetails.Reasoning})
		d.out.Told(d.usage)
	}
	for i := range c.Choices {
		choice := &c.Choices[i]
		if choice.Index != 0 || d.reason != "" {
			continue // other choices, and what repeats behind the end
		}
		if choice.Delta == nil {
			choice.Delta = choice.Message
		}
		if choice.Delta != nil {
			d.delta(choice.Delta)
		}
		d.reason = choice.Finish
	}
	if d.reason == "error" { // OpenRouter: the upstream's upstream failed
		return streamFault(upstream.Fault{})
	}
	return nil
}

func (d *chatDecoder) delta(c *chatDelta) {
	thought, field := upstream.Word(c.ReasoningContent), thoughtContent
	if thought == "" {
		thought, field = upstream.Word(c.Reasoning), thoughtPlain // some servers send both, alike
	}
	text, aloud := chatText(c.Content)
	if aloud != "" {
		field = ""
	}
	d.think(thought+aloud, field)
	d.details = addDetails(d.details, c.ReasoningDetails)
	if text+c.Refusal != "" {
		d.endThought(true)
		if d.message == nil {
			d.message = upstream.NewSlot(stead.ItemMessage)
		}
		d.out.Say(d.message, text)
		d.out.Refuse(d.message, c.Refusal)
	}
	for i := range c.ToolCalls {
		d.endThought(true)
		d.call(&c.ToolCalls[i])
	}
	if c.FunctionCall != nil {
		d.endThought(true)
		zero := 0
		d.call(&chatToolCall{Index: &zero, Function: *c.FunctionCall})
	}
}

// think adds to the thoughts, which came in a field, "" for a part of the content.
func (d *chatDecoder) think(text, field string) {
	if text == "" {
		return
	}
	if d.thought == nil {
		if d.message != nil { // one item after the other
			d.out.Close(d.message, true)
			d.message = nil
		}
		d.thought, d.field = upstream.NewSlot(stead.ItemReasoning), field
	}
	d.out.Think(d.thought, 0, text)
}

// chatText reads content that is a string or a list of parts; Mistral puts thoughts among them.
func chatText(raw json.RawMessage) (text, thought string) {
	var parts []struct {
		Type     string          `json:"type"`
		Text     string          `json:"text"`
		Thinking json.RawMessage `json:"thinking"`
	}
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &parts) != nil {
		return upstream.Word(raw), ""
	}
	var t, th strings.Builder
	for _, p := range parts {
		t.WriteString(p.Text)
		if len(p.Thinking) > 0 {
			inner, _ := chatText(p.Thinking)
			th.WriteString(inner)
		}
	}
	return t.String(), th.String()
}

// call adds a fragment to the call that it belongs to.
func (d *chatDecoder) call(c *chatToolCall) {
	s := d.callFor(c)
	if s == nil {
		s = &chatCallSlot{Slot: upstream.NewSlot(stead.ItemFunctionCall)}
		d.calls = append(d.calls, s)
	}
	if c.Index != nil {
		d.byIndex[*c.Index] = s
	}
	if s.id == "" {
		s.id, s.CallID = c.ID, c.ID
	}
	if s.Name == "" {
		s.Name = c.Function.Name
	}
	if upstream.IsObject(c.Function.Arguments) {
		s.Args.Write(c.Function.Arguments)
		return
	}
	s.Args.WriteString(upstream.Word(c.Function.Arguments))
}

// callFor finds the call that a fragment continues; nil when it begins one. The index decides, as
// far as it can be trusted: some servers leave it out, and some say 0 of every call.
func (d *chatDecoder) callFor(c *chatToolCall) *chatCallSlot {
	var s *chatCallSlot
	if c.Index != nil {
		s = d.byIndex[*c.Index]
	} else {
		for _, known := range d.calls {
			if c.ID != "" && known.id == c.ID {
				return known
			}
		}
		if len(d.calls) > 0 {
			s = d.calls[len(d.calls)-1]
		}
	}
	if s == nil || c.Function.Name == "" || s.Name == "" {
		return s // a continuation never names the function for the first time
	}
	if c.ID != "" && s.id != "" && c.ID != s.id {
		return nil
	}
	if c.ID == "" && upstream.IsObject([]byte(s.Args.String())) {
		return nil // a name, and the call before is whole
	}
	return s
}

func (d *chatDecoder) Finish() {
	finish := model.FinishStop
	switch d.reason {
	case "length", "max_tokens":
		finish = model.FinishLength
	case "content_filter":
		finish = model.FinishFilter
	}
	whole := finish == model.FinishStop
	d.endDetails(whole)
	if d.message != nil {
		d.out.Close(d.message, whole)
	}
	for _, s := range d.calls {
		d.out.Close(s.Slot, whole)
	}
	d.out.Done(finish, d.usage, d.name)
}

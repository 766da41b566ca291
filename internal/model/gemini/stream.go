package gemini

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// chunk is one event, and the whole reply of a server that does not stream.
type chunk struct {
	Candidates []candidate `json:"candidates"`
	Feedback   *struct {
		Block string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage *usage `json:"usageMetadata"`
	Model string `json:"modelVersion"`
	Error *fault `json:"error"`
}

type candidate struct {
	Index   int `json:"index"`
	Content struct {
		Parts []part `json:"parts"`
	} `json:"content"`
	Finish string `json:"finishReason"`
}

type part struct {
	Text      string `json:"text"`
	Thought   bool   `json:"thought"`
	Signature string `json:"thoughtSignature"`
	Call      *struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	} `json:"functionCall"`
}

// usage counts are those of the whole call so far. What was thought is not in candidatesTokenCount.
type usage struct {
	Prompt   int64 `json:"promptTokenCount"`
	ToolUse  int64 `json:"toolUsePromptTokenCount"`
	Cached   int64 `json:"cachedContentTokenCount"`
	Answer   int64 `json:"candidatesTokenCount"`
	Thoughts int64 `json:"thoughtsTokenCount"`
}

// decoder reads the chunks of an answer. Only the first candidate counts; there is one.
type decoder struct {
	out     *upstream.Output
	answer  string         // the function whose arguments are the message; "": none
	message *upstream.Slot // nil when no text is open
	thought *upstream.Slot // nil when no thought is open
	usage   *stead.Usage
	name    string
	reason  string // why it ended
	blocked string // why not even that was begun; "" when it was
}

func newDecoder(out *upstream.Output, answer string) *decoder {
	return &decoder{out: out, answer: answer}
}

// Complete implements upstream.Decoder.
func (d *decoder) Complete() bool { return d.reason != "" || d.blocked != "" }

// Event implements upstream.Decoder.
func (d *decoder) Event(ev upstream.Event) (bool, *model.Error) {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 {
		return false, nil
	}
	var c chunk
	if err := upstream.Unmarshal(data, &c); err != nil {
		return d.Complete(), onlyBefore(d.Complete(), err) // rubbish behind the end does not undo it
	}
	return d.out.Stopped(), d.chunk(&c)
}

func onlyBefore(ended bool, err *model.Error) *model.Error {
	if ended {
		return nil
	}
	return err
}

// Document implements upstream.Decoder: one chunk, or the list of them that comes without alt=sse.
func (d *decoder) Document(data []byte) *model.Error {
	var list []chunk
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		if err := upstream.Unmarshal(data, &list); err != nil {
			return err
		}
	} else {
		list = make([]chunk, 1)
		if err := upstream.Unmarshal(data, &list[0]); err != nil {
			return err
		}
	}
	for i := range list {
		if err := d.chunk(&list[i]); err != nil {
			return err
		}
	}
	if !d.Complete() {
		return upstream.Broken(nil)
	}
	return nil
}

func (d *decoder) chunk(c *chunk) *model.Error {
	if c.Model != "" {
		d.name = c.Model
	}
	if u := c.Usage; u != nil {
		d.usage = model.Sane(stead.Usage{InputTokens: model.Tokens(u.Prompt) + model.Tokens(u.ToolUse), CachedTokens: u.Cached,
			OutputTokens: model.Tokens(u.Answer) + model.Tokens(u.Thoughts), ReasoningTokens: u.Thoughts})
		d.out.Told(d.usage)
	}
	if c.Error != nil {
		f := c.Error.common()
		return upstream.StreamError(f, c.Error.known())
	}
	if c.Feedback != nil && c.Feedback.Block != "" {
		d.blocked = c.Feedback.Block
	}
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if k.Index != 0 || d.reason != "" {
			continue // other candidates, and what repeats behind the end
		}
		for j := range k.Content.Parts {
			d.part(&k.Content.Parts[j])
		}
		if k.Finish != "FINISH_REASON_UNSPECIFIED" {
			d.reason = k.Finish
		}
		if err := garbled(d.reason); err != nil {
			return err
		}
	}
	return nil
}

// garbled is an end that is no answer: the model broke a rule of the wire, and may not do so again.
func garbled(reason string) *model.Error {
	switch reason {
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
		"MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "OTHER", "IMAGE_OTHER":
		return &model.Error{Code: model.CodeServer, Retry: true, Message: "the model's answer is unusable: " + reason}
	}
	return nil
}

func (d *decoder) part(p *part) {
	switch {
	case p.Call != nil:
		d.call(p)
	case p.Thought:
		d.closeMessage(true)
		if d.thought == nil {
			d.thought = upstream.NewSlot(stead.ItemReasoning)
		}
		d.out.Think(d.thought, 0, p.Text)
		if p.Signature != "" {
			d.thought.Sealed = sealedThought + "." + p.Signature
			d.closeThought(true)
		}
	case p.Text != "" || p.Signature != "":
		d.text(p)
	}
}

func (d *decoder) text(p *part) {
	d.closeThought(true)
	if p.Text != "" {
		if d.message == nil {
			d.message = upstream.NewSlot(stead.ItemMessage)
		}
		d.out.Say(d.message, p.Text)
	}
	if p.Signature != "" {
		d.closeMessage(true)
		d.thought = upstream.NewSlot(stead.ItemReasoning)
		d.thought.Sealed = sealedText + strconv.Itoa(len(p.Text)) + "." + p.Signature
		d.closeThought(true)
	}
}

// call is a function call, whole. Its signature goes into the thought before it, which need not go back.
func (d *decoder) call(p *part) {
	d.closeMessage(true)
	if d.answer != "" && p.Call.Name == d.answer {
		d.text(&part{Text: string(p.Call.Args)}) // it goes back as a text, which takes no signature of a call
		d.closeMessage(true)
		return
	}
	if p.Signature != "" {
		if d.thought == nil {
			d.thought = upstream.NewSlot(stead.ItemReasoning)
		}
		d.thought.Sealed = sealedCall + "." + p.Signature
	}
	d.closeThought(true)
	s := upstream.NewSlot(stead.ItemFunctionCall)
	s.CallID, s.Name = p.Call.ID, p.Call.Name
	s.Args.Write(p.Call.Args)
	d.out.Close(s, true)
}

func (d *decoder) closeMessage(whole bool) {
	if d.message != nil {
		d.out.Close(d.message, whole)
		d.message = nil
	}
}

func (d *decoder) closeThought(whole bool) {
	if d.thought != nil {
		d.out.Close(d.thought, whole)
		d.thought = nil
	}
}

// Finish implements upstream.Decoder.
func (d *decoder) Finish() {
	finish := model.FinishFilter // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE and their like
	switch {
	case d.blocked != "":
	case d.reason == "STOP":
		finish = model.FinishStop
	case d.reason == "MAX_TOKENS":
		finish = model.FinishLength
	}
	d.closeThought(finish == model.FinishStop)
	d.closeMessage(finish == model.FinishStop)
	if finish == model.FinishFilter {
		d.out.Decline("The provider's safety system stopped the answer: " + cmp.Or(d.blocked, d.reason) + ".")
	}
	d.out.Done(finish, d.usage, d.name)
}

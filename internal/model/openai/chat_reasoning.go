package openai

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// The fields in which servers of this dialect tell what the model thought. A reasoning item is sealed
// with the name of the one that it came in, a dot and, of details, their JSON: so that it goes back
// as it came, and an upstream that tells nothing never meets a field that it does not know. The text
// of the other two is the item's summary.
//
// Sources: api-docs.deepseek.com/guides/thinking_mode (a turn that calls tools is refused with 400
// when reasoning_content is not passed back; anomalyco/opencode#24722),
// openrouter.ai/docs/use-cases/reasoning-tokens (reasoning_details go back as they came).
const (
	thoughtContent = "reasoning_content" // DeepSeek, llama.cpp
	thoughtPlain   = "reasoning"         // Ollama, newer vLLM
	thoughtDetails = "reasoning_details" // OpenRouter
)

// detail is an entry of reasoning_details.
type detail map[string]any

// addDetails puts the pieces of a stream together. Texts and summaries grow by pieces of the same
// index; what is encrypted comes whole.
func addDetails(whole []detail, raw json.RawMessage) []detail {
	var pieces []detail
	if json.Unmarshal(raw, &pieces) != nil {
		return whole // another shape than we know: it cannot be put together again
	}
	for _, piece := range pieces {
		if last := len(whole) - 1; last >= 0 && whole[last].grows(piece) {
			whole[last].grow(piece)
		} else {
			whole = append(whole, maps.Clone(piece))
		}
	}
	return whole
}

func (d detail) grows(by detail) bool {
	return d["type"] == by["type"] && d["index"] == by["index"] && d["type"] != "reasoning.encrypted"
}

func (d detail) grow(by detail) {
	for key, value := range by {
		more, text := value.(string)
		switch {
		case value == nil:
		case text && (key == "text" || key == "summary"):
			before, _ := d[key].(string)
			d[key] = before + more
		default:
			d[key] = value // the signature comes last
		}
	}
}

// seal says as what a thought goes back; one that was a part of the content does not.
func (d *chatDecoder) seal(s *upstream.Slot) {
	if d.field != "" {
		s.Sealed = d.field + "."
	}
	if len(d.details) == 0 {
		return
	}
	whole, err := json.Marshal(d.details)
	if err != nil {
		return // cannot be: it was JSON
	}
	s.Sealed, d.details = thoughtDetails+"."+string(whole), nil
}

func (d *chatDecoder) endThought(whole bool) {
	if d.thought != nil {
		d.seal(d.thought)
		d.out.Close(d.thought, whole)
		d.thought = nil
	}
}

// endDetails closes what came without a text, or behind it, as the signatures of calls do.
func (d *chatDecoder) endDetails(whole bool) {
	d.endThought(whole)
	if len(d.details) > 0 {
		s := upstream.NewSlot(stead.ItemReasoning)
		d.seal(s)
		d.out.Close(s, whole)
	}
}

// thinking are the fields that go back with an assistant's message.
type thinking struct {
	texts   map[string]string // field → text
	details []json.RawMessage
}

// add takes a reasoning item that this provider sealed.
func (t *thinking) add(it stead.Item) {
	field, sealed, _ := strings.Cut(it.Encrypted.Inline, ".")
	switch field {
	case thoughtContent, thoughtPlain:
		if t.texts == nil {
			t.texts = map[string]string{}
		}
		for _, s := range it.Summary {
			t.texts[field] += s.Inline
		}
	case thoughtDetails:
		var list []json.RawMessage
		if json.Unmarshal([]byte(sealed), &list) == nil {
			t.details = append(t.details, list...)
		}
	}
}

// put moves what there is into the message that it led to.
func (t *thinking) put(msg fields) {
	for field, text := range t.texts {
		before, _ := msg[field].(string)
		msg[field] = before + text
	}
	if len(t.details) > 0 {
		before, _ := msg[thoughtDetails].([]json.RawMessage)
		msg[thoughtDetails] = append(before, t.details...)
	}
	*t = thinking{}
}

// calling tells of each item whether calls are made in its turn, which is what stands between two
// messages of others than the model. Thoughts of other turns need not go back, and some models of
// DeepSeek refuse them.
func calling(items []stead.Item) []bool {
	out := make([]bool, len(items))
	begin, calls := 0, false
	end := func(at int) {
		for i := begin; i < at; i++ {
			out[i] = calls
		}
		begin, calls = at, false
	}
	for i := range items {
		switch {
		case items[i].Type == stead.ItemFunctionCall:
			calls = true
		case items[i].Type == stead.ItemMessage && items[i].Role != stead.RoleAssistant:
			end(i)
		}
	}
	end(len(items))
	return out
}

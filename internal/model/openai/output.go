package openai

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// output hands deltas on and keeps the contract's promises: indexes without gaps, items that are
// the sum of their deltas, call ids that are new in the conversation.
type output struct {
	provider string
	yield    func(model.Delta, error) bool
	stopped  bool  // the consumer wants no more
	next     int   // the next output index
	open     *slot // the item that is being streamed; nil when there is none
	taken    map[string]bool
	calls    int // finished calls
	messages int // finished messages
	refused  bool
}

func newOutput(provider string, items []stead.Item, yield func(model.Delta, error) bool) *output {
	taken := map[string]bool{} // call ids of the conversation and of this reply
	for i := range items {
		if items[i].Type == stead.ItemFunctionCall {
			taken[items[i].CallID] = true
		}
	}
	return &output{provider: provider, yield: yield, taken: taken}
}

// slot is an item in the making.
type slot struct {
	kind   stead.ItemType // "" until it is known
	index  int            // in the output; -1 until something was emitted
	done   bool
	text   strings.Builder // message
	parts  [][]byte        // reasoning summary
	callID string
	name   string
	args   strings.Builder
	phase  string
	sealed string // reasoning: what goes back, "ID.CONTENT"

	displaced bool           // done because another item began
	resumed   bool           // goes on after that
	earlier   string         // message: what was said before that
	partOf    map[[2]int]int // reasoning: kind of text and its index → part
}

func newSlot(kind stead.ItemType) *slot { return &slot{kind: kind, index: -1} }

func (o *output) emit(d model.Delta) {
	if !o.stopped && !o.yield(d, nil) {
		o.stopped = true
	}
}

// place gives a slot its index when it first emits. One item is streamed after the other: some
// servers finish all of them at the very end (llama.cpp), so the one before is finished here.
func (o *output) place(s *slot) int {
	if s.index >= 0 {
		return s.index
	}
	if before := o.open; before != nil && !before.done {
		o.close(before, true)
		before.displaced = true
	}
	s.index = o.next
	o.next++
	o.open = s
	return s.index
}

// shut reports whether a slot takes no more text. One that was only displaced goes on as a new item.
func (s *slot) shut() bool {
	if s.displaced {
		s.displaced, s.resumed, s.done, s.index = false, true, false, -1
		s.earlier += s.text.String()
		s.text.Reset()
		s.parts, s.partOf = nil, nil
	}
	return s.done
}

// part numbers the texts of a reasoning item in the order in which they begin.
func (s *slot) part(kind, index int) int {
	if s.partOf == nil || s.displaced {
		s.partOf = map[[2]int]int{}
	}
	key := [2]int{kind, index}
	n, ok := s.partOf[key]
	if !ok {
		n = len(s.partOf)
		s.partOf[key] = n
	}
	return n
}

func (o *output) say(s *slot, text string) {
	if text == "" || s.shut() {
		return
	}
	s.text.WriteString(text)
	o.emit(model.Delta{Kind: model.TextDelta, Index: o.place(s), Text: text})
}

// think adds to a part of the reasoning; a part beyond the last one is a new one.
func (o *output) think(s *slot, part int, text string) {
	if text == "" || s.shut() {
		return
	}
	if part >= len(s.parts) {
		part = len(s.parts)
		s.parts = append(s.parts, nil)
	}
	s.parts[part] = append(s.parts[part], text...)
	o.emit(model.Delta{Kind: model.ReasoningDelta, Index: o.place(s), Part: part, Text: text})
}

// sayRest emits what a whole text has beyond what was streamed of it.
func (o *output) sayRest(s *slot, whole string) {
	if rest, ok := strings.CutPrefix(whole, s.earlier+s.text.String()); ok {
		o.say(s, rest)
	}
}

func (o *output) thinkRest(s *slot, part int, whole string) {
	streamed := ""
	if part < len(s.parts) {
		streamed = string(s.parts[part])
	}
	if rest, ok := strings.CutPrefix(whole, streamed); ok {
		o.think(s, part, rest)
	}
}

// close finishes an item, once. A call that a limit cut off in its middle is dropped: half of its
// arguments must never run.
func (o *output) close(s *slot, whole bool) {
	if s.done {
		return
	}
	status := stead.ItemCompleted
	if !whole {
		status = stead.ItemIncomplete
	}
	item := &stead.Item{Type: s.kind, Status: status}
	switch s.kind {
	case stead.ItemMessage:
		item.Role, item.Phase = stead.RoleAssistant, s.phase
		item.Content = stead.TextContent(stead.ContentOutputText, s.text.String())
		o.messages++
	case stead.ItemReasoning:
		if len(s.parts) == 0 && s.sealed == "" {
			s.done = true
			return
		}
		for i := range s.parts {
			item.Summary = append(item.Summary, stead.NewText(string(s.parts[i])))
		}
		if s.sealed != "" {
			t := stead.NewText(s.sealed)
			item.Encrypted, item.Provider = &t, o.provider
		}
	case stead.ItemFunctionCall:
		args, ok := arguments(s.args.String())
		if !whole && (!ok || s.args.Len() == 0) || s.name == "" {
			s.done = true
			return
		}
		item.Status = stead.ItemCompleted
		item.CallID, item.Name, item.Arguments = o.callID(s.callID), s.name, args
		o.calls++
	default:
		s.done = true
		return
	}
	s.done = true
	o.emit(model.Delta{Kind: model.ItemDone, Index: o.place(s), Item: item})
}

// done emits the end. A complete answer that says nothing is an empty message.
func (o *output) done(finish model.Finish, usage *stead.Usage, name string) {
	if finish == model.FinishStop && o.calls == 0 && o.messages == 0 {
		o.close(newSlot(stead.ItemMessage), true)
	}
	if finish == model.FinishStop || finish == model.FinishToolCalls {
		switch {
		case o.calls > 0:
			finish = model.FinishToolCalls // some servers say "stop" all the same
		case o.refused:
			finish = model.FinishRefusal
		default:
			finish = model.FinishStop
		}
	}
	o.emit(model.Delta{Kind: model.Done, Usage: usage, Finish: finish, Model: name})
}

// callID returns the upstream's id, or a new one where it gave none or has used it before: Ollama
// leaves ids out, and several servers count them from 0 in every reply.
func (o *output) callID(id string) string {
	for id == "" || o.taken[id] {
		b := make([]byte, 12)
		_, _ = rand.Read(b) // never fails
		id = "call_" + hex.EncodeToString(b)
	}
	o.taken[id] = true
	return id
}

// arguments makes of a model's text what an item holds: a JSON object, or, when ok is false, the
// garbled text as a JSON string. No text at all, and null, are an empty object.
func arguments(text string) (raw json.RawMessage, ok bool) {
	trimmed := bytes.TrimSpace([]byte(text))
	if len(trimmed) == 0 || string(trimmed) == "null" {
		return json.RawMessage(emptyObject), true
	}
	if isObject(trimmed) {
		return trimmed, true
	}
	var inner string // some models quote the object once more
	if json.Unmarshal(trimmed, &inner) == nil && isObject([]byte(inner)) {
		return json.RawMessage(strings.TrimSpace(inner)), true
	}
	garbled, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(emptyObject), false // cannot be: strings always marshal
	}
	return garbled, false
}

func isObject(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

package upstream

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Output hands deltas on and keeps the contract's promises: indexes without gaps, items that are
// the sum of their deltas, call ids that are new in the conversation.
type Output struct {
	provider string
	yield    func(model.Delta, error) bool
	stopped  bool  // the consumer wants no more
	next     int   // the next output index
	open     *Slot // the item that is being streamed; nil when there is none
	taken    map[string]bool
	calls    int    // finished calls
	messages int    // finished messages
	tier     string // that was served
	tally    *model.Tally
	refused  bool // the model declined: an answer without calls ends in FinishRefusal
}

// NewOutput returns the output of one call: provider is the name that reasoning items carry, items are
// the conversation so far, and yield is the consumer.
func NewOutput(provider string, items []stead.Item, yield func(model.Delta, error) bool) *Output {
	taken := map[string]bool{} // call ids of the conversation and of this reply
	for i := range items {
		if items[i].Type == stead.ItemFunctionCall {
			taken[items[i].CallID] = true
		}
	}
	return &Output{provider: provider, yield: yield, taken: taken}
}

// Slot is an item in the making. Its texts come by Output's methods, the rest is set by the decoder.
type Slot struct {
	Kind   stead.ItemType  // "" until it is known
	CallID string          // call: as the upstream gave it, may be empty
	Name   string          // call
	Args   strings.Builder // call: the JSON text
	Phase  string          // message
	Sealed string          // reasoning: what goes back, in a form of the adapter's own

	index int // in the output; -1 until something was emitted
	done  bool
	text  strings.Builder // message
	no    bool            // message: the text is a refusal
	parts [][]byte        // reasoning summary

	displaced bool           // done because another item began
	resumed   bool           // goes on after that
	earlier   string         // message: what was said before that
	partOf    map[[2]int]int // reasoning: kind of text and its index → part
}

// NewSlot returns an item of a kind, which may be "" until it is known.
func NewSlot(kind stead.ItemType) *Slot { return &Slot{Kind: kind, index: -1} }

// Closed reports whether the item is finished; one that was only displaced may go on.
func (s *Slot) Closed() bool { return s.done }

// Displaced reports whether the item was finished only because another one began.
func (s *Slot) Displaced() bool { return s.displaced }

// Resumed reports whether the item is what came of one that was displaced.
func (s *Slot) Resumed() bool { return s.resumed }

// Said is the text of the message so far.
func (s *Slot) Said() string { return s.text.String() }

// Stopped reports whether the consumer wants no more.
func (o *Output) Stopped() bool { return o.stopped }

func (o *Output) emit(d model.Delta) {
	if !o.stopped && !o.yield(d, nil) {
		o.stopped = true
	}
}

// place gives a slot its index when it first emits. One item is streamed after the other: some
// servers finish all of them at the very end (llama.cpp), so the one before is finished here.
func (o *Output) place(s *Slot) int {
	if s.index >= 0 {
		return s.index
	}
	if before := o.open; before != nil && !before.done {
		o.Close(before, true)
		before.displaced = true
	}
	s.index = o.next
	o.next++
	o.open = s
	return s.index
}

// shut reports whether a slot takes no more text. One that was only displaced goes on as a new item.
func (s *Slot) shut() bool {
	if s.displaced {
		s.displaced, s.resumed, s.done, s.index = false, true, false, -1
		s.earlier += s.text.String()
		s.text.Reset()
		s.parts, s.partOf = nil, nil
	}
	return s.done
}

// Part numbers the texts of a reasoning item in the order in which they begin.
func (s *Slot) Part(kind, index int) int {
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

// Say adds to a message.
func (o *Output) Say(s *Slot, text string) { o.say(s, text, false) }

// Refuse adds to a message's refusal. Where the message said something else before, it ends there and the
// refusal is a message of its own: a message is one or the other.
func (o *Output) Refuse(s *Slot, text string) { o.say(s, text, true) }

func (o *Output) say(s *Slot, text string, refusal bool) {
	if text == "" || s.shut() {
		return
	}
	if s.no != refusal && s.text.Len() > 0 {
		o.Close(s, true)
		s.displaced, o.open = true, nil
		s.shut()
	}
	s.no, o.refused = refusal, o.refused || refusal
	s.text.WriteString(text)
	o.emit(model.Delta{Kind: model.TextDelta, Index: o.place(s), Text: text, Refusal: refusal})
}

// Decline ends an answer that the upstream says was refused with a message that says so, unless one of its
// own has. words are the upstream's, or what to say without any.
func (o *Output) Decline(words string) {
	if o.refused {
		return
	}
	s := NewSlot(stead.ItemMessage)
	o.Refuse(s, words)
	o.Close(s, true)
}

// Think adds to a part of the reasoning; a part beyond the last one is a new one.
func (o *Output) Think(s *Slot, part int, text string) {
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

// SayRest emits what a whole text, or a whole refusal, has beyond what was streamed of it. A message with
// several parts says one after the other, each together with those before it.
func (o *Output) SayRest(s *Slot, whole string, refusal bool) {
	if rest, ok := strings.CutPrefix(whole, s.earlier+s.text.String()); ok {
		o.say(s, rest, refusal)
	}
}

// ThinkRest emits what a whole part of the reasoning has beyond what was streamed of it.
func (o *Output) ThinkRest(s *Slot, part int, whole string) {
	streamed := ""
	if part < len(s.parts) {
		streamed = string(s.parts[part])
	}
	if rest, ok := strings.CutPrefix(whole, streamed); ok {
		o.Think(s, part, rest)
	}
}

// Close finishes an item, once. A call that a limit cut off in its middle is dropped: half of its
// arguments must never run.
func (o *Output) Close(s *Slot, whole bool) {
	if s.done {
		return
	}
	status := stead.ItemCompleted
	if !whole {
		status = stead.ItemIncomplete
	}
	item := &stead.Item{Type: s.Kind, Status: status}
	switch s.Kind {
	case stead.ItemMessage:
		item.Role, item.Phase = stead.RoleAssistant, s.Phase
		item.Content = stead.SaidContent(s.text.String(), s.no)
		o.messages++
	case stead.ItemReasoning:
		if len(s.parts) == 0 && s.Sealed == "" {
			s.done = true
			return
		}
		for i := range s.parts {
			item.Summary = append(item.Summary, stead.NewText(string(s.parts[i])))
		}
		if s.Sealed != "" {
			t := stead.NewText(s.Sealed)
			item.Encrypted, item.Provider = &t, o.provider
		}
	case stead.ItemFunctionCall:
		args, ok := arguments(s.Args.String())
		if !whole && (!ok || s.Args.Len() == 0) || s.Name == "" {
			s.done = true
			return
		}
		item.Status = stead.ItemCompleted
		item.CallID, item.Name, item.Arguments = o.newCallID(s.CallID), s.Name, args
		o.calls++
	default:
		s.done = true
		return
	}
	s.done = true
	o.emit(model.Delta{Kind: model.ItemDone, Index: o.place(s), Item: item})
}

// Served takes note of the service tier that the upstream says it served; "" says nothing.
func (o *Output) Served(tier string) {
	if tier = model.ServedTier(tier); tier != "" {
		o.tier = tier
	}
}

// Told takes note of what the upstream says that the call has used so far, for whoever ends it early; nil says nothing.
func (o *Output) Told(u *stead.Usage) {
	if u != nil {
		o.tally.Told(*u)
	}
}

// Done emits the end. A complete answer that says nothing is an empty message.
func (o *Output) Done(finish model.Finish, usage *stead.Usage, name string) {
	if finish == model.FinishStop && o.calls == 0 && o.messages == 0 {
		o.Close(NewSlot(stead.ItemMessage), true)
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
	o.emit(model.Delta{Kind: model.Done, Usage: usage, Finish: finish, Model: name, Tier: o.tier})
}

// newCallID returns the upstream's id, or a new one where it gave none or has used it before: Ollama
// leaves ids out, and several servers count them from 0 in every reply.
func (o *Output) newCallID(id string) string {
	for id == "" || o.taken[id] {
		b := make([]byte, 12)
		_, _ = rand.Read(b) // never fails
		id = "call_" + hex.EncodeToString(b)
	}
	o.taken[id] = true
	return id
}

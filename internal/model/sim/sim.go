// Package sim is the deterministic model that serves when no provider is configured: it follows
// plain instructions in the last user message, so that every feature of the runtime can be driven
// without a key, and the same request always makes the same stream.
//
// Shape: the last user message is read line by line; keywords count at the start of a line, in
// either case, and every other line is ignored.
//
//	Call NAME with {JSON}         calls the tool; several lines make several calls in one reply
//	Then call NAME with {JSON}    calls it in a reply of its own, once the earlier results are back
//	Say TEXT                      answers exactly TEXT; several lines make several lines; {cite N} in it
//	                              is the mark of the N-th passage that calls found since the message
//	                              {agent N} in it, or in a call's JSON, is the id of the N-th subagent that was made
//	                              in the conversation, {answer N} what the N-th message of a subagent said
//	Refuse TEXT                   answers TEXT as a refusal
//	Think TEXT                    a reasoning item with that summary, first in the first reply
//	Write N words [every D]       answers N fixed words, D apart
//	Stream slowly [every D]       streams whatever it answers with D between words, 50ms unless said
//	Wait D                        waits that long before each reply of the turn
//	Fail with CODE                fails instead of answering; after streaming, with Say or Write
//
// The JSON of a call runs to the end of its line. What is not valid JSON becomes arguments that a
// model garbled; an unknown tool is called all the same: what then happens is the runtime's affair.
// When the results of all calls are back and neither Say, Refuse nor Write says otherwise, the
// answer lists them, a line each: "get_weather: 21 degrees", "get_weather: error: no such city",
// images as "[image]". A message that starts with "Summarize" is answered with a digest of the
// conversation, and none of its lines count. Messages of the runtime itself (stead.NoticePrefix) are
// passed over. With an output format the answer is a JSON document
// made from the schema (see document), unless Say gives one. Anything else is answered with a
// quote of the message.
//
// Asked what is worth remembering of a conversation it answers with what plain sentences state ("My editor is vim.",
// "I prefer tea.", "Remember that …", "To deploy, run make."): see memories.
//
// Calls count from the last user message on: the n-th call made since then is the n-th asked for.
// Call ids derive from the conversation so far and the call's place: they do not repeat in a session.
//
// It embeds texts as well: see Embed.
//
// Units and limits: durations as time.ParseDuration reads them, at most MaxWait; at most MaxWords
// words and MaxCalls calls; results are quoted up to MaxResultBytes. A token is four bytes, begun
// ones counted; nothing is ever cached. An answer above Request.MaxOutputTokens is cut off.
//
// Errors: those asked for by Fail, with the turn error codes of package model; overload, rate
// limit, lost connection, timeout and server error may be retried (and fail again: sim counts no
// attempts). Ending the context ends the stream with an error that wraps the context's.
package sim

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Name is what the model calls itself, and the provider of its reasoning items.
const Name = "sim"

// The limits of an instruction.
const (
	MaxWait        = 10 * time.Minute // longest pause, before a reply or between words
	MaxWords       = 100_000          // words of one Write
	MaxCalls       = 256              // calls of one message
	MaxResultBytes = 256 << 10        // of one result in an answer

	slowPace     = 50 * time.Millisecond // of Stream slowly
	maxPiece     = 32                    // bytes of one text delta, but for the last rune
	bytesPerTok  = 4
	maxQuoteRune = 200 // of the message in an answer
)

// Options configure the model. The zero value is ready.
type Options struct {
	// Name replaces Name in answers and reasoning items.
	Name string
}

// New returns the model. It is stateless.
func New(o Options) model.Model {
	if o.Name == "" {
		o.Name = Name
	}
	return &simulator{name: o.Name}
}

type simulator struct{ name string }

// Generate implements model.Model.
func (s *simulator) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		r := s.reply(req)
		st := stream{ctx: ctx, yield: yield, pace: r.pace}
		if !st.pause(r.wait) {
			return
		}
		if !st.reasoning(s.name, r.thought) || !st.calls(r.calls) || !st.text(r) {
			return
		}
		if r.fail != nil {
			yield(model.Delta{}, r.fail)
			return
		}
		name := req.Model
		if name == "" {
			name = s.name
		}
		usage := r.usage(req)
		yield(model.Delta{Kind: model.Done, Usage: &usage, Finish: r.finish, Model: name}, nil)
	}
}

// reply is one whole answer, before it is streamed.
type reply struct {
	wait    time.Duration // before the first delta
	pace    time.Duration // between words
	thought string        // "" for no reasoning item
	calls   []stead.Item
	answer  string
	answers bool // there is a message, which may be empty
	refuses bool // the message is a refusal
	fail    *model.Error
	finish  model.Finish
}

func (r *reply) usage(req model.Request) stead.Usage {
	in := len(req.Instructions)
	for _, t := range req.Tools {
		in += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	for i := range req.Items {
		in += itemBytes(&req.Items[i])
	}
	out := len(r.thought) + len(r.answer)
	for i := range r.calls {
		out += itemBytes(&r.calls[i])
	}
	return stead.Usage{
		InputTokens:     tokens(in),
		OutputTokens:    tokens(out),
		ReasoningTokens: tokens(len(r.thought)),
	}
}

func tokens(n int) int64 { return int64((n + bytesPerTok - 1) / bytesPerTok) }

func itemBytes(it *stead.Item) int {
	n := len(it.Name) + len(it.Arguments) + len(it.Error)
	for _, c := range it.Content {
		n += len(c.Text.Inline)
	}
	for _, c := range it.Output {
		n += len(c.Text.Inline)
	}
	for _, t := range it.Summary {
		n += len(t.Inline)
	}
	return n
}

// stream hands out deltas; its methods report whether to go on.
type stream struct {
	ctx   context.Context
	yield func(model.Delta, error) bool
	pace  time.Duration
	index int
}

func (st *stream) reasoning(provider, thought string) bool {
	if thought == "" {
		return true
	}
	sealed := stead.NewText("sim:" + fingerprint(thought))
	return st.words(thought, model.Delta{Kind: model.ReasoningDelta}) && st.item(stead.Item{
		Type: stead.ItemReasoning, Status: stead.ItemCompleted,
		Summary: []stead.Text{stead.NewText(thought)}, Encrypted: &sealed, Provider: provider,
	})
}

func (st *stream) calls(calls []stead.Item) bool {
	for _, c := range calls {
		if !st.alive() || !st.item(c) {
			return false
		}
	}
	return true
}

func (st *stream) text(r reply) bool {
	if !r.answers {
		return true
	}
	if !st.words(r.answer, model.Delta{Kind: model.TextDelta, Refusal: r.refuses}) {
		return false
	}
	if r.fail != nil {
		return true // cut off: the message is never finished
	}
	return st.item(stead.Item{
		Type: stead.ItemMessage, Status: stead.ItemCompleted, Role: stead.RoleAssistant,
		Content: stead.SaidContent(r.answer, r.refuses),
	})
}

func (st *stream) item(it stead.Item) bool {
	ok := st.yield(model.Delta{Kind: model.ItemDone, Index: st.index, Item: &it}, nil)
	st.index++
	return ok
}

// words yields s in pieces, each as a delta like d.
func (st *stream) words(s string, d model.Delta) bool {
	for first := true; s != ""; first = false {
		if !first && !st.pause(st.pace) {
			return false
		}
		n := pieceEnd(s)
		d.Index, d.Text = st.index, s[:n]
		if !st.alive() || !st.yield(d, nil) {
			return false
		}
		s = s[n:]
	}
	return true
}

// pieceEnd is where the next delta of s ends: behind a word's whitespace, or at maxPiece.
func pieceEnd(s string) int {
	blank := false
	for i, r := range s {
		space := r == ' ' || r == '\n' || r == '\t'
		if blank && !space || i >= maxPiece {
			return i
		}
		blank = space
	}
	return len(s)
}

// pause waits for d, or yields an error when the context ends before.
func (st *stream) pause(d time.Duration) bool {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-st.ctx.Done():
		}
	}
	return st.alive()
}

func (st *stream) alive() bool {
	err := st.ctx.Err()
	if err == nil {
		return true
	}
	e := &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled", Err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Code, e.Message, e.Retry = model.CodeTimeout, "the model call ran out of time", true
	}
	st.yield(model.Delta{}, e)
	return false
}

// cut shortens s to at most n bytes, at the border of a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// quote shortens s to one line of at most n runes.
func quote(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Context folds what the model sees: the conversation since the last compaction, with the texts of
// blobs still to be loaded. The journal keeps everything; this keeps what fits the model.
type Context struct {
	Summary stead.Text `json:"summary"` // of all before Entries; empty: nothing was compacted
	Entries []*Entry   `json:"entries,omitempty"`
	// Held waits for the next model call: what arrives while a call is in flight must not slip in
	// front of its reply, nor between tool calls and their outputs.
	Held []*Entry `json:"held,omitempty"`
	// Unstored is the event of the notice that the workspace is not stored; 0: it is.
	Unstored stead.Seq `json:"unstored,omitempty"`
	// TooLong is how many paths the last checkpoint left out, as the agent was told; 0: none.
	TooLong int `json:"too_long,omitempty"`
	// Unsettled is the event of the notice that the last checkpoint may lack what was renamed; 0: it does not.
	Unsettled stead.Seq `json:"unsettled,omitempty"`
	// BytesPerToken is learnt from the last reply; 0: nothing learnt yet.
	BytesPerToken float64 `json:"bytes_per_token,omitempty"`
}

// Entry is an item of the context.
type Entry struct {
	Seq   stead.Seq  `json:"seq"`            // of the event that brought it
	Call  stead.Seq  `json:"call,omitempty"` // calls: of the model.called
	Index int        `json:"index,omitempty"`
	Item  stead.Item `json:"item"`
	Open  bool       `json:"open,omitempty"` // a call without outcome
	// Pending: the model was told that an async call's result follows; it came later as its own entry.
	Pending bool `json:"pending,omitempty"`
	// Late: this is such a result.
	Late bool `json:"late,omitempty"`
	// Given: an open call whose output comes with a later input, whatever becomes of its turn.
	Given bool `json:"given,omitempty"`
	// Told is what the model is told with the output of such a call.
	Told string `json:"told,omitempty"`
	// Passages: the call returns passages of files, which the model may cite.
	Passages bool `json:"passages,omitempty"`
	// Memories are the names of those that the item shows.
	Memories []string `json:"memories,omitempty"`
	// Notice: the runtime itself says it, and nobody asks for anything.
	Notice bool `json:"notice,omitempty"`
}

// What a token costs in bytes until a reply teaches better.
const (
	defaultBytesPerToken = 4.0
	minBytesPerToken     = 1.5
	maxBytesPerToken     = 8.0
)

// apply folds an event. before is the turn that ran before it, v the view after it, items the reply's items with whole texts.
func (c *Context) apply(e stead.Event, before *TurnView, v *View, items []stead.Item) error {
	switch e.Kind {
	case KindInputMessage:
		p, err := Decode[Message](e)
		if err != nil {
			return err
		}
		for i, m := range p.Input {
			item := stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: m.Content}
			c.Held = append(c.Held, &Entry{Seq: e.Seq, Index: i, Item: item})
		}
		c.given(e.Seq, p.Items)
		if before == nil {
			c.unanswered()
		}
	case KindInputItems:
		p, err := Decode[ItemsInput](e)
		if err != nil {
			return err
		}
		c.given(e.Seq, p.Items)
	case KindModelCalled:
		p, err := Decode[ModelCalled](e)
		if err != nil {
			return err
		}
		if p.Purpose == PurposeStep {
			c.offered()
		}
	case KindModelReplied:
		p, err := Decode[ModelReplied](e)
		if err != nil {
			return err
		}
		c.replied(e, p, items)
	case KindContextCompacted:
		p, err := Decode[ContextCompacted](e)
		if err != nil {
			return err
		}
		c.compacted(p)
	case KindMemoryRecalled:
		if err := c.recalled(e, v); err != nil {
			return err
		}
	case KindSubagentInput, KindSubagentAnswered:
		if err := c.said(e); err != nil {
			return err
		}
	case KindItemDeleted:
		if err := c.deleted(e); err != nil {
			return err
		}
	case KindEnvironmentConnected:
		if err := c.reset(e); err != nil {
			return err
		}
	case KindEnvironmentCheckpointed:
		if err := c.unpublished(e); err != nil {
			return err
		}
	}
	c.unstored(e, v)
	c.refused(e, v)
	c.tooLong(e, v)
	c.unsettled(e, v)
	c.settle(e, v, before)
	return nil
}

// offered: a model call sees everything that was held back, and is told of async calls under way.
func (c *Context) offered() {
	c.Entries = append(c.Entries, c.Held...)
	c.Held = nil
	for _, en := range c.Entries {
		if en.Open && !en.Given {
			en.Pending = true
		}
	}
}

func (c *Context) replied(e stead.Event, p ModelReplied, items []stead.Item) {
	for i, item := range items {
		how := p.Items[i].Tool
		c.Entries = append(c.Entries, &Entry{Seq: e.Seq, Call: p.Call, Index: i, Item: item, Open: item.Type.IsCall(), Passages: how != nil && how.Passages})
	}
	if p.Usage.InputTokens > 0 && p.Bytes > 0 && !p.Guessed {
		c.BytesPerToken = min(max(float64(p.Bytes)/float64(p.Usage.InputTokens), minBytesPerToken), maxBytesPerToken)
	}
}

// settle copies outcomes that the view knows into the entries of their calls. Of what is held back, only a
// call that came along with the input has one.
func (c *Context) settle(e stead.Event, v *View, ended *TurnView) {
	c.settleIn(c.Entries, e, v, ended)
	c.settleIn(c.Held, e, v, ended)
}

func (c *Context) settleIn(entries []*Entry, e stead.Event, v *View, ended *TurnView) {
	var done map[callKey]*Call // of the turn; made for the first entry that is open
	for _, en := range entries {
		if !en.Open || en.Given {
			continue
		}
		if e.Kind == KindTurnCompleted && ended.handed(en) {
			en.Given, en.Told = true, ended.toldEdited(en)
			continue
		}
		if v.Turn == nil {
			en.Open, en.Pending, en.Item.Error = false, false, en.told(ended) // no result follows any more
			continue
		}
		if done == nil {
			done = v.Turn.done()
		}
		if call := done[callKey{en.Call, en.Index}]; call != nil {
			c.close(en, e.Seq, call)
		}
	}
}

// callKey is where a call stands: which of the calls of a model's reply.
type callKey struct {
	seq   stead.Seq
	index int
}

// done lists the calls that have an outcome by their places: a reply may have hundreds, and each
// outcome looks for its own.
func (t *TurnView) done() map[callKey]*Call {
	out := map[callKey]*Call{}
	for _, call := range t.Calls {
		if call.State == CallDone {
			out[callKey{call.Seq, call.Index}] = call
		}
	}
	return out
}

// told is what the model is told of an open call when its turn has ended.
func (en *Entry) told(ended *TurnView) string {
	if ended != nil {
		for _, call := range ended.Calls {
			if call.Seq == en.Call && call.Index == en.Index {
				return call.cancelled()
			}
		}
	}
	return toldCancelled
}

func (c *Context) close(en *Entry, seq stead.Seq, call *Call) {
	en.Open = false
	if !en.Pending {
		en.Item.Output, en.Item.Error = call.told()
		return
	}
	late := stead.Item{Type: stead.ItemFunctionCallOutput, CallID: call.CallID, Name: call.Name}
	late.Output, late.Error = call.told()
	c.Held = append(c.Held, &Entry{Seq: seq, Item: late, Late: true})
}

func (c *Context) compacted(p ContextCompacted) {
	if p.Redacted {
		return
	}
	c.Summary = p.Summary
	keep := c.Entries[:0]
	for _, en := range c.Entries {
		if en.Seq > p.Upto || en.Open { // an open call's result is still to come
			keep = append(keep, en)
		}
	}
	clear(c.Entries[len(keep):])
	c.Entries = keep
}

// Items is the conversation as a model request has it: calls of one reply together, then their
// outputs, so that every provider accepts it. upto > 0 leaves out what came after that event.
func (c *Context) Items(upto stead.Seq) []stead.Item {
	out := make([]stead.Item, 0, c.itemCount())
	if c.Summary.Bytes > 0 {
		out = append(out, summaryItem(c.Summary))
	}
	var calls []*Entry // of the present group: their outputs are still to be written
	var group stead.Seq
	flush := func() {
		for _, en := range calls {
			out = append(out, en.output())
		}
		calls = calls[:0]
	}
	for _, en := range c.Entries {
		if upto > 0 && en.Seq > upto {
			continue
		}
		if en.Seq != group || en.Call == 0 && !en.Item.Type.IsCall() {
			flush()
			group = en.Seq
		}
		switch {
		case en.Item.Type.IsCall():
			out = append(out, callItem(en.Item))
			calls = append(calls, en)
		case en.Late:
			out = append(out, lateItem(en.Item))
		default:
			out = append(out, en.Item)
		}
	}
	flush()
	return out
}

// itemCount is how many items a request has, and one more: items are large, and a list of them that
// grows costs more than all else of a step.
func (c *Context) itemCount() int {
	n := len(c.Entries) + 2 // a summary, and what the caller adds
	for _, en := range c.Entries {
		if en.Item.Type.IsCall() {
			n++
		}
	}
	return n
}

// HasCall reports whether a call of the context has the id already.
func (c *Context) HasCall(id string) bool {
	return slices.ContainsFunc(c.Entries, func(en *Entry) bool { return en.Item.CallID == id })
}

// Passages are the ids of calls whose outputs are passages that the model was given.
func (c *Context) Passages() map[string]bool {
	var out map[string]bool
	for _, en := range c.Entries {
		if en.Passages && !en.Open {
			if out == nil {
				out = map[string]bool{}
			}
			out[en.Item.CallID] = true
		}
	}
	return out
}

func callItem(it stead.Item) stead.Item {
	return stead.Item{Type: stead.ItemFunctionCall, CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}
}

func (en *Entry) output() stead.Item {
	out := stead.Item{Type: stead.ItemFunctionCallOutput, CallID: en.Item.CallID, Output: en.Item.Output, Error: en.Item.Error}
	switch {
	case en.Pending:
		out.Output, out.Error = stead.TextContent(stead.ContentInputText, "The call was accepted. Its result will follow in a later message."), ""
	case en.Open:
		out.Error = "The call has no result yet."
	}
	return out
}

func lateItem(it stead.Item) stead.Item {
	head := "Result of the earlier call " + it.CallID + " of " + it.Name + ":"
	if it.Error != "" {
		head += " error: " + it.Error
	}
	content := append(stead.TextContent(stead.ContentInputText, head), it.Output...)
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: content}
}

func summaryItem(summary stead.Text) stead.Item {
	const lead = "Summary of the conversation so far, which replaces its earlier messages:"
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{
		{Type: stead.ContentInputText, Text: stead.NewText(lead)},
		{Type: stead.ContentInputText, Text: summary},
	}}
}

// Bytes estimates the size of the conversation, held messages included.
func (c *Context) Bytes() int {
	n := c.Summary.Bytes
	for _, en := range c.Entries {
		n += model.ItemBytes(en.Item)
	}
	for _, en := range c.Held {
		n += model.ItemBytes(en.Item)
	}
	return n
}

// Tokens turns bytes into an estimate of tokens, by what the last reply taught.
func (c *Context) Tokens(bytes int) int {
	per := c.BytesPerToken
	if per == 0 {
		per = defaultBytesPerToken
	}
	return int(float64(bytes) / per)
}

// whole puts the text of a reply's items together: what was streamed is in the journal already.
// It must be called with the view before the event.
func (v *View) whole(p ModelReplied) []stead.Item {
	var stream []*Streaming
	if v.Turn != nil && v.Turn.Model != nil && v.Turn.Model.Seq == p.Call {
		stream = v.Turn.Model.Stream
	}
	items := make([]stead.Item, len(p.Items))
	for i, it := range p.Items {
		items[i] = it.Item
		if i >= len(stream) || stream[i] == nil {
			continue
		}
		switch it.Type {
		case stead.ItemMessage:
			items[i].Content = wholeContent(it.Content, strings.Join(stream[i].Parts, ""))
		case stead.ItemReasoning:
			items[i].Summary = wholeSummary(it.Summary, stream[i].Parts)
		}
	}
	return items
}

func wholeContent(rest []stead.Content, streamed string) []stead.Content {
	if len(rest) == 0 {
		return stead.TextContent(stead.ContentOutputText, streamed)
	}
	if rest[0].Text.Digest != "" {
		return rest // a blob holds the whole text
	}
	out := append([]stead.Content(nil), rest...)
	out[0].Text = stead.NewText(streamed + rest[0].Text.Inline)
	return out
}

func wholeSummary(rest []stead.Text, streamed []string) []stead.Text {
	out := append([]stead.Text(nil), rest...)
	for i, s := range streamed {
		if i >= len(out) {
			out = append(out, stead.NewText(s))
		} else if out[i].Digest == "" {
			out[i] = stead.NewText(s + out[i].Inline)
		}
	}
	return out
}

// CompactPrompt asks a model for the summary that stands for its conversation from then on.
const CompactPrompt = "Summarize the conversation so far for yourself, so that you can go on from the summary alone. " +
	"Keep: what the user wants, decisions and why, facts and figures, identifiers, results of tool calls that still matter, what is done and what is open. " +
	"Write no greeting and no comment on the summary."

package sessiontest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// reply plans what the model call just made will say.
func (g *Gen) reply() *flight {
	f := &flight{seq: g.State.Tail, finish: string(model.FinishStop)}
	calls := g.chance(60)
	if g.chance(30) {
		f.add(g.reasoning())
	}
	if !calls || g.chance(60) {
		f.add(g.message())
	}
	if calls {
		f.finish = string(model.FinishToolCalls)
		for range 1 + g.rng.IntN(3) {
			f.items = append(f.items, g.call())
			if g.chance(15) {
				f.add(g.message())
			}
		}
	} else if g.chance(5) {
		f.finish = string(model.FinishLength)
	}
	return f
}

// add plans an item and its stream, cut into small pieces at runes.
func (f *flight) add(it session.ReplyItem, parts []string) {
	index := len(f.items)
	f.items = append(f.items, it)
	for n, text := range parts {
		runes := []rune(text)
		for piece := range slices.Chunk(runes, 5) {
			f.plan = append(f.plan, session.Segment{Index: index, Type: it.Type, Part: n, Text: string(piece), Refusal: stead.Refuses(it.Content)})
		}
	}
}

func (g *Gen) message() (session.ReplyItem, []string) {
	s := g.prose()
	it := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: []stead.Content{{Type: stead.SaidType(g.chance(20)), Text: g.text(s)}}}
	return session.ReplyItem{Item: it}, []string{s}
}

func (g *Gen) reasoning() (session.ReplyItem, []string) {
	it := stead.Item{Type: stead.ItemReasoning}
	var parts []string
	for range 1 + g.rng.IntN(3) {
		s := g.prose()
		parts = append(parts, s)
		it.Summary = append(it.Summary, g.text(s))
	}
	return session.ReplyItem{Item: it}, parts
}

func (g *Gen) call() session.ReplyItem {
	it := stead.Item{Type: stead.ItemFunctionCall, CallID: g.callID(), Name: "look", Arguments: json.RawMessage(`{"n":1}`)}
	t := &session.ToolCall{}
	if g.Agents && g.chance(60) {
		return g.aboutAgents(it)
	}
	switch p := g.rng.IntN(100); {
	case p < 12:
		t.Reject, it.Arguments = "The arguments are not a JSON object.", json.RawMessage(`"{n"`)
	case p < 50:
		t.Async = g.Async && g.chance(40)
		if g.chance(10) {
			held := g.holding()
			t.Decision = &held
		} else if g.chance(5) {
			t.Reject, t.Decision = "tool.call is not allowed.", &policy.Decision{By: "test"}
		}
	default:
		effects := []tool.Effect{tool.Pure, tool.Idempotent, tool.Unknown}
		it.Type = stead.ItemMCPCall
		*t = session.ToolCall{Server: "srv", Name: "act", Effect: effects[g.rng.IntN(len(effects))], Approval: g.chance(25)}
		if g.chance(8) {
			t.Reject = "No such tool."
		}
	}
	return session.ReplyItem{Item: it, Tool: t}
}

// callID is a new one, or now and then one that the conversation has forgotten.
func (g *Gen) callID() string {
	for _, id := range slices.Sorted(maps.Keys(g.ids)) {
		if !g.chance(2) || g.ids[id] == g.State.Tail || g.State.CallByID(id) != nil {
			continue
		}
		if !slices.ContainsFunc(g.State.Context.Entries, func(e *session.Entry) bool { return e.Item.CallID == id }) {
			g.ids[id] = g.State.Tail
			return id
		}
	}
	id := fmt.Sprintf("call_%d", len(g.ids)+1)
	g.ids[id] = g.State.Tail
	return id
}

// happen brings an outcome of something in flight.
func (g *Gen) happen() {
	var open []func()
	if g.model != nil {
		open = append(open, g.modelOutcome, g.modelOutcome)
	}
	if c := g.State.Compact; c != nil {
		open = append(open, func() { g.compactOutcome(c) })
	}
	if l := &g.State.Learn; l.Busy() {
		open = append(open, g.remembered)
	}
	if t := g.State.Turn; t != nil {
		if t.Recall != 0 {
			open = append(open, g.recalled)
		}
		for _, c := range t.Calls {
			if c.State == session.CallRunning {
				open = append(open, func() { g.toolOutcome(c) })
			}
		}
	}
	if len(open) > 0 {
		open[g.rng.IntN(len(open))]()
	}
}

func (g *Gen) modelOutcome() {
	switch p := g.rng.IntN(100); {
	case p < 20 && g.State.Turn.Response != nil && g.model.shown+g.model.flushed == 0 && !g.model.listed:
		g.listed()
	case p < 50 && g.model.flushed < len(g.model.plan):
		g.flush()
	case p < 90:
		g.append(session.KindModelReplied, g.replied())
	default:
		g.flushShown()
		g.append(session.KindModelFailed, session.ModelFailed{Call: g.model.seq, Error: g.modelError(), RetryAt: g.retry(), Route: gaveUp(g.model.seq), Spent: spent(g.model.seq)})
	}
}

// remembered brings the outcome of what is remembered of turns that ended.
func (g *Gen) remembered() {
	l := g.State.Learn
	switch {
	case l.Keep != 0:
		turns, items := l.Items, true
		if len(turns) == 0 {
			turns, items = l.Turns, false
		}
		g.append(session.KindMemoryKept, session.MemoryKept{Call: l.Keep, Items: items, Turns: turns, Added: g.rng.IntN(3)})
	case g.chance(30):
		g.append(session.KindModelFailed, session.ModelFailed{Call: l.Extract.Seq, Error: g.modelError(), RetryAt: g.retry(), Spent: spent(l.Extract.Seq)})
	default:
		out := session.MemoryExtracted{Call: l.Extract.Seq, Turns: l.Turns, Usage: stead.Usage{InputTokens: 7, OutputTokens: 3}, Cost: 5}
		if g.chance(60) {
			out.Found = []session.Learned{{Kind: "fact", Text: g.prose(), Items: []string{"msg_1"}}}
		}
		g.append(session.KindMemoryExtracted, out)
	}
}

// recalled says what is remembered.
func (g *Gen) recalled() {
	out := session.MemoryRecalled{Call: g.State.Turn.Recall}
	for i := range g.rng.IntN(3) {
		out.Entries = append(out.Entries, session.Recalled{ID: fmt.Sprintf("mem_%d", g.rng.IntN(9)), Store: "memstore_1", Version: 1, Kind: "fact", Text: g.prose(), Labels: []string{fmt.Sprint(i)}})
	}
	if g.chance(20) {
		out.Entries, out.Error = nil, "It is away."
	}
	g.append(session.KindMemoryRecalled, out)
}

// listed says which tools the servers of a response have, in front of what the model says.
func (g *Gen) listed() {
	g.model.listed = true
	said := session.ToolsListed{Call: g.model.seq}
	for i := range 1 + g.rng.IntN(2) {
		s := session.ServerTools{Label: fmt.Sprintf("server_%d", i), Mark: fmt.Sprint(g.rng.IntN(3)), List: g.text(`[{"name":"f","input_schema":{}}]`)}
		if g.chance(30) {
			s.List, s.Error = stead.Text{}, "It is away."
		}
		said.Servers = append(said.Servers, s)
	}
	g.append(session.KindToolsListed, said)
}

func (g *Gen) modelError() session.TurnError {
	if g.chance(30) {
		return session.TurnError{Code: model.CodeContextLength, Message: "Too long."}
	}
	return session.TurnError{Code: model.CodeOverloaded, Message: "Busy."}
}

// retry is when to try again: mostly soon, now and then never.
func (g *Gen) retry() int64 {
	if g.chance(25) || g.State.Turn != nil && g.State.Turn.Attempts+1 >= stead.MaxModelAttempts {
		return 0
	}
	return g.now + 1000
}

// Shown tells that watchers were shown so many pieces of the stream already: they are journaled
// before the call ends, unless a reply holds them.
func (g *Gen) Shown(pieces int) {
	if g.model != nil {
		g.model.shown = max(g.model.shown, pieces)
	}
}

// flush journals some more of the stream.
func (g *Gen) flush() {
	if f := g.model; f != nil && f.flushed < len(f.plan) {
		g.flushTo(f.flushed + 1 + g.rng.IntN(len(f.plan)-f.flushed))
	}
}

// Flush journals what watchers were shown.
func (g *Gen) Flush() {
	if g.model != nil {
		g.flushTo(g.model.shown)
	}
}

// flushShown journals what was shown, and maybe more, before the call ends without a reply.
func (g *Gen) flushShown() {
	if g.model == nil {
		return
	}
	g.flushTo(g.model.shown)
	if g.chance(50) {
		g.flush()
	}
}

func (g *Gen) flushTo(n int) {
	f := g.model
	if n <= f.flushed {
		return
	}
	var segments []session.Segment
	for _, s := range f.plan[f.flushed:n] {
		if k := len(segments) - 1; k >= 0 && segments[k].Index == s.Index && segments[k].Part == s.Part {
			segments[k].Text += s.Text
			continue
		}
		segments = append(segments, s)
	}
	f.flushed = n
	g.append(session.KindModelStreamed, session.ModelStreamed{Call: f.seq, Segments: segments})
}

// replied is the outcome of the call in flight, without what the journal holds already.
func (g *Gen) replied() session.ModelReplied {
	f := g.model
	out := session.ModelReplied{
		Call: f.seq, Items: slices.Clone(f.items), Finish: f.finish, Model: "sim-1",
		Usage: stead.Usage{InputTokens: int64(10 + g.rng.IntN(90)), OutputTokens: int64(1 + g.rng.IntN(40))},
		Cost:  int64(g.rng.IntN(session.MicroCentsPerCent)), Bytes: g.State.Context.Bytes(),
	}
	if out.Cost%5 == 0 { // it was on two routes at once, and both used something
		out.Route = &model.Route{Provider: "sim", Model: "sim-1", Hedged: &model.Hedged{
			Provider: "sim", Model: "sim-2", AfterMS: 100, Usage: &stead.Usage{InputTokens: 3, OutputTokens: 1}, Cost: out.Cost / 2,
		}}
	}
	for _, s := range f.plan[:f.flushed] {
		it := &out.Items[s.Index]
		for len(it.Streamed) <= s.Part {
			it.Streamed = append(it.Streamed, 0)
		}
		it.Streamed[s.Part] += len(s.Text)
	}
	for i := range out.Items {
		it := &out.Items[i]
		if it.Type == stead.ItemReasoning {
			it.Summary = slices.Clone(it.Summary)
			for n, bytes := range it.Streamed {
				it.Summary[n] = after(it.Summary[n], bytes)
			}
		} else if len(it.Streamed) > 0 {
			it.Content = slices.Clone(it.Content)
			it.Content[0].Text = after(it.Content[0].Text, it.Streamed[0])
		}
	}
	return out
}

func after(t stead.Text, n int) stead.Text {
	if t.Digest != "" {
		return t
	}
	return stead.NewText(t.Inline[n:])
}

// gaveUp is the route of a call that failed: of every third one, beside an attempt that was given up for it.
func gaveUp(call stead.Seq) *model.Route {
	if call%3 != 0 {
		return nil
	}
	return &model.Route{Provider: "sim", Model: "sim-1", Hedged: &model.Hedged{
		Provider: "sim", Model: "sim-2", AfterMS: 100, Usage: &stead.Usage{InputTokens: 7}, Unknown: true, Cost: 11,
	}}
}

// spent is what a call had used that broke off, of every other call.
func spent(call stead.Seq) *session.Spent {
	if call%2 != 0 {
		return nil
	}
	return &session.Spent{Call: call, Usage: stead.Usage{InputTokens: 9, OutputTokens: 2}, Cost: 13, Provider: "sim", Model: "sim-1", FirstMS: 4}
}

// lost is what calls in flight had used that a crash cut off.
func (g *Gen) lost() []session.Spent {
	var out []session.Spent
	for _, call := range []*session.ModelCall{g.State.Compact, g.modelCall()} {
		if call == nil {
			continue
		}
		if s := spent(call.Seq); s != nil {
			s.Route = gaveUp(call.Seq)
			out = append(out, *s)
		}
	}
	return out
}

func (g *Gen) modelCall() *session.ModelCall {
	if g.State.Turn == nil {
		return nil
	}
	return g.State.Turn.Model
}

func (g *Gen) compactOutcome(c *session.ModelCall) {
	if g.chance(25) {
		g.append(session.KindModelFailed, session.ModelFailed{Call: c.Seq, Error: g.modelError(), RetryAt: g.retry(), Route: gaveUp(c.Seq), Spent: spent(c.Seq)})
		return
	}
	g.append(session.KindContextCompacted, session.ContextCompacted{
		Call: c.Seq, Upto: c.Upto, Summary: g.text("Summary: " + g.prose()), Usage: stead.Usage{InputTokens: 20, OutputTokens: 5}, Cost: 1000,
	})
}

func (g *Gen) toolOutcome(c *session.Call) {
	switch p := g.rng.IntN(100); {
	case p < 70:
		g.append(session.KindToolReturned, session.ToolReturned{CallID: c.CallID, Output: g.output(), DurationMS: 5})
	case p < 80:
		g.append(session.KindToolReturned, session.ToolReturned{CallID: c.CallID, Error: "It failed."})
	default:
		g.append(session.KindToolLost, session.ToolLost{CallID: c.CallID, Reason: "connection reset", Sent: g.chance(60), RetryAt: g.now + 500})
	}
}

func (g *Gen) output() []stead.Content {
	if g.chance(10) {
		return nil
	}
	return []stead.Content{{Type: stead.ContentInputText, Text: g.text(g.prose())}}
}

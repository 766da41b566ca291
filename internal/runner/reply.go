package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// maxArgumentsBytes is the largest arguments of one call: they stand in the journal themselves.
const maxArgumentsBytes = 256 << 10

// maxReplyArguments bounds the arguments of one reply's calls together, and maxReplyItems their
// number, so that the reply fits one event.
const (
	maxReplyArguments = 2 << 20
	maxReplyItems     = 1024
)

func argumentBytes(items []stead.Item) int {
	n := 0
	for _, it := range items {
		n += min(len(it.Arguments), maxArgumentsBytes)
	}
	return n
}

// finish turns a finished stream into the outcome: every call is resolved to how it is executed,
// texts are held to what was streamed, and what is too large for the journal becomes a blob.
func (c *modelCall) finish(ctx context.Context, f *flight, req model.Request, tools *toolset, r *reply) {
	price := c.price(r)
	if r.route == nil && r.model != "" && r.model != c.info.Upstream {
		r.route = c.only("")
	}
	provider, region := c.provider(r)
	out := session.ModelReplied{
		Call: c.seq, Usage: r.usage, Guessed: r.guessed, Finish: string(r.finish), Model: r.model,
		Cost: price.Cost(r.usage), Prices: version(price), Provider: provider, Region: region, Bytes: contextBytes(req), Route: r.route, FirstMS: r.first,
	}
	if n := len(r.items); n > maxReplyItems {
		c.fail(f, beside(&model.Error{Code: model.CodeServer, Message: fmt.Sprintf("The model's answer has %d items; the limit is %d.", n, maxReplyItems)}, r.route))
		return
	}
	if n := argumentBytes(r.items); n > maxReplyArguments {
		c.fail(f, beside(&model.Error{Code: model.CodeServer, Message: fmt.Sprintf("The model's answer calls tools with %d bytes of arguments; the limit is %d bytes.", n, maxReplyArguments)}, r.route))
		return
	}
	if err := fits(f.live.texts(), r.items); err != nil {
		c.fail(f, beside(err, r.route))
		return
	}
	verdict := c.screen(ctx, r)
	streamed := streamedTexts(f.live)
	inline := 0
	out.Finish = string(r.finish)
	out.Items = make([]session.ReplyItem, 0, len(r.items))
	for i, it := range r.items {
		it.Status = ""
		item := session.ReplyItem{Item: it}
		if it.Type == stead.ItemFunctionCall {
			var v guardrail.Verdict
			item.Arguments, item.Tool, v = c.a.r.guarded(ctx, c.checks, tools, it)
			verdict = verdict.And(v.In("items", i))
			if how := item.Tool; how.Arguments != nil && how.Reject == "" {
				how.Reject = c.a.r.readyFor(ctx, c.a.key, c.holder, c.spec.Tools, item.Arguments, tool.Call{
					Arguments: how.Arguments, Session: c.a.key, Agent: c.caller.Agent, Principal: c.holder.user, Behind: c.holder.behind, Alone: c.holder.alone, Labels: c.caller.Labels,
				})
			}
			switch {
			case item.Tool.Subagent != nil:
				item.Type = item.Tool.Subagent.Action.Item()
			case item.Tool.Server != "":
				item.Type = stead.ItemMCPCall
			case item.Tool.Environment:
				item.Type = stead.ItemCommandExecution
			}
		}
		holdTo(&item.Item, streamed[i])
		if !c.spillItem(ctx, &item.Item, &inline) {
			return
		}
		out.Items = append(out.Items, item)
	}
	out.Guardrails, out.Defined = verdict.Findings, c.redefined(tools.servers)
	c.a.deliver(f, pending{kind: session.KindModelReplied, make: func(s *session.State) (any, error) {
		p := out
		p.Items = slices.Clone(out.Items)
		nameCalls(p, s)
		if s.Turn != nil {
			s.Turn.LimitCalls(p.Items)
			if m := s.Turn.Model; m != nil && m.Seq == p.Call { // else nothing follows from it
				c.a.permitFunctions(p.Items, p.Spent())
			}
		}
		withoutStreamed(p, s)
		return p, nil
	}})
}

// fits checks that every streamed text belongs to an item of its kind: a message's text can't end as
// a tool call, nor a refusal as an answer.
func fits(segments []session.Segment, items []stead.Item) error {
	for _, s := range segments {
		if s.Index >= len(items) || items[s.Index].Type != s.Type || s.Type == stead.ItemMessage && stead.Refuses(items[s.Index].Content) != s.Refusal {
			return &model.Error{Code: model.CodeServer, Message: fmt.Sprintf("The model streamed text for item %d, which is not the item that it ended with.", s.Index), Retry: true}
		}
	}
	return nil
}

// streamedTexts joins what was streamed: output index → part → text.
func streamedTexts(t *liveText) map[int][]string {
	segments := t.texts()
	if len(segments) == 0 {
		return nil
	}
	out := map[int][]string{}
	for _, s := range segments {
		for len(out[s.Index]) <= s.Part {
			out[s.Index] = append(out[s.Index], "")
		}
		out[s.Index][s.Part] += s.Text
	}
	return out
}

// holdTo makes sure that the final text is what was shown: a provider whose end contradicts its own
// stream is not believed.
func holdTo(it *stead.Item, streamed []string) {
	switch {
	case len(streamed) == 0:
	case it.Type == stead.ItemMessage:
		text := strings.Join(streamed, "")
		if whole := joined(it.Content); whole != text {
			if strings.HasPrefix(whole, text) {
				text = whole
			}
		}
		cited := []stead.Citation(nil)
		if len(it.Content) > 0 {
			cited = it.Content[0].Cites
		}
		it.Content = stead.SaidContent(text, stead.Refuses(it.Content))
		it.Content[0].Cites = cited
	case it.Type == stead.ItemReasoning:
		for n, text := range streamed {
			if n >= len(it.Summary) {
				it.Summary = append(it.Summary, stead.NewText(text))
			} else if !strings.HasPrefix(it.Summary[n].Inline, text) {
				it.Summary[n] = stead.NewText(text)
			}
		}
	}
}

func joined(content []stead.Content) string {
	var b strings.Builder
	for _, c := range content {
		b.WriteString(c.Text.Inline)
	}
	return b.String()
}

// withoutStreamed leaves out of the reply's items what model.streamed events hold already.
func withoutStreamed(p session.ModelReplied, s *session.State) {
	if s.Turn == nil || s.Turn.Model == nil || s.Turn.Model.Seq != p.Call {
		return
	}
	for i, st := range s.Turn.Model.Stream {
		if st == nil || i >= len(p.Items) {
			continue
		}
		it := &p.Items[i]
		it.Streamed = nil
		if it.Type == stead.ItemMessage {
			n := 0
			for _, part := range st.Parts {
				n += len(part)
			}
			it.Streamed = []int{n}
			it.Content = append([]stead.Content(nil), it.Content...)
			it.Content[0].Text = textAfter(it.Content[0].Text, n)
			continue
		}
		it.Summary = append([]stead.Text(nil), it.Summary...)
		for n, part := range st.Parts {
			it.Streamed = append(it.Streamed, len(part))
			it.Summary[n] = textAfter(it.Summary[n], len(part))
		}
	}
}

func textAfter(t stead.Text, n int) stead.Text {
	if t.Digest != "" {
		return t // the blob holds the whole text
	}
	return stead.NewText(t.Inline[min(n, len(t.Inline)):])
}

// minRandomCallID is the shortest upstream id that is taken for random. Shorter ones count from 0 in
// some upstreams, and come again once a summary has replaced the calls that had them.
const minRandomCallID = 20

// nameCalls gives every call of the reply an id that no other call of the session has: the
// upstream's, unless it is missing, taken, too long, named like a call of code, or may have been used before the summary.
func nameCalls(p session.ModelReplied, s *session.State) {
	c := &s.Context
	for i := range p.Items {
		it := &p.Items[i]
		if it.Tool == nil {
			continue
		}
		taken := func(other session.ReplyItem) bool { return other.CallID == it.CallID }
		if it.CallID == "" || len(it.CallID) > stead.MaxIdempotencyKeyBytes || slices.ContainsFunc(p.Items[:i], taken) || s.HasCall(it.CallID) || strings.HasPrefix(it.CallID, codeCallPrefix) ||
			(c.Summary.Bytes > 0 && len(it.CallID) < minRandomCallID) {
			it.CallID = fmt.Sprintf("call_%d_%d", p.Call, i)
		}
	}
}

// arguments normalises what a model wrote as arguments: one compact JSON object, or what it wrote
// as a JSON string together with what is wrong with it.
func arguments(raw json.RawMessage) (json.RawMessage, string) {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 {
		return json.RawMessage("{}"), ""
	}
	if len(trimmed) > maxArgumentsBytes {
		return json.RawMessage(`""`), fmt.Sprintf("The arguments are %d bytes long; the limit is %d bytes.", len(trimmed), maxArgumentsBytes)
	}
	if trimmed[0] == '"' { // an adapter that could not decode them
		return json.RawMessage(trimmed), "The arguments are not a JSON object."
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, trimmed); err != nil || trimmed[0] != '{' {
		text, _ := json.Marshal(string(trimmed))
		return text, "The arguments are not a valid JSON object."
	}
	return compact.Bytes(), ""
}

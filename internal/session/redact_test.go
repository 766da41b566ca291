package session_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// redact redacts an item of a journal, which stays as it is.
func redact(t *testing.T, g *sessiontest.Gen, events []stead.Event, item session.Item) []stead.Event {
	t.Helper()
	r, ok := session.NewRedactor(sessiontest.Key.Session, item, func(text string) (stead.Text, error) {
		sum := sha256.Sum256([]byte(text))
		d := hex.EncodeToString(sum[:])
		g.Blobs[d] = text
		return stead.Text{Digest: d, Bytes: len(text)}, nil
	})
	if !ok {
		t.Fatalf("item %s has no place", item.ItemID())
	}
	out := make([]stead.Event, len(events))
	for i, e := range events {
		next, err := r.Next(e)
		if err != nil {
			t.Fatalf("item %s, event %d (%s): %v", item.ItemID(), e.Seq, e.Kind, err)
		}
		if next.Seq != e.Seq || next.At != e.At || next.Kind != e.Kind {
			t.Fatalf("event %d became %+v", e.Seq, next)
		}
		out[i] = next
	}
	return out
}

// says are the words of sessiontest's texts that an item shows, apart from what names it.
func says(t *testing.T, item session.Item) (found []string) {
	t.Helper()
	text := mustJSON(t, item)
	for _, w := range []string{"harbour", "über", "日本", "lamp", "🙂", "quotation", "seven"} {
		if strings.Contains(text, w) {
			found = append(found, w)
		}
	}
	return found
}

// TestRedactEveryItem: whatever is redacted, in whatever journal, the item says nothing any more, all others say what they said,
// every cursor of the stream stays where it was, and the journal can be read.
func TestRedactEveryItem(t *testing.T) {
	redactions := 0
	eachOf(t, fewSeeds, 80, func(t *testing.T, g *sessiontest.Gen) {
		q := session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}}
		items := pages(t, g, g.Events, q)
		before := stream(t, g, g.Events)
		for _, item := range items {
			events := redact(t, g, g.Events, item)
			again := redact(t, g, events, item)
			if mustJSON(t, again) != mustJSON(t, events) {
				t.Fatalf("%s: redacted again it is another journal", item.ItemID())
			}
			after := pages(t, g, events, q)
			if len(after) != len(items) {
				t.Fatalf("%s: %d items, were %d", item.ItemID(), len(after), len(items))
			}
			for i := range after {
				switch {
				case after[i].ItemID() != items[i].ItemID():
					t.Fatalf("%s: item %s where %s was", item.ItemID(), after[i].ItemID(), items[i].ItemID())
				case after[i].ItemID() == item.ItemID():
					if w := says(t, after[i]); len(w) > 0 {
						t.Fatalf("redacted, %s says %q:\n%s\nwas\n%s", item.ItemID(), w, mustJSON(t, after[i]), mustJSON(t, item))
					}
				case repeats(items[i], item):
					if isCall(item) && isCall(items[i]) && strings.Contains(mustJSON(t, after[i]), `"n":`) {
						t.Fatalf("%s is redacted, and %s shows its arguments:\n%s", item.ItemID(), items[i].ItemID(), mustJSON(t, after[i]))
					}
				case mustJSON(t, after[i]) != mustJSON(t, items[i]):
					t.Fatalf("%s is redacted, and %s became\n%s\nfrom\n%s", item.ItemID(), items[i].ItemID(), mustJSON(t, after[i]), mustJSON(t, items[i]))
				}
			}
			shown := stream(t, g, events)
			if len(shown) != len(before) {
				t.Fatalf("%s: %d events of the stream, were %d", item.ItemID(), len(shown), len(before))
			}
			for i := range shown {
				if shown[i].Cursor != before[i].Cursor {
					t.Fatalf("%s: cursor %s where %s was", item.ItemID(), shown[i].Cursor, before[i].Cursor)
				}
			}
			s := session.NewState(sessiontest.Key)
			for _, e := range events {
				if err := s.Apply(e); err != nil {
					t.Fatalf("%s: %v", item.ItemID(), err)
				}
			}
			redactions++
		}
	})
	if redactions < 300 {
		t.Fatalf("only %d items were redacted", redactions)
	}
}

// repeats: a question about a call shows the call's arguments, whichever of the two is redacted, and whenever the call was made.
func repeats(a, b session.Item) bool {
	call := func(it session.Item) string { _, place, _ := strings.Cut(it.ItemID(), "_"); return place }
	asks := func(a, b session.Item) bool {
		c, ok := a.(*session.MCPCallItem)
		return ok && c.RequestID == b.ItemID()
	}
	return call(a) == call(b) || asks(a, b) || asks(b, a)
}

// isCall: an item that shows what a tool was to be called with.
func isCall(it session.Item) bool {
	return strings.HasPrefix(it.ItemID(), "mcp_") || strings.HasPrefix(it.ItemID(), "mcpr_")
}

// secretOf is a text that stands once in the journal, of the item that is named.
const secretOf = "Kilimanjaro-7731 "

// journalOf makes events of payloads.
func journalOf(t testing.TB, kinds []string, payloads ...any) []stead.Event {
	t.Helper()
	events := make([]stead.Event, len(payloads))
	for i, p := range payloads {
		e, err := session.NewEvent(int64(i+1)*1000, kinds[i], p)
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = stead.Seq(i + 1)
		events[i] = e
	}
	return events
}

// TestNothingOfItIsLeft: every event that may hold what an item said, one by one.
func TestNothingOfItIsLeft(t *testing.T) {
	at := func(prefix string, seq stead.Seq, index int) string {
		return stead.DerivedID(prefix, sessiontest.Key.Session, seq, index)
	}
	input := func(s string) []stead.Content { return stead.TextContent(stead.ContentInputText, s) }
	args := json.RawMessage(`{"to":"` + secretOf + `"}`)
	called := []any{session.KindModelReplied, session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "c1"}}}}}
	call := stead.Item{Type: stead.ItemFunctionCall, CallID: "c1", Name: "send", Arguments: args, Error: secretOf}
	for name, tc := range map[string]struct {
		item    session.Item
		kind    string
		payload any
		before  []any // kinds and payloads in front of it
	}{
		"a message": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindInputMessage,
			session.Message{Input: []session.InputMessage{{Content: input(secretOf)}}}, nil},
		"an item of a response": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindInputMessage,
			session.Message{Items: []stead.Item{{Type: stead.ItemMessage, Role: "user", Content: input(secretOf)}}}, nil},
		"an item without a turn": {&session.MessageItem{ID: at("msg", 1, 1)}, session.KindInputItems,
			session.ItemsInput{Items: []stead.Item{{Type: stead.ItemMessage}, {Type: stead.ItemMessage, Role: "user", Content: input(secretOf)}}}, nil},
		"a picture": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindInputMessage,
			session.Message{Input: []session.InputMessage{{Content: []stead.Content{{Type: stead.ContentInputImage, Text: stead.NewText("https://x/" + secretOf)}}}}}, nil},
		"a file's name": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindInputMessage,
			session.Message{Input: []session.InputMessage{{Content: []stead.Content{{Type: stead.ContentInputFile, Name: secretOf}}}}}, nil},
		"streamed text": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindModelStreamed,
			session.ModelStreamed{Call: 1, Segments: []session.Segment{{Index: 0, Type: stead.ItemMessage, Text: secretOf}}}, nil},
		"the rest of it": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindModelReplied,
			session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMessage, Content: stead.TextContent(stead.ContentOutputText, secretOf)}, Streamed: []int{3}}}}, nil},
		"a summary of reasoning": {&session.ReasoningItem{ID: at("rs", 1, 0)}, session.KindModelReplied,
			session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText("x"), stead.NewText(secretOf)}, Encrypted: text(secretOf)}}}}, nil},
		"arguments": {&session.FunctionCallItem{ID: at("fc", 1, 0), CallID: "c1"}, session.KindModelReplied,
			session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: call, Tool: &session.ToolCall{Reject: secretOf}}}}, nil},
		"arguments that were edited": {&session.FunctionCallItem{ID: at("fc", 1, 0), CallID: "c1"}, session.KindInputEdit,
			session.ApprovalEdit{CallID: "c1", Arguments: args}, []any{session.KindTurnStarted, session.TurnStarted{}}},
		"what code asked for": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolRequested,
			session.ToolRequested{CallID: "c1", Arguments: args}, nil},
		"arguments of an action": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindModelReplied,
			session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "c1", Arguments: []byte(`{}`)}, Tool: &session.ToolCall{Arguments: args}}}}, nil},
		"arguments of an action that code asked for": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolRequested,
			session.ToolRequested{CallID: "c1", Arguments: []byte(`{}`), Tool: session.ToolCall{Arguments: args}}, nil},
		"a call that a response allows": {&session.FunctionCallItem{ID: at("fc", 1, 0), CallID: "c1"}, session.KindInputMessage,
			session.Message{Response: &session.ResponseAsk{Approved: []session.ApprovedCall{{CallID: "c1", Arguments: args, Tool: session.ToolCall{Arguments: args}}}}},
			[]any{session.KindTurnStarted, session.TurnStarted{}}},
		"the digest of what was approved": {&session.FunctionCallItem{ID: at("fc", 1, 0), CallID: "c1"}, session.KindInputApproval,
			session.ApprovalResult{CallID: "c1", Decision: "approve", Digest: secretOf}, []any{session.KindTurnStarted, session.TurnStarted{}}},
		"why a function was called": {&session.FunctionCallItem{ID: at("fc", 1, 0), CallID: "c1"}, session.KindInputApproval,
			session.ApprovalResult{CallID: "c1", Decision: "approve", Reason: secretOf}, []any{session.KindTurnStarted, session.TurnStarted{}}},
		"why a function was not called": {&session.FunctionOutputItem{ID: at("fco", 1, 0), CallID: "c1"}, session.KindInputApproval,
			session.ApprovalResult{CallID: "c1", Decision: "deny", Reason: secretOf}, nil},
		"why a tool was not called": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindInputApproval,
			session.ApprovalResult{CallID: "c1", Decision: "deny", Reason: secretOf}, called},
		"why it was called with other arguments": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindInputEdit,
			session.ApprovalEdit{CallID: "c1", Reason: secretOf, Ask: &policy.Decision{Reason: secretOf}}, called},
		"why somebody else is to decide": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindInputDelegate,
			session.ApprovalDelegated{CallID: "c1", Reason: secretOf}, called},
		"why its outcome is missing": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolLost,
			session.ToolLost{CallID: "c1", Reason: secretOf}, called},
		"why an effect of it was not to be": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindInputEffect,
			session.EffectResult{Asked: 2, Decision: "deny", Reason: secretOf}, slices.Concat(called, []any{session.KindEffectHeld, session.EffectHeld{Within: session.WithinCall("c1")}})},
		"why guardrails ask about it": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolHeld,
			session.ToolHeld{CallID: "c1", Decision: policy.Decision{Reason: "the policy says so; it holds " + secretOf}},
			[]any{session.KindModelReplied, session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "c1"},
				Tool: &session.ToolCall{Ask: &policy.Decision{Reason: "it holds " + secretOf}}}}}}},
		"what guardrails asked about that was made": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolCalled,
			session.ToolCalled{CallID: "c1", Decision: policy.Decision{Reason: "it holds " + secretOf}},
			[]any{session.KindToolRequested, session.ToolRequested{CallID: "c1", Tool: session.ToolCall{Ask: &policy.Decision{Reason: "it holds " + secretOf}}}}},
		"what memory files said of it": {&session.CommandItem{ID: at("cmd", 1, 0)}, session.KindToolReturned,
			session.ToolReturned{CallID: "c1", Mounted: &session.Mounted{Refused: []string{secretOf}, Conflicts: []string{secretOf}}}, called},
		"why something was not recalled": {&session.MemoryRecallItem{ID: at("memr", 1, 0)}, session.KindMemoryRecalled,
			session.MemoryRecalled{Guardrails: []guardrail.Finding{{Reason: secretOf}}}, nil},
		"commands that a reset names": {&session.CommandItem{ID: at("cmd", 1, 0)}, session.KindEnvironmentConnected,
			session.EnvironmentConnected{Reset: &session.Reset{Commands: []string{"ls", secretOf}, Background: []string{secretOf}}}, []any{session.KindTurnStarted, session.TurnStarted{}}},
		"commands in the background": {&session.CommandItem{ID: at("cmd", 1, 0)}, session.KindEnvironmentCheckpointed,
			session.EnvironmentCheckpointed{Background: []string{secretOf}}, []any{session.KindTurnStarted, session.TurnStarted{}}},
		"a function's output": {&session.FunctionOutputItem{ID: at("fco", 1, 0), CallID: "c1"}, session.KindInputToolResult,
			session.ToolResult{CallID: "c1", Output: input(secretOf), Error: secretOf}, nil},
		"what a person said that happened": {&session.FunctionOutputItem{ID: at("fco", 1, 0), CallID: "c1"}, session.KindInputOutcome,
			session.OutcomeResult{CallID: "c1", Output: input(secretOf)}, nil},
		"a tool's output": {&session.MCPCallItem{ID: at("mcp", 1, 0)}, session.KindToolReturned,
			session.ToolReturned{CallID: "c1", Output: input(secretOf), Error: secretOf}, called},
		"a command's output": {&session.CommandItem{ID: at("cmd", 1, 0)}, session.KindToolStreamed,
			session.ToolStreamed{CallID: "c1", Text: secretOf},
			[]any{session.KindModelReplied, session.ModelReplied{Call: 1, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemCommandExecution, CallID: "c1"}}}}}},
		"a summary of the conversation": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindContextCompacted,
			session.ContextCompacted{Upto: 1, Summary: stead.NewText(secretOf)}, nil},
		"what was recalled": {&session.MemoryRecallItem{ID: at("memr", 1, 0)}, session.KindMemoryRecalled,
			session.MemoryRecalled{Entries: []session.Recalled{{Text: secretOf, Explain: &session.RecallParts{Terms: map[string]float64{secretOf: 1}}}}}, nil},
		"what was found in it": {&session.MessageItem{ID: at("msg", 1, 0)}, session.KindMemoryExtracted,
			session.MemoryExtracted{Found: []session.Learned{{Text: secretOf, Subject: secretOf, Items: []string{at("msg", 1, 0)}}}}, nil},
		"a reason": {&session.MessageItem{ID: at("mcpa", 1, 0)}, session.KindInputMessage,
			session.Message{Items: []stead.Item{{Type: stead.ItemApprovalResponse, Answer: &stead.Answer{Reason: secretOf}}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			kinds, payloads := []string{tc.kind}, []any{tc.payload}
			for i := len(tc.before) - 2; i >= 0; i -= 2 {
				kinds, payloads = slices.Insert(kinds, 0, tc.before[i].(string)), slices.Insert(payloads, 0, tc.before[i+1])
			}
			events := journalOf(t, kinds, payloads...)
			g := &sessiontest.Gen{Blobs: map[string]string{}}
			out := redact(t, g, events, tc.item)
			if !strings.Contains(mustJSON(t, events), strings.TrimSpace(secretOf)) {
				t.Fatal("the journal held nothing to be redacted")
			}
			if text := mustJSON(t, out); strings.Contains(text, strings.TrimSpace(secretOf)) {
				t.Fatalf("left: %s", text)
			}
			// Of another item nothing goes, but of summaries, which are of both.
			other := redact(t, g, events, &session.MessageItem{ID: at("msg", 99, 0)})
			if tc.kind != session.KindContextCompacted && mustJSON(t, other) != mustJSON(t, events) {
				t.Fatalf("another item's redaction changed %s", mustJSON(t, other))
			}
		})
	}
}

// TestAnAnswersCallIsAnotherItem: whoever redacts an answer leaves what it was about.
func TestAnAnswersCallIsAnotherItem(t *testing.T) {
	said := session.ToolReturned{CallID: "c1", Output: stead.TextContent(stead.ContentInputText, "what it returned")}
	answer := session.Message{Items: []stead.Item{{Type: stead.ItemApprovalResponse, CallID: "c1", Answer: &stead.Answer{Approve: true, Reason: "why"}}}}
	events := journalOf(t, []string{session.KindInputMessage, session.KindToolReturned}, answer, said)
	out := redact(t, &sessiontest.Gen{}, events, &session.MessageItem{ID: stead.DerivedID("mcpa", sessiontest.Key.Session, 1, 0)})
	if mustJSON(t, out[1]) != mustJSON(t, events[1]) || mustJSON(t, out[0]) == mustJSON(t, events[0]) {
		t.Errorf("redacted to %s", mustJSON(t, out))
	}
}

func text(s string) *stead.Text { t := stead.NewText(s); return &t }

// TestACallsIdThatIsUsedAgain: what a later call of the same id returned is another item's.
func TestACallsIdThatIsUsedAgain(t *testing.T) {
	reply := func(call stead.Seq) session.ModelReplied {
		return session.ModelReplied{Call: call, Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMCPCall, CallID: "c1"}}}}
	}
	said := func(s string) session.ToolReturned {
		return session.ToolReturned{CallID: "c1", Output: stead.TextContent(stead.ContentInputText, s)}
	}
	events := journalOf(t, []string{session.KindModelCalled, session.KindModelReplied, session.KindToolReturned, session.KindModelCalled, session.KindModelReplied, session.KindToolReturned},
		session.ModelCalled{}, reply(1), said("the first one's"), session.ModelCalled{}, reply(4), said("the second one's"))
	out := redact(t, &sessiontest.Gen{}, events, &session.MCPCallItem{ID: stead.DerivedID("mcp", sessiontest.Key.Session, 1, 0)})
	changed := []stead.Seq{}
	for i := range out {
		if mustJSON(t, out[i]) != mustJSON(t, events[i]) {
			changed = append(changed, out[i].Seq)
		}
	}
	if !slices.Equal(changed, []stead.Seq{3}) {
		t.Fatalf("events %v were changed", changed)
	}
}

// TestASummaryThatIsRedacted: what it stood for is given to the model again, without what was redacted.
func TestASummaryThatIsRedacted(t *testing.T) {
	eachOf(t, 1, 10, func(t *testing.T, g *sessiontest.Gen) {
		s := session.NewState(sessiontest.Key)
		summary := session.ContextCompacted{Call: 3, Upto: 2, Summary: stead.NewText("they spoke of " + secretOf)}
		events := journalOf(t, []string{session.KindSessionCreated, session.KindInputItems, session.KindModelCalled, session.KindContextCompacted},
			session.Created{}, session.ItemsInput{Items: []stead.Item{
				{Type: stead.ItemMessage, Role: "user", Content: stead.TextContent(stead.ContentInputText, "I live in "+secretOf)},
				{Type: stead.ItemMessage, Role: "user", Content: stead.TextContent(stead.ContentInputText, "I like tea")},
			}}, session.ModelCalled{Purpose: session.PurposeCompact, Upto: 2}, summary)
		for _, e := range redact(t, g, events, &session.MessageItem{ID: stead.DerivedID("msg", sessiontest.Key.Session, 2, 0)}) {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		given := mustJSON(t, s.Context)
		if strings.Contains(given, "Kilimanjaro") || !strings.Contains(given, "I like tea") || !strings.Contains(given, "[redacted]") {
			t.Fatalf("the model is given %s", given)
		}
	})
}

// A list of tools is redacted as other items are: what a server said of its tools may be what nobody should read.
func TestRedactAListOfTools(t *testing.T) {
	e, err := session.NewEvent(1, session.KindToolsListed, session.ToolsListed{Call: 3, Servers: []session.ServerTools{
		{Label: "a", List: stead.NewText(`[{"name":"stays"}]`), Mark: "m"}, {Label: "b", List: stead.NewText(`[{"name":"swordfish"}]`), Mark: "n"}, {Label: "c", Error: "haddock is away"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.Seq = 4
	for index, word := range map[int]string{1: "swordfish", 2: "haddock"} {
		item := &session.ToolListItem{ID: stead.DerivedID("mcpl", sessiontest.Key.Session, 4, index)}
		r, ok := session.NewRedactor(sessiontest.Key.Session, item, func(string) (stead.Text, error) { return stead.Text{}, nil })
		if !ok {
			t.Fatal("it has no place")
		}
		out, err := r.Next(e)
		if err != nil || strings.Contains(string(out.Data), word) || !strings.Contains(string(out.Data), "stays") || string(out.Data) == string(e.Data) {
			t.Errorf("it says %s, %v", out.Data, err)
		}
		if again, err := r.Next(out); err != nil || string(again.Data) != string(out.Data) {
			t.Errorf("again it says %s, %v", again.Data, err)
		}
	}
}

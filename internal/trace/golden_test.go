package trace_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/trace"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secret stands in every text of the journal, and must be in no trace.
const secret = "sk-live-4711"

// recorder writes a journal.
type recorder struct {
	t      *testing.T
	at     int64
	thread stead.Seq
	events []stead.Event
}

func (r *recorder) add(after int64, kind string, payload any) stead.Seq {
	r.at += after
	e, err := session.NewEvent(r.at, kind, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	e.Seq, e.Thread = stead.Seq(len(r.events)+1), r.thread
	r.events = append(r.events, e)
	return e.Seq
}

// decided is a decision of policies.
func decided(us int64, ids ...string) policy.Decision {
	return policy.Decision{Allow: true, By: "policy", Version: "v1", Micros: us, Policies: ids, Reason: secret}
}

func said(text string) []stead.Content {
	return stead.TextContent(stead.ContentInputText, text+" "+secret)
}

func callOf(id, name string, typ stead.ItemType, t session.ToolCall) session.ReplyItem {
	return session.ReplyItem{Item: stead.Item{Type: typ, CallID: id, Name: name, Arguments: json.RawMessage(`{"x":"` + secret + `"}`)}, Tool: &t}
}

// journal is a session with a turn in which everything happens, one that failed, and one that runs.
func journal(t *testing.T) []stead.Event {
	r := &recorder{t: t, at: 1_790_000_000_000}
	name := "support"
	r.add(0, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1", Spec: agent.Spec{Name: &name, Model: "gpt"}}, Environment: json.RawMessage(`{"type":"none"}`)})
	r.add(5, session.KindInputMessage, session.Message{
		Input: []session.InputMessage{{Content: said("refund order 4711")}}, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Guardrails: []guardrail.Finding{{Guardrail: "no-keys", On: guardrail.Input, Action: guardrail.Redact, Reason: secret}},
	})
	r.add(40, session.KindTurnStarted, session.TurnStarted{})
	recall := r.add(1, session.KindMemoryCalled, session.MemoryCalled{Stores: []session.MemoryGate{{Store: "memstore_1", Decision: decided(31, "memories")}}})
	r.add(12, session.KindMemoryRecalled, session.MemoryRecalled{Call: recall, Method: "lexical", Entries: []session.Recalled{{ID: "mem_1", Store: "memstore_1", Text: secret}}})
	held := policy.Decision{By: "policy", Version: "v1", Micros: 77, Policies: []string{"ask-for-models"}, Needs: &policy.Needs{}}
	asked := r.add(1, session.KindEffectHeld, session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.ModelCall, Of: "gpt"}, Shown: json.RawMessage(`{"model":"gpt"}`), Decision: held})
	r.add(60_000, session.KindInputEffect, session.EffectResult{Asked: asked, Decision: session.DecisionApprove, Reason: secret, By: stead.LocalPrincipal()})
	call := r.add(2, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1, Decision: decided(85, "models", "regions")})
	r.add(900, session.KindModelFailed, session.ModelFailed{Call: call, Error: session.TurnError{Code: model.CodeRateLimit, Message: secret}, RetryAt: r.at + 2900, Route: &model.Route{Provider: "azure", Model: "gpt-eu", Region: "eu"}})
	functions, forbidden := decided(33, "functions"), policy.Decision{By: "policy", Version: "v1", Micros: 34, Policies: []string{"no-deletion"}, Reason: secret}
	asks := policy.Decision{By: "policy", Version: "v1", Micros: 35, Policies: []string{"ask-first"}, Needs: &policy.Needs{}, Reason: secret}
	call = r.add(2000, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 2, Decision: decided(64, "models", "regions")})
	r.add(300, session.KindModelStreamed, session.ModelStreamed{Call: call, Segments: []session.Segment{{Type: stead.ItemMessage, Text: "I look. " + secret}}})
	r.add(700, session.KindModelReplied, session.ModelReplied{
		Call: call, Finish: string(model.FinishToolCalls), Model: "gpt-2026", Cost: 1200, FirstMS: 280, Usage: stead.Usage{InputTokens: 900, CachedTokens: 600, OutputTokens: 70, ReasoningTokens: 30},
		Route: &model.Route{Provider: "openai", Model: "gpt", Tier: "default", Tried: []string{"azure/gpt-eu: rate_limit"}},
		Items: []session.ReplyItem{
			callOf("call_a", "refund", stead.ItemMCPCall, session.ToolCall{Server: "shop", Name: "refund", Effect: tool.Idempotent}),
			callOf("call_b", "ask_customer", stead.ItemFunctionCall, session.ToolCall{Decision: &functions}),
			callOf("call_c", "shell", stead.ItemMCPCall, session.ToolCall{Environment: true, Effect: tool.Unknown}),
			callOf("call_d", "create_subagent", stead.ItemCreateSubagent, session.ToolCall{Subagent: &session.SubagentCall{Action: session.CreateSubagent, Sender: "agent_1"}}),
			callOf("call_e", "nothing", stead.ItemMCPCall, session.ToolCall{Reject: secret}),
			callOf("call_f", "delete_customer", stead.ItemFunctionCall, session.ToolCall{Reject: secret, Decision: &forbidden}),
			callOf("call_g", "call_customer", stead.ItemFunctionCall, session.ToolCall{Decision: &asks}),
		},
	})
	needs := policy.Decision{By: "policy", Version: "v1", Micros: 112, Policies: []string{"refunds"}, Needs: &policy.Needs{}, Reason: secret}
	r.add(0, session.KindToolHeld, session.ToolHeld{CallID: "call_a", Decision: needs})
	sub := r.add(0, session.KindSubagentCreated, session.SubagentCreated{CallID: "call_d", Name: "Avocet", Task: said("look"), Decision: decided(20, "agents")})
	r.thread = sub
	r.add(0, session.KindSubagentInput, session.SubagentInput{CallID: "call_d", Call: call, Index: 3, Content: said("look"), Sender: "agent_1", Recipient: "subagent_1"})
	r.thread = 0
	r.add(0, session.KindToolReturned, session.ToolReturned{CallID: "call_d", Output: said("made")})
	r.add(0, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Attempt: 1, Decision: decided(9, "computers")})
	r.thread = sub
	r.add(3, session.KindTurnStarted, session.TurnStarted{})
	r.add(0, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1, Decision: decided(51, "models")})
	r.thread = 0
	r.add(70, session.KindRunnerRecovered, session.RunnerRecovered{Node: "node_1", Epoch: 1})
	opened := r.add(5, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionOpen, Attempt: 2, Decision: decided(8, "computers")})
	r.thread = sub
	inner := r.add(0, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1, Decision: decided(50, "models")})
	r.add(400, session.KindModelReplied, session.ModelReplied{Call: inner, Finish: string(model.FinishStop), Provider: "openai", Cost: 300, Usage: stead.Usage{InputTokens: 50, OutputTokens: 9},
		Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: said("found")}}}})
	r.add(0, session.KindTurnCompleted, session.TurnEnded{})
	r.thread = 0
	r.add(1, session.KindSubagentAnswered, session.SubagentAnswered{Subagent: sub, Status: session.TurnComplete, Content: said("found"), Name: "Avocet"})
	r.add(50, session.KindEnvironmentConnected, session.EnvironmentConnected{Call: opened, Node: "node_1", Driver: "ns"})
	r.add(1, session.KindToolCalled, session.ToolCalled{CallID: "call_c", Attempt: 1, Decision: decided(40, "tools")})
	exit := 2
	r.add(800, session.KindToolReturned, session.ToolReturned{CallID: "call_c", Output: said("no such file"), DurationMS: 790, Exit: &exit})
	r.add(10, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("hurry")}}, Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"})
	r.add(990, session.KindInputApproval, session.ApprovalResult{CallID: "call_g", Decision: session.DecisionApprove, By: stead.LocalPrincipal()})
	r.add(0, session.KindToolRequired, session.ToolRequired{CallID: "call_g", Decision: decided(36, "ask-first")})
	r.add(4000, session.KindInputToolResult, session.ToolResult{CallID: "call_g", Error: secret, By: stead.LocalPrincipal()})
	r.add(25_000, session.KindInputToolResult, session.ToolResult{CallID: "call_b", Success: true, Output: said("yes"), By: stead.LocalPrincipal()})
	r.add(60_000, session.KindInputApproval, session.ApprovalResult{CallID: "call_a", Decision: session.DecisionApprove, Reason: secret, By: stead.LocalPrincipal()})
	r.add(1, session.KindToolCalled, session.ToolCalled{CallID: "call_a", Attempt: 1, Decision: decided(90, "refunds")})
	r.add(5000, session.KindToolLost, session.ToolLost{CallID: "call_a", Reason: secret, Sent: true, RetryAt: r.at + 6000})
	r.add(1000, session.KindToolCalled, session.ToolCalled{CallID: "call_a", Attempt: 2, Decision: decided(88, "refunds")})
	r.add(10_000, session.KindRunnerRecovered, session.RunnerRecovered{Node: "node_2", Epoch: 2})
	r.add(1, session.KindToolCalled, session.ToolCalled{CallID: "call_a", Attempt: 3, Decision: decided(86, "refunds")})
	r.add(700, session.KindToolReturned, session.ToolReturned{CallID: "call_a", Error: secret, DurationMS: 690})
	r.add(1, session.KindBudgetReached, session.BudgetReached{Budget: "budget_1", Code: model.CodeRateLimit, Message: secret})
	r.add(9000, session.KindInputBudget, session.BudgetResult{Budget: "budget_1", Asked: stead.Seq(len(r.events)), Decision: session.DecisionApprove, By: stead.LocalPrincipal()})
	call = r.add(1, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1, Decision: decided(61, "models")})
	r.add(500, session.KindModelReplied, session.ModelReplied{Call: call, Finish: string(model.FinishStop), Provider: "openai", Model: "gpt-2026", Guessed: true, Usage: stead.Usage{InputTokens: 1200, OutputTokens: 8},
		Items: []session.ReplyItem{{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: said("done")}}}})
	r.add(1, session.KindTurnCompleted, session.TurnEnded{})

	r.add(5000, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("again")}}})
	r.add(1, session.KindTurnStarted, session.TurnStarted{})
	denied := policy.Decision{By: "policy", Version: "v2", Micros: 12, Policies: []string{"no-models"}, Reason: secret, Shadow: &policy.Trial{Outcome: policy.Allowed, Policies: []string{"next"}}}
	r.add(1, session.KindTurnFailed, session.TurnEnded{Error: &session.TurnError{Code: model.CodePolicy, Message: secret}, Decision: &denied})

	r.add(5000, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("once more")}}})
	r.add(-3000, session.KindTurnStarted, session.TurnStarted{}) // by a node whose clock is behind
	call = r.add(1, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1, Decision: decided(30, "models")})
	r.add(100, session.KindRunnerRecovered, session.RunnerRecovered{Node: "node_3", Epoch: 3, Spent: []session.Spent{{Call: call, Usage: stead.Usage{InputTokens: 10}, Provider: "openai"}}})
	return r.events
}

// TestGolden holds the traces of a journal in which everything happens against files: as bytes, and as people read them.
func TestGolden(t *testing.T) {
	events := journal(t)
	page, err := trace.List(viewOf(t, events), sessiontest.Reader(events), session.PageQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var tree strings.Builder
	for _, tr := range page.Data {
		checkOTLP(t, tr.OTLP)
		var req trace.ExportRequest
		if err := json.Unmarshal(tr.OTLP, &req); err != nil {
			t.Fatal(err)
		}
		tree.WriteString(tr.ID + "\n")
		if err := trace.Tree(&tree, req.ResourceSpans[0].ScopeSpans[0].Spans); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(req); err != nil || !bytes.Equal(again, tr.OTLP) {
			t.Errorf("what is read of a trace is not what was written: %v", err)
		}
	}
	data, err := json.MarshalIndent(page.Data, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(secret)) {
		t.Error("a text of the journal is in a trace")
	}
	for file, got := range map[string]string{"testdata/traces.json": string(data) + "\n", "testdata/traces.txt": tree.String()} {
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s is not what there is now (%v); go test ./internal/trace -update writes it anew:\n%s", file, err, got)
		}
	}
}

// TestParseParent reads what the specification's test suite has of traceparent headers.
func TestParseParent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, header := range []string{
		"", "00", good + "-", good + "-more", "ff" + good[2:], strings.ToUpper(good), good[:len(good)-1], "0" + good, " " + good,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
	} {
		if p, ok := trace.ParseParent(header); ok {
			t.Errorf("%q is read as %+v", header, p)
		}
	}
	for _, header := range []string{good, "cc" + good[2:] + "-what-the-future-has"} {
		if p, ok := trace.ParseParent(header); !ok || p.String() != good {
			t.Errorf("%q is read as %+v, %v", header, p, ok)
		}
	}
}

// TestATraceIsBounded: of a turn of more spans than a trace has, the first are there, and the turn's says how many are not.
func TestATraceIsBounded(t *testing.T) {
	r := &recorder{t: t, at: 1_790_000_000_000}
	r.add(0, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Environment: json.RawMessage(`{"type":"none"}`)})
	begin := r.add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	for range trace.MaxSpans + 10 {
		call := r.add(1, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1})
		r.add(1, session.KindModelFailed, session.ModelFailed{Call: call, Error: session.TurnError{Code: "x"}, RetryAt: r.at})
	}
	r.add(1, session.KindTurnCancelled, session.TurnEnded{})
	spans, err := trace.Spans(viewOf(t, r.events), sessiontest.Reader(r.events), begin)
	if err != nil || len(spans) != trace.MaxSpans {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	root := spans[len(spans)-1]
	if root.Parent != "" || root.Attribute("stead.trace.dropped_spans").Text() != "11" {
		t.Errorf("the turn's span is %+v", root)
	}
}

// TestASummaryThatOutlivesItsTurn: a summary that is being made when its subagent's turn ends is a span of that turn, and of no later one.
func TestASummaryThatOutlivesItsTurn(t *testing.T) {
	r := &recorder{t: t, at: 1_790_000_000_000}
	r.add(0, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Environment: json.RawMessage(`{"type":"none"}`)})
	begin := r.add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	sub := r.add(0, session.KindSubagentCreated, session.SubagentCreated{Name: "Avocet"})
	r.thread = sub
	r.add(0, session.KindSubagentInput, session.SubagentInput{Content: said("look")})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	summary := r.add(1, session.KindModelCalled, session.ModelCalled{Model: "gpt", Purpose: session.PurposeCompact, Attempt: 1})
	r.add(1, session.KindTurnCancelled, session.TurnEnded{})
	r.add(1, session.KindSubagentInput, session.SubagentInput{Content: said("again")})
	r.add(1, session.KindTurnStarted, session.TurnStarted{})
	r.add(1, session.KindContextCompacted, session.ContextCompacted{Call: summary, Upto: summary})
	r.add(1, session.KindTurnCompleted, session.TurnEnded{})
	r.thread = 0
	r.add(1, session.KindTurnCompleted, session.TurnEnded{})
	spans, err := trace.Spans(viewOf(t, r.events), sessiontest.Reader(r.events), begin)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, s := range spans {
		names = append(names, s.Name+" "+s.Attribute("error.type").Text())
	}
	if got, want := strings.Join(names, ", "), "chat gpt cancelled, invoke_agent Avocet , invoke_agent Avocet , invoke_agent "; got != want {
		t.Errorf("the spans are %s, want %s", got, want)
	}
}

// TestFilesThatAreStoredApartAreInTheTrace: ending the environment for that is no refusal, and its time is seen.
func TestFilesThatAreStoredApartAreInTheTrace(t *testing.T) {
	r := &recorder{t: t, at: 1_790_000_000_000}
	r.add(0, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Environment: json.RawMessage(`{"type":"openai_hosted"}`), Setup: &environment.Setup{Type: session.EnvironmentHosted}})
	begin := r.add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	call := r.add(1, session.KindEnvironmentCalled, session.EnvironmentCalled{Action: session.ActionSuspend, Attempt: 1, Apart: true, Decision: policy.Decision{By: "policy", Version: "v1", Policies: []string{"files"}, Needs: &policy.Needs{}}})
	r.add(40, session.KindEnvironmentSuspended, session.EnvironmentSuspended{Call: call, Apart: true})
	r.add(1, session.KindTurnCompleted, session.TurnEnded{})
	spans, err := trace.Spans(viewOf(t, r.events), sessiontest.Reader(r.events), begin)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if s.Name == "environment suspend" {
			if s.Attribute("error.type").Text() != "" || s.End-s.Start != trace.Time((40*time.Millisecond).Milliseconds()) {
				t.Errorf("it is %+v", s)
			}
			return
		}
	}
	t.Error("it is not there")
}

// TestWhatIsCutOffIsInItsTrace: a subagent's call of the model has used something when a node stops, and that stands in an event of its own.
func TestWhatIsCutOffIsInItsTrace(t *testing.T) {
	r := &recorder{t: t, at: 1_790_000_000_000}
	r.add(0, session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1"}, Environment: json.RawMessage(`{"type":"none"}`)})
	begin := r.add(0, session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: said("go")}}})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	sub := r.add(0, session.KindSubagentCreated, session.SubagentCreated{Name: "Avocet"})
	r.thread = sub
	r.add(0, session.KindSubagentInput, session.SubagentInput{Content: said("look")})
	r.add(0, session.KindTurnStarted, session.TurnStarted{})
	call := r.add(1, session.KindModelCalled, session.ModelCalled{Model: "gpt", Attempt: 1})
	r.add(1, session.KindModelCut, session.ModelCut{Spent: session.Spent{Call: call, Usage: stead.Usage{InputTokens: 70, OutputTokens: 3}, Cost: 500, Provider: "openai"}})
	r.thread = 0
	r.add(0, session.KindRunnerRecovered, session.RunnerRecovered{Node: "node_2", Epoch: 2})
	r.add(1, session.KindTurnCancelled, session.TurnEnded{})
	spans, err := trace.Spans(viewOf(t, r.events), sessiontest.Reader(r.events), begin)
	if err != nil || len(spans) != 3 {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	chat, root := spans[0], spans[2]
	if chat.Attribute("error.type").Text() != "interrupted" || chat.Attribute("gen_ai.usage.input_tokens").Text() != "70" || chat.Attribute("stead.usage.estimated").Text() != "true" {
		t.Errorf("the call's span is %+v", chat)
	}
	if got, want := root.Attribute("stead.cost_microcents").Text(), fmt.Sprint(viewOf(t, r.events).Cost); got != want || want != "500" {
		t.Errorf("the turn costs %s, and the session %s", got, want)
	}
}
